// SPDX-License-Identifier: Apache-2.0
// The only file that includes CLI11.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <map>
#include <new>

#include "base/interrupt.h"
#include "base/log_format.h"
#include "base/nearest.h"
#include "base/parallel.h"
#include "cli/option_file.h"
#include "cli/verb.h"
#include "kernels/isa.h"

namespace planish {
namespace {

std::string g_version;

std::string EnvironmentName(const std::string& long_name) {
  std::string name = "PLANISH_";
  for (const char c : long_name)
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

// "--top-p NUMBER [1]": type and default, no more.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    std::string text;
    if (option->get_items_expected_max() > 0 && !option->get_type_name().empty())
      text += " " + option->get_type_name();
    if (option->get_required())
      text += " (required)";
    else if (!option->get_default_str().empty())
      text += " [" + option->get_default_str() + "]";
    return text;
  }
};

std::vector<int64_t> ParseIntList(const std::string& text, const std::string& name, int64_t low,
                                  int64_t high) {
  std::vector<int64_t> values;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    int64_t value = 0;
    const auto [stop, error] = std::from_chars(at, end, value);
    if (error != std::errc() || (stop != end && *stop != ',') || value < low || value > high) {
      throw UsageError("{}: {} is no list of numbers in [{}, {}], expected e.g. 1,2,8", name,
                       Quoted(text), low, high);
    }
    values.push_back(value);
    if (stop == end) return values;
    at = stop + 1;
  }
}

class CliOptions : public OptionSet {
 public:
  explicit CliOptions(CLI::App* app) : app_(app) {}

  void Text(const char* names, std::string* target, const char* help, bool required) override {
    Finish(app_->add_option(names, *target, help)->type_name("TEXT"),
           target->empty() ? "" : *target)
        ->required(required);
  }
  void OptionalText(const char* names, std::string* target, const char* implied,
                    const char* help) override {
    const std::string alone = implied;
    const auto set = [=](const std::vector<std::string>& given) {
      *target = given.empty() || given[0].empty() || given[0] == "{}" ? alone : given[0];
    };
    Finish(app_->add_option_function<std::vector<std::string>>(names, set, help)
               ->type_name("[TEXT]")
               ->expected(0, 1),
           "");
  }
  void Choice(const char* names, std::string* target, std::vector<std::string> choices,
              const char* help) override {
    std::string type;
    for (const std::string& choice : choices) type += (type.empty() ? "" : "|") + choice;
    Finish(app_->add_option(names, *target, help)
               ->check(CLI::IsMember(choices).description(""))
               ->type_name(type),
           *target);
  }
  void Int(const char* names, int64_t* target, int64_t low, int64_t high,
           const char* help) override {
    Finish(app_->add_option(names, *target, help)
               ->check(CLI::Range(low, high).description(""))
               ->type_name("INT"),
           std::to_string(*target));
  }
  void Real(const char* names, double* target, double low, double high, const char* help) override {
    const auto is_number = [](const std::string& text) {
      return std::isnan(std::strtod(text.c_str(), nullptr)) ? "Value nan is in no range"
                                                            : std::string();
    };
    CLI::Option* option = app_->add_option(names, *target, help)
                              ->check(CLI::Range(low, high).description(""))
                              ->check(is_number);
    Finish(option->type_name("NUMBER"), fmt::format("{}", *target));
  }
  void Bytes(const char* names, uint64_t* target, const char* help) override {
    const auto parse = [target](const std::string& text) { *target = ParseBytes(text); };
    Finish(app_->add_option_function<std::string>(names, parse, help)->type_name("SIZE"),
           *target == 0 ? "" : std::to_string(*target));
  }
  void IntList(const char* names, std::vector<int64_t>* target, int64_t low, int64_t high,
               const char* help) override {
    const std::string name = names;
    const auto parse = [=](const std::string& text) {
      *target = ParseIntList(text, name, low, high);
    };
    std::string shown;
    for (const int64_t value : *target) shown += (shown.empty() ? "" : ",") + std::to_string(value);
    Finish(app_->add_option_function<std::string>(names, parse, help)->type_name("INT,..."), shown);
  }
  void TextList(const char* names, std::vector<std::string>* target, const char* help) override {
    const auto append = [target](const std::vector<std::string>& given) { *target = given; };
    Finish(app_->add_option_function<std::vector<std::string>>(names, append, help)
               ->type_name("TEXT")
               ->expected(1)
               ->take_all(),
           "");
  }
  void Flag(const char* names, bool* target, const char* help) override {
    Finish(app_->add_flag(names, *target, help), "");
  }
  void Positional(const char* name, std::vector<std::string>* target, const char* help,
                  bool required) override {
    app_->add_option(name, *target, help)->type_name("")->required(required);
  }
  void Group(const char* heading) override { heading_ = heading; }
  bool WasGiven(const char* name) const override { return app_->get_option(name)->count() > 0; }

 private:
  CLI::Option* Finish(CLI::Option* option, const std::string& default_text) {
    option->group(heading_);
    if (!default_text.empty()) option->default_str(default_text);
    if (!option->get_lnames().empty())
      option->envname(EnvironmentName(option->get_lnames().front()));
    return option;
  }
  CLI::App* app_;
  std::string heading_ = "Options";
};

std::string OverviewText(const std::vector<std::unique_ptr<Verb>>& verbs,
                         const std::string& version) {
  std::string text = fmt::format(
      "planish {}: makes, shrinks, aligns and serves hybrid reasoning models on CPUs\nUsage: "
      "planish VERB [OPTIONS]\n",
      version);
  for (const char* group : {"make", "shrink", "run", "measure"}) {
    std::string lines;
    for (const auto& verb : verbs) {
      if (std::string(verb->group()) == group)
        lines += fmt::format("  {:<10} {}\n", verb->name(), verb->summary());
    }
    if (!lines.empty()) text += fmt::format("\n{}:\n{}", group, lines);
  }
  return text +
         "\n`planish VERB --help` lists a verb's options with two examples. MODEL is a Hugging "
         "Face folder or a GGUF file.\n"
         "Exit status: 0 ok, 1 failure, 2 usage, 3 bad input file, 4 does not fit in memory, 5 "
         "network,\n16 training stopped on NaN with a checkpoint saved, 17 a step computed twice "
         "differed, 19 run folder in use,\n130 and 143 interrupted.\n";
}

// One line, whatever went wrong: names and contents of files can neither break it nor command the terminal.
int Report(const std::string& verb, const Error& error) {
  const std::string text = Quoted(
      error.what() + (error.hint().empty() ? "" : ". Try: " + error.hint()), std::string::npos);
  fmt::print(stderr, "planish{}{}: error: {}\n", verb.empty() ? "" : " ", verb,
             text.substr(1, text.size() - 2));
  return static_cast<int>(error.code());
}

// Arguments that say what the file says, for the options that neither the command line nor the environment gave.
std::vector<std::string> ArgumentsOfFile(const std::string& path, const CLI::App& app) {
  std::vector<std::string> arguments;
  for (const FileOption& given : ReadOptionFile(path)) {
    const CLI::Option* option = app.get_option_no_throw("--" + given.name);
    if (option == nullptr || given.name == "help" || given.name == "config" ||
        given.name == "print-config") {
      std::vector<std::string> names;
      for (const CLI::Option* known : app.get_options()) {
        for (const std::string& name : known->get_lnames()) {
          if (name != given.name) names.push_back(name);
        }
      }
      const std::string nearest = Nearest(given.name, names);
      throw Error(ExitCode::kUsage,
                  fmt::format("{}: there is no option {}", given.place, Quoted(given.name)),
                  nearest);
    }
    if (option->count() > 0) continue;
    const bool is_flag = option->get_items_expected_max() == 0;
    if (is_flag && !given.is_bool)
      throw UsageError("{}: {} is true or false, not {}", given.place, given.name,
                       Quoted(fmt::format("{}", fmt::join(given.values, ", "))));
    const std::string type = option->get_type_name();
    if (is_flag) {
      if (given.values[0] == "true") arguments.push_back("--" + given.name);
    } else if (given.is_bool) {
      if (type.find("on|off") == std::string::npos)
        throw UsageError("{}: {} is {}, not true or false", given.place, given.name, type);
      arguments.push_back("--" + given.name + (given.values[0] == "true" ? "=on" : "=off"));
    } else if (type == "INT,...") {
      arguments.push_back(fmt::format("--{}={}", given.name, fmt::join(given.values, ",")));
    } else {
      const bool takes_all = option->get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
      if (given.values.size() > 1 && !takes_all)
        throw UsageError("{}: {} has {} values, expected one", given.place, given.name,
                         given.values.size());
      for (const std::string& value : given.values) {
        if (!value.empty()) arguments.push_back("--" + given.name + "=" + value);
      }
    }
  }
  return arguments;
}

// Parses once more, with what the file says behind what was given; gives that.
std::vector<std::string> AddOptionsOfFile(const std::string& path,
                                          const std::vector<std::string>& given, CLI::App* app) {
  std::vector<std::string> arguments = given;
  const std::vector<std::string> more = ArgumentsOfFile(path, *app);
  arguments.insert(arguments.end(), more.begin(), more.end());
  std::reverse(arguments.begin(), arguments.end());  // the order that CLI11 wants
  try {
    app->parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    throw UsageError("{}: {}", path, error.what());
  }
  return more;
}

// Every option with its value and where that came from.
void PrintConfig(const CLI::App& app, const std::vector<std::string>& arguments,
                 const std::vector<std::string>& of_file) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_lnames().empty() || option->get_lnames()[0] == "help" ||
        option->get_lnames()[0] == "print-config")
      continue;
    const std::string name = option->get_lnames()[0];
    const bool on_line =
        std::any_of(arguments.begin(), arguments.end(), [&](const std::string& argument) {
          const std::string given = argument.substr(0, argument.find('='));
          return option->check_name(given) ||
                 (given.size() > 2 && given[1] != '-' && option->check_name(given.substr(0, 2)));
        });
    const bool in_file =
        std::any_of(of_file.begin(), of_file.end(), [&](const std::string& argument) {
          return option->check_name(argument.substr(0, argument.find('=')));
        });
    const char* origin = option->count() == 0 ? "default"
                         : in_file            ? "config file"
                         : on_line            ? "command line"
                                              : "environment";
    std::string value = option->count() == 0 ? option->get_default_str()
                                             : fmt::format("{}", fmt::join(option->results(), " "));
    if (option->get_items_expected_max() == 0) value = option->count() > 0 ? "true" : "false";
    fmt::print("{:<22} = {:<24} # {}\n", name, value.empty() ? "\"\"" : value, origin);
  }
}

struct CommonOptions {
  int64_t threads = 0;
  bool quiet = false;
  bool verbose = false;
  std::string log_format = "text";
  bool print_config = false;
  std::string config;
};

int ParseFailure(const CLI::ParseError& error, CLI::App* app, const std::string& verb) {
  std::string hint = fmt::format("planish {} --help", verb);
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr && app != nullptr) {
    const std::vector<std::string> rest = app->remaining();
    std::vector<std::string> names;
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
      for (const std::string& name : option->get_snames()) names.push_back("-" + name);
    }
    if (!rest.empty()) {
      const std::string nearest = Nearest(rest[0], names);
      return Report(verb,
                    Error(ExitCode::kUsage, fmt::format("unknown argument {}", Quoted(rest[0])),
                          nearest.empty() ? hint : nearest));
    }
  }
  std::string text = error.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return Report(verb, Error(ExitCode::kUsage, text, hint));
}

}  // namespace

const std::string& ProgramVersion() { return g_version; }

void FlushOutput() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    throw RuntimeError("could not write to standard output");
}

uint64_t ParseBytes(const std::string& text) {
  size_t used = 0;
  double number = -1;
  try {
    number = std::stod(text, &used);
  } catch (const std::exception&) {
  }
  std::string unit = text.substr(std::min(used, text.size()));
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  static const std::map<std::string, double> kUnits = {
      {"", 1},       {"b", 1},        {"k", 1024},     {"kib", 1024}, {"kb", 1e3},
      {"m", 0x1p20}, {"mib", 0x1p20}, {"mb", 1e6},     {"g", 0x1p30}, {"gib", 0x1p30},
      {"gb", 1e9},   {"t", 0x1p40},   {"tib", 0x1p40}, {"tb", 1e12}};
  const auto found = kUnits.find(unit);
  if (!(number >= 0) || number * (found == kUnits.end() ? 1 : found->second) > 0x1p60 ||
      found == kUnits.end()) {
    throw Error(ExitCode::kUsage, fmt::format("{} is not a size", Quoted(text)),
                "22GiB, 512M or a number of bytes");
  }
  return static_cast<uint64_t>(number * found->second);
}

int RunCommandLine(int argc, char** argv, const std::string& version) {
  g_version = version;
  std::signal(SIGPIPE, SIG_IGN);
  InstallInterruptHandler();
  const std::vector<std::unique_ptr<Verb>> verbs = AllVerbs();
  std::string current;
  try {
    ApplyIsaOverride();
    const std::string first = argc > 1 ? argv[1] : "";
    if (first.empty() || first == "--help" || first == "-h" || first == "help") {
      fmt::print(first.empty() ? stderr : stdout, "{}", OverviewText(verbs, version));
      FlushOutput();
      return first.empty() ? static_cast<int>(ExitCode::kUsage) : 0;
    }
    if (first == "--version" || first == "-V") {
      fmt::print("planish {}, {}, ISA {}\n", version, "compiled by g++ " __VERSION__, IsaName());
      FlushOutput();
      return 0;
    }
    const auto verb =
        std::find_if(verbs.begin(), verbs.end(), [&](const auto& v) { return v->name() == first; });
    if (verb == verbs.end()) {
      std::vector<std::string> names;
      for (const auto& v : verbs) names.push_back(v->name());
      const std::string nearest = Nearest(first, names);
      throw Error(ExitCode::kUsage, fmt::format("unknown verb {}", Quoted(first)),
                  nearest.empty() ? "planish --help" : "planish " + nearest);
    }
    current = first;
    CLI::App app((*verb)->summary(), "planish " + first);
    app.formatter(std::make_shared<HelpFormatter>());
    app.get_formatter()->column_width(36);
    app.footer(
        fmt::format("Every long option can also be set by the environment: --top-k as "
                    "PLANISH_TOP_K.\n\nExamples:\n{}\n",
                    (*verb)->examples()));
    app.set_help_flag("-h,--help", "print this help and exit");
    CliOptions options(&app);
    (*verb)->Declare(&options);
    CommonOptions common;
    options.Group("Common options");
    if (!(*verb)->declares_threads()) {
      options.Int("-t,--threads", &common.threads, 0, 1024,
                  "threads; 0: OMP_NUM_THREADS, else the cores this process may use");
    }
    options.Flag("-q,--quiet", &common.quiet, "no messages but errors");
    options.Flag("-v,--verbose", &common.verbose, "more messages");
    options.Choice("--log-format", &common.log_format, {"text", "json"},
                   "messages as text, or as JSON lines with their time");
    if ((*verb)->reads_options_from_file())
      options.Text("-c,--config", &common.config,
                   "TOML file with options, as max-queue = 8; the command line and the environment "
                   "go before it",
                   /*required=*/false);
    options.Flag("--print-config", &common.print_config,
                 "print every option's value and where it comes from, and exit");
    try {
      app.parse(argc - 1, argv + 1);
    } catch (const CLI::CallForHelp&) {
      fmt::print("{}", app.help());
      FlushOutput();
      return 0;
    } catch (const CLI::ParseError& error) {
      return ParseFailure(error, &app, first);
    }
    const std::vector<std::string> given(argv + 2, argv + argc);
    std::vector<std::string> of_file;
    if (!common.config.empty()) {
      const std::string config = common.config;  // parsing again sets it anew
      of_file = AddOptionsOfFile(config, given, &app);
    }
    if (common.print_config) {
      if (!(*verb)->PrintConfig(options)) PrintConfig(app, given, of_file);
      FlushOutput();
      return 0;
    }
    SetThreadCount(static_cast<int>(common.threads));
    SetLogFormat(common.log_format == "json" ? LogFormat::kJson : LogFormat::kText);
    SetLogLevel(common.quiet     ? LogLevel::kQuiet
                : common.verbose ? LogLevel::kDebug
                                 : LogLevel::kInfo);
    const ExitCode code = (*verb)->Run(options);
    FlushOutput();
    return static_cast<int>(code);
  } catch (const Error& error) {
    return Report(current, error);
  } catch (const std::bad_alloc&) {
    return Report(
        current, Error(ExitCode::kNoMemory, "out of memory", "a smaller model or a shorter --ctx"));
  } catch (const std::exception& error) {
    return Report(current, Error(ExitCode::kFailure, error.what()));
  }
}

}  // namespace planish

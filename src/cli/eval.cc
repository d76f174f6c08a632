// SPDX-License-Identifier: Apache-2.0
// `planish eval`: benchmarks at one or more thinking settings, as a table, JSON and a page.
#include <algorithm>
#include <charconv>
#include <ctime>
#include <map>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/stopwatch.h"
#include "cli/input.h"
#include "cli/model_options.h"
#include "cli/verbs.h"
#include "eval/engine_generator.h"
#include "eval/eval_page.h"
#include "eval/result_json.h"
#include "eval/tasks.h"

namespace planish {
namespace {

ThinkingSetting ParseSetting(const std::string& text) {
  if (text == "off") return {0};
  if (text == "on") return {-1};
  int64_t budget = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), budget);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || budget < -1 ||
      budget > static_cast<int64_t>(limits::kContext)) {
    throw UsageError(
        "--thinking: {} is no setting, expected on, off, a number of tokens, or a list of them",
        Quoted(text));
  }
  return {budget};
}

std::string NowText() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H-%M-%S", &parts);
  return text;
}

class EvalVerb : public Verb {
 public:
  const char* name() const override { return "eval"; }
  const char* group() const override { return "measure"; }
  const char* summary() const override {
    return "score a model on benchmarks, with thinking on, off and at budgets";
  }
  const char* examples() const override {
    return "  planish eval -m MODEL --tasks word-problems --limit 200 --thinking on,off --json -\n"
           "  planish eval -m MODEL --tasks gsm8k_boxed --data gsm8k/test.jsonl --thinking off -o "
           "results";
  }
  void Declare(OptionSet* options) override {
    model_.Declare(options, /*required=*/false);
    model_.DeclareRun(options, "auto");
    options->Group("Benchmarks");
    std::string known = "comma-separated: ";
    for (const std::string& task : TaskNames()) known += (known.ends_with(' ') ? "" : ", ") + task;
    tasks_help_ = known;
    options->Text("--tasks", &tasks_, tasks_help_.c_str());
    options->TextList("--data", &data_,
                      "JSONL file of rows of the task, plain or zstd; TASK=FILE where there are "
                      "several tasks");
    options->Int("--seed", &seed_, 0, INT64_MAX, "of made problems, of the choice and of sampling");
    options->Int("--limit", &limit_, 0, 10'000'000,
                 "problems of a task; 0: all of a file, 500 made ones");
    options->Group("Thinking and decoding");
    options->Text(
        "--thinking", &thinking_,
        "on, off or a budget in tokens; several with commas, the first is the one reported "
        "as the accuracy; default: on if the model thinks, else off");
    options->IntList("--budget", &budgets_, -1, static_cast<int64_t>(limits::kContext),
                     "further budgets; 0: off, -1: no limit");
    options->Choice("--toggle", &toggle_.toggle, {"auto", "slash", "enable_thinking", "detailed"},
                    "how this model is told to think; auto finds out from its chat template");
    options->Int("--answer-tokens", &answer_tokens_, 0, static_cast<int64_t>(limits::kContext),
                 "of an answer, reasoning not counted; 0: as the task says");
    options->Int("--samples", &samples_, 1, 1024, "answers a problem, with --temperature");
    options->Real("--temperature", &temperature_, 0.0, 100.0,
                  "with thinking; 0: greedy. Without thinking always greedy");
    options->Real("--top-p", &top_p_, 0.0, 1.0,
                  "smallest set of tokens with this much probability");
    options->Int("--batch", &batch_, 1, static_cast<int64_t>(limits::kBatch),
                 "sequences at a time; does not change results");
    options->Group("Output");
    options->OptionalText("--json", &json_, "-",
                          "results as JSON to a file, or to standard output");
    options->Text("-o,--output", &output_, "folder for results, samples and report.html");
  }

  ExitCode Run(const OptionSet&) override {
    if (samples_ > 1 && temperature_ == 0)
      throw Error(ExitCode::kUsage,
                  "--samples above 1 needs a temperature: greedy answers are all equal",
                  "--temperature 0.6");
    std::vector<std::unique_ptr<Task>> tasks;
    for (const std::string& name : SplitAtCommas(tasks_)) tasks.push_back(MakeTask(name));
    if (tasks.empty()) throw UsageError("--tasks names no task");
    const std::map<std::string, std::string> files = DataFiles(tasks);
    if (!thinking_.empty()) Settings(/*has_thinking=*/true);  // a bad one is told before loading
    std::vector<std::vector<EvalItem>> items;
    for (const auto& task : tasks) {
      const auto file = files.find(task->name());
      items.push_back(task->Items({.data = file == files.end() ? "" : file->second,
                                   .seed = static_cast<uint64_t>(seed_),
                                   .limit = static_cast<size_t>(limit_)}));
    }

    Pretrained opened = model_.Open();
    toggle_.Apply(&opened);
    EngineGenerator generator(&opened, {.batch = static_cast<size_t>(batch_),
                                        .context = model_.ContextFor(opened.config)});
    ResultContext context{.model = generator.Describe(),
                          .model_path = opened.path,
                          .version = ProgramVersion(),
                          .date = NowText(),
                          .limit = static_cast<size_t>(limit_)};
    context.options = {.settings = Settings(generator.has_thinking()),
                       .samples = static_cast<size_t>(samples_),
                       .temperature = temperature_,
                       .top_p = top_p_,
                       .seed = static_cast<uint64_t>(seed_),
                       .answer_tokens = static_cast<size_t>(answer_tokens_)};
    Stopwatch watch;
    std::vector<TaskResult> results;
    for (size_t i = 0; i < tasks.size(); ++i) {
      results.push_back(RunTask(*tasks[i], std::move(items[i]), context.options, &generator));
      if (const auto file = files.find(tasks[i]->name()); file != files.end()) {
        results.back().data = file->second;
        results.back().data_sha256 = Sha256HexOfFile(file->second);
      }
    }
    watch.Lap(&context.seconds);
    for (const TaskResult& result : results) PrintTable(result, json_ == "-" ? stderr : stdout);
    Write(results, context);
    return ExitCode::kOk;
  }

 private:
  // "FILE" for the one task, or "TASK=FILE".
  std::map<std::string, std::string> DataFiles(
      const std::vector<std::unique_ptr<Task>>& tasks) const {
    std::map<std::string, std::string> files;
    for (const std::string& given : data_) {
      const size_t equals = given.find('=');
      const std::string name = given.substr(0, equals);
      const bool is_named = equals != std::string::npos &&
                            std::any_of(tasks.begin(), tasks.end(),
                                        [&](const auto& task) { return task->name() == name; });
      if (!is_named && tasks.size() > 1)
        throw Error(ExitCode::kUsage,
                    fmt::format("--data {}: which task is it for?", Quoted(given)),
                    "--data TASK=FILE with a task of --tasks");
      const std::string task = is_named ? name : tasks[0]->name();
      if (!files.emplace(task, is_named ? given.substr(equals + 1) : given).second)
        throw UsageError("--data is given twice for {}", task);
    }
    return files;
  }

  std::vector<ThinkingSetting> Settings(bool has_thinking) const {
    std::vector<ThinkingSetting> settings;
    const auto add = [&](const ThinkingSetting& setting) {
      if (std::find(settings.begin(), settings.end(), setting) == settings.end())
        settings.push_back(setting);
    };
    if (thinking_.empty() && budgets_.empty()) add({has_thinking ? -1 : 0});
    if (!thinking_.empty()) {
      for (const std::string& part : SplitAtCommas(thinking_)) add(ParseSetting(part));
      if (settings.empty()) throw UsageError("--thinking names no setting");
    } else if (std::find(budgets_.begin(), budgets_.end(), -1) != budgets_.end()) {
      add({-1});
    }
    for (const int64_t budget : budgets_) add({budget});
    return settings;
  }

  TaskResult RunTask(const Task& task, std::vector<EvalItem> items, const EvalOptions& options,
                     TextGenerator* generator) const {
    std::unique_ptr<Progress> progress;
    TaskResult result;
    result.evaluation = Evaluate(task, std::move(items), options, generator,
                                 [&](size_t done, size_t total, const std::string& detail) {
                                   if (!progress)
                                     progress =
                                         std::make_unique<Progress>("eval", total, "answers");
                                   progress->Update(done, detail);
                                 });
    for (const EvalRun& run : result.evaluation.runs)
      result.summaries.push_back(Summarize(result.evaluation, run));
    return result;
  }

  static void PrintTable(const TaskResult& result, std::FILE* to) {
    fmt::print(to, "{} v{}, {} problems\n", result.evaluation.task, result.evaluation.version,
               result.evaluation.items.size());
    fmt::print(to, "{:>9} {:>9} {:>15} {:>9} {:>8} {:>7} {:>6} {:>6} {:>6} {:>7} {:>9}\n",
               "thinking", "accuracy", "95 % interval", "formed", "toggle", "forced", "open",
               "mean", "p95", "answer", "tokens/s");
    for (const Summary& s : result.summaries) {
      fmt::print(
          to,
          "{:>9} {:>8.1f}% {:>6.1f} - {:>5.1f}% {:>8.1f}% {:>7.1f}% {:>6.1f}% {:>5.1f}% {:>6.0f} "
          "{:>6.0f} {:>7.0f} {:>9.0f}\n",
          Name(s.setting), 100 * s.accuracy.mean, 100 * s.accuracy.interval.low,
          100 * s.accuracy.interval.high, 100 * s.well_formed, 100 * s.obeys_toggle, 100 * s.forced,
          100 * s.unfinished, s.thinking_mean, s.thinking_p95, s.answer_tokens_mean,
          s.tokens_per_s);
      for (const auto& [metric, value] : s.metrics)
        fmt::print(to, "{:>9} {:>8.1f}% {}\n", "", 100 * value, metric);
    }
  }

  void Write(const std::vector<TaskResult>& results, const ResultContext& context) const {
    if (json_.empty() && output_.empty()) return;
    const Json all = ResultJson(results, context);
    const std::string json = DumpJson(all, JsonStyle::kPython, 2) + "\n";
    if (json_ == "-")
      fmt::print("{}\n", DumpJson(all));
    else if (!json_.empty())
      WriteFile(json_, json);
    if (output_.empty()) return;
    MakeDirectories(output_);
    WriteFile(fmt::format("{}/results_{}.json", output_, context.date), json);
    for (const TaskResult& result : results)
      WriteFile(
          fmt::format("{}/samples_{}_{}.jsonl", output_, result.evaluation.task, context.date),
          SampleLines(result));
    WriteFile(output_ + "/report.html", EvalPage(results, context));
    LogInfo("wrote results, samples and report.html to {}", output_);
  }

  ModelOptions model_;
  ThinkingOptions toggle_;
  std::string tasks_ = "word-problems", tasks_help_, thinking_, json_, output_;
  std::vector<std::string> data_;
  std::vector<int64_t> budgets_;
  int64_t seed_ = 1, limit_ = 0, answer_tokens_ = 0, samples_ = 1, batch_ = 64;
  double temperature_ = 0, top_p_ = 0.95;
};

}  // namespace

std::unique_ptr<Verb> MakeEval() { return std::make_unique<EvalVerb>(); }

}  // namespace planish

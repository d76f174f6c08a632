// SPDX-License-Identifier: Apache-2.0
#include "cli/chat_commands.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

namespace planish {
namespace {

constexpr const char* kHelp =
    "/help                 this list\n"
    "/exit                 leave (also Ctrl-D)\n"
    "/clear                forget the conversation, keep the system prompt\n"
    "/regen                another answer to the last message\n"
    "/edit                 edit the last message in $EDITOR and send it again\n"
    "/undo                 drop the last message and its answer\n"
    "/think on|off         thinking toggle\n"
    "/budget N|off         tokens of reasoning before it is closed\n"
    "/effort low|medium|high   budgets of 1024, 4096, no limit\n"
    "/show on|off          show reasoning in full, or as one line\n"
    "/system TEXT          system prompt; empty removes it\n"
    "/tools on|off         the model may call the demo tools\n"
    "/set NAME=VALUE       temperature, top_p, top_k, min_p, seed, n\n"
    "/save FILE, /load FILE    the conversation as JSON\n"
    "/read FILE            send a file's text\n"
    "/export FILE          the conversation as Markdown\n"
    "/stats                figures of the last answer\n"
    "Ctrl-C ends an answer, Ctrl-T asks for the answer now while the model thinks, \\ at the end "
    "of a line continues it.";

const std::vector<std::string>& Commands() {
  static const std::vector<std::string> commands = {
      "/help",   "/exit",    "/clear",   "/regen", "/edit",    "/undo",
      "/think ", "/budget ", "/effort ", "/show ", "/system ", "/tools ",
      "/set ",   "/save ",   "/load ",   "/read ", "/export ", "/stats"};
  return commands;
}

int64_t Number(const std::string& text, int64_t low, int64_t high) {
  size_t used = 0;
  int64_t value = 0;
  try {
    value = std::stoll(text, &used);
  } catch (const std::exception&) {
  }
  if (used == 0 || used != text.size() || value < low || value > high)
    throw UsageError("{} is not a number in [{}, {}]", Quoted(text), low, high);
  return value;
}

double Real(const std::string& text, double low, double high) {
  size_t used = 0;
  double value = 0;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
  }
  if (used == 0 || used != text.size() || !(value >= low && value <= high))
    throw UsageError("{} is not a number in [{}, {}]", Quoted(text), low, high);
  return value;
}

const std::string& FileName(const std::string& text) {
  if (text.empty()) throw UsageError("expected a file name");
  return text;
}

// Tokens of reasoning.
int64_t BudgetOfEffort(const std::string& effort) {
  if (effort == "low") return 1024;
  if (effort == "medium") return 4096;
  if (effort == "high") return -1;
  throw UsageError("expected low, medium or high, not {}", Quoted(effort));
}

bool OnOff(const std::string& text) {
  if (text != "on" && text != "off") throw UsageError("expected on or off, not {}", Quoted(text));
  return text == "on";
}

}  // namespace

void ChatScreen::Say(const std::string& text) const {
  fmt::print(stderr, "{}{}{}\n", palette_.dim, text, palette_.reset);
}

void ChatScreen::Speak(const std::string& text, bool again) {
  AnswerKeys keys;
  bool in_reasoning = false;
  AnswerHooks hooks;
  hooks.on_piece = [&](const ReasoningSplitter::Piece& piece) {
    if (!piece.reasoning.empty()) {
      if (!in_reasoning) fmt::print(stderr, "{}", palette_.dim);
      in_reasoning = true;
      if (show_reasoning_) fmt::print(stderr, "{}", ForTerminal(piece.reasoning, STDERR_FILENO));
    }
    if (!piece.answer.empty()) {
      if (in_reasoning) fmt::print(stderr, "{}\n", palette_.reset);
      in_reasoning = false;
      fmt::print("{}", ForTerminal(piece.answer, STDOUT_FILENO));
      std::fflush(stdout);
    }
  };
  hooks.on_thinking = [&](size_t used, int64_t budget) {
    if (show_reasoning_) return;
    if (!in_reasoning) fmt::print(stderr, "{}", palette_.dim);
    in_reasoning = true;
    fmt::print(stderr, "\rthinking {}{} ", used, budget >= 0 ? fmt::format("/{}", budget) : "");
  };
  hooks.on_note = [&](const std::string& line) {
    if (in_reasoning) fmt::print(stderr, "{}\n", palette_.reset);
    in_reasoning = false;
    Say(ForTerminal(line, STDERR_FILENO));
  };
  hooks.is_interrupted = [&] { return keys.interrupted(); };
  hooks.wants_answer_now = [&] { return keys.TookAnswerNow(); };
  const AnswerFigures figures = again ? partner_->Regenerate(hooks) : partner_->Say(text, hooks);
  if (in_reasoning) fmt::print(stderr, "{}", palette_.reset);
  fmt::print("\n");
  std::fflush(stdout);
  was_interrupted_ = figures.was_interrupted;
  figures_ = fmt::format("prompt {} ({} cached) {:.2f} s", figures.prompt_tokens,
                         figures.cached_tokens, figures.prompt_s);
  if (figures.reasoning_tokens > 0)
    figures_ += fmt::format(" | thinking {} ({})", figures.reasoning_tokens, figures.stopped_by);
  figures_ += fmt::format(" | answer {}", figures.answer_tokens);
  if (figures.tokens_per_s > 0) figures_ += fmt::format(" | {:.1f} tok/s", figures.tokens_per_s);
  if (figures.was_interrupted)
    figures_ += " | interrupted";
  else if (figures.finish != "stop")
    figures_ += fmt::format(" | ended by {}", figures.finish);
  Say(figures_);
}

void ChatScreen::AnswerOnce(const std::string& message) { Speak(message, /*again=*/false); }

void ChatScreen::Set(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos)
    throw UsageError("expected NAME=VALUE, not {}", Quoted(assignment));
  const std::string name = assignment.substr(0, equals), value = assignment.substr(equals + 1);
  if (name == "temperature")
    partner_->SetParameter(name, Real(value, 0, 100));
  else if (name == "top_p" || name == "min_p")
    partner_->SetParameter(name, Real(value, 0, 1));
  else if (name == "top_k")
    partner_->SetParameter(name, Number(value, 0, static_cast<int64_t>(limits::kVocabSize)));
  else if (name == "seed")
    partner_->SetParameter(name, Number(value, 0, INT64_MAX));
  else if (name == "n")
    partner_->SetParameter(name, Number(value, 0, static_cast<int64_t>(limits::kContext)));
  else
    throw UsageError("{} is not a setting, expected temperature, top_p, top_k, min_p, seed or n",
                     Quoted(name));
}

void ChatScreen::Export(const std::string& path) const {
  std::string text;
  for (const Json& message : partner_->messages().json().AsArray()) {
    const Json* reasoning = message.Find("reasoning_content");
    text += fmt::format("## {}\n\n", message.Find("role")->AsString());
    if (reasoning != nullptr)
      text += fmt::format("<details><summary>reasoning</summary>\n\n{}\n\n</details>\n\n",
                          reasoning->AsString());
    text += message.Find("content")->AsString() + "\n\n";
  }
  WriteFile(path, text);
}

void ChatScreen::Edit() {
  const char* editor = std::getenv("EDITOR");
  std::string path = "/tmp/planish-edit-XXXXXX";
  const int fd = mkstemp(path.data());
  if (fd < 0) throw RuntimeError("cannot make a temporary file");
  const std::string before = partner_->messages().LastUserText();
  std::FILE* file = fdopen(fd, "w");
  std::fwrite(before.data(), 1, before.size(), file);
  std::fclose(file);
  const int status = std::system(
      fmt::format("{} '{}'", editor != nullptr && *editor != 0 ? editor : "vi", path).c_str());
  std::string text = ReadFile(path, limits::kTemplateOutputBytes);
  std::remove(path.c_str());
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (status != 0 || text.empty())
    throw UsageError("nothing was sent: the editor failed or the message is empty");
  partner_->messages().Undo();
  Speak(text, /*again=*/false);
}

void ChatScreen::Undo() {
  const size_t before = partner_->messages().json().AsArray().size();
  const std::string text = partner_->messages().Undo();
  if (partner_->messages().json().AsArray().size() == before)
    throw UsageError("there is no message to drop");
  Say(fmt::format("dropped {}", Quoted(text)));
}

void ChatScreen::SetThinking(const std::string& name, const std::string& value) {
  const bool wants_thinking = name == "/think" && OnOff(value);
  if (!partner_->has_thinking() && !(name == "/think" && !wants_thinking))
    throw UsageError("this model has no thinking mode");
  if (name == "/think")
    partner_->SetThinking(wants_thinking ? Thinking::kOn : Thinking::kOff);
  else if (name == "/effort")
    partner_->SetBudget(BudgetOfEffort(value));
  else
    partner_->SetBudget(value == "off" ? -1
                                       : Number(value, 0, static_cast<int64_t>(limits::kContext)));
}

bool ChatScreen::Command(const std::string& line) {
  const size_t space = line.find(' ');
  const size_t begin =
      space == std::string::npos ? std::string::npos : line.find_first_not_of(' ', space);
  const std::string name = line.substr(0, space),
                    rest = begin == std::string::npos ? "" : line.substr(begin);
  if (name == "/exit" || name == "/quit") return false;
  if (name == "/help")
    Say(kHelp);
  else if (name == "/clear")
    partner_->messages().Clear();
  else if (name == "/regen")
    Speak("", /*again=*/true);
  else if (name == "/edit")
    Edit();
  else if (name == "/undo")
    Undo();
  else if (name == "/think" || name == "/budget" || name == "/effort")
    SetThinking(name, rest);
  else if (name == "/show")
    show_reasoning_ = OnOff(rest);
  else if (name == "/system")
    partner_->messages().SetSystem(rest);
  else if (name == "/tools")
    partner_->SetTools(OnOff(rest));
  else if (name == "/set")
    Set(rest);
  else if (name == "/save")
    WriteFile(FileName(rest), DumpJson(partner_->messages().json(), JsonStyle::kPython, 2) + "\n");
  else if (name == "/load")
    partner_->messages().Set(ParseJson(ReadFile(FileName(rest), limits::kConfigBytes), rest));
  else if (name == "/read")
    Speak(ReadFile(FileName(rest), limits::kTemplateOutputBytes), /*again=*/false);
  else if (name == "/export")
    Export(FileName(rest));
  else if (name == "/stats")
    Say(fmt::format("{}\nresident {:.0f} MiB", figures_,
                    static_cast<double>(ResidentBytes()) / (1 << 20)));
  else
    throw UsageError("unknown command {}, see /help", Quoted(line));
  return true;
}

void ChatScreen::Converse() {
  LineEditor editor(Commands());
  Say(fmt::format("{}{}. /help lists commands.", partner_->Introduction(),
                  partner_->has_thinking() ? "" : ", no thinking mode"));
  while (const auto line = editor.Read("> ")) {
    if (line->find_first_not_of(" \t\n") == std::string::npos) continue;
    try {
      if (line->front() != '/')
        Speak(*line, /*again=*/false);
      else if (!Command(*line))
        break;
    } catch (const Error& error) {
      Say(fmt::format("error: {}{}{}", error.what(),
                      error.hint().empty() ? "" : ". Try: ", error.hint()));
    }
  }
  was_interrupted_ = false;  // the user ended it
}

}  // namespace planish

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
    "/set NAME=VALUE       temperature, top_p, top_k, min_p, seed, n\n"
    "/save FILE, /load FILE    the conversation as JSON\n"
    "/read FILE            send a file's text\n"
    "/export FILE          the conversation as Markdown\n"
    "/stats                figures of the last answer\n"
    "Ctrl-C ends an answer, Ctrl-T asks for the answer now while the model thinks, \\ at the end "
    "of a line continues it.";

const std::vector<std::string>& Commands() {
  static const std::vector<std::string> commands = {
      "/help",   "/exit",    "/clear",   "/regen",   "/edit",    "/undo",
      "/think ", "/budget ", "/effort ", "/show ",   "/system ", "/set ",
      "/save ",  "/load ",   "/read ",   "/export ", "/stats"};
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
  ThinkingBudget* budget = nullptr;
  bool in_reasoning = false;
  const auto stream = [&](const ReasoningSplitter::Piece& piece) {
    if (!piece.reasoning.empty()) {
      if (!in_reasoning) fmt::print(stderr, "{}", palette_.dim);
      in_reasoning = true;
      if (show_reasoning_)
        fmt::print(stderr, "{}", ForTerminal(piece.reasoning, STDERR_FILENO));
      else if (budget != nullptr) {
        const std::string limit =
            budget->effective_budget() >= 0 ? fmt::format("/{}", budget->effective_budget()) : "";
        fmt::print(stderr, "\rthinking {}{} ", budget->used(), limit);
      }
    }
    if (!piece.answer.empty()) {
      if (in_reasoning) fmt::print(stderr, "{}\n", palette_.reset);
      in_reasoning = false;
      fmt::print("{}", ForTerminal(piece.answer, STDOUT_FILENO));
      std::fflush(stdout);
    }
  };
  const auto poll = [&] {
    if (budget != nullptr && keys.TookAnswerNow()) budget->EndThinking();
    return keys.interrupted();
  };
  const auto start = [&](ThinkingBudget* hook) { budget = hook; };
  const Generated generated =
      again ? session_->Regenerate(stream, poll, start) : session_->Say(text, stream, poll, start);
  if (in_reasoning) fmt::print(stderr, "{}", palette_.reset);
  fmt::print("\n");
  std::fflush(stdout);
  const RequestResult& result = generated.result;
  was_interrupted_ = result.finish == FinishReason::kCancelled;
  const size_t decoded =
      result.ids.empty() ? 0 : result.ids.size() - 1;  // the first comes with the prompt
  figures_ = fmt::format("prompt {} ({} cached) {:.2f} s", session_->last_prompt_tokens(),
                         result.resumed_tokens, result.prompt_s);
  if (generated.reasoning_tokens > 0)
    figures_ +=
        fmt::format(" | thinking {} ({})", generated.reasoning_tokens, Name(generated.stopped_by));
  figures_ += fmt::format(
      " | answer {}", result.ids.size() - std::min(result.ids.size(), generated.reasoning_tokens));
  if (decoded > 0 && result.decode_s > 0)
    figures_ += fmt::format(" | {:.1f} tok/s", static_cast<double>(decoded) / result.decode_s);
  if (result.finish == FinishReason::kCancelled)
    figures_ += " | interrupted";
  else if (result.finish != FinishReason::kStop)
    figures_ += fmt::format(" | ended by {}", Name(result.finish));
  Say(figures_);
}

void ChatScreen::AnswerOnce(const std::string& message) { Speak(message, /*again=*/false); }

void ChatScreen::Set(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos)
    throw UsageError("expected NAME=VALUE, not {}", Quoted(assignment));
  const std::string name = assignment.substr(0, equals), value = assignment.substr(equals + 1);
  SamplingParams& sampling = session_->settings.sampling;
  if (name == "temperature")
    sampling.temperature = Real(value, 0, 100);
  else if (name == "top_p")
    sampling.top_p = Real(value, 0, 1);
  else if (name == "min_p")
    sampling.min_p = Real(value, 0, 1);
  else if (name == "top_k")
    sampling.top_k = Number(value, 0, static_cast<int64_t>(limits::kVocabSize));
  else if (name == "seed")
    sampling.seed = static_cast<uint64_t>(Number(value, 0, INT64_MAX));
  else if (name == "n")
    session_->settings.max_new_tokens =
        static_cast<size_t>(Number(value, 0, static_cast<int64_t>(limits::kContext)));
  else
    throw UsageError("{} is not a setting, expected temperature, top_p, top_k, min_p, seed or n",
                     Quoted(name));
}

void ChatScreen::Export(const std::string& path) const {
  std::string text;
  for (const Json& message : session_->messages().AsArray()) {
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
  const std::string before = session_->LastUserText();
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
  session_->Undo();
  Speak(text, /*again=*/false);
}

void ChatScreen::Undo() {
  const size_t before = session_->messages().AsArray().size();
  const std::string text = session_->Undo();
  if (session_->messages().AsArray().size() == before)
    throw UsageError("there is no message to drop");
  Say(fmt::format("dropped {}", Quoted(text)));
}

void ChatScreen::SetThinking(const std::string& name, const std::string& value) {
  ChatSettings& settings = session_->settings;
  const bool wants_thinking = name == "/think" && OnOff(value);
  if (!thinks_ && !(name == "/think" && !wants_thinking))
    throw UsageError("this model has no thinking mode");
  if (name == "/think")
    settings.thinking = wants_thinking ? Thinking::kOn : Thinking::kOff;
  else if (name == "/effort")
    settings.budget = BudgetOfEffort(value);
  else
    settings.budget =
        value == "off" ? -1 : Number(value, 0, static_cast<int64_t>(limits::kContext));
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
    session_->Clear();
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
    session_->SetSystem(rest);
  else if (name == "/set")
    Set(rest);
  else if (name == "/save")
    WriteFile(FileName(rest), DumpJson(session_->messages(), JsonStyle::kPython, 2) + "\n");
  else if (name == "/load")
    session_->SetMessages(ParseJson(ReadFile(FileName(rest), limits::kConfigBytes), rest));
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

void ChatScreen::Converse(const Pretrained& opened) {
  LineEditor editor(Commands());
  thinks_ = opened.thinking.supported;
  Say(fmt::format("{}, {:.0f} MiB{}. /help lists commands.", opened.name,
                  static_cast<double>(opened.file_bytes) / (1 << 20),
                  thinks_ ? "" : ", no thinking mode"));
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

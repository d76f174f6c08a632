// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.h"

#include <fcntl.h>
#include <histedit.h>
#include <poll.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/file.h"

namespace planish {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;
void OnInterrupt(int) { g_interrupted = 1; }

std::string HistoryPath() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  if (state == nullptr && home == nullptr) return {};
  const std::string folder = state != nullptr && *state != 0 ? std::string(state) + "/planish" : std::string(home) + "/.local/state/planish";
  try {
    MakeDirectories(folder);
  } catch (const std::exception&) {
    return {};
  }
  return folder + "/history";
}

}  // namespace

bool UseColor(const std::string& choice) {
  if (choice != "auto") return choice == "always";
  const char* no_color = std::getenv("NO_COLOR");
  return isatty(STDERR_FILENO) != 0 && (no_color == nullptr || *no_color == 0);
}

struct LineEditor::Impl {
  EditLine* line = nullptr;
  History* history = nullptr;
  HistEvent event{};
  std::string prompt, history_path;
  std::vector<std::string> commands;

  static char* Prompt(EditLine* line) {
    Impl* self = nullptr;
    el_get(line, EL_CLIENTDATA, &self);
    return self->prompt.data();
  }

  // Completes a command at the start of the line: as far as all candidates agree.
  static unsigned char Complete(EditLine* line, int) {
    Impl* self = nullptr;
    el_get(line, EL_CLIENTDATA, &self);
    const LineInfo* info = el_line(line);
    const std::string typed(info->buffer, info->cursor);
    std::string agreed;
    size_t matches = 0;
    for (const std::string& command : self->commands) {
      if (typed.empty() || command.compare(0, typed.size(), typed) != 0) continue;
      if (matches++ == 0) agreed = command;
      size_t n = typed.size();
      while (n < agreed.size() && n < command.size() && agreed[n] == command[n]) ++n;
      agreed.resize(n);
    }
    if (matches == 0 || agreed.size() == typed.size()) return CC_ERROR;
    el_insertstr(line, agreed.substr(typed.size()).c_str());
    return CC_REFRESH;
  }
};

LineEditor::LineEditor(std::vector<std::string> commands) : impl_(new Impl) {
  impl_->commands = std::move(commands);
  impl_->line = el_init("planish", stdin, stderr, stderr);
  impl_->history = history_init();
  history(impl_->history, &impl_->event, H_SETSIZE, 1000);
  history(impl_->history, &impl_->event, H_SETUNIQUE, 1);
  el_set(impl_->line, EL_CLIENTDATA, impl_);
  el_set(impl_->line, EL_PROMPT, &Impl::Prompt);
  el_set(impl_->line, EL_EDITOR, "emacs");
  el_set(impl_->line, EL_HIST, history, impl_->history);
  el_set(impl_->line, EL_SIGNAL, 0);
  el_set(impl_->line, EL_ADDFN, "planish-complete", "complete a command", &Impl::Complete);
  el_set(impl_->line, EL_BIND, "^I", "planish-complete", nullptr);
  impl_->history_path = HistoryPath();
  if (!impl_->history_path.empty()) history(impl_->history, &impl_->event, H_LOAD, impl_->history_path.c_str());
}

LineEditor::~LineEditor() {
  if (!impl_->history_path.empty()) {
    history(impl_->history, &impl_->event, H_SAVE, impl_->history_path.c_str());
    chmod(impl_->history_path.c_str(), 0600);
  }
  history_end(impl_->history);
  el_end(impl_->line);
  delete impl_;
}

std::optional<std::string> LineEditor::Read(const std::string& prompt) {
  std::string message;
  struct sigaction action {}, before {};
  action.sa_handler = OnInterrupt;  // no SA_RESTART: the read returns
  sigaction(SIGINT, &action, &before);
  g_interrupted = 0;
  impl_->prompt = prompt;
  std::optional<std::string> result;
  for (;;) {
    int count = 0;
    const char* line = el_gets(impl_->line, &count);
    if (g_interrupted != 0) {
      g_interrupted = 0;
      std::fputc('\n', stderr);
      if (message.empty() && (line == nullptr || count <= 0)) break;
      message.clear();
      impl_->prompt = prompt;
      el_reset(impl_->line);
      continue;
    }
    if (line == nullptr || count <= 0) break;
    std::string text(line, static_cast<size_t>(count));
    if (!text.empty() && text.back() == '\n') text.pop_back();
    // More input already waiting means a pasted block: its lines belong together.
    pollfd waiting{STDIN_FILENO, POLLIN, 0};
    const bool is_pasted = poll(&waiting, 1, 20) > 0 && (waiting.revents & POLLIN) != 0;
    const bool continues = !text.empty() && text.back() == '\\';
    if (continues) text.pop_back();
    message += text;
    if (!continues && !is_pasted) {
      result = message;
      break;
    }
    message += '\n';
    impl_->prompt = "... ";
  }
  sigaction(SIGINT, &before, nullptr);
  if (result && !result->empty()) history(impl_->history, &impl_->event, H_ENTER, (*result + "\n").c_str());
  return result;
}

struct AnswerKeys::Saved {
  termios terminal{};
  struct sigaction interrupt {};
};

AnswerKeys::AnswerKeys() : saved_(new Saved) {
  g_interrupted = 0;
  struct sigaction action {};
  action.sa_handler = OnInterrupt;
  sigaction(SIGINT, &action, &saved_->interrupt);
  if (isatty(STDIN_FILENO) != 0 && tcgetattr(STDIN_FILENO, &saved_->terminal) == 0) {
    termios raw = saved_->terminal;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    is_raw_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
}

AnswerKeys::~AnswerKeys() {
  if (is_raw_) tcsetattr(STDIN_FILENO, TCSANOW, &saved_->terminal);
  sigaction(SIGINT, &saved_->interrupt, nullptr);
  delete saved_;
}

bool AnswerKeys::interrupted() const { return g_interrupted != 0; }

bool AnswerKeys::TookAnswerNow() {
  constexpr char kCtrlT = 0x14;
  bool found = false;
  char key;
  while (is_raw_ && read(STDIN_FILENO, &key, 1) == 1) found |= key == kCtrlT;
  return found;
}

}  // namespace planish

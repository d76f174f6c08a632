// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.h"

#include <fcntl.h>
#include <histedit.h>
#include <poll.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cwchar>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"

namespace planish {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;
int g_wake[2] = {
    -1, -1};  // a pipe: the signal may come to another thread, or just before a read begins

void OnInterrupt(int) {
  const int saved = errno;
  g_interrupted = 1;
  if (g_wake[1] >= 0) [[maybe_unused]]
    const ssize_t written = write(g_wake[1], "!", 1);
  errno = saved;
}

// Also empties the pipe: an interrupt of an answer must not wake the next prompt.
void ForgetInterrupts() {
  g_interrupted = 0;
  char drained[64];
  while (g_wake[0] >= 0 && read(g_wake[0], drained, sizeof drained) > 0) {
  }
}

// One character from the terminal for libedit: 1, 0 at the end of input, -1 after Ctrl-C.
int ReadCharacter(EditLine*, wchar_t* out) {
  std::mbstate_t state{};
  for (;;) {
    pollfd waiting[2] = {{STDIN_FILENO, POLLIN, 0}, {g_wake[0], POLLIN, 0}};
    if (g_interrupted == 0 && poll(waiting, 2, -1) < 0 && errno != EINTR) return -1;
    if (g_interrupted != 0) return -1;
    if (waiting[0].revents == 0) continue;
    char byte;
    const ssize_t n = read(STDIN_FILENO, &byte, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return static_cast<int>(n);
    const size_t used = std::mbrtowc(out, &byte, 1, &state);
    if (used == static_cast<size_t>(-2)) continue;  // in the middle of a character
    if (used == static_cast<size_t>(-1)) *out = L'?';
    return 1;
  }
}

termios g_terminal;  // to restore when a signal ends the program during an answer
volatile std::sig_atomic_t g_is_raw = 0;

void OnTerminate(int signal) {
  if (g_is_raw != 0) tcsetattr(STDIN_FILENO, TCSANOW, &g_terminal);
  _exit(128 + signal);
}

std::string HistoryPath() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  const bool has_state = state != nullptr && *state != 0, has_home = home != nullptr && *home != 0;
  if (!has_state && !has_home) return {};
  const std::string folder =
      has_state ? std::string(state) + "/planish" : std::string(home) + "/.local/state/planish";
  try {
    MakeDirectories(folder);
  } catch (const std::exception&) {
    return {};
  }
  return folder + "/history";
}

}  // namespace

bool UseColor(const std::string& choice, int descriptor) {
  if (choice != "auto") return choice == "always";
  const char* no_color = std::getenv("NO_COLOR");
  return isatty(descriptor) != 0 && (no_color == nullptr || *no_color == 0);
}

std::string ForTerminal(std::string text, int descriptor) {
  if (isatty(descriptor) == 0) return text;
  std::erase_if(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F;
  });
  // C1 controls in UTF-8: C2 80 .. C2 9F.
  for (size_t i = 0; i + 1 < text.size();) {
    const bool is_c1 = text[i] == '\xC2' && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (is_c1)
      text.erase(i, 2);
    else
      ++i;
  }
  return text;
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

  // What the text so far may become: a command, or the path that a command names.
  std::vector<std::string> Candidates(const std::string& typed) const {
    std::vector<std::string> found;
    const size_t space = typed.find(' ');
    if (space == std::string::npos) {
      for (const std::string& command : commands) {
        if (!typed.empty() && command.starts_with(typed)) found.push_back(command);
      }
      return found;
    }
    const std::string command = typed.substr(0, space + 1);
    if (command != "/save " && command != "/load " && command != "/read " && command != "/export ")
      return found;
    const size_t slash = typed.rfind('/'), name_begin = slash > space ? slash + 1 : space + 1;
    const std::string folder = typed.substr(space + 1, name_begin - space - 1),
                      begun = typed.substr(name_begin);
    std::error_code error;
    for (const auto& entry :
         std::filesystem::directory_iterator(folder.empty() ? "." : folder, error)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with(begun) || (begun.empty() && name[0] == '.')) continue;
      found.push_back(typed.substr(0, name_begin) + name + (entry.is_directory(error) ? "/" : ""));
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  // Completes as far as all candidates agree; lists them if that is no further.
  static unsigned char Complete(EditLine* line, int) {
    Impl* self = nullptr;
    el_get(line, EL_CLIENTDATA, &self);
    const LineInfo* info = el_line(line);
    const std::string typed(info->buffer, info->cursor);
    const std::vector<std::string> candidates = self->Candidates(typed);
    if (candidates.empty()) return CC_ERROR;
    std::string agreed = candidates[0];
    for (const std::string& candidate : candidates) {
      agreed.resize(static_cast<size_t>(
          std::mismatch(agreed.begin(), agreed.end(), candidate.begin(), candidate.end()).first -
          agreed.begin()));
    }
    if (agreed.size() > typed.size()) {
      el_insertstr(line, agreed.substr(typed.size()).c_str());
      return CC_REFRESH;
    }
    if (candidates.size() == 1) return CC_ERROR;
    std::fputc('\n', stderr);
    const size_t shown_from =
        typed.find(' ') == std::string::npos
            ? 0
            : std::max(typed.rfind('/'), typed.find(' ')) + 1;  // a path's last part
    for (size_t i = 0; i < std::min<size_t>(candidates.size(), 50); ++i)
      std::fprintf(stderr, "%s  ", candidates[i].c_str() + shown_from);
    std::fputc('\n', stderr);
    return CC_REDISPLAY;
  }

  // A terminal in bracketed-paste mode wraps what is pasted in ESC[200~ and ESC[201~: all of it is one message.
  static unsigned char Paste(EditLine* line, int) {
    constexpr wchar_t kEnd[] = L"\033[201~";
    std::wstring text;
    wchar_t c;
    while (!text.ends_with(kEnd) && el_wgetc(line, &c) == 1) text += c == L'\r' ? L'\n' : c;
    if (text.ends_with(kEnd)) text.resize(text.size() - std::wcslen(kEnd));
    std::replace(text.begin(), text.end(), L'\t', L' ');
    std::erase_if(text, [](wchar_t x) { return (x < 0x20 && x != L'\n') || x == 0x7F; });
    while (!text.empty() && text.back() == L'\n') text.pop_back();  // Enter sends it
    return text.empty() || el_winsertstr(line, text.c_str()) != 0 ? CC_ERROR : CC_REFRESH;
  }
};

LineEditor::LineEditor(std::vector<std::string> commands) : impl_(new Impl) {
  impl_->commands = std::move(commands);
  std::setlocale(LC_CTYPE, "C.UTF-8");  // libedit decodes keys by it; numbers keep their point
  impl_->line = el_init("planish", stdin, stderr, stderr);
  impl_->history = history_init();
  history(impl_->history, &impl_->event, H_SETSIZE, 1000);
  history(impl_->history, &impl_->event, H_SETUNIQUE, 1);
  el_set(impl_->line, EL_CLIENTDATA, impl_);
  el_set(impl_->line, EL_PROMPT, &Impl::Prompt);
  el_set(impl_->line, EL_EDITOR, "emacs");
  el_set(impl_->line, EL_HIST, history, impl_->history);
  el_set(impl_->line, EL_SIGNAL, 0);
  if (g_wake[0] < 0 && pipe2(g_wake, O_NONBLOCK | O_CLOEXEC) != 0)
    throw RuntimeError("cannot make a pipe");
  el_set(impl_->line, EL_GETCFN, &ReadCharacter);
  // The wide form: the narrow one copies the names and never frees them.
  el_wset(impl_->line, EL_ADDFN, L"planish-complete", L"complete a command", &Impl::Complete);
  el_set(impl_->line, EL_BIND, "^I", "planish-complete", nullptr);
  el_wset(impl_->line, EL_ADDFN, L"planish-paste", L"insert a pasted block", &Impl::Paste);
  el_set(impl_->line, EL_BIND, "\033[200~", "planish-paste", nullptr);
  impl_->history_path = HistoryPath();
  if (!impl_->history_path.empty())
    history(impl_->history, &impl_->event, H_LOAD, impl_->history_path.c_str());
}

LineEditor::~LineEditor() {
  if (!impl_->history_path.empty()) {
    const mode_t before = umask(0177);  // nobody else may read it, not even while it is written
    history(impl_->history, &impl_->event, H_SAVE, impl_->history_path.c_str());
    umask(before);
    chmod(impl_->history_path.c_str(), 0600);
  }
  history_end(impl_->history);
  el_end(impl_->line);
  delete impl_;
}

std::optional<std::string> LineEditor::Read(const std::string& prompt) {
  std::string message;
  struct sigaction action {
  }, before{};
  action.sa_handler = OnInterrupt;
  action.sa_flags = SA_RESTART;  // a write of the answer must not fail half way
  sigaction(SIGINT, &action, &before);
  ForgetInterrupts();
  impl_->prompt = prompt;
  std::fputs("\033[?2004h", stderr);  // bracketed paste
  std::optional<std::string> result;
  for (;;) {
    int count = 0;
    // Before the prompt is shown: el_gets does it only after, and a key that comes between would be echoed twice or lost.
    el_set(impl_->line, EL_PREP_TERM, 1);
    const char* line = el_gets(impl_->line, &count);
    if (g_interrupted != 0) {
      ForgetInterrupts();
      std::fputc('\n', stderr);
      const LineInfo* typed = el_line(impl_->line);
      if (message.empty() && typed->lastchar == typed->buffer) break;
      message.clear();
      impl_->prompt = prompt;
      el_reset(impl_->line);
      continue;
    }
    if (line == nullptr || count <= 0) {
      std::fputc('\n', stderr);
      break;
    }
    std::string text(line, static_cast<size_t>(count));
    if (!text.empty() && text.back() == '\n') text.pop_back();
    const bool continues = !text.empty() && text.back() == '\\';
    if (continues) text.pop_back();
    message += text;
    if (!continues) {
      result = message;
      break;
    }
    message += '\n';
    impl_->prompt = "... ";
  }
  std::fputs("\033[?2004l", stderr);
  sigaction(SIGINT, &before, nullptr);
  if (result && !result->empty())
    history(impl_->history, &impl_->event, H_ENTER, (*result + "\n").c_str());
  return result;
}

struct AnswerKeys::Saved {
  struct sigaction interrupt {
  }, terminate{}, hangup{};
};

AnswerKeys::AnswerKeys() : saved_(new Saved) {
  g_interrupted = 0;
  struct sigaction action {};
  action.sa_handler = OnInterrupt;
  action.sa_flags = SA_RESTART;  // a write of the answer must not fail half way
  sigaction(SIGINT, &action, &saved_->interrupt);
  action.sa_handler = OnTerminate;
  sigaction(SIGTERM, &action, &saved_->terminate);
  sigaction(SIGHUP, &action, &saved_->hangup);
  if (isatty(STDIN_FILENO) != 0 && tcgetattr(STDIN_FILENO, &g_terminal) == 0) {
    termios raw = g_terminal;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    g_is_raw = 1;
    is_raw_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
}

AnswerKeys::~AnswerKeys() {
  if (is_raw_) tcsetattr(STDIN_FILENO, TCSANOW, &g_terminal);
  g_is_raw = 0;
  sigaction(SIGINT, &saved_->interrupt, nullptr);
  sigaction(SIGTERM, &saved_->terminate, nullptr);
  sigaction(SIGHUP, &saved_->hangup, nullptr);
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

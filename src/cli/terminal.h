// SPDX-License-Identifier: Apache-2.0
// The terminal of chat and demo: colours, a line editor with history, single keys while an answer runs.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace planish {

// Escape sequences, empty strings when colour is off.
struct Palette {
  explicit Palette(bool on)
      : dim(on ? "\033[2m" : ""), bold(on ? "\033[1m" : ""), reset(on ? "\033[0m" : "") {}
  const char* dim;
  const char* bold;
  const char* reset;
};

// "auto": when the descriptor is a terminal and NO_COLOR is not set.
bool UseColor(const std::string& choice, int descriptor);

// A model's text as a terminal may show it: control characters but newline and tab are dropped when the descriptor is a
// terminal, because a model can be made to write escape sequences. Unchanged for files and pipes.
std::string ForTerminal(std::string text, int descriptor);

// Reads lines with editing, history (kept in a file of mode 0600) and completion of commands. A backslash at the end of a
// line, and pasted blocks, continue a message.
class LineEditor {
 public:
  explicit LineEditor(std::vector<std::string> commands);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;
  // nullopt at the end of input (Ctrl-D), or when Ctrl-C was pressed on an empty line.
  std::optional<std::string> Read(const std::string& prompt);

 private:
  struct Impl;
  Impl* impl_;
};

// While it lives: keys arrive one by one without echo, and Ctrl-C sets a flag instead of ending the program.
class AnswerKeys {
 public:
  AnswerKeys();
  ~AnswerKeys();
  AnswerKeys(const AnswerKeys&) = delete;
  AnswerKeys& operator=(const AnswerKeys&) = delete;
  bool interrupted() const;  // Ctrl-C
  bool TookAnswerNow();      // Ctrl-T since the last call

 private:
  bool is_raw_ = false;
  struct Saved;
  Saved* saved_;
};

}  // namespace planish

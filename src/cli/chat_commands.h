// SPDX-License-Identifier: Apache-2.0
// The screen of `planish chat`: slash commands, streamed answers, the line of figures after each.
#pragma once

#include <string>

#include "cli/terminal.h"
#include "infer/chat_session.h"

namespace planish {

class ChatScreen {
 public:
  ChatScreen(ChatSession* session, bool color, bool show_reasoning)
      : session_(session), palette_(color), show_reasoning_(show_reasoning) {}

  void Converse(const Pretrained& opened);  // until /exit, Ctrl-D or a second Ctrl-C
  void AnswerOnce(const std::string& message);
  bool was_interrupted() const {
    return was_interrupted_;
  }  // the last answer was cut off by Ctrl-C

 private:
  // False when the conversation is over.
  bool Command(const std::string& line);
  void Set(const std::string& assignment);
  void Export(const std::string& path) const;
  void Edit();
  void Undo();
  void SetThinking(const std::string& name, const std::string& value);  // /think, /budget, /effort
  void Speak(const std::string& text, bool again);
  void Say(const std::string& text) const;  // a message of the program, dim, on stderr

  ChatSession* session_;
  Palette palette_;
  bool show_reasoning_;
  bool thinks_ = false;  // the model has a thinking mode
  bool was_interrupted_ = false;
  std::string figures_;
};

}  // namespace planish

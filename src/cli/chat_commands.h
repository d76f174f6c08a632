// SPDX-License-Identifier: Apache-2.0
// The screen of `planish chat`: slash commands, streamed answers, the line of figures after each.
#pragma once

#include <string>

#include "cli/chat_partner.h"
#include "cli/terminal.h"

namespace planish {

class ChatScreen {
 public:
  ChatScreen(ChatPartner* partner, bool color, bool show_reasoning)
      : partner_(partner), palette_(color), show_reasoning_(show_reasoning) {}

  void Converse();  // until /exit, Ctrl-D or a second Ctrl-C
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

  ChatPartner* partner_;
  Palette palette_;
  bool show_reasoning_;
  bool was_interrupted_ = false;
  std::string figures_;
};

}  // namespace planish

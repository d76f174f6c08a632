// SPDX-License-Identifier: Apache-2.0
// Who answers in `planish chat`: a model in this process (local_partner) or a server (server_partner). The screen sees no
// difference.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/json.h"
#include "infer/generate.h"
#include "text/message_list.h"
#include "text/reasoning.h"

namespace planish {

// What an answer took.
struct AnswerFigures {
  size_t prompt_tokens = 0, cached_tokens = 0, reasoning_tokens = 0, answer_tokens = 0;
  double prompt_s = 0, tokens_per_s = 0;  // 0: not known
  std::string stopped_by;                 // what ended the reasoning; "" if there was none
  std::string finish;                     // "stop", "length", ...
  bool was_interrupted = false;
};

// What the screen does while an answer runs. All are set.
struct AnswerHooks {
  std::function<void(const ReasoningSplitter::Piece&)> on_piece;
  std::function<void(size_t used, int64_t budget)> on_thinking;  // budget -1: no limit
  std::function<void(const std::string& line)> on_note;          // e.g. a tool's call and result
  std::function<bool()> is_interrupted;
  std::function<bool()> wants_answer_now;  // takes keys: asked only while there is reasoning to end
};

class ChatPartner {
 public:
  virtual ~ChatPartner() = default;
  virtual std::string Introduction() const = 0;  // "NAME, 93 MiB"
  virtual bool has_thinking() const = 0;

  // Adds the user's message, gets the answer and adds it. On an error the conversation is as before.
  virtual AnswerFigures Say(const std::string& text, const AnswerHooks& hooks) = 0;
  // Another answer to the last message. Error(kUsage) if there is none; on an error the old one stays.
  virtual AnswerFigures Regenerate(const AnswerHooks& hooks) = 0;

  virtual MessageList& messages() = 0;

  virtual void SetThinking(Thinking thinking) = 0;
  virtual void SetBudget(int64_t tokens) = 0;  // -1: no limit
  // name: temperature, top_p, top_k, min_p, seed, n; the value is within its bounds.
  virtual void SetParameter(const std::string& name, const Json& value) = 0;
  // The demo tools.
  virtual void SetTools(bool on) = 0;
};

}  // namespace planish

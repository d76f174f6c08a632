// SPDX-License-Identifier: Apache-2.0
// One conversation: messages, settings, and where its prompts are cut, so that with an engine that has a prefix cache a turn
// computes only what is new. Knows no terminal.
#pragma once

#include <string>

#include "infer/conversation.h"
#include "infer/generate.h"
#include "text/message_list.h"
#include "text/reply_parser.h"

namespace planish {

struct ChatSettings {
  Thinking thinking = Thinking::kDefault;
  int64_t budget = -1;  // tokens of reasoning; -1: no limit
  size_t max_new_tokens = 0;
  SamplingParams sampling;
  Json tools;  // list of functions that the model may call; null: none
};

class ChatSession {
 public:
  ChatSession(const Pretrained* opened, Engine* engine) : opened_(opened), engine_(engine) {}

  ChatSettings settings;

  // Adds the user's message, generates the answer and adds it. On an error the conversation is as before.
  using Stream = std::function<void(const ReasoningSplitter::Piece&)>;
  Generated Say(const std::string& text, const Stream& stream,
                const std::function<bool()>& is_cancelled = nullptr,
                const std::function<void(ThinkingBudget*)>& on_start = nullptr);
  // Drops the last answer and generates another one. Error(kUsage) if there is none. On an error the old one stays.
  Generated Regenerate(const Stream& stream, const std::function<bool()>& is_cancelled = nullptr,
                       const std::function<void(ThinkingBudget*)>& on_start = nullptr);
  // An answer to the messages as they are, e.g. after the result of a tool was added. On an error they stay so.
  Generated Continue(const Stream& stream, const std::function<bool()>& is_cancelled = nullptr,
                     const std::function<void(ThinkingBudget*)>& on_start = nullptr) {
    return Answer(stream, is_cancelled, on_start);
  }
  // Of the last answer, whose ids are "call_0", "call_1", ... The message has them; who runs them adds the results.
  const std::vector<ToolCall>& last_calls() const { return last_calls_; }
  MessageList& messages() { return messages_; }
  const MessageList& messages() const { return messages_; }
  size_t last_prompt_tokens() const { return last_prompt_tokens_; }

 private:
  Generated Answer(const Stream& stream, const std::function<bool()>& is_cancelled,
                   const std::function<void(ThinkingBudget*)>& on_start);

  const Pretrained* opened_;
  Engine* engine_;
  MessageList messages_;
  ConversationCuts cuts_;
  size_t last_prompt_tokens_ = 0;
  uint64_t answers_ = 0;
  std::vector<ToolCall> last_calls_;
};

}  // namespace planish

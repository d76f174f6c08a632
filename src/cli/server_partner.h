// SPDX-License-Identifier: Apache-2.0
// The partner of `planish chat --server URL`: any server of OpenAI's chat completions. Fields that only planish understands
// are sent only when the user asks for what they do. Demo tools run here, not at the server.
#pragma once

#include <string>

#include "cli/chat_partner.h"
#include "net/chat_client.h"

namespace planish {

class ServerPartner final : public ChatPartner {
 public:
  // Asks the server what it serves; `model` may be empty: its first. Error(kNetwork) if it does not answer.
  ServerPartner(const std::string& url, const std::string& key, const std::string& model);

  std::string Introduction() const override;
  bool has_thinking() const override { return has_thinking_; }
  AnswerFigures Say(const std::string& text, const AnswerHooks& hooks) override;
  AnswerFigures Regenerate(const AnswerHooks& hooks) override;
  MessageList& messages() override { return messages_; }
  void SetThinking(Thinking thinking) override { thinking_ = thinking; }
  void SetBudget(int64_t tokens) override { budget_ = tokens; }
  void SetParameter(const std::string& name, const Json& value) override;
  void SetTools(bool on) override { uses_tools_ = on; }

 private:
  Json Request() const;
  AnswerFigures Answer(const AnswerHooks& hooks);
  void EndThinking();
  void AddReply(const ChatReply& reply);

  std::string key_, model_;
  const AnswerHooks* hooks_ = nullptr;  // of the answer that runs
  std::string reply_id_;                // likewise
  bool is_thinking_ = false;            // likewise: it has begun to, and not ended
  ChatClient client_, control_;         // control_: a connection beside the stream
  MessageList messages_;
  Json parameters_ = Json::MakeObject();  // as fields of a request
  Thinking thinking_ = Thinking::kDefault;
  int64_t budget_ = -1;
  bool has_thinking_ = true, uses_tools_ = false;
};

}  // namespace planish

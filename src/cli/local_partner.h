// SPDX-License-Identifier: Apache-2.0
// The partner of `planish chat -m`: a ChatSession in this process.
#pragma once

#include "cli/chat_partner.h"
#include "infer/chat_session.h"

namespace planish {

class LocalPartner final : public ChatPartner {
 public:
  LocalPartner(const Pretrained* opened, ChatSession* session)
      : opened_(opened), session_(session) {}

  std::string Introduction() const override;
  bool has_thinking() const override { return opened_->thinking.supported; }
  AnswerFigures Say(const std::string& text, const AnswerHooks& hooks) override;
  AnswerFigures Regenerate(const AnswerHooks& hooks) override;
  MessageList& messages() override { return session_->messages(); }
  void SetThinking(Thinking thinking) override { session_->settings.thinking = thinking; }
  void SetBudget(int64_t tokens) override { session_->settings.budget = tokens; }
  void SetParameter(const std::string& name, const Json& value) override;
  void SetTools(bool on) override;

 private:
  enum class Ask { kMessage, kAgain, kResults };
  AnswerFigures Answer(Ask ask, const std::string& text, const AnswerHooks& hooks);
  AnswerFigures WithTools(const std::string& text, const AnswerHooks& hooks);

  const Pretrained* opened_;
  ChatSession* session_;
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Thinking budget: lets the model think for B tokens, then closes its reasoning softly: at a
// newline if one comes within the grace, with a full stop if it must be cut. A natural close always
// wins. Also keeps a reserve of the token limit for the answer, so that thinking cannot eat all of
// it.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "infer/hook.h"
#include "text/reasoning.h"
#include "text/tokenizer.h"

namespace planish {

struct BudgetParams {
  int64_t budget = -1;  // B: tokens of reasoning, -1 for no limit, 0: closed before the first one
  int64_t grace = -1;   // G: tokens to wait for a newline, -1: clamp(ceil(B/10), 16, 500)
  size_t max_new_tokens = 0;    // of the request
  int64_t answer_reserve = -1;  // R: tokens kept for the answer, -1: min(256, max_new_tokens/4)
  // Put before the closing tag when it is forced; plain text, special tokens are not matched in it.
  std::string close_message;
  // Tools are offered: a call opened at the beginning of a line ends the reasoning.
  bool tool_calls = false;
  // Until so many tokens of reasoning, none that would complete the closing tag or end the answer is sampled.
  size_t min_tokens = 0;
  std::vector<int32_t> end_ids;  // for min_tokens
};

class ThinkingBudget : public TokenHook {
 public:
  enum class StoppedBy { kNone, kNatural, kBudget, kGrace, kReserve, kControl, kLength, kTool };

  // `start`: kThink when the prompt ends in an open tag, kOpenWait when the model opens it.
  ThinkingBudget(std::shared_ptr<const Tokenizer> tokenizer, ReasoningSplitter::Mode start,
                 const BudgetParams& params);
  Action Begin() override;
  Action OnToken(int32_t id) override;

  // "Answer now": closes the reasoning at the next token. Safe from another thread and from a
  // signal handler.
  void EndThinking() { end_requested_.store(true, std::memory_order_relaxed); }
  // Reasoning tokens so far, those of the closing tag and all forced ones included.
  size_t used() const { return used_; }
  int64_t effective_budget() const { return budget_; }  // after the answer reserve, -1: none
  bool is_thinking() const { return splitter_.mode() == ReasoningSplitter::Mode::kThink; }
  // kLength is never set here: a hook does not learn that its sequence ended.
  StoppedBy stopped_by() const { return stopped_by_; }

 private:
  void SetLimits(int64_t tokens_left);
  const TokenMask* StayOpen();
  bool IsAtLineStart() const;
  std::vector<int32_t> ClosingIds() const;
  Action Force(StoppedBy reason);
  Action Decide();

  std::shared_ptr<const Tokenizer> tokenizer_;
  BudgetParams params_;
  ReasoningSplitter splitter_;
  std::string cut_;      // bytes of a character that is not complete yet
  std::string opening_;  // text while in kOpenWait
  std::string tail_;     // end of the reasoning, without what the splitter holds
  int64_t budget_ = -1;
  int64_t grace_ = 0;
  bool budget_is_reserve_ = false;  // the answer reserve set budget_, grace_
  bool grace_is_reserve_ = false;
  size_t seen_ = 0;  // tokens of the sequence
  size_t used_ = 0;
  std::vector<int32_t> forced_;  // being put in by the engine
  size_t forced_seen_ = 0;
  StoppedBy stopped_by_ = StoppedBy::kNone;
  std::map<size_t, std::unique_ptr<TokenMask>>
      stay_open_;  // by bytes of the closing tag that stand
  std::atomic<bool> end_requested_ = false;
};
const char* Name(ThinkingBudget::StoppedBy reason);

}  // namespace planish

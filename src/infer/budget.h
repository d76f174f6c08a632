// SPDX-License-Identifier: Apache-2.0
// Thinking budget: lets the model think for B tokens, then closes its reasoning softly: at a newline if one comes within the
// grace, with a full stop if it must be cut (serve.md section 6). A natural close always wins. Also keeps a reserve of the
// token limit for the answer, so that thinking cannot eat all of it.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "infer/hook.h"
#include "text/reasoning.h"
#include "text/tokenizer.h"

namespace planish {

struct BudgetParams {
  int64_t budget = -1;        // B: tokens of reasoning, -1 for no limit; 0 is the template's "off", not a budget
  int64_t grace = -1;         // G: tokens to wait for a newline, -1: clamp(ceil(B/10), 16, 500)
  size_t max_new_tokens = 0;  // of the request
  int64_t answer_reserve = -1;  // R: tokens kept for the answer, -1: min(256, max_new_tokens/4)
  std::string close_message;  // put before the closing tag when it is forced
};

class ThinkingBudget : public TokenHook {
 public:
  enum class StoppedBy { kNone, kNatural, kBudget, kGrace, kReserve, kControl, kLength };

  // `start`: kThink when the prompt ends in an open tag, kOpenWait when the model opens it.
  ThinkingBudget(std::shared_ptr<const Tokenizer> tokenizer, ReasoningSplitter::Mode start, const BudgetParams& params);
  Action OnToken(int32_t id) override;

  // "Answer now": closes the reasoning at the next token. Safe from another thread and from a signal handler.
  void EndThinking() { end_requested_.store(true, std::memory_order_relaxed); }
  size_t used() const { return used_; }  // reasoning tokens so far, forced ones included
  int64_t effective_budget() const { return budget_; }
  StoppedBy stopped_by() const { return stopped_by_; }

 private:
  std::string ClosingText() const;
  Action Force(StoppedBy reason);

  std::shared_ptr<const Tokenizer> tokenizer_;
  StreamDecoder decoder_;
  ReasoningSplitter splitter_;
  std::string close_message_;
  int64_t budget_;           // after the answer reserve; -1: none
  bool limited_by_reserve_;  // the reserve is tighter than the budget asked for
  int64_t grace_;
  std::string tail_;         // end of the reasoning text, enough to choose the closing text
  size_t used_ = 0;
  size_t forced_left_ = 0;   // forced tokens not yet seen
  StoppedBy stopped_by_ = StoppedBy::kNone;
  std::atomic<bool> end_requested_ = false;
};
const char* Name(ThinkingBudget::StoppedBy reason);

}  // namespace planish

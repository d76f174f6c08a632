// SPDX-License-Identifier: Apache-2.0
#include "infer/budget.h"

#include <algorithm>

namespace planish {
namespace {

using Mode = ReasoningSplitter::Mode;

constexpr size_t kTailBytes = 64;

}  // namespace

const char* Name(ThinkingBudget::StoppedBy reason) {
  static constexpr const char* kNames[] = {"none", "natural", "budget", "grace", "reserve", "control", "length"};
  return kNames[static_cast<size_t>(reason)];
}

ThinkingBudget::ThinkingBudget(std::shared_ptr<const Tokenizer> tokenizer, Mode start, const BudgetParams& params)
    : tokenizer_(tokenizer), decoder_(tokenizer, /*skip_special=*/false), splitter_(start), close_message_(params.close_message) {
  const auto limit = static_cast<int64_t>(params.max_new_tokens);
  const int64_t reserve = params.answer_reserve >= 0 ? params.answer_reserve : std::min<int64_t>(256, limit / 4);
  const auto grace_for = [&](int64_t budget) { return params.grace >= 0 ? params.grace : std::clamp<int64_t>((budget + 9) / 10, 16, 500); };
  budget_ = params.budget;
  limited_by_reserve_ = false;
  if (limit > 0 && reserve > 0) {
    const int64_t wanted = params.budget >= 0 ? params.budget : limit;
    const int64_t room = std::max<int64_t>(0, limit - reserve - std::min(grace_for(wanted), std::max<int64_t>(0, limit - reserve) / 2));
    if (params.budget < 0 || room < params.budget) {
      budget_ = room;
      limited_by_reserve_ = true;
    }
  }
  grace_ = budget_ < 0 ? 0 : grace_for(budget_);
  if (limited_by_reserve_) grace_ = std::min(grace_, std::max<int64_t>(0, limit - reserve - budget_));
}

std::string ThinkingBudget::ClosingText() const {
  const std::string& held = splitter_.held();  // a beginning of the closing tag that is already written
  const std::string before = tail_.substr(0, tail_.size() - std::min(held.size(), tail_.size()));
  std::string text;
  if (held.empty()) {
    if (before.empty() || before.back() == '\n') text = "";
    else if (std::string_view(".!?:;").find(before.back()) != std::string_view::npos) text = "\n";
    else text = ".\n";
    if (!close_message_.empty()) text += close_message_ + "\n";
  }
  return text + std::string(kCloseTag.substr(held.size())) + "\n\n";
}

TokenHook::Action ThinkingBudget::Force(StoppedBy reason) {
  stopped_by_ = reason;
  Action action;
  action.forced = tokenizer_->Encode(ClosingText(), {.parse_special = true});
  forced_left_ = action.forced.size();
  return action;
}

TokenHook::Action ThinkingBudget::OnToken(int32_t id) {
  const Mode before = splitter_.mode();
  const std::string text = decoder_.Push(id);
  splitter_.Push(text);
  if (before == Mode::kAnswer || before == Mode::kOff) {
    if (forced_left_ > 0) --forced_left_;  // the newlines after a forced close
    return {};
  }
  if (before == Mode::kOpenWait && splitter_.mode() != Mode::kThink) return {};
  if (before == Mode::kThink) ++used_;
  tail_ += text;
  if (tail_.size() > kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
  if (forced_left_ > 0) {
    --forced_left_;
    return {};
  }
  if (splitter_.mode() == Mode::kAnswer) {
    stopped_by_ = StoppedBy::kNatural;
    return {};
  }
  if (text.empty()) return {};  // inside a UTF-8 sequence: never cut there
  if (end_requested_.load(std::memory_order_relaxed)) return Force(StoppedBy::kControl);
  const auto used = static_cast<int64_t>(used_);
  if (budget_ < 0 || used < budget_) return {};
  const StoppedBy on_time = limited_by_reserve_ ? StoppedBy::kReserve : StoppedBy::kBudget;
  if (tail_.ends_with('\n')) return Force(on_time);
  if (used >= budget_ + grace_) return Force(limited_by_reserve_ ? StoppedBy::kReserve : StoppedBy::kGrace);
  return {};
}

}  // namespace planish

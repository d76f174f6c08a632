// SPDX-License-Identifier: Apache-2.0
#include "infer/budget.h"

#include <algorithm>
#include <string_view>

#include "text/utf8.h"

namespace planish {
namespace {

using Mode = ReasoningSplitter::Mode;

constexpr size_t kTailBytes = 64;

std::string_view WithoutBlanks(std::string_view text) {
  const size_t last = text.find_last_not_of(" \t");
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

bool EndsSentence(std::string_view text) {
  for (const std::string_view mark : {".", "!", "?", ":", ";", "。", "！", "？", "：", "；"}) {
    if (text.ends_with(mark)) return true;
  }
  return false;
}

}  // namespace

const char* Name(ThinkingBudget::StoppedBy reason) {
  static constexpr const char* kNames[] = {"none",    "natural", "budget", "grace",
                                           "reserve", "control", "length", "tool"};
  return kNames[static_cast<size_t>(reason)];
}

ThinkingBudget::ThinkingBudget(std::shared_ptr<const Tokenizer> tokenizer, Mode start,
                               const BudgetParams& params)
    : tokenizer_(std::move(tokenizer)), params_(params), splitter_(start, params.tool_calls) {
  SetLimits(static_cast<int64_t>(params.max_new_tokens));
}

// B = min(B, limit - G - R), and the grace may not reach into the reserve either. `limit`: tokens
// that are left when the reasoning begins, which is less than max_new_tokens when the model writes
// the opening tag itself.
void ThinkingBudget::SetLimits(int64_t limit) {
  const auto grace_for = [&](int64_t budget) {
    return params_.grace >= 0 ? params_.grace : std::clamp<int64_t>((budget + 9) / 10, 16, 500);
  };
  budget_ = params_.budget;
  grace_ = budget_ < 0 ? 0 : grace_for(budget_);
  const auto max_new_tokens = static_cast<int64_t>(params_.max_new_tokens);
  int64_t reserve = params_.answer_reserve >= 0 ? params_.answer_reserve
                                                : std::min<int64_t>(256, max_new_tokens / 4);
  if (max_new_tokens == 0 || reserve == 0) return;
  // The closing tag is paid out of the reserve; a message before it would eat the answer.
  if (!params_.close_message.empty()) reserve += static_cast<int64_t>(ClosingIds().size());
  const int64_t room = std::max<int64_t>(0, limit - reserve);
  // A short limit would go to the grace alone: it gets at most half of the room.
  const int64_t most = room - std::min(grace_for(budget_ >= 0 ? budget_ : limit), room / 2);
  if (budget_ < 0 || budget_ > most) {
    budget_ = most;
    grace_ = grace_for(budget_);
    budget_is_reserve_ = true;
  }
  if (grace_ > room - budget_) {
    grace_ = room - budget_;
    grace_is_reserve_ = true;
  }
}

bool ThinkingBudget::IsAtLineStart() const {
  if (!splitter_.held().empty()) return false;
  const std::string_view text = WithoutBlanks(tail_);
  return text.empty() || text.back() == '\n';
}

// Encoded alone: the ids before it stay as the model chose them, so a merge across the border
// cannot happen, and what the text decodes to is the concatenation in any case.
std::vector<int32_t> ThinkingBudget::ClosingIds() const {
  // A beginning of the closing tag that is already written: only the rest goes in.
  const std::string held = kCloseTag.starts_with(splitter_.held()) ? splitter_.held() : "";
  std::string before;
  if (held.empty()) {
    if (!IsAtLineStart()) before = EndsSentence(WithoutBlanks(tail_)) ? "\n" : ".\n";
    if (!params_.close_message.empty()) before += params_.close_message + "\n";
  }
  const std::string tag = std::string(kCloseTag.substr(held.size())) + "\n\n";
  const TextSpan spans[] = {{before, /*parse_special=*/false}, {tag, /*parse_special=*/true}};
  return tokenizer_->EncodeSpans(spans);
}

TokenHook::Action ThinkingBudget::Force(StoppedBy reason) {
  stopped_by_ = reason;
  forced_ = ClosingIds();
  forced_seen_ = 0;
  Action action;
  action.forced = forced_;
  return action;
}

TokenHook::Action ThinkingBudget::Begin() {
  return splitter_.mode() == Mode::kThink ? Decide() : Action{};
}

TokenHook::Action ThinkingBudget::OnToken(int32_t id) {
  ++seen_;
  const Mode before = splitter_.mode();
  cut_ += tokenizer_->TokenBytes(id);
  const size_t ready = cut_.size() - CutUtf8Suffix(cut_);
  const std::string text = LossyUtf8(std::string_view(cut_).substr(0, ready));
  cut_.erase(0, ready);
  const ReasoningSplitter::Piece piece = splitter_.Push(text);
  tail_ += piece.reasoning;
  if (tail_.size() > kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
  if (forced_seen_ < forced_.size()) {
    if (forced_[forced_seen_] == id) {
      ++forced_seen_;
      ++used_;
      return {};
    }
    forced_.clear();  // another hook put in something else: ours is lost, decide anew
    forced_seen_ = 0;
  }
  if (before == Mode::kThink) ++used_;
  if (before == Mode::kOpenWait) {
    opening_ += text;
    if (splitter_.mode() == Mode::kThink)
      SetLimits(static_cast<int64_t>(params_.max_new_tokens) - static_cast<int64_t>(seen_));
    // The whole of it in one token; without an opening tag there was no reasoning to end.
    if (splitter_.mode() == Mode::kAnswer && opening_.find(kOpenTag) != std::string::npos)
      stopped_by_ = StoppedBy::kNatural;
  }
  if (before == Mode::kThink && splitter_.mode() == Mode::kAnswer)
    stopped_by_ = splitter_.ended_by_tool_call() ? StoppedBy::kTool : StoppedBy::kNatural;
  return splitter_.mode() == Mode::kThink ? Decide() : Action{};
}

// All tokens but those behind which the reasoning would be over.
const TokenMask* ThinkingBudget::StayOpen() {
  const std::string& held = splitter_.held();
  std::unique_ptr<TokenMask>& mask = stay_open_[held.size()];
  if (mask == nullptr) {
    mask = std::make_unique<TokenMask>(tokenizer_->vocab_size(), /*allowed=*/true);
    for (size_t id = 0; id < tokenizer_->vocab_size(); ++id) {
      const std::string_view bytes = tokenizer_->TokenBytes(static_cast<int32_t>(id));
      if (bytes.find('>') == std::string_view::npos) continue;
      if ((held + std::string(bytes)).find(kCloseTag) != std::string::npos) mask->Forbid(id);
    }
    for (const int32_t id : params_.end_ids) {
      if (id >= 0 && static_cast<size_t>(id) < tokenizer_->vocab_size())
        mask->Forbid(static_cast<size_t>(id));
    }
  }
  return mask.get();
}

TokenHook::Action ThinkingBudget::Decide() {
  Action open;
  if (used_ < params_.min_tokens) open.mask = StayOpen();
  if (!cut_.empty()) return open;  // inside a UTF-8 sequence: never cut there
  if (end_requested_.load(std::memory_order_relaxed)) return Force(StoppedBy::kControl);
  const auto used = static_cast<int64_t>(used_);
  if (budget_ < 0 || used < budget_) return open;
  if (IsAtLineStart()) return Force(budget_is_reserve_ ? StoppedBy::kReserve : StoppedBy::kBudget);
  if (used < budget_ + grace_) return open;
  return Force(budget_is_reserve_ || grace_is_reserve_ ? StoppedBy::kReserve : StoppedBy::kGrace);
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "data/thinking_data.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"

namespace planish {
namespace {

// Streams of random numbers of one seed.
constexpr uint64_t kChoiceStream = 1, kLengthStream = 2;

constexpr size_t kNone = ~size_t{0};

size_t LastAssistant(const Json& messages) {
  for (size_t i = messages.AsArray().size(); i-- > 0;) {
    if (HasRole(messages.AsArray()[i], "assistant")) return i;
  }
  return kNone;
}

std::string FirstTokens(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  std::string cut;
  for (const TokenId id : ids) cut += tokenizer.TokenBytes(id);
  size_t end = cut.size();
  // A character that is not complete stays out: at most three bytes of it can stand at the end.
  for (size_t back = 1; back <= 4 && back <= cut.size(); ++back) {
    const auto byte = static_cast<unsigned char>(cut[cut.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    const size_t length = byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    if (length > back) end = cut.size() - back;
    break;
  }
  cut.resize(end);
  return cut;
}

// Up to the last newline of `text`, or up to the first one of `longer` behind it; empty without one, or when fewer than
// min_tokens would remain.
std::string CutAtNewline(const Tokenizer& tokenizer, const std::string& text,
                         const std::string& longer, uint64_t min_tokens) {
  for (const size_t newline : {text.find_last_of('\n'), longer.find('\n', text.size())}) {
    const size_t end = newline == std::string::npos || newline == 0
                           ? std::string::npos
                           : longer.find_last_not_of(" \t\r\n", newline - 1);
    if (end == std::string::npos) continue;
    std::string kept = longer.substr(0, end + 1);
    if (tokenizer.Encode(kept, {.parse_special = false}).size() >= min_tokens) return kept;
  }
  return {};
}

std::string CutWithFullStop(const std::string& text) {
  const size_t end = text.find_last_not_of(" \t\r\n");
  if (end == std::string::npos) return {};
  std::string kept = text.substr(0, end + 1);
  if (std::string_view(".!?:;").find(kept.back()) == std::string_view::npos) kept += '.';
  return kept;
}

}  // namespace

std::string PromptKey(const Dialogue& dialogue) {
  const size_t last = LastAssistant(dialogue.messages);
  if (last == kNone) return {};
  Json::Array prompt(dialogue.messages.AsArray().begin(),
                     dialogue.messages.AsArray().begin() + static_cast<ptrdiff_t>(last));
  for (Json& message : prompt) message.Remove("reasoning_content");
  return DumpJson(Json(std::move(prompt)));
}

Json FinalAnswer(const Dialogue& dialogue) {
  const size_t last = LastAssistant(dialogue.messages);
  if (last == kNone) return {};
  Json answer = dialogue.messages.AsArray()[last];
  answer.Remove("reasoning_content");
  return answer;
}

bool MakeThinkingPair(const Dialogue& dialogue, const Json* off_answer, Json* on, Json* off) {
  const size_t last = LastAssistant(dialogue.messages);
  if (last == kNone || ReasoningOf(dialogue.messages.AsArray()[last]).empty()) return false;
  *on = dialogue.line;
  on->Set("messages", dialogue.messages);
  on->Set("enable_thinking", true);
  Json messages = dialogue.messages;
  for (Json& message : messages.AsArray()) message.Remove("reasoning_content");
  if (off_answer != nullptr) messages.AsArray()[last] = *off_answer;
  *off = dialogue.line;
  off->Set("messages", std::move(messages));
  off->Set("enable_thinking", false);
  return true;
}

TruncateThinking::Result TruncateThinking::Apply(const Tokenizer& tokenizer, uint64_t line,
                                                 const Dialogue& dialogue, Json* out) const {
  *out = dialogue.line;
  if (UniformAt(seed, kChoiceStream, line) >= fraction) return Result::kNotChosen;
  const size_t last = LastAssistant(dialogue.messages);
  const std::string reasoning = last == kNone ? "" : ReasoningOf(dialogue.messages.AsArray()[last]);
  if (reasoning.empty()) return Result::kNoReasoning;
  const double span = static_cast<double>(max_tokens - min_tokens + 1);
  const uint64_t n =
      min_tokens + static_cast<uint64_t>(UniformAt(seed, kLengthStream, line) * span);
  const std::vector<TokenId> ids = tokenizer.Encode(reasoning, {.parse_special = false});
  if (ids.size() <= n) return Result::kTooShort;
  const std::string text = FirstTokens(tokenizer, std::span(ids).first(n));
  const std::string longer =
      FirstTokens(tokenizer, std::span(ids).first(std::min<uint64_t>(ids.size(), max_tokens)));
  std::string kept = at_newline ? CutAtNewline(tokenizer, text, longer, min_tokens) : "";
  if (kept.empty()) kept = CutWithFullStop(text);
  Json messages = dialogue.messages;
  messages.AsArray()[last].Set("reasoning_content", std::move(kept));
  messages.AsArray()[last].Set("train_reasoning", false);
  out->Set("messages", std::move(messages));
  out->Set("enable_thinking", true);
  return Result::kTruncated;
}

}  // namespace planish

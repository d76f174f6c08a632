// SPDX-License-Identifier: Apache-2.0
#include "infer/conversation.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/error.h"
#include "base/hash.h"

namespace planish {
namespace {

constexpr size_t kUnknown = std::numeric_limits<size_t>::max();
constexpr size_t kRememberedBorders = 1 << 16;
// Ids that one call may encode for borders of earlier turns; beyond it only remembered ones are used. A second or so.
constexpr size_t kMostWork = size_t{1} << 20;
// A cut costs a step, so a shorter beginning than a slice of the prompt is not worth one.
constexpr size_t kLeastHead = 32;

// Stand for any text. The third for those that begin with a newline, which merges with one before it, and for empty ones.
constexpr const char* kSentinels[] = {"a", "7.", "\n"};

Json Message(const char* role, const std::string& content) {
  Json message = Json::MakeObject();
  message.Set("role", role);
  message.Set("content", content);
  return message;
}

bool HasRole(const Json& message, const char* role) {
  const Json* found = message.is_object() ? message.Find("role") : nullptr;
  return found != nullptr && *found == Json(role);
}

size_t CommonPrefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first -
                             a.begin());
}

Json FirstOf(const Json& messages, size_t count) {
  Json first = Json::MakeArray();
  for (size_t i = 0; i < count; ++i) first.Append(messages.AsArray()[i]);
  return first;
}

// Shortens `length` to what `ids` have in common with the encodings of `messages` with each sentinel appended as `role` (and
// a user's message, if it is an answer: it is history then).
size_t CommonWithSentinels(const Json& messages, const char* role, bool add_generation_prompt,
                           const std::vector<int32_t>& ids, const ConversationCuts::Encode& encode,
                           size_t* work) {
  size_t common = ids.size();
  for (const char* sentinel : kSentinels) {
    Json extended = messages;
    extended.Append(Message(role, sentinel));
    if (std::string_view(role) == "assistant") extended.Append(Message("user", "u"));
    try {
      const std::vector<int32_t> other = encode(extended, add_generation_prompt);
      *work += other.size();
      common = std::min(common, CommonPrefix(ids, other));
    } catch (const Error&) {
      if (*sentinel != '\n') throw;  // some templates refuse a message without text
    }
  }
  return common;
}

size_t TurnBorder(const Json& messages, const std::vector<int32_t>& prompt,
                  const ConversationCuts::Encode& encode, size_t* work) {
  if (prompt.empty()) return 0;
  return std::min(prompt.size() - 1,
                  CommonWithSentinels(messages, "assistant", false, prompt, encode, work));
}

}  // namespace

size_t ConversationCuts::Remembered(uint64_t key) const {
  const std::lock_guard lock(mutex_);
  const auto found = borders_.find(key);
  return found == borders_.end() ? kUnknown : found->second;
}

void ConversationCuts::Remember(uint64_t key, size_t border) {
  const std::lock_guard lock(mutex_);
  if (!borders_.emplace(key, border).second) return;
  order_.push_back(key);
  if (order_.size() <= kRememberedBorders) return;
  borders_.erase(order_.front());
  order_.pop_front();
}

std::vector<size_t> ConversationCuts::Find(const Json& messages, const std::vector<int32_t>& prompt,
                                           const Encode& encode, std::string_view settings) {
  const Json::Array& all = messages.AsArray();
  std::vector<size_t> cuts;
  const auto add = [&](size_t cut) {
    if (cut > 0 && cut < prompt.size()) cuts.push_back(cut);
  };
  size_t work = 0;
  // A key stands for the settings and the messages before a place.
  std::string chained = std::to_string(Fnv1a(settings));
  bool has_head = false;
  for (size_t i = 0; i <= all.size(); ++i) {
    const auto key = Fnv1a(chained);
    const bool is_end = i == all.size();
    const auto border_of = [&](uint64_t salted, const auto& compute) {
      size_t border = Remembered(salted);
      if (border == kUnknown && (is_end || work < kMostWork)) {
        try {
          border = compute();
        } catch (const Error&) {  // part of a conversation may be none: its template refuses it
          border = 0;
        }
        Remember(salted, border);
      }
      return border == kUnknown ? 0 : border;
    };
    if (!is_end && !has_head && HasRole(all[i], "user")) {
      has_head = true;
      const size_t border = border_of(~key, [&] {
        const Json head = FirstOf(messages, i);
        Json opened = head;
        opened.Append(Message("user", kSentinels[0]));
        return CommonWithSentinels(head, "user", true, encode(opened, true), encode, &work);
      });
      if (border >= kLeastHead) add(border);
    }
    if (is_end) {
      if (i == 0 || !HasRole(all[i - 1], "assistant"))
        add(border_of(key, [&] { return TurnBorder(messages, prompt, encode, &work); }));
    } else if (i > 0 && HasRole(all[i], "assistant")) {
      add(border_of(key, [&] {
        const Json before = FirstOf(messages, i);
        const std::vector<int32_t> opened = encode(before, true);
        work += opened.size();
        return TurnBorder(before, opened, encode, &work);
      }));
    }
    if (!is_end) chained = fmt::format("{:x}/{}", key, DumpJson(all[i]));
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  return cuts;
}

std::vector<int32_t> NextTurnPrefix(const Json& messages, const ConversationCuts::Encode& encode) {
  Json next = messages;
  next.Append(Message("user", kSentinels[0]));
  std::vector<int32_t> ids = encode(next, true);
  size_t work = 0;
  ids.resize(CommonWithSentinels(messages, "user", true, ids, encode, &work));
  return ids;
}

}  // namespace planish

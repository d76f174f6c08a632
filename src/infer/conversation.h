// SPDX-License-Identifier: Apache-2.0
// Where later prompts of a conversation can resume from earlier ones, found by rendering alone, whatever the chat template
// does: it may drop earlier reasoning or the generation prompt, so a prompt comes back only up to its turn border.
#pragma once

#include <functional>
#include <list>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"

namespace planish {

class ConversationCuts {
 public:
  // Messages to the ids of a prompt, with or without the opening of an answer.
  using Encode =
      std::function<std::vector<int32_t>(const Json& messages, bool add_generation_prompt)>;

  // For Request::snapshot_at, ascending: the end of what stands before the first user message, the turn border before each
  // answer, and the one of `prompt`, which is encode(messages, true). The turn border of a prompt is the longest common
  // prefix of its ids with those of the conversation going on after any answer. `settings`: all else that the encoding
  // depends on (tools, toggles). Borders are remembered, so that a conversation costs the renderings of its last turn only.
  // Thread-safe. What `encode` throws for `messages` themselves is passed on.
  std::vector<size_t> Find(const Json& messages, const std::vector<int32_t>& prompt,
                           const Encode& encode, std::string_view settings);

 private:
  size_t Remembered(uint64_t key) const;
  void Remember(uint64_t key, size_t border);

  mutable std::mutex mutex_;
  std::list<uint64_t> order_;  // oldest first
  std::unordered_map<uint64_t, size_t> borders_;
};

// What a conversation that ends in an answer surely begins with at its next turn: for computing it ahead (warm next turn).
std::vector<int32_t> NextTurnPrefix(const Json& messages, const ConversationCuts::Encode& encode);

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// What `bench serve` asks a server: sessions of one or more turns. Every request is a function of the seed, the session, the
// turn and the answers before it, so two servers are asked the same.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"

namespace planish {

struct Workload {
  std::string path;  // of the requests
  size_t sessions = 0, turns = 1;
  // Body of a request, without stream options. answers: those of the session's earlier turns.
  std::function<Json(size_t session, size_t turn, const std::vector<std::string>& answers)> request;
};

struct WorkloadOptions {
  std::string model;  // as the server calls it; may be empty
  size_t sessions = 100;
  size_t input_tokens = 1024, output_tokens = 128;
  uint64_t seed = 0;
};

// Prompts of exactly input_tokens random ids from [first_id, end_id), answers of exactly output_tokens: /v1/completions.
Workload RandomWorkload(const WorkloadOptions& options, int32_t first_id, int32_t end_id);

// The first messages of a file of conversations: [{"conversations": [{"from": "human", "value": ...}, ...]}, ...].
// count_tokens says how long the answer in the file is, and so how long the server's may be (at most output_tokens).
// Error(kBadFile) names `where`.
Workload ShareGptWorkload(const WorkloadOptions& options, const std::string& text,
                          const std::string& where,
                          const std::function<size_t(const std::string&)>& count_tokens);

struct MultiturnOptions {
  size_t turns = 8;
  size_t system_tokens =
      512;  // of a system prompt that all sessions share; about, as words are sent
  bool thinks = true;
  int64_t thinking_budget = -1;  // -1: no limit
};
// Chats whose history grows by the server's own answers; input_tokens is about the length of each message.
Workload MultiturnWorkload(const WorkloadOptions& options, const MultiturnOptions& multiturn);

}  // namespace planish

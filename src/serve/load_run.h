// SPDX-License-Identifier: Apache-2.0
// Runs a workload against a server and keeps when every piece came. For `bench serve`.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "serve/workload.h"

namespace planish {

// One request. Times in seconds; first and end count from its sending.
struct LoadSample {
  size_t session = 0, turn = 0;
  std::string error;  // "" if it was answered
  double first_s = 0, end_s = 0;
  std::vector<double> gaps_s;  // between pieces of the answer
  size_t prompt_tokens = 0, cached_tokens = 0, output_tokens = 0, reasoning_tokens = 0;
};

struct LoadOptions {
  std::string url, key;
  size_t concurrency = 1;   // requests at a time
  double request_rate = 0;  // sessions that begin in a second, at random moments; 0: at once
  uint64_t seed = 0;
  double silence_s = 600;
};

struct LoadResult {
  double duration_s = 0;            // from the first sending to the last end
  std::vector<LoadSample> samples;  // by session and turn
};

// A session whose request fails ends there; its later turns have no samples. on_done(count of requests that ended so far)
// is called from several threads, one at a time.
LoadResult RunLoad(const Workload& workload, const LoadOptions& options,
                   const std::function<void(size_t)>& on_done = nullptr);

}  // namespace planish

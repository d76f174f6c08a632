// SPDX-License-Identifier: Apache-2.0
// The figures of a load run under the names that vLLM's serving benchmark gives them: ttft (time to the first piece), tpot
// ((end - first) / (tokens - 1)), itl (gaps between pieces), e2el (sending to end), in milliseconds.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "serve/load_run.h"

namespace planish {

// Bounds that a request must keep to count for request_goodput; in milliseconds.
struct Goodput {
  std::optional<double> ttft_ms, tpot_ms, e2el_ms;
};
// "ttft:500,tpot:50". Error(kUsage).
Goodput ParseGoodput(const std::string& text);

// Of values in any order, interpolated between neighbours; 0 without values.
double Percentile(std::vector<double> values, double percent);

// completed, failed, total_input, total_output, throughputs, mean/median/std/p50/p90/p99 of each time; cached_tokens and,
// with several turns, `turns`: the same times and the cached share by turn; `errors`: message to count.
Json LoadToJson(const LoadResult& result, const std::optional<Goodput>& goodput);
// The same as tables.
std::string LoadText(const Json& report);

}  // namespace planish

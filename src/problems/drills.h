// SPDX-License-Identifier: Apache-2.0
// Pure practice for pretraining, without a story: reckoning in the notation of worked.h, number words, comparisons, spelling,
// days, months and units. One document holds several lines of one kind.
#pragma once

#include <cstdint>
#include <string>

namespace planish {

// {"text": ...}. A pure function of (seed, index).
std::string DrillRow(uint64_t seed, uint64_t index);

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Best-fit-decreasing packing: examples, longest first, each into the fullest row that still has room for it. Whole examples
// only; they are separate documents of the row. Ties go to the earlier example and the earlier row, so the result is a
// pure function of the lengths.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace planish {

// What happens to an example longer than a row.
enum class LongExample {
  kTruncate,  // its first row_tokens tokens are kept
  kDrop,      // left out
  kSplit,  // into pieces of at most row_tokens, separate documents that may land in different rows
};

// Rows as lists of indices into `lengths` (each rising), in the order they were opened. Every length is in
// [1, row_tokens]. At most `max_examples` in a row; 0: as many as fit.
std::vector<std::vector<uint32_t>> PackBestFit(std::span<const size_t> lengths, size_t row_tokens,
                                               size_t max_examples = 0);

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// A held-out dataset read front to back, once, every token of it: rows of at most row_tokens in file order, with the bytes
// of text behind them for bits per byte = sum of nll / (ln 2 * bytes).
#pragma once

#include <memory>
#include <vector>

#include "data/token_batch.h"
#include "data/token_file.h"

namespace planish {

class ValidationRows {
 public:
  enum class Mode {
    kStream,         // documents joined, cut at row_tokens, with document resets
    kJoined,         // the same without resets
    kWholeExamples,  // SFT: as many whole examples as fit, in order; a longer one alone, truncated
  };
  // Error(kBadFile) for an empty file. `max_tokens` > 0: rows are left out once so many tokens were taken.
  ValidationRows(std::shared_ptr<const TokenFile> file, size_t row_tokens, Mode mode,
                 uint64_t max_tokens = 0);
  uint64_t rows() const { return begins_.size() - 1; }
  TokenBatch Read(uint64_t row, size_t count) const;
  // Bytes of text of these rows; the sum over all rows is exactly the source_bytes() of the file (without max_tokens).
  uint64_t SourceBytes(uint64_t row, size_t count) const;

 private:
  std::shared_ptr<const TokenFile> file_;
  size_t row_tokens_;
  Mode mode_;
  std::vector<uint64_t> begins_;  // [rows + 1] first tokens
};

}  // namespace planish

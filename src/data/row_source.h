// SPDX-License-Identifier: Apache-2.0
// The rows a dataset gives, one after another without end: row k is a pure function of (seed, dataset, k). An epoch is one
// pass over everything; epochs are permuted anew unless shuffling is off.
#pragma once

#include <cstdint>
#include <memory>

#include "data/token_batch.h"
#include "data/token_file.h"

namespace planish {

class RowSource {
 public:
  virtual ~RowSource() = default;
  // Rows in so many passes over the dataset, rounded down; `enough` if there are as many or more (counting stops there).
  virtual uint64_t RowsIn(double epochs, uint64_t enough) const = 0;
  // How many passes the first `rows` rows make, e.g. 1.5.
  virtual double EpochsOf(uint64_t rows) const = 0;
  // Appends the tokens of row `nth` (ids, targets, weights, document_lengths) and returns how many. Threads may share it.
  virtual size_t AppendRow(uint64_t nth, TokenBatch* batch) const = 0;
};

// Appends tokens [begin, begin + count) of the file as one row of a stream: the target of each is the next token of the
// file. With `resets_documents`, documents are separate: the last token of each predicts nothing (its end-of-text token
// is part of it, and predicted); else only the very last token of the file predicts nothing.
void AppendStreamTokens(const TokenFile& file, uint64_t begin, size_t count, bool resets_documents,
                        TokenBatch* batch);
// Appends tokens [begin, begin + count) of the file as a document of its own. The last token predicts nothing unless
// `predicts_next`, when it predicts the token behind (a piece of a document that was split).
void AppendDocument(const TokenFile& file, uint64_t begin, size_t count, bool predicts_next,
                    TokenBatch* batch);

}  // namespace planish

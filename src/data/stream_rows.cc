// SPDX-License-Identifier: Apache-2.0
#include "data/stream_rows.h"

#include "base/error.h"
#include "data/permutation.h"

namespace planish {

StreamRows::StreamRows(std::shared_ptr<const TokenFile> file, size_t row_tokens,
                       bool resets_documents, const RowOrder& order)
    : file_(std::move(file)),
      row_tokens_(row_tokens),
      resets_documents_(resets_documents),
      order_(order),
      rows_(file_->token_count() / row_tokens) {
  if (rows_ == 0) {
    throw UsageError("{}: {} tokens, less than one row of {}", Quoted(file_->path(), 300),
                     file_->token_count(), row_tokens);
  }
}

uint64_t StreamRows::RowsIn(double epochs, uint64_t enough) const {
  const double rows = epochs * static_cast<double>(rows_);
  return rows >= static_cast<double>(enough) ? enough : static_cast<uint64_t>(rows);
}

double StreamRows::EpochsOf(uint64_t rows) const {
  return static_cast<double>(rows) / static_cast<double>(rows_);
}

size_t StreamRows::AppendRow(uint64_t nth, TokenBatch* batch) const {
  uint64_t row = nth % rows_;
  if (order_.shuffles) row = Permutation(order_.seed, order_.stream, nth / rows_, rows_)(row);
  AppendStreamTokens(*file_, row * row_tokens_, row_tokens_, resets_documents_, batch);
  return row_tokens_;
}

}  // namespace planish

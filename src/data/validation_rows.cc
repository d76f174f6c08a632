// SPDX-License-Identifier: Apache-2.0
#include "data/validation_rows.h"

#include <algorithm>

#include "base/error.h"
#include "data/row_source.h"

namespace planish {

ValidationRows::ValidationRows(std::shared_ptr<const TokenFile> file, size_t row_tokens, Mode mode,
                               uint64_t max_tokens)
    : file_(std::move(file)), row_tokens_(row_tokens), mode_(mode), begins_{0} {
  PLANISH_CHECK(row_tokens > 0);
  const uint64_t tokens = file_->token_count();
  if (tokens == 0) throw BadFile("{}: validation dataset is empty", Quoted(file_->path(), 300));
  const uint64_t enough = max_tokens == 0 ? tokens : std::min(tokens, max_tokens);
  if (mode != Mode::kWholeExamples) {
    while (begins_.back() < enough)
      begins_.push_back(std::min(begins_.back() + row_tokens, tokens));
    return;
  }
  for (uint64_t d = 0; d < file_->document_count();) {
    if (begins_.back() >= enough) break;
    const uint64_t begin = file_->document_begin(d);
    uint64_t end = begin + file_->document_length(d++);
    while (d < file_->document_count() && end + file_->document_length(d) - begin <= row_tokens)
      end += file_->document_length(d++);
    begins_.push_back(end);
  }
}

TokenBatch ValidationRows::Read(uint64_t row, size_t count) const {
  PLANISH_CHECK(row + count <= rows());
  TokenBatch batch;
  for (uint64_t r = row; r < row + count; ++r) {
    const size_t at = batch.ids.size();
    if (mode_ != Mode::kWholeExamples) {
      AppendStreamTokens(*file_, begins_[r], begins_[r + 1] - begins_[r], mode_ == Mode::kStream,
                         &batch);
    } else {
      uint64_t d = file_->DocumentOf(begins_[r]);
      for (; d < file_->document_count() && file_->document_begin(d) < begins_[r + 1]; ++d) {
        const size_t length = std::min<uint64_t>(file_->document_length(d), row_tokens_);
        AppendDocument(*file_, file_->document_begin(d), length, /*predicts_next=*/false, &batch);
      }
    }
    batch.rows.push_back({r, 0, static_cast<uint32_t>(batch.ids.size() - at)});
  }
  return batch;
}

uint64_t ValidationRows::SourceBytes(uint64_t row, size_t count) const {
  PLANISH_CHECK(row + count <= rows());
  return file_->SourceBytesBefore(begins_[row + count]) - file_->SourceBytesBefore(begins_[row]);
}

}  // namespace planish

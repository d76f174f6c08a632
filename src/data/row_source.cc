// SPDX-License-Identifier: Apache-2.0
#include "data/row_source.h"

#include <algorithm>

#include "base/error.h"

namespace planish {
namespace {

// ids, targets and weights of tokens [begin, begin + count), each predicting the next of the file where there is one.
void AppendPredictions(const TokenFile& file, uint64_t begin, size_t count, TokenBatch* batch) {
  PLANISH_CHECK(count > 0 && begin + count <= file.token_count(), "tokens {} + {} of {}", begin,
                count, file.token_count());
  const size_t at = batch->ids.size();
  const bool has_next = begin + count < file.token_count();
  batch->ids.resize(at + count);
  batch->targets.resize(at + count);
  batch->weights.resize(at + count);
  file.ReadIds(begin, std::span(batch->ids).subspan(at));
  std::copy(batch->ids.begin() + static_cast<ptrdiff_t>(at) + 1, batch->ids.end(),
            batch->targets.begin() + static_cast<ptrdiff_t>(at));
  const size_t predicted = has_next ? count : count - 1;
  if (has_next) file.ReadIds(begin + count, std::span(&batch->targets.back(), 1));
  file.ReadMask(begin + 1, std::span(batch->weights).subspan(at, predicted));
  for (size_t t = at; t < at + predicted; ++t) {
    if (batch->weights[t] == 0) batch->targets[t] = 0;
  }
}

void Mask(TokenBatch* batch, size_t token) {
  batch->weights[token] = 0;
  batch->targets[token] = 0;
}

}  // namespace

void AppendStreamTokens(const TokenFile& file, uint64_t begin, size_t count, bool resets_documents,
                        TokenBatch* batch) {
  const size_t at = batch->ids.size();
  AppendPredictions(file, begin, count, batch);
  if (!resets_documents) {
    batch->document_lengths.push_back(count);
    return;
  }
  const uint64_t end = begin + count;
  uint64_t document = file.DocumentOf(begin);
  for (uint64_t from = begin; from < end; ++document) {
    const uint64_t document_end = file.document_begin(document) + file.document_length(document);
    const uint64_t to = std::min(document_end, end);
    batch->document_lengths.push_back(to - from);
    if (document_end <= end) Mask(batch, at + (document_end - begin) - 1);
    from = to;
  }
}

void AppendDocument(const TokenFile& file, uint64_t begin, size_t count, bool predicts_next,
                    TokenBatch* batch) {
  AppendPredictions(file, begin, count, batch);
  if (!predicts_next) Mask(batch, batch->ids.size() - 1);
  batch->document_lengths.push_back(count);
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// The tokens of some rows, flat, ready for Model::Forward and the loss.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "text/vocabulary.h"

namespace planish {

struct TokenBatch {
  struct Row {
    uint64_t sample;   // global sample index
    uint32_t dataset;  // index into the loader's datasets
    uint32_t tokens;   // the row's share of T: at most seq_len, rows are never padded
  };
  std::vector<TokenId> ids;      // [T]
  std::vector<TokenId> targets;  // [T]: what follows ids[t]; 0 where weights[t] is 0
  std::vector<uint8_t> weights;  // [T]: 1 if the loss counts the prediction of targets[t], else 0
  // For SeqLayout::Packed, sum T. A row starts a new entry, and so does each document in it unless documents are joined.
  std::vector<size_t> document_lengths;
  std::vector<Row> rows;  // in order; their tokens sum to T
};

}  // namespace planish

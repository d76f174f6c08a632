// SPDX-License-Identifier: Apache-2.0
// How children compare with a parent on the same rows of text: the parent's hidden states are computed once and kept, a child's
// block by block, so that models larger than memory can be compared.
#pragma once

#include <span>
#include <vector>

#include "eval/divergence.h"
#include "model/pretrained.h"

namespace planish {

// [rows][T, D] after the final norm, in exact arithmetic. `evicts` gives mapped weights back block by block.
std::vector<float> HiddenOfRows(const Pretrained& model, std::span<const std::vector<int32_t>> rows,
                                bool evicts);

class KeptHidden {
 public:
  // Parent and rows must outlive this.
  KeptHidden(const Pretrained& parent, std::span<const std::vector<int32_t>> rows, bool evicts);
  // Every token but the first of each row is predicted. Error(kBadFile) if the vocabularies differ.
  Divergence Compare(const Pretrained& child) const;

 private:
  const Pretrained& parent_;
  std::span<const std::vector<int32_t>> rows_;
  bool evicts_;
  std::vector<float> hidden_;
};

}  // namespace planish

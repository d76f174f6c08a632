// SPDX-License-Identifier: Apache-2.0
// Loss of held-out data: nats a token, and bits per byte of its text, which does not depend on the tokenizer:
// sum of nll / (ln 2 * bytes) (train.md 11). The rows are read front to back, the same ones every time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/validation_rows.h"
#include "train/micro_pass.h"

namespace planish {

struct ValidationResult {
  std::string name;
  double ce = 0;  // nats, summed
  uint64_t kept = 0, bytes = 0;
  DistillSums distill;  // of a run with a teacher
  double loss() const { return kept == 0 ? 0 : ce / static_cast<double>(kept); }
  double bits_per_byte() const;  // 0 if the token file does not know the bytes
};

class ValidationSet {
 public:
  ValidationSet(std::string name, std::unique_ptr<ValidationRows> rows)
      : name_(std::move(name)), rows_(std::move(rows)) {}
  // In passes of `micro_samples` rows; sums run in row order.
  ValidationResult Evaluate(MicroPass* pass, size_t micro_samples) const;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  std::unique_ptr<ValidationRows> rows_;
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "train/validation.h"

#include <algorithm>
#include <cmath>

namespace planish {

double ValidationResult::bits_per_byte() const {
  return bytes == 0 ? 0 : ce / (std::log(2.0) * static_cast<double>(bytes));
}

ValidationResult ValidationSet::Evaluate(MicroPass* pass, size_t micro_samples) const {
  ValidationResult result{.name = name_};
  for (uint64_t row = 0; row < rows_->rows(); row += micro_samples) {
    const size_t count = std::min<uint64_t>(micro_samples, rows_->rows() - row);
    const MicroResult micro = pass->Evaluate(rows_->Read(row, count));
    result.ce += micro.loss.ce;
    result.kept += micro.loss.kept;
    result.distill.forward += micro.loss.distill.forward;
    result.distill.agreed += micro.loss.distill.agreed;
    result.bytes += rows_->SourceBytes(row, count);
  }
  return result;
}

}  // namespace planish

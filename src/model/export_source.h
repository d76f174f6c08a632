// SPDX-License-Identifier: Apache-2.0
// Internal to export: where rows come from, and progress by slabs written.
#pragma once

#include <memory>
#include <vector>

#include "model/export.h"
#include "tensor/tensor_to_write.h"

namespace planish {

inline ParamRows RowsOf(const ExportOptions& options) {
  return options.rows ? options.rows : StoredRow;
}

inline void ReportProgress(const ExportProgress& progress, std::vector<TensorToWrite>* tensors) {
  if (!progress) return;
  uint64_t total = 0;
  for (const TensorToWrite& tensor : *tensors)
    total += BytesOf(tensor.dtype, tensor.shape.elements());
  const auto done = std::make_shared<uint64_t>(0);
  for (TensorToWrite& tensor : *tensors) {
    tensor.written = [progress, done, total](uint64_t bytes) { progress(*done += bytes, total); };
  }
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Internal to export: reports each tensor when it has been written.
#pragma once

#include <memory>
#include <vector>

#include "model/export.h"
#include "tensor/safetensors.h"

namespace planish {

inline void ReportProgress(const ExportProgress& progress, std::vector<TensorToWrite>* tensors) {
  if (!progress) return;
  uint64_t total = 0;
  for (const TensorToWrite& tensor : *tensors)
    total += BytesOf(tensor.dtype, tensor.shape.elements());
  const auto done = std::make_shared<uint64_t>(0);
  for (TensorToWrite& tensor : *tensors) {
    const uint64_t bytes = BytesOf(tensor.dtype, tensor.shape.elements());
    tensor.fill = [fill = std::move(tensor.fill), progress, done, bytes, total](std::byte* out) {
      fill(out);
      progress(*done += bytes, total);
    };
  }
}

}  // namespace planish

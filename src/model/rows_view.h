// SPDX-License-Identifier: Apache-2.0
// Rows that go into a product: [T, width] contiguous, float or bf16, not owned.
#pragma once

#include "kernels/bf16_panels.h"
#include "tensor/tensor.h"

namespace planish {

struct RowsView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  RowsView(const float* rows) : data(rows) {}                               // NOLINT
  RowsView(const Tensor& rows) : data(rows.data()), dtype(rows.dtype()) {}  // NOLINT
  RowsView(const void* rows, DType type) : data(rows), dtype(type) {}
  const float* f32() const {
    PLANISH_CHECK(dtype == DType::kF32);
    return static_cast<const float*>(data);
  }
  // From row t on.
  RowsView From(size_t t, size_t width) const {
    return {static_cast<const std::byte*>(data) + BytesOf(dtype, t * width), dtype};
  }
  // As an operand of GemmF32 and GemmBf16.
  PanelSource Source(size_t width, bool is_transposed = false) const {
    return {data, width, dtype, is_transposed};
  }
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "train/head_rows.h"

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/gemm_f32.h"
#include "kernels/rounding.h"

namespace planish {
namespace {

size_t FloatsFor(size_t elements, DType type) {
  return (BytesOf(type, elements) + sizeof(float) - 1) / sizeof(float);
}

bool AreTogether(std::span<const size_t> rows) {
  return rows.back() - rows.front() + 1 == rows.size();
}

}  // namespace

HeadRows::HeadRows(const Weight& head, const float* hidden, Precision precision, size_t chunk,
                   bool has_gradient, Workspace* workspace)
    : hidden_(hidden),
      V_(head.out()),
      D_(head.in()),
      type_(precision == Precision::kF32 ? DType::kF32 : DType::kBF16),
      head_(Convert(head, workspace)),
      x_memory_(workspace->Take(FloatsFor(chunk * D_, type_))),
      d_x_(has_gradient ? workspace->Take(chunk * D_) : nullptr) {}

// C (+)= A B^T in the type of the products.
void HeadRows::Multiply(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
                        bool accumulate, float* c) const {
  if (is_f32())
    GemmF32(a, b, M, N, K, accumulate, c, N);
  else
    GemmBf16(a, b, M, N, K, accumulate, c, N);
}

PanelSource HeadRows::Convert(const Weight& head, Workspace* workspace) const {
  if (head.dtype() == type_) return {head.data(), D_, type_};
  float* rows = workspace->Take(FloatsFor(V_ * D_, type_));
  auto* bytes = reinterpret_cast<std::byte*>(rows);
  if (head.dtype() == DType::kF32) {
    RoundRows(reinterpret_cast<const float*>(head.data()), V_ * D_, type_, rows);
  } else {
    ParallelFor(V_, [&](size_t v, int) {
      std::vector<float> row(D_);
      head.DequantizeRow(v, row.data());
      RoundRows(row.data(), D_, type_, bytes + BytesOf(type_, v * D_));
    });
  }
  return {rows, D_, type_};
}

// The rows one after the other in the type of the products.
PanelSource HeadRows::Gather(std::span<const size_t> rows) const {
  const float* first = hidden_ + rows.front() * D_;
  if (AreTogether(rows)) {
    if (is_f32()) return {first, D_, type_};
    RoundRows(first, rows.size() * D_, type_, x_memory_);
  } else {
    auto* bytes = reinterpret_cast<std::byte*>(x_memory_);
    ParallelFor(rows.size(), [&](size_t i, int) {
      RoundRows(hidden_ + rows[i] * D_, D_, type_, bytes + BytesOf(type_, i * D_));
    });
  }
  return {x_memory_, D_, type_};
}

void HeadRows::Logits(std::span<const size_t> rows, float* logits) {
  x_ = Gather(rows);
  Multiply(x_, head_, rows.size(), V_, D_, /*accumulate=*/false, logits);
}

void HeadRows::Backward(std::span<const size_t> rows, const float* d_logits, float* d_hidden,
                        float* d_head) {
  const size_t R = rows.size();
  PanelSource gradients = {d_logits, is_f32() ? V_ : 2 * V_, type_};
  PanelSource head_as_columns = head_;  // [D, V] stored as [V, D]
  head_as_columns.is_transposed = true;
  const bool are_together = AreTogether(rows);
  float* d_x = are_together ? d_hidden + rows.front() * D_ : d_x_;
  Multiply(gradients, head_as_columns, R, D_, V_, /*accumulate=*/false, d_x);
  if (!are_together)
    for (size_t r = 0; r < R; ++r) std::copy_n(d_x + r * D_, D_, d_hidden + rows[r] * D_);
  if (d_head == nullptr) return;
  PanelSource x_as_columns = x_;
  gradients.is_transposed = x_as_columns.is_transposed = true;
  Multiply(gradients, x_as_columns, V_, D_, R, /*accumulate=*/true, d_head);
}

std::vector<size_t> KeptRows(const int32_t* targets, const uint8_t* mask, size_t T, size_t V,
                             size_t D, double* row_losses, float* d_hidden) {
  std::vector<size_t> kept;
  for (size_t t = 0; t < T; ++t) {
    if (mask == nullptr || mask[t] != 0) {
      PLANISH_CHECK(targets[t] >= 0 && static_cast<size_t>(targets[t]) < V,
                    "target {} of row {}, vocabulary {}", targets[t], t, V);
      kept.push_back(t);
    } else {
      if (row_losses != nullptr) row_losses[t] = 0;
      if (d_hidden != nullptr) std::fill_n(d_hidden + t * D, D, 0.0f);
    }
  }
  return kept;
}

}  // namespace planish

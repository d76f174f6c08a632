// SPDX-License-Identifier: Apache-2.0
#include "train/loss.h"

#include <algorithm>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/cross_entropy.h"
#include "kernels/gemm_bf16.h"
#include "kernels/gemm_f32.h"
#include "kernels/rounding.h"

namespace planish {
namespace {

size_t FloatsFor(size_t elements, DType type) {
  return (BytesOf(type, elements) + sizeof(float) - 1) / sizeof(float);
}

// One call's work: the operands of the products in their type, and the chunk's buffers.
class HeadLoss {
 public:
  HeadLoss(const LossInput& input, double* row_losses, float* d_hidden, float* d_head)
      : in_(input),
        V_(input.head->out()),
        D_(input.head->in()),
        type_(input.precision == Precision::kF32 ? DType::kF32 : DType::kBF16),
        row_losses_(row_losses),
        d_hidden_(d_hidden),
        d_head_(d_head) {}

  LossSums Run() {
    const Workspace::Scope scope(*in_.workspace);
    std::vector<size_t> kept;
    for (size_t t = 0; t < in_.T; ++t) {
      if (in_.mask == nullptr || in_.mask[t] != 0) {
        PLANISH_CHECK(in_.targets[t] >= 0 && static_cast<size_t>(in_.targets[t]) < V_,
                      "target {} of row {}, vocabulary {}", in_.targets[t], t, V_);
        kept.push_back(t);
      } else {
        if (row_losses_ != nullptr) row_losses_[t] = 0;
        if (d_hidden_ != nullptr) std::fill_n(d_hidden_ + t * D_, D_, 0.0f);
      }
    }
    sums_.kept = kept.size();
    if (kept.empty()) return sums_;
    const size_t chunk = std::min(LossChunkRows(V_), (kept.size() + 31) / 32 * 32);
    head_ = HeadRows();
    x_memory_ = in_.workspace->Take(FloatsFor(chunk * D_, type_));
    logits_ = in_.workspace->Take(chunk * V_);
    d_x_ = d_hidden_ == nullptr ? nullptr : in_.workspace->Take(chunk * D_);
    for (size_t begin = 0; begin < kept.size(); begin += chunk)
      Chunk(std::span(kept).subspan(begin, std::min(chunk, kept.size() - begin)));
    return sums_;
  }

 private:
  // C (+)= A B^T in the call's precision.
  void Multiply(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
                bool accumulate, float* c) const {
    if (type_ == DType::kF32)
      GemmF32(a, b, M, N, K, accumulate, c, N);
    else
      GemmBf16(a, b, M, N, K, accumulate, c, N);
  }

  // The head [V, D] in the operands' type: as stored, or converted once for all chunks.
  PanelSource HeadRows() const {
    const Weight& head = *in_.head;
    if (head.dtype() == type_) return {head.data(), D_, type_};
    float* rows = in_.workspace->Take(FloatsFor(V_ * D_, type_));
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

  // Hidden rows of a chunk, one after the other in the operands' type.
  PanelSource GatherRows(std::span<const size_t> rows) const {
    const bool are_together = rows.back() - rows.front() + 1 == rows.size();
    const float* first = in_.hidden + rows.front() * D_;
    if (are_together && type_ == DType::kF32) return {first, D_, type_};
    if (are_together) {
      RoundRows(first, rows.size() * D_, type_, x_memory_);
    } else {
      auto* bytes = reinterpret_cast<std::byte*>(x_memory_);
      ParallelFor(rows.size(), [&](size_t i, int) {
        RoundRows(in_.hidden + rows[i] * D_, D_, type_, bytes + BytesOf(type_, i * D_));
      });
    }
    return {x_memory_, D_, type_};
  }

  void Chunk(std::span<const size_t> rows) {
    const size_t R = rows.size();
    const PanelSource x = GatherRows(rows);
    Multiply(x, head_, R, V_, D_, /*accumulate=*/false, logits_);
    std::vector<int32_t> targets(R);
    std::vector<double> losses(R), lse(R);
    for (size_t r = 0; r < R; ++r) targets[r] = in_.targets[rows[r]];
    CrossEntropyRows entropy = {.logits = logits_, .stride = V_, .targets = targets.data()};
    entropy.z_coef = in_.z_coef;
    entropy.R = R;
    entropy.V = V_;
    entropy.losses = losses.data();
    entropy.lse = lse.data();
    CrossEntropy(entropy, d_hidden_ == nullptr   ? CrossEntropyGradient::kNone
                          : type_ == DType::kF32 ? CrossEntropyGradient::kF32
                                                 : CrossEntropyGradient::kBf16);
    for (size_t r = 0; r < R; ++r) {
      sums_.ce += losses[r];
      sums_.z += lse[r] * lse[r];
      if (row_losses_ != nullptr) row_losses_[rows[r]] = losses[r];
    }
    if (d_hidden_ != nullptr) Gradients(rows, x);
  }

  void Gradients(std::span<const size_t> rows, const PanelSource& x) {
    const size_t R = rows.size();
    PanelSource d_logits = {logits_, type_ == DType::kF32 ? V_ : 2 * V_, type_};
    PanelSource head_as_columns = head_;  // [D, V] stored as [V, D]
    head_as_columns.is_transposed = true;
    const bool are_together = rows.back() - rows.front() + 1 == R;
    float* d_x = are_together ? d_hidden_ + rows.front() * D_ : d_x_;
    Multiply(d_logits, head_as_columns, R, D_, V_, /*accumulate=*/false, d_x);
    if (!are_together)
      for (size_t r = 0; r < R; ++r) std::copy_n(d_x + r * D_, D_, d_hidden_ + rows[r] * D_);
    if (d_head_ == nullptr) return;
    PanelSource x_as_columns = x;
    d_logits.is_transposed = x_as_columns.is_transposed = true;
    Multiply(d_logits, x_as_columns, V_, D_, R, /*accumulate=*/true, d_head_);
  }

  const LossInput& in_;
  const size_t V_, D_;
  const DType type_;
  double* const row_losses_;
  float *const d_hidden_, *const d_head_;
  PanelSource head_;
  float* x_memory_ = nullptr;  // [chunk, D] in type_
  float* logits_ = nullptr;    // [chunk, V]; then their gradients
  float* d_x_ = nullptr;       // [chunk, D]
  LossSums sums_;
};

}  // namespace

size_t LossChunkRows(size_t V) {
  constexpr size_t kFloats = size_t{1} << 24;
  return std::clamp<size_t>(kFloats / std::max<size_t>(V, 1), 256, 2048) / 32 * 32;
}

LossSums EvaluateLoss(const LossInput& input, double* row_losses) {
  return HeadLoss(input, row_losses, nullptr, nullptr).Run();
}

LossSums LossAndGradient(const LossInput& input, double* row_losses, float* d_hidden,
                         float* d_head) {
  PLANISH_CHECK(d_hidden != nullptr);
  return HeadLoss(input, row_losses, d_hidden, d_head).Run();
}

}  // namespace planish

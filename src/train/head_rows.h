// SPDX-License-Identifier: Apache-2.0
// Chosen hidden rows through a model's head, and gradients of logits back to rows and head: what the losses over the
// vocabulary share. The head is converted to the type of the products once, whatever it is stored in.
#pragma once

#include <span>
#include <vector>

#include "kernels/gemm_bf16.h"
#include "model/pass.h"
#include "tensor/weight.h"

namespace planish {

class HeadRows {
 public:
  // hidden: [T, D]. `chunk`: most rows of a call. Takes memory of `workspace` that must outlive this; none for gradients
  // unless `has_gradient`.
  HeadRows(const Weight& head, const float* hidden, Precision precision, size_t chunk,
           bool has_gradient, Workspace* workspace);

  size_t V() const { return V_; }
  size_t D() const { return D_; }
  bool is_f32() const { return type_ == DType::kF32; }

  // logits: [rows, V], of these rows of hidden (rising, at least one).
  void Logits(std::span<const size_t> rows, float* logits);
  // Of the rows last given to Logits: d_logits [rows, V] in place of logits, floats or (in bf16) halves at the front of each
  // row. d_hidden: [T, D], the rows are assigned; d_head: [V, D], added to; null: frozen.
  void Backward(std::span<const size_t> rows, const float* d_logits, float* d_hidden,
                float* d_head);

 private:
  void Multiply(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
                bool accumulate, float* c) const;
  PanelSource Convert(const Weight& head, Workspace* workspace) const;
  PanelSource Gather(std::span<const size_t> rows) const;

  const float* const hidden_;
  const size_t V_, D_;
  const DType type_;
  PanelSource head_, x_;
  float* x_memory_ = nullptr;  // [chunk, D] in type_
  float* d_x_ = nullptr;       // [chunk, D]
};

// Rows with mask 1 (all if it is null); the others get a loss and a gradient of 0 where those are wanted (not null).
// Targets of kept rows are checked.
std::vector<size_t> KeptRows(const int32_t* targets, const uint8_t* mask, size_t T, size_t V,
                             size_t D, double* row_losses, float* d_hidden);

}  // namespace planish

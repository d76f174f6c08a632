// SPDX-License-Identifier: Apache-2.0
// The linear layers of one block by what they read, where a scale of their input channels can be hidden, and statistics of
// those inputs over calibration rows.
//   y = W x = (W diag(s)) (x / s):   x / s comes for free where the layer before x can be divided by s:
//   block norm         q, k, v; gate, up; Mamba-2's in_proj; linear
//   Mamba-2's norm     out_proj (the gated norm's weight is per channel)
//   rows of v_proj     o_proj; the query heads of a KV head share one s
//   rows of up_proj    down_proj: SwiGLU is linear in up; relu^2 takes the square root of s
#pragma once

#include <vector>

#include "model/model.h"
#include "model/rows_view.h"

namespace planish {

struct InputGroup {
  enum class Fold { kNorm, kUpRows, kUpRowsSquared, kValueRows };
  std::vector<Param> products;  // read the same x [T, in]; at least one
  Fold fold = Fold::kNorm;
  Tensor* norm = nullptr;                        // kNorm: [in], divided by s
  Param provider;                                // others: the matrix whose rows are divided
  size_t heads = 0, kv_heads = 0, head_dim = 0;  // kValueRows
  size_t in() const { return products.front().shape.last(); }
};
// In the order in which the block computes them.
std::vector<InputGroup> InputGroupsOf(Model* model, size_t block);

struct InputStatistics {
  explicit InputStatistics(size_t in);
  void Add(size_t T, const RowsView& x);
  // As if x had been divided by s.
  void Divide(const std::vector<float>& s);
  // Means of |x| and largest |x| with the channels that must share one s made equal (their mean, their largest).
  std::vector<float> MeanAbs(const InputGroup& group) const;
  std::vector<float> MaxAbs(const InputGroup& group) const;

  Tensor gram;                  // [in, in] sum of x x^T
  std::vector<double> abs_sum;  // [in]
  std::vector<float> abs_max;   // [in]
  size_t tokens = 0;
};

}  // namespace planish

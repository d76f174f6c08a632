// SPDX-License-Identifier: Apache-2.0
// AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", algorithm 2) in one pass over memory. With
// g = grad * grad_scale at step k = 1, 2, ...:
//   m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g^2
//   value <- value - ( lr / (1 - beta1^k) * m / (sqrt(v / (1 - beta2^k)) + epsilon) + lr weight_decay value )
// The decay is part of the one subtraction: a factor 1 - lr weight_decay would lose most of its digits at small rates.
#pragma once

#include <cstddef>
#include <cstdint>

namespace planish {

struct AdamWConstants {
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
};

// One step's numbers as the kernel uses them, each rounded once from its double formula.
struct AdamWStep {
  float grad_scale;
  float beta1, one_minus_beta1;
  float beta2, one_minus_beta2;
  float epsilon;
  float step_size;          // lr / (1 - beta1^k)
  float second_correction;  // 1 / sqrt(1 - beta2^k)
  float decay;              // lr weight_decay
};
AdamWStep MakeAdamWStep(const AdamWConstants& constants, uint64_t k, double lr, double weight_decay,
                        double grad_scale);

// grad, value, m, v: [n], no alignment needed, no overlap. Every element's bits depend on that element alone, wherever it
// stands. The gradient must be finite. On the calling thread: the caller spreads pieces over the team.
void AdamW(const AdamWStep& step, const float* grad, size_t n, float* value, float* m,
           float* v) noexcept;
// m as bf16, rounded to nearest even after its update; the step itself uses m before that rounding.
void AdamW(const AdamWStep& step, const float* grad, size_t n, float* value, uint16_t* m,
           float* v) noexcept;

}  // namespace planish

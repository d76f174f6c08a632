// SPDX-License-Identifier: Apache-2.0
// Divergence of a student's next-token distribution q from a teacher's p, and its gradient (compress.md 4). For a row of
// student logits x [V], teacher logits y [V], temperature tau and target t, with p = softmax(y / tau), q = softmax(x / tau):
//   loss = ce (lse(x) - x_t) + forward tau^2 KL(p || q) + reverse tau^2 KL(q || p)
//   dx_v = ce (softmax(x)_v - [v = t]) + forward tau (q_v - p_v) + reverse tau q_v (log(q_v / p_v) - KL(q || p)).
// A teacher may be given by its k likeliest ids instead, with log-probabilities at this temperature and the mass of all other
// ids; those form one bucket, of the student too: sum_i p_i log(p_i / q_i) + r log(r / (1 - sum_i q_i)); forward only.
// Exponentials are float, sums float over 1024 at a time and double over those. Probabilities below exp(-86) of the greatest
// count as 0. Equal rows give a divergence and a gradient of exactly 0. A row whose student or teacher has NaN or +infinity, or
// nothing but -infinity, has loss NaN and a gradient of NaN.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cross_entropy.h"  // CrossEntropyGradient

namespace planish {

struct DistillationTerms {
  float ce = 0, forward = 1, reverse = 0;
  float temperature = 1;  // above 0
};

struct DistillationRow {
  double loss = 0;  // by the terms
  double ce = 0;    // nats, at temperature 1
  double forward = 0,
         reverse = 0;  // KL, without tau^2; reverse is 0 where it is not among the terms
  double teacher_ce =
      0;  // of the teacher itself, at temperature tau; 0 where likeliest ids are given
  bool agrees = false;  // student and teacher have the same first choice
};

// Rows of a teacher that is known by its k likeliest ids.
struct LikeliestIds {
  size_t k = 0;
  const uint32_t* ids = nullptr;     // [R, k] below V, no id twice, the likeliest first
  const float* log_probs = nullptr;  // [R, k]
  const float* rest = nullptr;       // [R]: probability of all other ids
  float* scratch = nullptr;          // [R, k]
};

struct DistillationRows {
  float* student = nullptr;        // [R, V] logits, rows `stride` floats apart; overwritten
  const float* teacher = nullptr;  // [R, V] logits, rows V apart; null: likeliest
  LikeliestIds likeliest;
  size_t stride = 0;
  const int32_t* targets = nullptr;  // [R], each in [0, V)
  DistillationTerms terms;
  size_t R = 0, V = 0;
  DistillationRow* results = nullptr;  // [R]
};

// Leaves in `student` what `gradient` says. On the thread team, by rows: a row's bits depend on the row only (per
// instruction-set level).
void Distillation(const DistillationRows& rows, CrossEntropyGradient gradient) noexcept;

// The k likeliest ids of a row of teacher logits [V] at a temperature, in falling order (of equals the lower id first), k <= V;
// returns the mass of all others. The row must be finite. May throw std::bad_alloc.
double LikeliestOf(const float* logits, size_t V, float temperature, size_t k, uint32_t* ids,
                   float* log_probs);

}  // namespace planish

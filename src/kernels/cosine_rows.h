// SPDX-License-Identifier: Apache-2.0
// How far rows point from their references: loss_t = 1 - a_t . b_t / (|a_t| |b_t|), a row of zeros counting as a cosine of 0.
// Gradient: da_t += weight * ((a_t . b_t) a_t / |a_t|^2 - b_t) / (|a_t| |b_t|). Sums are float.
#pragma once

#include <cstddef>
#include <cstdint>

namespace planish {

// a, b: [T, D]; mask: [T] or null: rows of mask 0 are left out (loss 0, no gradient). losses: [T], assigned. da: [T, D], added to,
// or null. On the thread team, by rows: a row's bits depend on the row only (per instruction-set level).
void CosineRows(const float* a, const float* b, const uint8_t* mask, size_t T, size_t D,
                double weight, double* losses, float* da) noexcept;

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Activations as int8 (performance.md K2): each group of 32 inputs of a token has the scale amax / 127 and the codes
// round(x * (127 / amax)), half to even; a group of zeros (or below 2^-100) has scale 0 and codes 0; a group with a value that
// is not finite has scale NaN and codes 0, so that every product with it is NaN and nothing is wrong in silence. The same bits
// on every instruction set. Tokens stand in panels of `height` so that a kernel reads one panel's groups as one stream; the
// last panel, and inputs beyond a multiple of 32, are padded with zeros.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/memory.h"

namespace planish {

// A panel of `height` tokens. In group g, token t of the panel has 32 codes at codes + (g * height + t) * 32, and one entry at
// [g * height + t] of each array; halves has two: [(2 g + h) * height + t].
struct Int8Panel {
  size_t height;
  const int8_t* codes;
  const float* scales;
  const float* scaled_sums;  // scale * (sum of the codes): what a minimum is multiplied with
  const int32_t*
      minus_8_sums;  // - 8 * (sum of the codes): where a sum over codes with zero 8 starts
  const int32_t* minus_128_sums;    // -128 * (sum of the codes)
  const int32_t* minus_128_halves;  // -128 * (sum of codes 0-15), -128 * (sum of codes 16-31)

  // The same from group g on.
  Int8Panel From(size_t g) const {
    const size_t n = g * height;
    return {height,
            codes + n * 32,
            scales + n,
            scaled_sums + n,
            minus_8_sums + n,
            minus_128_sums + n,
            minus_128_halves + 2 * n};
  }
};

// All panels of some rows; its memory grows to the largest use and is kept.
class Int8Rows {
 public:
  // Room for T rows of K floats in panels of `height`; the padding tokens are zero.
  void Reserve(size_t T, size_t K, size_t height);
  // Quantises row t of x [T, K]. Rows may be quantised in any order and by several threads.
  void Quantize(const float* row, size_t t) noexcept;

  size_t tokens() const { return tokens_; }
  size_t groups() const { return groups_; }
  size_t height() const { return height_; }
  size_t panels() const { return (tokens_ + height_ - 1) / height_; }
  Int8Panel panel(size_t p) const;

 private:
  size_t tokens_ = 0, inputs_ = 0, groups_ = 0, height_ = 1;
  AlignedBuffer buffer_;
};

// Rows 0..T-1 of x [T, K], on the team if that is worth it.
void QuantizeRows(const float* x, size_t T, size_t K, size_t height, Int8Rows* rows);

}  // namespace planish

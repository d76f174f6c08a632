// SPDX-License-Identifier: Apache-2.0
// One task of the causal convolution of conv1d.h: some rows of a block of channels. Included once per target.
#if defined(PLANISH_KERNELS_CONV1D_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLANISH_KERNELS_CONV1D_INL_H_
#undef PLANISH_KERNELS_CONV1D_INL_H_
#else
#define PLANISH_KERNELS_CONV1D_INL_H_
#endif

#include "kernels/conv1d.h"
#include "kernels/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// A block of channels of one run; the pointers stand at its first channel. Elem: float or uint16_t (bf16).
template <class Elem>
struct ConvBlock {
  const Elem* x;  // [T, channels], row 0 follows the history
  size_t x_stride;
  const Elem* history;  // [W-1, channels] or null: zeros
  size_t history_stride;
  const float* w;  // [W, channels]
  size_t w_stride;
  const float* bias;  // [channels] or null
  size_t width;       // W
  size_t channels;
  const Elem* Row(size_t t, size_t k) const {  // input of tap k of row t; null: zeros
    const size_t row = t + k;
    if (row >= width - 1) return x + (row - (width - 1)) * x_stride;
    return history != nullptr ? history + row * history_stride : nullptr;
  }
};

// kTokens rows of four taps; rows: the kTokens + 3 inputs. An input is loaded once for the rows it belongs to.
template <size_t kTokens, class Elem>
HWY_INLINE void ConvFourTaps(const ConvBlock<Elem>& b, const Elem* const* rows, Elem* out,
                             size_t out_stride) {
  const FloatTag d;
  ForEachTyped(b.channels, [&](size_t c, auto load, auto store) HWY_ATTR {
    FloatVec w[4], in[kTokens + 3];
#pragma GCC unroll 4
    for (size_t k = 0; k < 4; ++k) w[k] = load(b.w + k * b.w_stride + c);
#pragma GCC unroll 16
    for (size_t i = 0; i < kTokens + 3; ++i) in[i] = load(rows[i] + c);
    const FloatVec bias = b.bias != nullptr ? load(b.bias + c) : hn::Zero(d);
#pragma GCC unroll 16
    for (size_t t = 0; t < kTokens; ++t) {
      FloatVec sum = bias;
#pragma GCC unroll 4
      for (size_t k = 0; k < 4; ++k) sum = hn::MulAdd(w[k], in[t + k], sum);
      store(SiluOf(d, sum), out + t * out_stride + c);
    }
  });
}

template <class Elem>
HWY_INLINE void ConvAnyTaps(const ConvBlock<Elem>& b, size_t t, Elem* out) {
  const FloatTag d;
  ForEachTyped(b.channels, [&](size_t c, auto load, auto store) HWY_ATTR {
    FloatVec sum = b.bias != nullptr ? load(b.bias + c) : hn::Zero(d);
    for (size_t k = 0; k < b.width; ++k) {
      // A missing history multiplies zeros, so that it gives the bits of a history of zeros.
      const Elem* row = b.Row(t, k);
      sum = hn::MulAdd(load(b.w + k * b.w_stride + c), row != nullptr ? load(row + c) : hn::Zero(d),
                       sum);
    }
    store(SiluOf(d, sum), out + c);
  });
}

// Rows [begin, end); out: row `begin`, rows out_stride apart.
template <class Elem>
void ConvTokens(const ConvBlock<Elem>& b, size_t begin, size_t end, Elem* out, size_t out_stride) {
  constexpr size_t kTokens = kLanes >= 16 ? 4 : 2;  // 4 + 7 + sums of 32 registers, 4 + 5 of 16
  for (size_t t = begin; t < end; out += out_stride) {
    if (b.width != 4 || b.Row(t, 0) == nullptr) {
      ConvAnyTaps(b, t++, out);
      continue;
    }
    const size_t count = std::min(kTokens, end - t);
    const Elem* rows[kTokens + 3];
    for (size_t i = 0; i < count + 3; ++i) rows[i] = b.Row(t, i);
    if (count == kTokens) {
      ConvFourTaps<kTokens>(b, rows, out, out_stride);
      out += (kTokens - 1) * out_stride;
      t += kTokens;
    } else {
      ConvFourTaps<1>(b, rows, out, out_stride);
      ++t;
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#endif  // PLANISH_KERNELS_CONV1D_INL_H_

// SPDX-License-Identifier: Apache-2.0
// See conv1d_backward.h. A task takes a block of rows through a block of channels: g of its rows, and again of the W-1 rows below,
// into scratch, then dx from that. (Walking down the rows a vector of channels at a time, with everything in registers, took a
// fifth longer: neighbouring rows lie pages apart.)
#include "kernels/conv1d_backward.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/scratch.h"
#include "kernels/simd_targets.h"
#include "kernels/team_work.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv1d_backward.cc"
#include "hwy/foreach_target.h"
#include "kernels/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// silu'(a) = sigma(a) (1 + a (1 - sigma(a)))
HWY_INLINE FloatVec SiluSlopeOf(FloatTag d, FloatVec a) {
  const FloatVec one = hn::Set(d, 1.0f), sigmoid = SigmoidOf(d, a);
  return hn::Mul(sigmoid, hn::MulAdd(a, hn::Sub(one, sigmoid), one));
}

constexpr size_t kMaxWidth = 16;
// Places for W values. kWidth: W, or 0 for any W.
template <size_t kWidth>
constexpr size_t kSlots = kWidth != 0 ? kWidth : kMaxWidth;
// A window of W and the kRows - 1 rows after it.
template <size_t kWidth, size_t kRows>
constexpr size_t kSpan = kSlots<kWidth> + kRows - 1;

// Rows [begin, end) of channels [0, count), to which all pointers are shifted.
struct Block {
  const ConvBackwardJob& job;
  const float* w;     // [W, C]
  const float* bias;  // or null
  size_t C, W;
  size_t begin, end, c0, count;
  const void* zeros;  // [count] of the type of x
  float* g;           // [end - begin + W - 1, count]: of the rows from `begin` on
  float* dw;          // [W, C] sums of the block
  float* db;          // [C]
};

// g of kRows rows from t on, and with kSums what they add to dw and db.
template <size_t kWidth, size_t kRows, bool kSums, class Elem>
HWY_INLINE void OuterGradients(const Block& b, size_t t) {
  const FloatTag d;
  const size_t W = kWidth != 0 ? kWidth : b.W;
  const ConvBackwardJob& job = b.job;
  const Elem* x[kSpan<kWidth, kRows>];
  for (size_t i = 0; i + 1 < kRows + W; ++i) {
    const bool is_there = t + i + std::min(job.before, W - 1) >= W - 1;
    const ptrdiff_t row = static_cast<ptrdiff_t>(t + i) - static_cast<ptrdiff_t>(W - 1);
    x[i] = is_there
               ? static_cast<const Elem*>(job.x) + b.c0 + row * static_cast<ptrdiff_t>(job.x_stride)
               : static_cast<const Elem*>(b.zeros);
  }
  const float* dout = job.dout + t * job.dout_stride + b.c0;
  float* g = b.g + (t - b.begin) * b.count;
  ForEachTyped(b.count, [&](size_t c, auto load, auto store) HWY_ATTR {
    FloatVec in[kSpan<kWidth, kRows>], w[kSlots<kWidth>], slope[kRows];
#pragma GCC unroll 16
    for (size_t i = 0; i + 1 < kRows + W; ++i) in[i] = load(x[i] + c);
#pragma GCC unroll 16
    for (size_t k = 0; k < W; ++k) w[k] = load(b.w + k * b.C + c);
    const FloatVec bias = b.bias != nullptr ? load(b.bias + c) : hn::Zero(d);
#pragma GCC unroll 16
    for (size_t r = 0; r < kRows; ++r) {
      FloatVec pre = bias;
#pragma GCC unroll 16
      for (size_t k = 0; k < W; ++k) pre = hn::MulAdd(w[k], in[r + k], pre);
      slope[r] = hn::Mul(load(dout + r * job.dout_stride + c), SiluSlopeOf(d, pre));
      store(slope[r], g + r * b.count + c);
    }
    if constexpr (kSums) {
#pragma GCC unroll 16
      for (size_t k = 0; k < W; ++k) {
        FloatVec sum = load(b.dw + k * b.C + c);
#pragma GCC unroll 16
        for (size_t r = 0; r < kRows; ++r) sum = hn::MulAdd(slope[r], in[r + k], sum);
        store(sum, b.dw + k * b.C + c);
      }
      FloatVec sum = load(b.db + c);
#pragma GCC unroll 16
      for (size_t r = 0; r < kRows; ++r) sum = hn::Add(sum, slope[r]);
      store(sum, b.db + c);
    }
  });
}

// dx of kRows rows from t on.
template <size_t kWidth, size_t kRows, class Elem>
HWY_INLINE void InputGradients(const Block& b, size_t t) {
  const FloatTag d;
  const size_t W = kWidth != 0 ? kWidth : b.W;
  const float* g = b.g + (t - b.begin) * b.count;
  Elem* dx = static_cast<Elem*>(b.job.dx) + t * b.job.dx_stride + b.c0;
  ForEachTyped(b.count, [&](size_t c, auto load, auto store) HWY_ATTR {
    FloatVec rows[kSpan<kWidth, kRows>], w[kSlots<kWidth>];
#pragma GCC unroll 16
    for (size_t i = 0; i + 1 < kRows + W; ++i) rows[i] = load(g + i * b.count + c);
#pragma GCC unroll 16
    for (size_t k = 0; k < W; ++k) w[k] = load(b.w + k * b.C + c);
#pragma GCC unroll 16
    for (size_t r = 0; r < kRows; ++r) {
      FloatVec sum = hn::Zero(d);
#pragma GCC unroll 16
      for (size_t k = 0; k < W; ++k) sum = hn::MulAdd(w[k], rows[r + W - 1 - k], sum);
      store(sum, dx + r * b.job.dx_stride + c);
    }
  });
}

template <size_t kWidth, class Elem>
void RunBlock(const Block& b) {
  constexpr size_t kTile = 4;
  const ConvBackwardJob& job = b.job;
  const size_t below = b.end + b.W - 1;  // rows up to here reach into the block's dx
  size_t t = b.begin;
  for (; t + kTile <= b.end; t += kTile) OuterGradients<kWidth, kTile, true, Elem>(b, t);
  for (; t < b.end; ++t) OuterGradients<kWidth, 1, true, Elem>(b, t);
  for (; t < std::min(below, job.T); ++t) OuterGradients<kWidth, 1, false, Elem>(b, t);
  for (; t < below; ++t) {
    float* g = b.g + (t - b.begin) * b.count;
    if (job.g_behind != nullptr) {
      std::copy_n(job.g_behind + (t - job.T) * b.C + b.c0, b.count, g);
    } else {
      std::fill_n(g, b.count, 0.0f);
    }
  }
  for (size_t k = 0; k + 1 < b.W && b.begin == 0 && job.g_front != nullptr; ++k)
    std::copy_n(b.g + k * b.count, b.count, job.g_front + k * b.C + b.c0);
  for (t = b.begin; t + kTile <= b.end; t += kTile) InputGradients<kWidth, kTile, Elem>(b, t);
  for (; t < b.end; ++t) InputGradients<kWidth, 1, Elem>(b, t);
}

// sums: [W + 1, C]: dw, then db, of channels [c0, c0 + count). scratch: kScratch floats.
void BackwardBlock(const ConvBackwardJob& job, const ConvDims& dims, const float* w,
                   const float* bias, size_t begin, size_t end, size_t c0, size_t count,
                   float* sums, float* scratch) {
  std::fill_n(scratch, count, 0.0f);
  Block block{job,
              w + c0,
              bias != nullptr ? bias + c0 : nullptr,
              dims.channels,
              dims.width,
              begin,
              end,
              c0,
              count,
              scratch,
              scratch + count,
              sums + c0,
              sums + dims.width * dims.channels + c0};
  for (size_t k = 0; k <= dims.width; ++k) std::fill_n(sums + k * dims.channels + c0, count, 0.0f);
  if (job.type == DType::kF32) {
    dims.width == 4 ? RunBlock<4, float>(block) : RunBlock<0, float>(block);
  } else {
    dims.width == 4 ? RunBlock<4, uint16_t>(block) : RunBlock<0, uint16_t>(block);
  }
}

void AddBlocks(const float* blocks, size_t count, size_t stride, size_t n, float* sum) {
  ForEachVector(n, [=](size_t i, auto load, auto store) HWY_ATTR {
    FloatVec total = load(sum + i);
    for (size_t b = 0; b < count; ++b) total = hn::Add(total, load(blocks + b * stride + i));
    store(total, sum + i);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(BackwardBlock);
HWY_EXPORT(AddBlocks);

void CausalConv1dBackward(const ConvDims& dims, const float* w, const float* bias,
                          std::span<const ConvBackwardJob> jobs, float* dw, float* db) {
  PLANISH_CHECK(dims.width >= 1 && dims.width <= 16, "convolution over {} tokens", dims.width);
  // 64 rows: the W-1 rows computed twice are 5 %.
  constexpr size_t kRows = 64, kChannels = 256, kScratch = (kRows + 16) * kChannels;
  struct RowBlock {
    size_t job, begin;
  };
  static thread_local std::vector<RowBlock> blocks;
  static thread_local Scratch memory, thread_memory;
  blocks.clear();
  size_t rows = 0;
  for (size_t j = 0; j < jobs.size(); ++j) {
    rows += jobs[j].T;
    for (size_t begin = 0; begin < jobs[j].T; begin += kRows) blocks.push_back({j, begin});
  }
  if (blocks.empty() || dims.channels == 0) return;
  const size_t C = dims.channels, W = dims.width, sums_size = (W + 1) * C;
  float* sums = memory.Floats(blocks.size() * sums_size);
  const size_t channel_tasks = (C + kChannels - 1) / kChannels;
  const std::vector<RowBlock>& list = blocks;
  float* scratch = thread_memory.Floats(static_cast<size_t>(ThreadCount()) * kScratch);
  ParallelForWork(
      list.size() * channel_tasks, rows * C * 16, [&, sums, scratch](size_t task, int thread) {
        const size_t index = task / channel_tasks, c0 = task % channel_tasks * kChannels;
        const ConvBackwardJob& job = jobs[list[index].job];
        const size_t begin = list[index].begin;
        HWY_DYNAMIC_DISPATCH(BackwardBlock)
        (job, dims, w, bias, begin, std::min(job.T, begin + kRows), c0, std::min(C - c0, kChannels),
         sums + index * sums_size, scratch + static_cast<size_t>(thread) * kScratch);
      });
  const size_t parts = (C + kChannels - 1) / kChannels;
  ParallelForWork((W + 1) * parts, list.size() * sums_size, [&, sums](size_t task, int) {
    const size_t k = task / parts, c0 = task % parts * kChannels;
    const size_t n = std::min(kChannels, C - c0);
    float* to = (k < W ? dw + k * C : db) + c0;
    HWY_DYNAMIC_DISPATCH(AddBlocks)(sums + k * C + c0, list.size(), sums_size, n, to);
  });
}

}  // namespace planish
#endif  // HWY_ONCE

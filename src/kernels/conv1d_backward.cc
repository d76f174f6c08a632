// SPDX-License-Identifier: Apache-2.0
// See conv1d_backward.h. A task takes a block of rows through a block of channels, a vector of channels at a time: taps, the last
// W inputs, the last W values of g and the sums stay in registers while it walks down the rows. g of the W-1 rows below the block
// is computed again.
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

struct Strip {
  const ConvBackwardJob& job;
  const float* w;     // [W, C]
  const float* bias;  // or null
  size_t C, W;
  size_t begin, end;  // rows
  float* dw;          // [W, C] sums of the block
  float* db;          // [C]
};

// Channels [c, c + kLanes), or the first `count` of them. kWidth: W, or 0 for any W (up to kMaxWidth).
constexpr size_t kMaxWidth = 16;
template <size_t kWidth, bool kWhole, class Elem>
HWY_INLINE void WalkStrip(const Strip& s, size_t c, size_t count) {
  const FloatTag d;
  constexpr size_t kSlots = kWidth != 0 ? kWidth : kMaxWidth;
  const size_t W = kWidth != 0 ? kWidth : s.W;
  const auto load = [&](const auto* p) HWY_ATTR {
    if constexpr (kWhole) return LoadAs(p);
    return LoadTailAs(p, count);
  };
  const auto store = [&](FloatVec v, auto* p) HWY_ATTR {
    if constexpr (kWhole) return StoreAs(v, p);
    return StoreTailAs(v, p, count);
  };
  const ConvBackwardJob& job = s.job;
  const Elem* x = static_cast<const Elem*>(job.x) + c;
  Elem* dx = static_cast<Elem*>(job.dx) + c;
  FloatVec w[kSlots], in[kSlots], g[kSlots], dw[kSlots], db = hn::Zero(d);
  for (size_t k = 0; k < W; ++k) {
    w[k] = load(s.w + k * s.C + c);
    dw[k] = g[k] = hn::Zero(d);
  }
  const FloatVec bias = s.bias != nullptr ? load(s.bias + c) : hn::Zero(d);
  // in[1 .. W-1] are the W-1 inputs before row `begin`.
  in[0] = hn::Zero(d);
  for (size_t k = 1; k < W; ++k) {
    const size_t back = W - k;  // rows above `begin`
    in[k] = s.begin + std::min(job.before, W - 1) >= back
                ? load(x + static_cast<ptrdiff_t>(s.begin * job.x_stride) -
                       static_cast<ptrdiff_t>(back * job.x_stride))
                : hn::Zero(d);
  }
  for (size_t t = s.begin; t < s.end + W - 1; ++t) {
#pragma GCC unroll 16
    for (size_t k = 0; k + 1 < W; ++k) g[k] = g[k + 1];
    if (t < job.T) {
#pragma GCC unroll 16
      for (size_t k = 0; k + 1 < W; ++k) in[k] = in[k + 1];
      in[W - 1] = load(x + t * job.x_stride);
      if constexpr (kWhole) {
        // The next strip, which stands beside this one in every row: too far apart for the hardware to guess.
        __builtin_prefetch(x + t * job.x_stride + 2 * kLanes);
        __builtin_prefetch(job.dout + t * job.dout_stride + c + kLanes);
      }
      FloatVec pre = bias;
#pragma GCC unroll 16
      for (size_t k = 0; k < W; ++k) pre = hn::MulAdd(w[k], in[k], pre);
      g[W - 1] = hn::Mul(load(job.dout + t * job.dout_stride + c), SiluSlopeOf(d, pre));
      if (t < s.end) {
        db = hn::Add(db, g[W - 1]);
#pragma GCC unroll 16
        for (size_t k = 0; k < W; ++k) dw[k] = hn::MulAdd(g[W - 1], in[k], dw[k]);
      }
      if (job.g_front != nullptr && t + 1 < W) store(g[W - 1], job.g_front + t * s.C + c);
    } else {
      g[W - 1] = job.g_behind != nullptr ? load(job.g_behind + (t - job.T) * s.C + c) : hn::Zero(d);
      if (job.g_front != nullptr && t + 1 < W) store(g[W - 1], job.g_front + t * s.C + c);
    }
    if (t + 1 < s.begin + W) continue;
    // g[k] is of row t - W + 1 + k, and row t - W + 1 has all it needs.
    FloatVec sum = hn::Zero(d);
#pragma GCC unroll 16
    for (size_t k = 0; k < W; ++k) sum = hn::MulAdd(w[k], g[W - 1 - k], sum);
    store(sum, dx + (t + 1 - W) * job.dx_stride);
  }
  for (size_t k = 0; k < W; ++k) store(dw[k], s.dw + k * s.C + c);
  store(db, s.db + c);
}

template <size_t kWidth, class Elem>
void WalkBlock(const Strip& s, size_t c0, size_t c1) {
  size_t c = c0;
  for (; c + kLanes <= c1; c += kLanes) WalkStrip<kWidth, true, Elem>(s, c, kLanes);
  if (c < c1) WalkStrip<kWidth, false, Elem>(s, c, c1 - c);
}

// sums: [W + 1, C]: dw, then db.
void BackwardBlock(const ConvBackwardJob& job, const ConvDims& dims, const float* w,
                   const float* bias, size_t begin, size_t end, size_t c0, size_t c1, float* sums) {
  const Strip strip{
      job, w, bias, dims.channels, dims.width, begin, end, sums, sums + dims.width * dims.channels};
  if (job.type == DType::kF32) {
    dims.width == 4 ? WalkBlock<4, float>(strip, c0, c1) : WalkBlock<0, float>(strip, c0, c1);
  } else {
    dims.width == 4 ? WalkBlock<4, uint16_t>(strip, c0, c1) : WalkBlock<0, uint16_t>(strip, c0, c1);
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
  // 64 rows: the W-1 rows computed twice are 5 %, and a strip of them stays in L1 for its neighbour.
  constexpr size_t kRows = 64, kChannels = 512;
  struct Block {
    size_t job, begin;
  };
  static thread_local std::vector<Block> blocks;
  static thread_local Scratch memory;
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
  const std::vector<Block>& list = blocks;
  ParallelForWork(list.size() * channel_tasks, rows * C * 16, [&, sums](size_t task, int) {
    const size_t index = task / channel_tasks, c0 = task % channel_tasks * kChannels;
    const ConvBackwardJob& job = jobs[list[index].job];
    const size_t begin = list[index].begin;
    HWY_DYNAMIC_DISPATCH(BackwardBlock)
    (job, dims, w, bias, begin, std::min(job.T, begin + kRows), c0, std::min(C, c0 + kChannels),
     sums + index * sums_size);
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

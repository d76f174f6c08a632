// SPDX-License-Identifier: Apache-2.0
// Depthwise causal convolution; see conv1d.h.
#include "kernels/conv1d.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv1d.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// Rows [begin, end) of channels [0, C) at offset `c0` of every row.
void ConvRows(const ConvJob& job, const float* w, const float* bias, size_t channels, size_t width,
              size_t begin, size_t end, size_t c0, size_t C) {
  const FloatTag d;
  for (size_t t = begin; t < end; ++t) {
    float* out = job.out + t * job.out_stride + c0;
    const size_t history_taps = t < width - 1 ? width - 1 - t : 0;
    ForEachVector(C, [&](size_t c, auto load, auto store) HWY_ATTR {
      FloatVec sum = bias != nullptr ? load(bias + c0 + c) : hn::Zero(d);
      for (size_t k = 0; k < history_taps; ++k) {
        // A missing history multiplies zeros, so that it gives the bits of a history of zeros.
        const FloatVec in =
            job.history != nullptr ? load(job.history + (t + k) * channels + c0 + c) : hn::Zero(d);
        sum = hn::MulAdd(load(w + k * channels + c0 + c), in, sum);
      }
      for (size_t k = history_taps; k < width; ++k) {
        const FloatVec in = load(job.x + (t + k - (width - 1)) * job.x_stride + c0 + c);
        sum = hn::MulAdd(load(w + k * channels + c0 + c), in, sum);
      }
      store(SiluOf(d, sum), out + c);
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(ConvRows);

void CausalConv1d(const ConvDims& dims, const float* w, const float* bias,
                  std::span<const ConvJob> jobs) {
  // A task is up to 32 rows of up to 2048 channels of one job: its weights stay in L1, and one decoded token of a 9B
  // layer (12,288 channels) still cuts into six.
  constexpr size_t kRows = 32, kChannels = 2048;
  const size_t channel_tasks = (dims.channels + kChannels - 1) / kChannels;
  size_t most_rows = 0, total_rows = 0;
  for (const ConvJob& job : jobs) {
    most_rows = std::max(most_rows, job.T);
    total_rows += job.T;
  }
  if (total_rows == 0 || channel_tasks == 0) return;
  const size_t row_tasks = (most_rows + kRows - 1) / kRows;
  const auto run = [&](size_t task, int) {
    const size_t c0 = task % channel_tasks * kChannels;
    const size_t begin = task / channel_tasks % row_tasks * kRows;
    const ConvJob& job = jobs[task / channel_tasks / row_tasks];
    if (begin >= job.T) return;
    HWY_DYNAMIC_DISPATCH(ConvRows)
    (job, w, bias, dims.channels, dims.width, begin, std::min(job.T, begin + kRows), c0,
     std::min(kChannels, dims.channels - c0));
  };
  const size_t tasks = jobs.size() * row_tasks * channel_tasks;
  if (total_rows * dims.channels <= kChannels) {  // less work than entering a parallel region
    for (size_t task = 0; task < tasks; ++task) run(task, 0);
  } else {
    ParallelFor(tasks, run);
  }
}

void CausalConv1d(const float* x, size_t x_stride, const float* history, const float* w,
                  const float* bias, size_t T, size_t C, size_t W, float* out, size_t out_stride) {
  const ConvJob job{x, x_stride, history, T, out, out_stride};
  CausalConv1d(ConvDims{C, W}, w, bias, {&job, 1});
}

void UpdateConvHistory(const float* x, size_t x_stride, size_t T, size_t C, size_t W,
                       float* history) noexcept {
  const size_t rows = W - 1;
  const size_t kept = T < rows ? rows - T : 0;  // of the old history
  if (kept > 0 && T > 0) std::memmove(history, history + T * C, kept * C * sizeof(float));
  for (size_t i = kept; i < rows; ++i) {
    std::memcpy(history + i * C, x + (T - rows + i) * x_stride, C * sizeof(float));
  }
}

void TransposeConvWeight(const float* w, size_t C, size_t W, float* out) noexcept {
  for (size_t c = 0; c < C; ++c) {
    for (size_t k = 0; k < W; ++k) out[k * C + c] = w[c * W + k];
  }
}

}  // namespace planish
#endif  // HWY_ONCE

// SPDX-License-Identifier: Apache-2.0
// Depthwise causal convolution; see conv1d.h.
#include "kernels/conv1d.h"

#include <algorithm>
#include <type_traits>

#include "base/parallel.h"
#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv1d.cc"
#include "hwy/foreach_target.h"
#include "kernels/conv1d-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// Rows [begin, end) of C channels from c0 on.
template <class Elem>
void ConvRows(const ConvJob& job, const ConvDims& dims, const float* w, const float* bias,
              size_t begin, size_t end, size_t c0, size_t C) {
  const Elem* history = nullptr;
  size_t before = std::min(job.before, dims.width - 1);
  if constexpr (std::is_same_v<Elem, float>) {
    if (job.history != nullptr) {
      history = job.history + c0;
      before = 0;
    }
  }
  const ConvBlock<Elem> block{static_cast<const Elem*>(job.x) - before * job.x_stride + c0,
                              job.x_stride,
                              history,
                              dims.channels,
                              w + c0,
                              dims.channels,
                              bias != nullptr ? bias + c0 : nullptr,
                              dims.width,
                              C};
  ConvTokens(block, before + begin, before + end,
             static_cast<Elem*>(job.out) + begin * job.out_stride + c0, job.out_stride);
}

void ConvTask(const ConvJob& job, const ConvDims& dims, const float* w, const float* bias,
              size_t begin, size_t end, size_t c0, size_t C) {
  if (job.type == DType::kF32) {
    ConvRows<float>(job, dims, w, bias, begin, end, c0, C);
  } else {
    ConvRows<uint16_t>(job, dims, w, bias, begin, end, c0, C);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(ConvTask);

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
    HWY_DYNAMIC_DISPATCH(ConvTask)
    (job, dims, w, bias, begin, std::min(job.T, begin + kRows), c0,
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
  const ConvJob job{.x = x,
                    .x_stride = x_stride,
                    .history = history,
                    .T = T,
                    .out = out,
                    .out_stride = out_stride};
  CausalConv1d(ConvDims{C, W}, w, bias, {&job, 1});
}

void TransposeConvWeight(const float* w, size_t C, size_t W, float* out) noexcept {
  for (size_t c = 0; c < C; ++c) {
    for (size_t k = 0; k < W; ++k) out[k * C + c] = w[c * W + k];
  }
}

}  // namespace planish
#endif  // HWY_ONCE

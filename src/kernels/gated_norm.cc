// SPDX-License-Identifier: Apache-2.0
#include "kernels/gated_norm.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/scratch.h"
#include "kernels/simd_targets.h"
#include "kernels/team_work.h"

#ifndef PLANISH_KERNELS_GATED_NORM_CC_ONCE
#define PLANISH_KERNELS_GATED_NORM_CC_ONCE
namespace planish {
namespace {

struct NormGradients {
  float* dn;  // becomes dy
  void* n;
  void* dz;
  size_t dz_stride;
};

}  // namespace
}  // namespace planish
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gated_norm.cc"
#include "hwy/foreach_target.h"
#include "kernels/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// u = y silu(z) of one group into u, [m] floats; returns 1 / r. With `dn`: dot = sum dn w u.
template <bool kBackward, class Elem>
HWY_INLINE float GateRow(const Elem* y, const Elem* z, const float* w, const float* dn, size_t m,
                         float eps, float* u, float* sigmoid, float* dot) {
  const FloatTag d;
  FloatVec squares = hn::Zero(d), products = hn::Zero(d);
  ForEachTyped(m, [&](size_t i, auto load, auto store) HWY_ATTR {
    const FloatVec gate = load(z + i), s = SigmoidOf(d, gate);
    const FloatVec value = hn::Mul(load(y + i), hn::Mul(gate, s));
    store(value, u + i);
    squares = hn::MulAdd(value, value, squares);
    if constexpr (kBackward) {
      store(s, sigmoid + i);
      products = hn::MulAdd(hn::Mul(load(dn + i), load(w + i)), value, products);
    }
  });
  if constexpr (kBackward) *dot = hn::GetLane(hn::SumOfLanes(d, products));
  const float mean = hn::GetLane(hn::SumOfLanes(d, squares)) / static_cast<float>(m);
  return 1.0f / std::sqrt(mean + eps);
}

template <class Elem>
HWY_INLINE void ScaleRow(const float* u, const float* w, float scale, size_t m, Elem* n) {
  const FloatTag d;
  const FloatVec factor = hn::Set(d, scale);
  ForEachTyped(m, [=](size_t i, auto load, auto store) HWY_ATTR {
    store(hn::Mul(hn::Mul(load(u + i), factor), load(w + i)), n + i);
  });
}

template <class Elem>
void ForwardRowsOf(const GatedNorm& norm, const NormRows& y, const NormRows& z, size_t begin,
                   size_t end, void* n, float* u) {
  const size_t m = norm.d_in / norm.groups;
  for (size_t t = begin; t < end; ++t) {
    for (size_t c = 0; c < norm.d_in; c += m) {
      const Elem* y_row = static_cast<const Elem*>(y.data) + t * y.stride + c;
      const Elem* z_row = static_cast<const Elem*>(z.data) + t * z.stride + c;
      const float scale =
          GateRow<false>(y_row, z_row, norm.w + c, nullptr, m, norm.eps, u, nullptr, nullptr);
      ScaleRow(u, norm.w + c, scale, m, static_cast<Elem*>(n) + t * norm.d_in + c);
    }
  }
}

void ForwardRows(const GatedNorm& norm, DType type, const NormRows& y, const NormRows& z,
                 size_t begin, size_t end, void* n, float* u) {
  if (type == DType::kF32) {
    ForwardRowsOf<float>(norm, y, z, begin, end, n, u);
  } else {
    ForwardRowsOf<uint16_t>(norm, y, z, begin, end, n, u);
  }
}

// scratch: [2, m]; dw: [d_in], added to.
template <class Elem>
void BackwardRowsOf(const GatedNorm& norm, const NormRows& y, const NormRows& z, size_t begin,
                    size_t end, const NormGradients& to, float* scratch, float* dw) {
  const FloatTag d;
  const FloatVec one = hn::Set(d, 1.0f);
  const size_t m = norm.d_in / norm.groups;
  float* u = scratch;
  float* sigmoids = scratch + m;
  for (size_t t = begin; t < end; ++t) {
    for (size_t c = 0; c < norm.d_in; c += m) {
      const Elem* y_row = static_cast<const Elem*>(y.data) + t * y.stride + c;
      const Elem* z_row = static_cast<const Elem*>(z.data) + t * z.stride + c;
      const float* w = norm.w + c;
      float* dn = to.dn + t * norm.d_in + c;
      Elem* n = static_cast<Elem*>(to.n) + t * norm.d_in + c;
      Elem* dz = static_cast<Elem*>(to.dz) + t * to.dz_stride + c;
      float* dw_row = dw + c;
      float dot = 0;
      const float inverse = GateRow<true>(y_row, z_row, w, dn, m, norm.eps, u, sigmoids, &dot);
      const FloatVec scale = hn::Set(d, inverse);
      const FloatVec mean = hn::Set(d, dot * inverse / static_cast<float>(m));  // of dv v
      ForEachTyped(m, [&](size_t i, auto load, auto store) HWY_ATTR {
        const FloatVec v = hn::Mul(load(u + i), scale), weight = load(w + i), grad = load(dn + i);
        store(hn::Mul(v, weight), n + i);
        store(hn::MulAdd(grad, v, load(dw_row + i)), dw_row + i);
        const FloatVec du = hn::Mul(hn::NegMulAdd(v, mean, hn::Mul(grad, weight)), scale);
        const FloatVec s = load(sigmoids + i), gate = load(z_row + i);
        store(hn::Mul(du, hn::Mul(gate, s)), dn + i);
        const FloatVec slope = hn::Mul(s, hn::MulAdd(gate, hn::Sub(one, s), one));
        store(hn::Mul(hn::Mul(du, load(y_row + i)), slope), dz + i);
      });
    }
  }
}

void BackwardRows(const GatedNorm& norm, DType type, const NormRows& y, const NormRows& z,
                  size_t begin, size_t end, const NormGradients& to, float* scratch, float* dw) {
  std::fill_n(dw, norm.d_in, 0.0f);
  if (type == DType::kF32) {
    BackwardRowsOf<float>(norm, y, z, begin, end, to, scratch, dw);
  } else {
    BackwardRowsOf<uint16_t>(norm, y, z, begin, end, to, scratch, dw);
  }
}

void AddRow(const float* row, size_t n, float* sum) {
  ForEachVector(n, [=](size_t i, auto load, auto store)
                       HWY_ATTR { store(hn::Add(load(sum + i), load(row + i)), sum + i); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(ForwardRows);
HWY_EXPORT(BackwardRows);
HWY_EXPORT(AddRow);

namespace {
constexpr size_t kRows = 32;  // per task
}

void GatedNormForward(const GatedNorm& norm, DType type, const NormRows& y, const NormRows& z,
                      size_t T, void* n) {
  if (T == 0 || norm.d_in == 0) return;
  PLANISH_DCHECK(norm.groups > 0 && norm.d_in % norm.groups == 0);
  static thread_local Scratch memory;
  const size_t floats = RoundUpToLine(norm.d_in / norm.groups);
  float* scratch = memory.Floats(static_cast<size_t>(ThreadCount()) * floats);
  ParallelForWork((T + kRows - 1) / kRows, T * norm.d_in * 8, [&](size_t task, int thread) {
    HWY_DYNAMIC_DISPATCH(ForwardRows)
    (norm, type, y, z, task * kRows, std::min(T, (task + 1) * kRows), n,
     scratch + static_cast<size_t>(thread) * floats);
  });
}

void GatedNormBackward(const GatedNorm& norm, DType type, const NormRows& y, const NormRows& z,
                       size_t T, float* dn, void* n, void* dz, size_t dz_stride, float* dw) {
  if (T == 0 || norm.d_in == 0) return;
  PLANISH_DCHECK(norm.groups > 0 && norm.d_in % norm.groups == 0);
  static thread_local Scratch memory, sums_memory;
  const size_t floats = RoundUpToLine(2 * (norm.d_in / norm.groups));
  const size_t blocks = (T + kRows - 1) / kRows, stride = RoundUpToLine(norm.d_in);
  float* scratch = memory.Floats(static_cast<size_t>(ThreadCount()) * floats);
  float* sums = sums_memory.Floats(blocks * stride);
  const NormGradients to{dn, n, dz, dz_stride};
  ParallelForWork(blocks, T * norm.d_in * 16, [&](size_t block, int thread) {
    HWY_DYNAMIC_DISPATCH(BackwardRows)
    (norm, type, y, z, block * kRows, std::min(T, (block + 1) * kRows), to,
     scratch + static_cast<size_t>(thread) * floats, sums + block * stride);
  });
  for (size_t block = 0; block < blocks; ++block)
    HWY_DYNAMIC_DISPATCH(AddRow)(sums + block * stride, norm.d_in, dw);
}

}  // namespace planish
#endif  // HWY_ONCE

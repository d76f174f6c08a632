// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm_backward.h"

#include <algorithm>
#include <vector>

#include "kernels/simd_targets.h"
#include "kernels/team_work.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm_backward.cc"
#include "hwy/foreach_target.h"
#include "kernels/norm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// sum_d w dy x.
float WeightedProduct(const float* x, const float* w, const float* dy, size_t D) {
  const FloatTag d;
  FloatVec sum = hn::Zero(d);
  ForEachVector(D, [&](size_t i, auto load, auto) HWY_ATTR {
    sum = hn::MulAdd(hn::Mul(load(w + i), load(dy + i)), load(x + i), sum);
  });
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

// Rows of one block; dw (of this block) += if not null.
void NormBackwardRows(const float* x, const float* w, const float* dy, size_t T, size_t D,
                      float eps, bool accumulate, float* dx, float* dw) {
  const FloatTag d;
  for (size_t t = 0; t < T; ++t, x += D, dy += D, dx += D) {
    const float squares =
        SumOfSquaresOf(D, [=](size_t i, auto load, auto) HWY_ATTR { return load(x + i); });
    const float width = static_cast<float>(D);
    const float r = 1.0f / std::sqrt(squares / width + eps);
    const float pull = WeightedProduct(x, w, dy, D) / width * r * r * r;
    const FloatVec vr = hn::Set(d, r), vp = hn::Set(d, pull);
    ForEachVector(D, [=](size_t i, auto load, auto store) HWY_ATTR {
      const FloatVec g = load(dy + i), v = load(x + i);
      const FloatVec gr = hn::Mul(g, vr);
      if (dw != nullptr) store(hn::MulAdd(gr, v, load(dw + i)), dw + i);
      const FloatVec grad = hn::NegMulAdd(v, vp, hn::Mul(gr, load(w + i)));
      store(accumulate ? hn::Add(load(dx + i), grad) : grad, dx + i);
    });
  }
}

void AddInto(const float* from, size_t n, float* to) {
  ForEachVector(n, [=](size_t i, auto load, auto store)
                       HWY_ATTR { store(hn::Add(load(to + i), load(from + i)), to + i); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(NormBackwardRows);
HWY_EXPORT(AddInto);

namespace {

void Run(const float* x, const float* w, const float* dy, size_t T, size_t D, float eps,
         bool accumulate, float* dx, float* dw) {
  if (T == 0 || D == 0) return;
  // At most 64 blocks, so that their sums of dw are a small part of the work.
  const size_t rows = std::max<size_t>({1, (size_t{1} << 14) / D, (T + 63) / 64});
  const size_t blocks = (T + rows - 1) / rows;
  std::vector<float> partial(dw != nullptr ? blocks * D : 0, 0.0f);
  ParallelForWork(blocks, 8 * T * D, [&](size_t block, int) {
    const size_t begin = block * rows * D;
    HWY_DYNAMIC_DISPATCH(NormBackwardRows)
    (x + begin, w, dy + begin, std::min(rows, T - block * rows), D, eps, accumulate, dx + begin,
     dw != nullptr ? partial.data() + block * D : nullptr);
  });
  if (dw == nullptr) return;
  for (size_t block = 0; block < blocks; ++block)
    HWY_DYNAMIC_DISPATCH(AddInto)(partial.data() + block * D, D, dw);
}

}  // namespace

void RmsNormBackward(const float* x, const float* w, const float* dy, size_t T, size_t D, float eps,
                     float* dx, float* dw) {
  Run(x, w, dy, T, D, eps, /*accumulate=*/false, dx, dw);
}

void AddRmsNormBackward(const float* h, const float* w, const float* dy, size_t T, size_t D,
                        float eps, float* dh, float* dw) {
  Run(h, w, dy, T, D, eps, /*accumulate=*/true, dh, dw);
}

}  // namespace planish
#endif  // HWY_ONCE

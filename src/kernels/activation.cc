// SPDX-License-Identifier: Apache-2.0
// Element-wise activations; see activation.h.
#include "kernels/activation.h"

#include <algorithm>

#include "base/parallel.h"
#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

void ReluSquaredBlock(float* x, size_t n) {
  const FloatTag d;
  ForEachVector(n, [=](size_t i, auto load, auto store) HWY_ATTR {
    const FloatVec v = load(x + i);
    // Not Max(v, 0), which may drop a NaN.
    const FloatVec r = hn::IfThenElse(hn::Lt(v, hn::Zero(d)), hn::Zero(d), v);
    store(hn::Mul(r, r), x + i);
  });
}

void SiluBlock(const float* x, size_t n, float* out) {
  const FloatTag d;
  ForEachVector(
      n, [=](size_t i, auto load, auto store) HWY_ATTR { store(SiluOf(d, load(x + i)), out + i); });
}

void SiluMulBlock(const float* gate, const float* up, float* out, size_t n) {
  const FloatTag d;
  ForEachVector(n, [=](size_t i, auto load, auto store) HWY_ATTR {
    store(hn::Mul(SiluOf(d, load(gate + i)), load(up + i)), out + i);
  });
}

void SoftplusBlock(const float* x, size_t n, float* out) {
  const FloatTag d;
  ForEachVector(n, [=](size_t i, auto load, auto store)
                       HWY_ATTR { store(SoftplusOf(d, load(x + i)), out + i); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(ReluSquaredBlock);
HWY_EXPORT(SiluBlock);
HWY_EXPORT(SiluMulBlock);
HWY_EXPORT(SoftplusBlock);

namespace {

// Work below one block runs on the calling thread: a parallel region costs some microseconds.
constexpr size_t kCheapBlock = size_t{1} << 15;        // a multiply or two per element
constexpr size_t kExponentialBlock = size_t{1} << 13;  // an exponential per element

template <class Body>
void ForBlocks(size_t n, size_t block, const Body& body) {
  ParallelFor((n + block - 1) / block,
              [&](size_t i, int) { body(i * block, std::min(block, n - i * block)); });
}

}  // namespace

void ReluSquared(float* x, size_t n) noexcept {
  ForBlocks(n, kCheapBlock, [=](size_t begin, size_t count) {
    HWY_DYNAMIC_DISPATCH(ReluSquaredBlock)(x + begin, count);
  });
}

void Silu(const float* x, size_t n, float* out) noexcept {
  ForBlocks(n, kExponentialBlock, [=](size_t begin, size_t count) {
    HWY_DYNAMIC_DISPATCH(SiluBlock)(x + begin, count, out + begin);
  });
}

void SiluMul(const float* gate, const float* up, float* out, size_t n) noexcept {
  ForBlocks(n, kExponentialBlock, [=](size_t begin, size_t count) {
    HWY_DYNAMIC_DISPATCH(SiluMulBlock)(gate + begin, up + begin, out + begin, count);
  });
}

void Softplus(const float* x, size_t n, float* out) noexcept {
  ForBlocks(n, kExponentialBlock, [=](size_t begin, size_t count) {
    HWY_DYNAMIC_DISPATCH(SoftplusBlock)(x + begin, count, out + begin);
  });
}

void SiluMulRows(const float* gate_up, size_t T, size_t F, float* out) noexcept {
  const size_t blocks = (F + kExponentialBlock - 1) / kExponentialBlock;
  ParallelFor(T * blocks, [=](size_t i, int) {
    const size_t t = i / blocks, begin = i % blocks * kExponentialBlock;
    const float* gate = gate_up + t * 2 * F + begin;
    HWY_DYNAMIC_DISPATCH(SiluMulBlock)
    (gate, gate + F, out + t * F + begin, std::min(kExponentialBlock, F - begin));
  });
}

}  // namespace planish
#endif  // HWY_ONCE

// SPDX-License-Identifier: Apache-2.0
#include "kernels/ffn_activation.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/simd_targets.h"
#include "kernels/team_work.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ffn_activation.cc"
#include "hwy/foreach_target.h"
#include "kernels/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE FloatVec RoundAs(FloatVec v, float*) { return v; }
HWY_INLINE FloatVec RoundAs(FloatVec v, uint16_t*) { return RoundToBf16(v); }

// Not Max(v, 0), which may drop a NaN.
HWY_INLINE FloatVec Relu(FloatVec v) {
  const FloatTag d;
  return hn::IfThenElse(hn::Lt(v, hn::Zero(d)), hn::Zero(d), v);
}

template <class T>
void Relu2Forward(const float* up, size_t n, T* kept, T* act) {
  ForEachTyped(n, [=](size_t i, auto load, auto store) HWY_ATTR {
    const FloatVec u = RoundAs(load(up + i), act), r = Relu(u);
    if (kept != nullptr) store(u, kept + i);
    store(hn::Mul(r, r), act + i);
  });
}

template <class T>
void Relu2Backward(const T* up, const float* dact, size_t n, T* act, T* dup) {
  ForEachTyped(n, [=](size_t i, auto load, auto store) HWY_ATTR {
    const FloatVec r = Relu(load(up + i)), g = load(dact + i);
    store(hn::Mul(r, r), act + i);
    store(hn::Mul(hn::Add(r, r), g), dup + i);
  });
}

template <class T>
void SwiGluForward(const float* gate, const float* up, size_t n, T* kept_gate, T* kept_up, T* act) {
  const FloatTag d;
  ForEachTyped(n, [=](size_t i, auto load, auto store) HWY_ATTR {
    const FloatVec g = RoundAs(load(gate + i), act), u = RoundAs(load(up + i), act);
    if (kept_gate != nullptr) {
      store(g, kept_gate + i);
      store(u, kept_up + i);
    }
    store(hn::Mul(SiluOf(d, g), u), act + i);
  });
}

template <class T>
void SwiGluBackward(const T* gate, const T* up, const float* dact, size_t n, T* act, T* dgate,
                    T* dup) {
  const FloatTag d;
  const FloatVec one = hn::Set(d, 1.0f);
  ForEachTyped(n, [=](size_t i, auto load, auto store) HWY_ATTR {
    const FloatVec g = load(gate + i), u = load(up + i), da = load(dact + i);
    const FloatVec s = SigmoidOf(d, g), silu = hn::Mul(g, s);
    const FloatVec slope = hn::Mul(s, hn::MulAdd(g, hn::Sub(one, s), one));
    store(hn::Mul(silu, u), act + i);
    store(hn::Mul(hn::Mul(da, u), slope), dgate + i);
    store(hn::Mul(da, silu), dup + i);
  });
}

void Relu2ForwardF32(const float* up, size_t n, float* kept, float* act) {
  Relu2Forward(up, n, kept, act);
}
void Relu2ForwardBf16(const float* up, size_t n, uint16_t* kept, uint16_t* act) {
  Relu2Forward(up, n, kept, act);
}
void Relu2BackwardF32(const float* up, const float* dact, size_t n, float* act, float* dup) {
  Relu2Backward(up, dact, n, act, dup);
}
void Relu2BackwardBf16(const uint16_t* up, const float* dact, size_t n, uint16_t* act,
                       uint16_t* dup) {
  Relu2Backward(up, dact, n, act, dup);
}
void SwiGluForwardF32(const float* gate, const float* up, size_t n, float* kept_gate,
                      float* kept_up, float* act) {
  SwiGluForward(gate, up, n, kept_gate, kept_up, act);
}
void SwiGluForwardBf16(const float* gate, const float* up, size_t n, uint16_t* kept_gate,
                       uint16_t* kept_up, uint16_t* act) {
  SwiGluForward(gate, up, n, kept_gate, kept_up, act);
}
void SwiGluBackwardF32(const float* gate, const float* up, const float* dact, size_t n, float* act,
                       float* dgate, float* dup) {
  SwiGluBackward(gate, up, dact, n, act, dgate, dup);
}
void SwiGluBackwardBf16(const uint16_t* gate, const uint16_t* up, const float* dact, size_t n,
                        uint16_t* act, uint16_t* dgate, uint16_t* dup) {
  SwiGluBackward(gate, up, dact, n, act, dgate, dup);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(Relu2ForwardF32);
HWY_EXPORT(Relu2ForwardBf16);
HWY_EXPORT(Relu2BackwardF32);
HWY_EXPORT(Relu2BackwardBf16);
HWY_EXPORT(SwiGluForwardF32);
HWY_EXPORT(SwiGluForwardBf16);
HWY_EXPORT(SwiGluBackwardF32);
HWY_EXPORT(SwiGluBackwardBf16);

namespace {

// Elements a task: its arrays stay in L2 from one pass to the next.
constexpr size_t kTask = size_t{1} << 14;

template <class Body>
void ForTasks(size_t n, const Body& body) {
  ParallelForWork((n + kTask - 1) / kTask, 8 * n,
                  [&](size_t task, int) { body(task * kTask, std::min(kTask, n - task * kTask)); });
}

template <class T>
T* At(void* p, size_t i) {
  return p == nullptr ? nullptr : static_cast<T*>(p) + i;
}
template <class T>
const T* At(const void* p, size_t i) {
  return static_cast<const T*>(p) + i;
}

bool IsBf16(DType type) {
  PLANISH_CHECK(type == DType::kF32 || type == DType::kBF16);
  return type == DType::kBF16;
}

}  // namespace

void ReluSquaredForward(const float* up, size_t n, DType type, void* kept_up, void* act) noexcept {
  const bool bf16 = IsBf16(type);
  ForTasks(n, [=](size_t i, size_t count) {
    if (bf16) HWY_DYNAMIC_DISPATCH(Relu2ForwardBf16)
    (up + i, count, At<uint16_t>(kept_up, i), At<uint16_t>(act, i));
    else HWY_DYNAMIC_DISPATCH(Relu2ForwardF32)(up + i, count, At<float>(kept_up, i),
                                               At<float>(act, i));
  });
}

void ReluSquaredBackward(const void* kept_up, const float* dact, size_t n, DType type, void* act,
                         void* dup) noexcept {
  const bool bf16 = IsBf16(type);
  ForTasks(n, [=](size_t i, size_t count) {
    if (bf16) HWY_DYNAMIC_DISPATCH(Relu2BackwardBf16)
    (At<uint16_t>(kept_up, i), dact + i, count, At<uint16_t>(act, i), At<uint16_t>(dup, i));
    else HWY_DYNAMIC_DISPATCH(Relu2BackwardF32)(At<float>(kept_up, i), dact + i, count,
                                                At<float>(act, i), At<float>(dup, i));
  });
}

void SiluMulForward(const float* gate, const float* up, size_t n, DType type, void* kept_gate,
                    void* kept_up, void* act) noexcept {
  const bool bf16 = IsBf16(type);
  ForTasks(n, [=](size_t i, size_t count) {
    if (bf16) HWY_DYNAMIC_DISPATCH(SwiGluForwardBf16)
    (gate + i, up + i, count, At<uint16_t>(kept_gate, i), At<uint16_t>(kept_up, i),
     At<uint16_t>(act, i));
    else HWY_DYNAMIC_DISPATCH(SwiGluForwardF32)(gate + i, up + i, count, At<float>(kept_gate, i),
                                                At<float>(kept_up, i), At<float>(act, i));
  });
}

void SiluMulBackward(const void* kept_gate, const void* kept_up, const float* dact, size_t n,
                     DType type, void* act, void* dgate, void* dup) noexcept {
  const bool bf16 = IsBf16(type);
  ForTasks(n, [=](size_t i, size_t count) {
    if (bf16) HWY_DYNAMIC_DISPATCH(SwiGluBackwardBf16)
    (At<uint16_t>(kept_gate, i), At<uint16_t>(kept_up, i), dact + i, count, At<uint16_t>(act, i),
     At<uint16_t>(dgate, i), At<uint16_t>(dup, i));
    else HWY_DYNAMIC_DISPATCH(SwiGluBackwardF32)(At<float>(kept_gate, i), At<float>(kept_up, i),
                                                 dact + i, count, At<float>(act, i),
                                                 At<float>(dgate, i), At<float>(dup, i));
  });
}

}  // namespace planish
#endif  // HWY_ONCE

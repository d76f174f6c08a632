// SPDX-License-Identifier: Apache-2.0
#include "kernels/int8_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "kernels/team_work.h"

// The order of these includes matters.
// clang-format off
#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/int8_rows.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using DF = hn::CappedTag<float, 16>;
using DI = hn::RebindToSigned<DF>;
using DB = hn::Rebind<int8_t, DF>;
constexpr float kSmallest = 0x1p-100f;  // below: a zero; its reciprocal would overflow

// What a group gives besides its codes.
struct GroupSums {
  float scale;
  int32_t low, high;  // sums of codes 0-15 and 16-31
};

GroupSums QuantizeGroup(const float* HWY_RESTRICT x, int8_t* HWY_RESTRICT codes) {
  constexpr size_t kLanes = hn::MaxLanes(DF());
  static_assert(16 % kLanes == 0);
  auto largest = hn::Zero(DF());
  auto product = hn::Zero(DF());  // 0, or NaN if a value is not finite: Max may drop a NaN
  for (size_t k = 0; k < 32; k += kLanes) {
    const auto v = hn::LoadU(DF(), x + k);
    largest = hn::Max(largest, hn::Abs(v));
    product = hn::MulAdd(v, hn::Zero(DF()), product);
  }
  const float amax = hn::GetLane(hn::MaxOfLanes(DF(), largest));
  if (!(hn::GetLane(hn::SumOfLanes(DF(), product)) == 0.0f)) {
    std::memset(codes, 0, 32);
    return {std::numeric_limits<float>::quiet_NaN(), 0, 0};
  }
  if (amax < kSmallest) {
    std::memset(codes, 0, 32);
    return {0.0f, 0, 0};
  }
  // Adding 1.5 * 2^23 rounds half to even, and to the same bits on every target.
  const auto magic = hn::Set(DF(), 0x1.8p23f);
  const auto inverse = hn::Set(DF(), 127.0f / amax);
  int32_t sums[2];
  for (size_t half = 0; half < 2; ++half) {
    auto sum = hn::Zero(DI());
    for (size_t k = 16 * half; k < 16 * half + 16; k += kLanes) {
      const auto scaled = hn::Mul(hn::LoadU(DF(), x + k), inverse);
      const auto code =
          hn::Sub(hn::BitCast(DI(), hn::Add(scaled, magic)), hn::BitCast(DI(), magic));
      sum = hn::Add(sum, code);
      hn::StoreU(hn::DemoteTo(DB(), code), DB(), codes + k);
    }
    sums[half] = hn::GetLane(hn::SumOfLanes(DI(), sum));
  }
  return {amax / 127.0f, sums[0], sums[1]};
}

}  // namespace

// `panel` is writable memory of this row: see Int8Rows::Quantize.
void QuantizeInto(const float* row, size_t inputs, size_t t, const Int8Panel& panel) {
  const size_t groups = (inputs + 31) / 32, height = panel.height;
  auto* codes = const_cast<int8_t*>(panel.codes);
  auto* scales = const_cast<float*>(panel.scales);
  auto* scaled_sums = const_cast<float*>(panel.scaled_sums);
  auto* minus_8 = const_cast<int32_t*>(panel.minus_8_sums);
  auto* minus_128 = const_cast<int32_t*>(panel.minus_128_sums);
  auto* halves = const_cast<int32_t*>(panel.minus_128_halves);
  for (size_t g = 0; g < groups; ++g) {
    const size_t i = g * height + t;
    float padded[32];
    const float* x = row + 32 * g;
    if (inputs - 32 * g < 32) {
      std::fill(std::copy(x, row + inputs, padded), padded + 32, 0.0f);
      x = padded;
    }
    const GroupSums group = QuantizeGroup(x, codes + 32 * i);
    const int32_t sum = group.low + group.high;
    scales[i] = group.scale;
    scaled_sums[i] = group.scale * static_cast<float>(sum);
    minus_8[i] = -8 * sum;
    minus_128[i] = -128 * sum;
    halves[2 * g * height + t] = -128 * group.low;
    halves[(2 * g + 1) * height + t] = -128 * group.high;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {
namespace {

HWY_EXPORT(QuantizeInto);

constexpr size_t kEntryBytes = 32 + 6 * 4;  // of a token's group: codes and six numbers

}  // namespace

void Int8Rows::Reserve(size_t T, size_t K, size_t height) {
  PLANISH_DCHECK(height > 0);
  tokens_ = T;
  inputs_ = K;
  groups_ = (K + 31) / 32;
  height_ = height;
  const size_t bytes = panels() * height * groups_ * kEntryBytes;
  if (buffer_.size() < bytes) {
    buffer_ = AlignedBuffer();  // before the new one exists
    buffer_ = AlignedBuffer(bytes);
  }
  if (T % height != 0) {
    const size_t panel_bytes = height * groups_ * kEntryBytes;
    std::memset(buffer_.data() + T / height * panel_bytes, 0, panel_bytes);
  }
}

Int8Panel Int8Rows::panel(size_t p) const {
  const size_t entries = height_ * groups_;
  const std::byte* base = buffer_.data() + p * entries * kEntryBytes;
  const auto* floats = reinterpret_cast<const float*>(base + 32 * entries);
  const auto* ints = reinterpret_cast<const int32_t*>(floats + 2 * entries);
  return {height_,
          reinterpret_cast<const int8_t*>(base),
          floats,
          floats + entries,
          ints,
          ints + entries,
          ints + 2 * entries};
}

void Int8Rows::Quantize(const float* row, size_t t) noexcept {
  HWY_DYNAMIC_DISPATCH(QuantizeInto)(row, inputs_, t % height_, panel(t / height_));
}

void QuantizeRows(const float* x, size_t T, size_t K, size_t height, Int8Rows* rows) {
  rows->Reserve(T, K, height);
  // Some 16 rounds of arithmetic a value against a multiply-add's one.
  ParallelForWork(T, T * K, [&](size_t t, int) { rows->Quantize(x + t * K, t); });
}

}  // namespace planish
#endif  // HWY_ONCE

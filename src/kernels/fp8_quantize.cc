// SPDX-License-Identifier: Apache-2.0
#include "kernels/fp8_quantize.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "kernels/fp8_format.h"
#include "kernels/matmul_targets.h"
#include "kernels/scratch.h"
#include "kernels/team_work.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/fp8_quantize.cc"
#include "hwy/foreach_target.h"
#include "kernels/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

template <class T>
float RowMaximum(const T* x, size_t n) {
  FloatVec best = hn::Zero(FloatTag());
  ForEachTyped(n, [&](size_t i, auto load, auto) HWY_ATTR {
    best = hn::Max(hn::Abs(load(x + i)), best);  // in this order a NaN is passed over on x86
  });
  return hn::GetLane(hn::MaxOfLanes(FloatTag(), best));
}

// best[i] = max(best[i], |x[i]|).
template <class T>
void MaximumInto(const T* x, size_t n, float* best) {
  ForEachTyped(n, [=](size_t i, auto load, auto store)
                      HWY_ATTR { store(hn::Max(hn::Abs(load(x + i)), load(best + i)), best + i); });
}

// out = the code values of x / scale, where scale(i, load) gives the vector from element i on.
template <class T, class Scale>
HWY_INLINE Fp8Counts RoundWith(const T* x, size_t n, const Fp8Numbers& f, const Scale& scale,
                               uint16_t* out) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> du;
  const FloatVec largest = hn::Set(d, f.largest), overflow = hn::Set(d, f.overflow),
                 normal = hn::Set(d, f.normal), magic = hn::Set(d, f.magic), zero = hn::Zero(d);
  const auto low = hn::Set(du, (1u << f.dropped) - 1),
             half = hn::Set(du, (1u << (f.dropped - 1)) - 1), one = hn::Set(du, 1u);
  const int dropped = f.dropped;
  Fp8Counts counts;
  ForEachTyped(n, [&](size_t i, auto load, auto store) HWY_ATTR {
    const FloatVec in = load(x + i), v = hn::Div(in, scale(i, load));
    const FloatVec magnitude = hn::Abs(v);
    const FloatVec clamped = hn::Min(magnitude, largest);
    // Normal numbers: the dropped bits round the rest, to even; below, a sum does.
    const auto bits = hn::BitCast(du, clamped);
    const auto odd = hn::And(hn::ShiftRightSame(bits, dropped), one);
    const auto rounded = hn::AndNot(low, hn::Add(bits, hn::Add(odd, half)));
    const FloatVec small = hn::Sub(hn::Add(clamped, magic), magic);
    FloatVec value = hn::IfThenElse(hn::Lt(clamped, normal), small, hn::BitCast(d, rounded));
    value = hn::IfThenElse(hn::IsNaN(v), v, hn::CopySignToAbs(value, v));
    store(value, out + i);
    // Lanes beyond the end hold 0 / scale: neither count.
    counts.underflow +=
        static_cast<uint32_t>(hn::CountTrue(d, hn::And(hn::Eq(value, zero), hn::Ne(in, zero))));
    counts.saturated +=
        static_cast<uint32_t>(hn::CountTrue(d, hn::Not(hn::Lt(magnitude, overflow))));
  });
  return counts;
}

template <class T>
Fp8Counts RoundBy(const T* x, size_t n, int format, float scale, uint16_t* out) {
  const FloatVec s = hn::Set(FloatTag(), scale);
  return RoundWith(
      x, n, kFp8Numbers[format], [s](size_t, const auto&) HWY_ATTR { return s; }, out);
}
// A scale for each element; those past the end of a row are never used, but must not divide 0 by 0.
template <class T>
Fp8Counts RoundByEach(const T* x, size_t n, int format, const float* scales, uint16_t* out) {
  const FloatTag d;
  return RoundWith(
      x, n, kFp8Numbers[format],
      [d, scales](size_t i, const auto& load) HWY_ATTR {
        const FloatVec s = load(scales + i);
        return hn::IfThenElse(hn::Eq(s, hn::Zero(d)), hn::Set(d, 1.0f), s);
      },
      out);
}

float RowMaximumF32(const float* x, size_t n) { return RowMaximum(x, n); }
float RowMaximumBf16(const uint16_t* x, size_t n) { return RowMaximum(x, n); }
void MaximumIntoF32(const float* x, size_t n, float* best) { MaximumInto(x, n, best); }
void MaximumIntoBf16(const uint16_t* x, size_t n, float* best) { MaximumInto(x, n, best); }
Fp8Counts RoundByF32(const float* x, size_t n, int format, float scale, uint16_t* out) {
  return RoundBy(x, n, format, scale, out);
}
Fp8Counts RoundByBf16(const uint16_t* x, size_t n, int format, float scale, uint16_t* out) {
  return RoundBy(x, n, format, scale, out);
}
Fp8Counts RoundByEachF32(const float* x, size_t n, int format, const float* scales, uint16_t* out) {
  return RoundByEach(x, n, format, scales, out);
}
Fp8Counts RoundByEachBf16(const uint16_t* x, size_t n, int format, const float* scales,
                          uint16_t* out) {
  return RoundByEach(x, n, format, scales, out);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(RowMaximumF32);
HWY_EXPORT(RowMaximumBf16);
HWY_EXPORT(MaximumIntoF32);
HWY_EXPORT(MaximumIntoBf16);
HWY_EXPORT(RoundByF32);
HWY_EXPORT(RoundByBf16);
HWY_EXPORT(RoundByEachF32);
HWY_EXPORT(RoundByEachBf16);

namespace {

float MaximumOf(const PanelSource& x, size_t n) {
  return x.dtype == DType::kF32
             ? HWY_DYNAMIC_DISPATCH(RowMaximumF32)(static_cast<const float*>(x.data), n)
             : HWY_DYNAMIC_DISPATCH(RowMaximumBf16)(static_cast<const uint16_t*>(x.data), n);
}
void MaximumInto(const PanelSource& x, size_t n, float* best) {
  if (x.dtype == DType::kF32)
    HWY_DYNAMIC_DISPATCH(MaximumIntoF32)(static_cast<const float*>(x.data), n, best);
  else
    HWY_DYNAMIC_DISPATCH(MaximumIntoBf16)(static_cast<const uint16_t*>(x.data), n, best);
}
Fp8Counts RoundBy(const PanelSource& x, size_t n, Fp8Format format, float scale, uint16_t* out) {
  const int f = static_cast<int>(format);
  return x.dtype == DType::kF32
             ? HWY_DYNAMIC_DISPATCH(RoundByF32)(static_cast<const float*>(x.data), n, f, scale, out)
             : HWY_DYNAMIC_DISPATCH(RoundByBf16)(static_cast<const uint16_t*>(x.data), n, f, scale,
                                                 out);
}
Fp8Counts RoundByEach(const PanelSource& x, size_t n, Fp8Format format, const float* scales,
                      uint16_t* out) {
  const int f = static_cast<int>(format);
  return x.dtype == DType::kF32 ? HWY_DYNAMIC_DISPATCH(RoundByEachF32)(
                                      static_cast<const float*>(x.data), n, f, scales, out)
                                : HWY_DYNAMIC_DISPATCH(RoundByEachBf16)(
                                      static_cast<const uint16_t*>(x.data), n, f, scales, out);
}

float ScaleOf(float amax, const Fp8Rounding& rounding) {
  if (amax == 0) return 1.0f;
  const float scale = amax / kFp8Numbers[static_cast<int>(rounding.format)].largest;
  if (scale == 0)
    return std::numeric_limits<float>::denorm_min();  // of an amax near the least float
  if (!rounding.power_of_two || !std::isfinite(scale)) return scale;
  int exponent;
  const float fraction = std::frexp(scale, &exponent);  // [0.5, 1)
  return std::ldexp(1.0f, fraction == 0.5f ? exponent - 1 : exponent);
}

size_t Tiles(size_t n) { return (n + kFp8Block - 1) / kFp8Block; }

// Statistics of some rows, added up in row order afterwards.
void Count(const Fp8Counts& counts, float amax, size_t n, Fp8Statistics* statistics) {
  statistics->amax = std::max<double>(statistics->amax, amax);
  statistics->count += n;
  statistics->saturated += counts.saturated;
  statistics->underflow += counts.underflow;
}

// A band: up to 128 rows from r on.
class Band {
 public:
  Band(const PanelSource& x, size_t R, size_t C, size_t r, const Fp8Rounding& rounding,
       uint16_t* values, float* scales)
      : x_(x),
        C_(C),
        begin_(r),
        end_(std::min(R, r + kFp8Block)),
        rounding_(rounding),
        values_(values),
        scales_(scales) {}

  Fp8Statistics Rows() {
    for (size_t r = begin_; r < end_; ++r) {
      for (size_t c = 0; c < C_; c += kFp8Block) {
        const size_t n = std::min(kFp8Block, C_ - c);
        const float amax = MaximumOf(x_.At(r, c), n), scale = ScaleOf(amax, rounding_);
        scales_[r * Tiles(C_) + c / kFp8Block] = scale;
        Count(RoundBy(x_.At(r, c), n, rounding_.format, scale, values_ + r * C_ + c), amax, n,
              &statistics_);
      }
    }
    return statistics_;
  }

  Fp8Statistics Columns() {
    float* scales = scales_ + begin_ / kFp8Block * C_;
    std::fill_n(scales, C_, 0.0f);
    for (size_t r = begin_; r < end_; ++r) MaximumInto(x_.At(r, 0), C_, scales);
    float amax = 0;
    for (size_t c = 0; c < C_; ++c) {
      amax = std::max(amax, scales[c]);
      scales[c] = ScaleOf(scales[c], rounding_);
    }
    for (size_t r = begin_; r < end_; ++r)
      Count(RoundByEach(x_.At(r, 0), C_, rounding_.format, scales, values_ + r * C_), amax, C_,
            &statistics_);
    return statistics_;
  }

  Fp8Statistics Blocks() {
    for (size_t c = 0; c < C_; c += kFp8Block) {
      const size_t n = std::min(kFp8Block, C_ - c);
      float amax = 0;
      for (size_t r = begin_; r < end_; ++r) amax = std::max(amax, MaximumOf(x_.At(r, c), n));
      const float scale = ScaleOf(amax, rounding_);
      scales_[begin_ / kFp8Block * Tiles(C_) + c / kFp8Block] = scale;
      RoundPart(c, n, scale, amax);
    }
    return statistics_;
  }

  float Maximum() const {
    float amax = 0;
    for (size_t r = begin_; r < end_; ++r) amax = std::max(amax, MaximumOf(x_.At(r, 0), C_));
    return amax;
  }
  Fp8Statistics All(float scale, float amax) {
    RoundPart(0, C_, scale, amax);
    return statistics_;
  }

 private:
  void RoundPart(size_t c, size_t n, float scale, float amax) {
    for (size_t r = begin_; r < end_; ++r)
      Count(RoundBy(x_.At(r, c), n, rounding_.format, scale, values_ + r * C_ + c), amax, n,
            &statistics_);
  }
  const PanelSource& x_;
  size_t C_, begin_, end_;
  const Fp8Rounding& rounding_;
  uint16_t* values_;
  float* scales_;
  Fp8Statistics statistics_;
};

}  // namespace

void Fp8Statistics::Add(const Fp8Statistics& other) {
  amax = std::max(amax, other.amax);
  count += other.count;
  saturated += other.saturated;
  underflow += other.underflow;
}

size_t Fp8ScaleRows(Fp8Tiles tiles, size_t R) {
  return tiles == Fp8Tiles::kTensor ? 1 : tiles == Fp8Tiles::kRows ? R : Tiles(R);
}
size_t Fp8ScaleColumns(Fp8Tiles tiles, size_t C) {
  return tiles == Fp8Tiles::kTensor ? 1 : tiles == Fp8Tiles::kColumns ? C : Tiles(C);
}

void QuantizeFp8(const PanelSource& x, size_t R, size_t C, const Fp8Rounding& rounding,
                 uint16_t* values, float* scales, Fp8Statistics* statistics) {
  PLANISH_CHECK(!x.is_transposed);
  PLANISH_CHECK(x.dtype == DType::kF32 || x.dtype == DType::kBF16);
  if (R == 0 || C == 0) return;
  const size_t bands = Tiles(R);
  std::vector<Fp8Statistics> counted(bands);
  std::vector<float> maxima(bands);
  const auto band = [&](size_t i) {
    return Band(x, R, C, i * kFp8Block, rounding, values, scales);
  };
  float amax = 0;
  if (rounding.tiles == Fp8Tiles::kTensor) {
    ParallelForWork(bands, R * C, [&](size_t i, int) { maxima[i] = band(i).Maximum(); });
    amax = *std::max_element(maxima.begin(), maxima.end());
    scales[0] = ScaleOf(amax, rounding);
  }
  ParallelForWork(bands, 8 * R * C, [&](size_t i, int) {
    switch (rounding.tiles) {
      case Fp8Tiles::kRows:
        counted[i] = band(i).Rows();
        break;
      case Fp8Tiles::kColumns:
        counted[i] = band(i).Columns();
        break;
      case Fp8Tiles::kBlocks:
        counted[i] = band(i).Blocks();
        break;
      case Fp8Tiles::kTensor:
        counted[i] = band(i).All(scales[0], amax);
        break;
    }
  });
  if (statistics != nullptr)
    for (const Fp8Statistics& part : counted) statistics->Add(part);
}

uint8_t Fp8Code(uint16_t value, Fp8Format format) {
  const float number = FloatFromBF16(value);
  return format == Fp8Format::kE4M3 ? F8E4M3FromFloat(number) : F8E5M2FromFloat(number);
}

}  // namespace planish
#endif  // HWY_ONCE

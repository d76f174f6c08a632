// SPDX-License-Identifier: Apache-2.0
// What forward and backward of the chunked state-space layer share: rows of either type as floats in scratch, the decays of a
// head within a chunk, and its step from one chunk's state to the next. With s_i the inclusive sums of dt A in the chunk,
//   L[i,j] = exp(s_i - s_j) for j <= i,   from_start[i] = exp(s_i),   to_end[j] = exp(s_last - s_j).
// Rows are cut into blocks of kDecayBlock. Left of the diagonal blocks, with b the last row before row i's block,
//   L[i,j] = after[i] before[block(i), j] = exp(s_i - s_b) exp(s_b - s_j):
// both factors are at most 1, and only the diagonal blocks need an exponential for each element. Included once per target.
#if defined(PLANISH_KERNELS_SSD_CHUNK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLANISH_KERNELS_SSD_CHUNK_INL_H_
#undef PLANISH_KERNELS_SSD_CHUNK_INL_H_
#else
#define PLANISH_KERNELS_SSD_CHUNK_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include "kernels/rounding-inl.h"
#include "kernels/ssd_product-inl.h"
#include "kernels/ssd_task.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

inline constexpr size_t kDecayBlock = 16;
inline constexpr size_t kRowBlock = 32;  // rows of a causal product at a time: two panels

// Sizes in scratch, of which rows are padded to whole lines.
struct SsdSizes {
  SsdSizes(const SsmDims& dims, size_t longest)
      : P(RoundUpToLine(dims.head_dim)),
        N(RoundUpToLine(dims.state)),
        Q((longest + kRowBlock - 1) / kRowBlock * kRowBlock) {}
  size_t P, N, Q;
};

// rows x columns elements to floats; out rows are padded with zeros to their stride.
HWY_INLINE void LoadRows(DType type, const void* from, size_t stride, size_t rows, size_t columns,
                         const SsdMatrix& out) {
  for (size_t r = 0; r < rows; ++r) {
    float* to = out.Row(r);
    if (type == DType::kF32) {
      std::memcpy(to, static_cast<const float*>(from) + r * stride, columns * sizeof(float));
    } else {
      const uint16_t* halves = static_cast<const uint16_t*>(from) + r * stride;
      ForEachTyped(columns, [=](size_t i, auto load, auto store)
                                HWY_ATTR { store(load(halves + i), to + i); });
    }
    std::fill(to + columns, to + out.stride, 0.0f);
  }
}

// Asks for a row of the next head's data while the present one is at work: rows lie a page or more apart, too far for the
// hardware to guess. Only an address: nothing is read.
HWY_INLINE void PrefetchRow(const void* row, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64)
    __builtin_prefetch(static_cast<const std::byte*>(row) + i, 0, 2);
}

// Columns of x | B | C.
HWY_INLINE const void* ElementsAt(const SsdInput& in, size_t row, size_t column) {
  const size_t offset = row * in.stride + column;
  return static_cast<const std::byte*>(in.xbc) + offset * (in.type == DType::kF32 ? 4 : 2);
}

// exp(difference), for differences <= 0. Below exp(-60) = 9e-27 it is zero: that is far under the rounding of anything it
// could be added to, and subnormal products run in microcode (four times slower in all at Q = 256).
HWY_INLINE FloatVec Decay(FloatTag d, FloatVec difference) {
  return hn::IfThenElseZero(hn::Ge(difference, hn::Set(d, -60.0f)), ClampedExp(d, difference));
}

// out[r] = sum over the lanes of value(r), for r < rows; out has room for whole vectors.
template <class Value>
HWY_INLINE void SumRows(size_t rows, const Value& value, float* out) {
  const FloatTag d;
  HWY_ALIGN float lanes[kLanes * kLanes];
  for (size_t r = 0; r < rows; r += kLanes) {
    for (size_t i = 0; i < kLanes; ++i)
      hn::Store(r + i < rows ? value(r + i) : hn::Zero(d), d, lanes + i * kLanes);
    hn::StoreU(SumEach(d, lanes, kLanes), d, out + r);
  }
}

HWY_INLINE FloatVec RowDot(const float* a, const float* b, size_t width) {
  const FloatTag d;
  FloatVec sum = hn::Zero(d);
  for (size_t p = 0; p < width; p += kLanes)
    sum = hn::MulAdd(hn::LoadU(d, a + p), hn::LoadU(d, b + p), sum);
  return sum;
}

// One head in one chunk.
class ChunkDecays {
 public:
  void Place(size_t Q, SsdMemory* memory) {
    Q_ = Q;
    dt = memory->Take(Q);
    high_ = memory->Take(Q);
    low_ = memory->Take(Q);
    from_start = memory->Take(Q);
    to_end = memory->Take(Q);
    after_ = memory->Take(Q);
    before_ = memory->Take(Q / kDecayBlock * Q);
  }

  // steps: dt of the chunk's rows, `stride` apart. Without `within` only to_end and carry are made.
  void Compute(const float* steps, size_t stride, size_t count, float A, bool within) {
    const FloatTag d;
    double sum = 0;
    for (size_t i = 0; i < count; ++i) {
      dt[i] = steps[i * stride];
      // A step beyond -128 leaves nothing of what was before (see Decay), and sums of steps stay exact enough.
      sum += std::max(static_cast<double>(dt[i]) * A, -128.0);
      high_[i] = static_cast<float>(sum);
      low_[i] = static_cast<float>(sum - high_[i]);
    }
    const size_t padded = RoundUpToLine(count);
    for (size_t i = count; i < padded; ++i) {
      dt[i] = 0;
      high_[i] = high_[count - 1];
      low_[i] = low_[count - 1];
    }
    for (size_t i = 0; i < padded; i += kLanes) {
      hn::Store(Decay(d, hn::Load(d, high_ + i)), d, from_start + i);
      hn::Store(DecayTo(count - 1, i), d, to_end + i);
    }
    carry = from_start[count - 1];
    if (!within) return;
    for (size_t block = 1; block * kDecayBlock < padded; ++block) {
      const size_t begin = block * kDecayBlock;
      const FloatVec high = hn::Set(d, high_[begin - 1]), low = hn::Set(d, low_[begin - 1]);
      for (size_t i = begin; i < begin + kDecayBlock; i += kLanes) {
        const FloatVec difference =
            hn::Add(hn::Sub(hn::Load(d, high_ + i), high), hn::Sub(hn::Load(d, low_ + i), low));
        hn::Store(Decay(d, difference), d, after_ + i);
      }
      for (size_t j = 0; j < begin; j += kLanes)
        hn::Store(DecayTo(begin - 1, j), d, before_ + block * Q_ + j);
    }
  }

  // L[i, j ...] of a diagonal block where i, j ... are in the same one; not masked.
  HWY_INLINE FloatVec DecayTo(size_t i, size_t j) const {
    const FloatTag d;
    return Decay(d, hn::Add(hn::Sub(hn::Set(d, high_[i]), hn::Load(d, high_ + j)),
                            hn::Sub(hn::Set(d, low_[i]), hn::Load(d, low_ + j))));
  }
  // L[i ..., j], likewise.
  HWY_INLINE FloatVec DecayFrom(size_t j, size_t i) const {
    const FloatTag d;
    return Decay(d, hn::Add(hn::Sub(hn::Load(d, high_ + i), hn::Set(d, high_[j])),
                            hn::Sub(hn::Load(d, low_ + i), hn::Set(d, low_[j]))));
  }
  const float* after() const { return after_; }
  const float* before(size_t block) const { return before_ + block * Q_; }

  float* dt;          // [Q], zeros beyond the chunk
  float* from_start;  // [Q]
  float* to_end;      // [Q]
  float carry;        // exp(s_last)

 private:
  size_t Q_;
  float* high_;  // [Q] s as a sum of two floats, so that differences are exact
  float* low_;   // enough even far down a strongly decaying chunk
  float* after_;
  float* before_;  // [Q / kDecayBlock, Q]
};

// out[r] = factor[r] * in[r] * (scale == null ? 1 : scale[r]) over rows of `width` floats; out may be in.
HWY_INLINE void ScaleRows(const SsdMatrix& in, const float* factor, const float* scale, size_t rows,
                          size_t width, const SsdMatrix& out) {
  const FloatTag d;
  for (size_t r = 0; r < rows; ++r) {
    const FloatVec by = hn::Set(d, scale == nullptr ? factor[r] : factor[r] * scale[r]);
    for (size_t p = 0; p < width; p += kLanes)
      hn::StoreU(hn::Mul(by, hn::LoadU(d, in.Row(r) + p)), d, out.Row(r) + p);
  }
}

// to = carry * from + B^T xs, `from` being zeros if `is_zero`; to may be from. bt: left operand [N, count]; xs: [count, P],
// decayed to the end of the chunk; N and P in scratch sizes.
template <class Operands>
HWY_INLINE void AdvanceState(const typename Operands::Left& bt, const SsdMatrix& xs, size_t count,
                             size_t state_rows, float carry, bool is_zero, const SsdMatrix& from,
                             const SsdMatrix& to, float* operand) {
  const FloatTag d;
  for (size_t n = 0; n < state_rows && !is_zero; ++n) {
    for (size_t p = 0; p < to.stride; p += kLanes)
      hn::StoreU(hn::Mul(hn::Set(d, carry), hn::LoadU(d, from.Row(n) + p)), d, to.Row(n) + p);
  }
  const auto right = Operands::MakeRight(xs, count, to.stride, operand);
  Operands::Multiply(bt, right, state_rows, to.stride, count, !is_zero, to);
}

// A head's [N, P] of states in memory to and from scratch.
HWY_INLINE void LoadState(const float* from, size_t N, size_t P, const SsdMatrix& state) {
  LoadRows(DType::kF32, from, P, N, P, state);
}
HWY_INLINE void StoreState(const SsdMatrix& state, size_t N, size_t P, float* to) {
  for (size_t n = 0; n < N; ++n) std::memcpy(to + n * P, state.Row(n), P * sizeof(float));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#endif  // PLANISH_KERNELS_SSD_CHUNK_INL_H_

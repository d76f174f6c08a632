// SPDX-License-Identifier: Apache-2.0
// Training attention in float arithmetic at every SIMD level. Scores are kept transposed, [keys, queries], so that softmax works
// on vectors of queries and no sum crosses lanes. All products are one loop: rows of A broadcast, rows of B as vectors.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/flash_tile.h"
#include "kernels/scratch.h"

// The order of these includes matters.
// clang-format off
#include "kernels/matmul_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/flash_attention_f32.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"
// clang-format on

#ifndef PLANISH_KERNELS_FLASH_ATTENTION_F32_ONCE_
#define PLANISH_KERNELS_FLASH_ATTENTION_F32_ONCE_
namespace planish {
namespace {

constexpr size_t kSide = 64;       // queries and keys of a tile
constexpr float kLowest = -1e30f;  // maximum of no scores; finite, so that differences are numbers

// Floats of a row of P channels in scratch.
size_t Width(const FlashShape& shape) { return RoundUpToLine(shape.head_dim); }

// Hands out the parts of a scratch buffer; of none, only counts.
class Parts {
 public:
  explicit Parts(float* memory) : memory_(memory) {}
  float* Take(size_t floats) {
    float* part = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += RoundUpToLine(floats);
    return part;
  }
  size_t used() const { return used_; }

 private:
  float* memory_;
  size_t used_ = 0;
};

struct ForwardPlaces {
  float *q, *k, *v, *scores, *sums, *maximum, *total, *factor;
  size_t floats;
  ForwardPlaces(const FlashShape& shape, float* memory) {
    Parts parts(memory);
    const size_t W = Width(shape);
    q = parts.Take(W * kSide);           // [P, queries], times scale
    k = parts.Take(kSide * W);           // [keys, W]
    v = parts.Take(kSide * W);           // [keys, W]
    scores = parts.Take(kSide * kSide);  // [keys, queries]
    sums = parts.Take(kSide * W);        // [queries, W]
    maximum = parts.Take(kSide);
    total = parts.Take(kSide);
    factor = parts.Take(kSide);
    floats = parts.used();
  }
};

struct BackwardPlaces {
  float *q, *dout, *q_columns, *dout_columns, *k, *v, *p, *ds, *neg_lse, *neg_delta, *dq, *dk, *dv;
  size_t floats;
  BackwardPlaces(const FlashShape& shape, float* memory) {
    Parts parts(memory);
    const size_t W = Width(shape);
    q = parts.Take(kSide * W);             // [queries, W]
    dout = parts.Take(kSide * W);          // [queries, W]
    q_columns = parts.Take(W * kSide);     // [P, queries], times scale
    dout_columns = parts.Take(W * kSide);  // [P, queries]
    k = parts.Take(kSide * W);             // [keys, W]
    v = parts.Take(kSide * W);             // [keys, W]
    p = parts.Take(kSide * kSide);         // [keys, queries]
    ds = parts.Take(kSide * kSide);        // [keys, queries]
    neg_lse = parts.Take(kSide);
    neg_delta = parts.Take(kSide);
    dq = parts.Take(kSide * W);               // [queries, W]
    dk = parts.Take(FlashStripe(shape) * W);  // [keys of the stripe, W]
    dv = parts.Take(FlashStripe(shape) * W);  // [keys of the stripe, W]
    floats = parts.used();
  }
};

}  // namespace
}  // namespace planish
#endif  // PLANISH_KERNELS_FLASH_ATTENTION_F32_ONCE_

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// Register tile of the product: with one broadcast and a row of B that fills 32 registers, or the 16 of AVX2.
inline constexpr size_t kTileRows = 6;
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
inline constexpr size_t kTileVectors = 4;
#else
inline constexpr size_t kTileVectors = 2;
#endif

struct Product {
  const float* a;  // A[m, k] = a[m * a_row + k * a_depth]
  size_t a_row, a_depth;
  const float* b;  // [K, N], rows b_row apart
  size_t b_row;
  float* c;  // [M, N], rows c_row apart
  size_t c_row;
  size_t M, N, K;  // N: a multiple of kLanes
  bool accumulate;
};

template <size_t kR, size_t kV>
HWY_INLINE void MultiplyTile(const Product& x, size_t m, size_t n) {
  const FloatTag d;
  FloatVec sum[kR][kV];
  float* c = x.c + m * x.c_row + n;
#pragma GCC unroll 16
  for (size_t r = 0; r < kR; ++r) {
#pragma GCC unroll 16
    for (size_t v = 0; v < kV; ++v)
      sum[r][v] = x.accumulate ? hn::Load(d, c + r * x.c_row + v * kLanes) : hn::Zero(d);
  }
  const float* a = x.a + m * x.a_row;
  const float* b = x.b + n;
  for (size_t k = 0; k < x.K; ++k, a += x.a_depth, b += x.b_row) {
    FloatVec row[kV];
#pragma GCC unroll 16
    for (size_t v = 0; v < kV; ++v) row[v] = hn::Load(d, b + v * kLanes);
#pragma GCC unroll 16
    for (size_t r = 0; r < kR; ++r) {
      const FloatVec factor = hn::Set(d, a[r * x.a_row]);
#pragma GCC unroll 16
      for (size_t v = 0; v < kV; ++v) sum[r][v] = hn::MulAdd(factor, row[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (size_t r = 0; r < kR; ++r) {
#pragma GCC unroll 16
    for (size_t v = 0; v < kV; ++v) hn::Store(sum[r][v], d, c + r * x.c_row + v * kLanes);
  }
}

// Rows [m, M), fewer than kR + 1.
template <size_t kR>
HWY_INLINE void MultiplyRows(const Product& x, size_t m) {
  if constexpr (kR > 1) {
    if (x.M - m < kR) return MultiplyRows<kR - 1>(x, m);
  }
  size_t n = 0;
  for (; n + kTileVectors * kLanes <= x.N; n += kTileVectors * kLanes)
    MultiplyTile<kR, kTileVectors>(x, m, n);
  for (; n < x.N; n += kLanes) MultiplyTile<kR, 1>(x, m, n);
}

void Multiply(const Product& x) {
  for (size_t m = 0; m < x.M; m += kTileRows) MultiplyRows<kTileRows>(x, m);
}

// kLanes elements from `offset` on.
template <bool kIsBf16>
HWY_INLINE FloatVec LoadLanes(const FlashMatrix& x, size_t offset) {
  const FloatTag d;
  if constexpr (kIsBf16) {
    const hn::RebindToUnsigned<FloatTag> du;
    const hn::Rebind<uint16_t, FloatTag> half;
    const auto bits = hn::LoadU(half, static_cast<const uint16_t*>(x.data) + offset);
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, bits)));
  } else {
    return hn::LoadU(d, static_cast<const float*>(x.data) + offset);
  }
}

// n floats of elements [offset, offset + n), zeros behind to a whole vector.
HWY_INLINE void LoadRow(const FlashMatrix& x, size_t offset, size_t n, float* to) {
  const FloatTag d;
  const size_t whole = n / kLanes * kLanes, end = PaddedColumns(n);
  if (x.dtype == DType::kF32) {
    const float* from = static_cast<const float*>(x.data) + offset;
    std::memcpy(to, from, n * sizeof(float));
  } else {
    const uint16_t* from = static_cast<const uint16_t*>(x.data) + offset;
    for (size_t i = 0; i < whole; i += kLanes) hn::Store(LoadLanes<true>(x, offset + i), d, to + i);
    for (size_t i = whole; i < n; ++i) to[i] = FloatFromBF16(from[i]);
  }
  std::fill(to + n, to + end, 0.0f);
}

// `rows` rows of one head, row_elements apart, as [rows, W].
void LoadTile(const FlashMatrix& x, size_t offset, size_t row_elements, size_t rows, size_t P,
              size_t W, float* to) {
  for (size_t r = 0; r < rows; ++r) LoadRow(x, offset + r * row_elements, P, to + r * W);
}

// [rows, W] to [P, kSide], times factor, zeros in the missing columns.
void Transpose(const float* from, size_t rows, size_t P, size_t W, float factor, float* to) {
  for (size_t c = 0; c < P; ++c) {
    for (size_t r = 0; r < rows; ++r) to[c * kSide + r] = factor * from[r * W + c];
    std::fill(to + c * kSide + rows, to + (c + 1) * kSide, 0.0f);
  }
}

// Lanes of queries q .. that see the key: `ahead` = position of the key - position of query 0.
HWY_INLINE hn::Mask<FloatTag> Sees(size_t q, ptrdiff_t ahead) {
  const FloatTag d;
  const FloatVec queries = hn::Iota(d, static_cast<float>(q));
  return hn::Ge(queries, hn::Set(d, static_cast<float>(ahead)));
}

// One tile: scores [keys, kSide] become exp(score - maximum); maximum and total are brought up to date and factor is what sums
// under the old maximum are to be multiplied with. Key j is `ahead` + j positions after query 0.
void UpdateSoftmax(float* scores, size_t keys, ptrdiff_t ahead, float* maximum, float* total,
                   float* factor) {
  const FloatTag d;
  const FloatVec lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (size_t q = 0; q < kSide; q += kLanes) {
    const FloatVec before = hn::Load(d, maximum + q);
    FloatVec largest = before;
    for (size_t j = 0; j < keys; ++j) {
      float* score = scores + j * kSide + q;
      FloatVec s = hn::Load(d, score);
      if (ahead + static_cast<ptrdiff_t>(j) > static_cast<ptrdiff_t>(q)) {
        s = hn::IfThenElse(Sees(q, ahead + static_cast<ptrdiff_t>(j)), s, lowest);
        hn::Store(s, d, score);
      }
      largest = hn::Max(largest, s);
    }
    const FloatVec scale = hn::Exp(d, hn::Sub(before, largest));
    FloatVec sum = hn::Mul(hn::Load(d, total + q), scale);
    for (size_t j = 0; j < keys; ++j) {
      float* score = scores + j * kSide + q;
      const FloatVec shifted = hn::Sub(hn::Load(d, score), largest);
      // exp(-87) is about the smallest normal float; below it products would run in microcode. Exp hides NaN.
      const FloatVec normal =
          hn::IfThenElseZero(hn::Ge(shifted, hn::Set(d, -87.0f)), hn::Exp(d, shifted));
      const FloatVec e = hn::IfThenElse(hn::IsNaN(shifted), shifted, normal);
      hn::Store(e, d, score);
      sum = hn::Add(sum, e);
    }
    hn::Store(largest, d, maximum + q);
    hn::Store(scale, d, factor + q);
    hn::Store(sum, d, total + q);
  }
}

// to[i] (+)= factor * from[i].
HWY_INLINE void WriteRow(const float* from, size_t n, float factor, bool add, float* to) {
  const FloatTag d;
  const FloatVec f = hn::Set(d, factor);
  ForEachVector(n, [=](size_t i, auto load, auto store) HWY_ATTR {
    const FloatVec product = hn::Mul(f, load(from + i));
    store(add ? hn::Add(load(to + i), product) : product, to + i);
  });
}

void Forward(const FlashForwardCall& call, const FlashForwardTask& task, float* scratch) {
  const FloatTag d;
  const FlashShape& shape = call.shape;
  const size_t H = shape.heads, K = shape.kv_heads, P = shape.head_dim, W = Width(shape);
  const size_t group = H / K, columns = PaddedColumns(P);
  const ForwardPlaces at(shape, scratch);
  for (size_t head = task.kv_head * group; head < (task.kv_head + 1) * group; ++head) {
    for (size_t q0 = task.first; q0 < task.first + task.rows; q0 += kSide) {
      const size_t queries = std::min(kSide, task.first + task.rows - q0);
      const size_t query = ((task.begin + q0) * H + head) * P;
      LoadTile(call.input.q, query, H * P, queries, P, W, at.sums);
      Transpose(at.sums, queries, P, W, shape.scale, at.q);
      std::fill_n(at.sums, kSide * W, 0.0f);
      std::fill_n(at.maximum, kSide, kLowest);
      std::fill_n(at.total, kSide, 0.0f);
      for (size_t k0 = 0; k0 < q0 + queries; k0 += kSide) {
        const size_t keys = std::min(kSide, q0 + queries - k0);
        const size_t key = ((task.begin + k0) * K + task.kv_head) * P;
        LoadTile(call.input.k, key, K * P, keys, P, W, at.k);
        LoadTile(call.input.v, key, K * P, keys, P, W, at.v);
        Multiply({at.k, W, 1, at.q, kSide, at.scores, kSide, keys, kSide, P, false});
        UpdateSoftmax(at.scores, keys, static_cast<ptrdiff_t>(k0) - static_cast<ptrdiff_t>(q0),
                      at.maximum, at.total, at.factor);
        for (size_t i = 0; i < queries; ++i) {
          const FloatVec factor = hn::Set(d, at.factor[i]);
          for (size_t c = 0; c < columns; c += kLanes)
            hn::Store(hn::Mul(factor, hn::Load(d, at.sums + i * W + c)), d, at.sums + i * W + c);
        }
        Multiply({at.scores, 1, kSide, at.v, W, at.sums, W, queries, columns, keys, true});
      }
      for (size_t i = 0; i < queries; ++i) {
        WriteRow(at.sums + i * W, P, 1.0f / at.total[i], false, call.out + query + i * H * P);
        call.lse[(task.begin + q0 + i) * H + head] = at.maximum[i] + std::log(at.total[i]);
      }
    }
  }
}

// p = exp(p - lse) of scores and ds = p (ds - delta) of products of dout and v, both [keys, kSide]; zeros where a key is not
// seen and in the columns from `queries` on.
void Probabilities(size_t keys, size_t queries, ptrdiff_t ahead, const float* neg_lse,
                   const float* neg_delta, float* p, float* ds) {
  const FloatTag d;
  for (size_t q = 0; q < kSide; q += kLanes) {
    const auto is_query = hn::FirstN(d, queries > q ? queries - q : 0);
    const FloatVec lse = hn::Load(d, neg_lse + q), delta = hn::Load(d, neg_delta + q);
    for (size_t j = 0; j < keys; ++j) {
      const size_t i = j * kSide + q;
      const auto sees = hn::And(is_query, Sees(q, ahead + static_cast<ptrdiff_t>(j)));
      const FloatVec shifted = hn::Add(hn::Load(d, p + i), lse);
      const FloatVec normal =
          hn::IfThenElseZero(hn::Ge(shifted, hn::Set(d, -87.0f)), hn::Exp(d, shifted));
      const FloatVec e = hn::IfThenElse(hn::IsNaN(shifted), shifted, normal);
      hn::Store(hn::IfThenElseZero(sees, e), d, p + i);
      const FloatVec product = hn::Mul(e, hn::Add(hn::Load(d, ds + i), delta));
      hn::Store(hn::IfThenElseZero(sees, product), d, ds + i);
    }
  }
}

void Backward(const FlashBackwardCall& call, const FlashBackwardTask& task, float* scratch) {
  const FlashShape& shape = call.shape;
  const size_t H = shape.heads, K = shape.kv_heads, P = shape.head_dim, W = Width(shape);
  const size_t group = H / K, columns = PaddedColumns(P);
  const BackwardPlaces at(shape, scratch);
  std::fill_n(at.dk, task.key_rows * W, 0.0f);
  std::fill_n(at.dv, task.key_rows * W, 0.0f);
  for (size_t head = task.kv_head * group; head < (task.kv_head + 1) * group; ++head) {
    for (size_t q0 = task.query_first; q0 < task.query_first + task.query_rows; q0 += kSide) {
      const size_t queries = std::min(kSide, task.query_first + task.query_rows - q0);
      const size_t query = ((task.begin + q0) * H + head) * P;
      LoadTile(call.input.q, query, H * P, queries, P, W, at.q);
      LoadTile({call.dout, DType::kF32}, query, H * P, queries, P, W, at.dout);
      Transpose(at.q, queries, P, W, shape.scale, at.q_columns);
      Transpose(at.dout, queries, P, W, 1.0f, at.dout_columns);
      const size_t term = head * call.term_stride + task.begin + q0;
      std::fill_n(at.neg_lse, kSide, 0.0f);
      std::fill_n(at.neg_delta, kSide, 0.0f);
      std::copy_n(call.neg_lse + term, queries, at.neg_lse);
      std::copy_n(call.neg_delta + term, queries, at.neg_delta);
      std::fill_n(at.dq, kSide * W, 0.0f);
      const size_t seen = std::min(task.key_first + task.key_rows, q0 + queries);
      for (size_t k0 = task.key_first; k0 < seen; k0 += kSide) {
        const size_t keys = std::min(kSide, seen - k0);
        const size_t key = ((task.begin + k0) * K + task.kv_head) * P;
        float* dk = at.dk + (k0 - task.key_first) * W;
        float* dv = at.dv + (k0 - task.key_first) * W;
        LoadTile(call.input.k, key, K * P, keys, P, W, at.k);
        LoadTile(call.input.v, key, K * P, keys, P, W, at.v);
        Multiply({at.k, W, 1, at.q_columns, kSide, at.p, kSide, keys, kSide, P, false});
        Multiply({at.v, W, 1, at.dout_columns, kSide, at.ds, kSide, keys, kSide, P, false});
        Probabilities(keys, queries, static_cast<ptrdiff_t>(k0) - static_cast<ptrdiff_t>(q0),
                      at.neg_lse, at.neg_delta, at.p, at.ds);
        Multiply({at.p, kSide, 1, at.dout, W, dv, W, keys, columns, queries, true});
        Multiply({at.ds, kSide, 1, at.q, W, dk, W, keys, columns, queries, true});
        Multiply({at.ds, 1, kSide, at.k, W, at.dq, W, queries, columns, keys, true});
      }
      for (size_t i = 0; i < queries; ++i)
        WriteRow(at.dq + i * W, P, shape.scale, !task.is_diagonal(), call.dq + query + i * H * P);
    }
  }
  for (size_t j = 0; j < task.key_rows; ++j) {
    const size_t key = ((task.begin + task.key_first + j) * K + task.kv_head) * P;
    WriteRow(at.dk + j * W, P, shape.scale, !task.is_diagonal(), call.dk + key);
    WriteRow(at.dv + j * W, P, 1.0f, !task.is_diagonal(), call.dv + key);
  }
}

template <bool kIsBf16>
void RowTermsOf(const FlashShape& shape, const FlashMatrix& out, const float* lse,
                const float* dout, size_t begin, size_t end, size_t term_stride, float* neg_lse,
                float* neg_delta) {
  const FloatTag d;
  const size_t H = shape.heads, P = shape.head_dim, whole = P / kLanes * kLanes;
  for (size_t t = begin; t < end; ++t) {
    for (size_t h = 0; h < H; ++h) {
      const size_t row = (t * H + h) * P;
      FloatVec sum = hn::Zero(d);
      for (size_t c = 0; c < whole; c += kLanes)
        sum = hn::MulAdd(LoadLanes<kIsBf16>(out, row + c), hn::LoadU(d, dout + row + c), sum);
      if (whole < P) {
        HWY_ALIGN float rest[kLanes];
        LoadRow(out, row + whole, P - whole, rest);
        sum = hn::MulAdd(hn::Load(d, rest), LoadTail(d, dout + row + whole, P - whole), sum);
      }
      neg_lse[h * term_stride + t] = -lse[t * H + h];
      neg_delta[h * term_stride + t] = -hn::GetLane(hn::SumOfLanes(d, sum));
    }
  }
}

void RowTerms(const FlashShape& shape, const FlashMatrix& out, const float* lse, const float* dout,
              size_t begin, size_t end, size_t term_stride, float* neg_lse, float* neg_delta) {
  if (out.dtype == DType::kBF16)
    RowTermsOf<true>(shape, out, lse, dout, begin, end, term_stride, neg_lse, neg_delta);
  else
    RowTermsOf<false>(shape, out, lse, dout, begin, end, term_stride, neg_lse, neg_delta);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(Forward);
HWY_EXPORT(Backward);
HWY_EXPORT(RowTerms);

const FlashKernel& FlashKernelF32() {
  static constexpr FlashKernel kKernel = {
      [](const FlashShape& shape) { return ForwardPlaces(shape, nullptr).floats; },
      [](const FlashForwardCall& call, const FlashForwardTask& task, float* scratch) noexcept {
        HWY_DYNAMIC_DISPATCH(Forward)(call, task, scratch);
      },
      [](const FlashShape& shape) { return BackwardPlaces(shape, nullptr).floats; },
      [](const FlashBackwardCall& call, const FlashBackwardTask& task, float* scratch) noexcept {
        HWY_DYNAMIC_DISPATCH(Backward)(call, task, scratch);
      }};
  return kKernel;
}

void FlashRowTerms(const FlashShape& shape, const FlashMatrix& out, const float* lse,
                   const float* dout, size_t begin, size_t end, size_t term_stride, float* neg_lse,
                   float* neg_delta) noexcept {
  HWY_DYNAMIC_DISPATCH(RowTerms)
  (shape, out, lse, dout, begin, end, term_stride, neg_lse, neg_delta);
}

}  // namespace planish
#endif  // HWY_ONCE

// SPDX-License-Identifier: Apache-2.0
// Tasks and buffers of the matrix product; the loops are in matmul_kernel-inl.h, the block formats
// in matmul_decode*. Up to kStreamTokens tokens: groups of rows are streamed, decoded in registers.
// More: a task owns kTaskRows rows and takes the tokens kBlockTokens at a time; slab by slab it
// decodes a few rows into L1 and multiplies them with all tokens of the block, keeping unfinished
// sums in a buffer that stays in L2.
#include "kernels/matmul.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "base/memory.h"
#include "kernels/isa.h"
#include "kernels/matmul_bf16.h"
#include "kernels/matmul_int8.h"
#include "kernels/packed_weight.h"
#include "kernels/team_work.h"
#include "tensor/blocks.h"

// The order of these includes matters.
// clang-format off
#include "kernels/matmul_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul.cc"
#include "hwy/foreach_target.h"
#include "kernels/matmul_kernel-inl.h"
// clang-format on

#ifndef PLANISH_KERNELS_MATMUL_ONCE
#define PLANISH_KERNELS_MATMUL_ONCE
namespace planish {
namespace {

// Several weights on one input.
struct Product {
  std::span<const Weight* const> weights;
  std::span<float* const> outputs;
  const float* x;
  size_t T;
  size_t K;
};

// Grow-only memory of the thread that opens the parallel regions.
float* Scratch(AlignedBuffer& buffer, size_t floats) {
  if (buffer.size() < floats * sizeof(float)) {
    buffer = AlignedBuffer();  // before the new one exists
    buffer = AlignedBuffer(floats * sizeof(float));
  }
  return reinterpret_cast<float*>(buffer.data());
}
thread_local AlignedBuffer t_packed;     // activations
thread_local AlignedBuffer t_workspace;  // tile and sums of every thread of the team

}  // namespace
}  // namespace planish
#endif  // PLANISH_KERNELS_MATMUL_ONCE

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

constexpr size_t kTaskRows = 48;      // a multiple of kRows
constexpr size_t kBlockTokens = 128;  // a multiple of kTokens; sums: 48 * 128 * 64 B = 384 KiB
constexpr size_t kChunkTokens = 512;  // packed at a time
constexpr size_t kStreamTaskBytes = 64 << 10;
constexpr size_t kWorkspace = kTileFloats + kTaskRows * kBlockTokens * kLanes;
static_assert(kTaskRows % kRows == 0 && kBlockTokens % kTokens == 0);

struct Kernels {
  void (*decode)(const uint8_t* in, size_t n, float* out);
  // By token count - 1; null where only the tile serves.
  void (*stream[kStreamTokens])(const uint8_t* const* rows, size_t K, size_t ahead, const float* x,
                                float* sums);
};

void DecodeF64(const uint8_t* in, size_t n, float* out) {
  DequantizeRow(DType::kF64, in, out, n);
  for (; n % kLanes != 0; ++n) out[n] = 0.0f;
}

Kernels KernelsOf(DType dtype) {
  Kernels kernels = {DecodeF64, {}};
  WithDecoder(
      dtype,
      [&kernels](auto decoder) {
        using D = decltype(decoder);
        kernels = {DecodeBlocks<D>, {StreamBlocks<D, 1>, StreamBlocks<D, 2>}};
      },
      [&kernels](auto decoder) {
        using P = decltype(decoder);
        kernels = {DecodePlain<P>, {StreamPlain<P, 1>, StreamPlain<P, 2>}};
      });
  return kernels;
}

const uint8_t* RowOf(const Weight& w, size_t r) {
  return reinterpret_cast<const uint8_t*>(w.row(r));
}

// out[0, n) *= the scales of elements [begin, begin + n) of row r.
void ApplyScales(const Weight& w, size_t r, size_t begin, size_t n, float* out) {
  const Weight::Scales& scales = w.scales();
  const float* row = scales.values.row(r / scales.block_out);
  for (size_t k = 0; k < n;) {
    const size_t block = (begin + k) / scales.block_in;
    const size_t end = std::min(n, (block + 1) * scales.block_in - begin);
    const VF scale = hn::Set(DF(), row[block]);
    for (; k + kLanes <= end; k += kLanes)
      hn::StoreU(hn::Mul(hn::LoadU(DF(), out + k), scale), DF(), out + k);
    for (; k < end; ++k) out[k] *= row[block];
  }
}

// Elements [begin, begin + n) of row r; zeros up to a whole vector.
void DecodeRow(const Weight& w, const Kernels& kernels, size_t r, size_t begin, size_t n,
               float* out) {
  kernels.decode(RowOf(w, r) + BytesOf(w.dtype(), begin), n, out);
  if (w.scales().block_out != 0) ApplyScales(w, r, begin, n, out);
}

// Slabs of equal length, so that the last is not a sliver.
size_t SlabOf(size_t padded) {
  const size_t count = (padded + kMaxSlab - 1) / kMaxSlab;
  return RoundUp((padded + count - 1) / count, 256);
}

// The packed activations of one chunk of tokens: blocks of kBlockTokens, in them slabs, in them
// groups.
struct Activations {
  const float* data;
  size_t T;
  size_t padded;  // K rounded up to whole vectors
  // The group of tokens that begins at t, elements [begin, begin + n): n the length of that slab.
  const float* Group(size_t t, size_t begin, size_t n) const {
    const size_t first = t / kBlockTokens * kBlockTokens;
    const size_t count = std::min(kBlockTokens, T - first);
    return data + first * padded + begin * count + (t - first) * n;
  }
};

Activations Pack(const float* x, size_t T, size_t K) {
  const size_t padded = RoundUp(K, kLanes);
  if (T == 1 && K == padded) return {x, T, padded};
  float* data = Scratch(t_packed, T * padded);
  const Activations packed = {data, T, padded};
  const size_t slab = T <= kStreamTokens ? padded : SlabOf(padded);
  const auto pack_group = [&](size_t group) {
    const size_t t = group * kTokens;
    for (size_t k = 0; k < padded; k += slab) {
      const size_t n = std::min(slab, padded - k);
      float* out = data + (packed.Group(t, k, n) - data);
      PackTokens(x + t * K + k, K, std::min(kTokens, T - t), std::min(n, K - k), out);
    }
  };
  const size_t groups = (T + kTokens - 1) / kTokens;
  ParallelForWork(groups, 4 * T * padded, [&](size_t group, int) { pack_group(group); });
  return packed;
}

// ---- up to kStreamTokens tokens

size_t StreamTaskRows(const Weight& w) {
  return RoundUp(std::max<size_t>(kStreamTaskBytes / std::max<size_t>(w.row_bytes(), 1), 1),
                 kStreamRows);
}

template <typename Stream>
void StreamRows(const Weight& w, Stream* stream, const Activations& x, size_t begin, size_t end,
                float* y) {
  const size_t N = w.out();
  HWY_ALIGN float sums[kStreamTokens * kStreamRows];
  for (size_t n = begin; n < end; n += kStreamRows) {
    const size_t valid = std::min(kStreamRows, end - n);
    const uint8_t* rows[kStreamRows];
    for (size_t r = 0; r < kStreamRows; ++r) rows[r] = RowOf(w, n + std::min(r, valid - 1));
    const size_t ahead = n + 2 * kStreamRows <= end ? kStreamRows * w.row_bytes() : 0;
    stream(rows, w.in(), ahead, x.data, sums);
    for (size_t t = 0; t < x.T; ++t)
      std::memcpy(y + t * N + n, sums + t * kStreamRows, valid * sizeof(float));
  }
}

// ---- more tokens

void MultiplyGroup(size_t C, const float* tile, const float* x, size_t n, bool is_first,
                   bool is_last, float* acc, float* sums) {
  switch (C) {
    case 1:
      return MultiplyTile<1>(tile, x, n, is_first, is_last, acc, sums);
    case 2:
      return MultiplyTile<2>(tile, x, n, is_first, is_last, acc, sums);
    case 3:
      return MultiplyTile<3>(tile, x, n, is_first, is_last, acc, sums);
    default:
      return MultiplyTile<4>(tile, x, n, is_first, is_last, acc, sums);
  }
}

// A copy of constant length but at the last rows of a weight: a call of memcpy is 15 % of a tile of
// 576 elements.
HWY_INLINE void CopyRows(const float* sums, size_t valid, float* y) {
  if (valid == kRows)
    std::memcpy(y, sums, kRows * sizeof(float));
  else
    std::memcpy(y, sums, valid * sizeof(float));
}

void TileRows(const Weight& w, const Kernels& kernels, const Activations& x, size_t begin,
              size_t end, float* y, float* workspace) {
  const size_t N = w.out(), K = w.in();
  const size_t slab = SlabOf(x.padded);
  float* tile = workspace;
  float* acc = workspace + kTileFloats;  // [kTaskRows / kRows][block's tokens][kRows][kLanes]
  HWY_ALIGN float sums[kTokens * kRows + 3];
  for (size_t t0 = 0; t0 < x.T; t0 += kBlockTokens) {
    const size_t t1 = std::min(x.T, t0 + kBlockTokens);
    for (size_t k = 0; k < x.padded; k += slab) {
      const size_t length = std::min(slab, x.padded - k);
      const bool is_last = k + length == x.padded;
      for (size_t n = begin; n < end; n += kRows) {
        const size_t valid = std::min(kRows, end - n);
        // Rows past the end keep what the tile held; their sums are dropped.
        for (size_t r = 0; r < valid; ++r)
          DecodeRow(w, kernels, n + r, k, std::min(length, K - k), tile + r * kTileStride);
        float* group_acc = acc + (n - begin) * (t1 - t0) * kLanes;
        for (size_t t = t0; t < t1; t += kTokens) {
          const size_t C = std::min(kTokens, t1 - t);
          MultiplyGroup(C, tile, x.Group(t, k, length), length, k == 0, is_last, group_acc, sums);
          group_acc += C * kRows * kLanes;
          if (!is_last) continue;
          for (size_t c = 0; c < C; ++c) CopyRows(sums + c * kRows, valid, y + (t + c) * N + n);
        }
      }
    }
  }
}

// Runs rows(weight index, first row, end row, thread) over all weights in tasks of
// task_rows(weight) rows.
template <typename TaskRows, typename Rows>
void ForRowTasks(std::span<const Weight* const> weights, size_t T, const TaskRows& task_rows,
                 const Rows& rows) {
  size_t total = 0, operations = 0;
  for (const Weight* w : weights) {
    total += (w->out() + task_rows(*w) - 1) / task_rows(*w);
    operations += T * w->out() * w->in();
  }
  ParallelForWork(total, operations, [&](size_t task, int thread) {
    size_t i = 0;
    for (;; ++i) {
      const size_t count =
          (weights[i]->out() + task_rows(*weights[i]) - 1) / task_rows(*weights[i]);
      if (task < count) break;
      task -= count;
    }
    const size_t size = task_rows(*weights[i]);
    rows(i, task * size, std::min(weights[i]->out(), (task + 1) * size), thread);
  });
}

void MultiplyChunk(const Product& product, size_t first, size_t T) {
  const Activations x = Pack(product.x + first * product.K, T, product.K);
  const auto y = [&](size_t i) { return product.outputs[i] + first * product.weights[i]->out(); };
  bool can_stream = T <= kStreamTokens;
  for (const Weight* w : product.weights)
    can_stream &= w->scales().block_out == 0 && KernelsOf(w->dtype()).stream[0] != nullptr;
  if (can_stream) {
    ForRowTasks(product.weights, T, StreamTaskRows, [&](size_t i, size_t begin, size_t end, int) {
      const Weight& w = *product.weights[i];
      StreamRows(w, KernelsOf(w.dtype()).stream[T - 1], x, begin, end, y(i));
    });
    return;
  }
  float* workspace = Scratch(t_workspace, kWorkspace * static_cast<size_t>(ThreadCount()));
  ForRowTasks(
      product.weights, T, [](const Weight&) { return kTaskRows; },
      [&](size_t i, size_t begin, size_t end, int thread) {
        const Weight& w = *product.weights[i];
        TileRows(w, KernelsOf(w.dtype()), x, begin, end, y(i),
                 workspace + kWorkspace * static_cast<size_t>(thread));
      });
}

void Multiply(const Product& product) {
  for (size_t t = 0; t < product.T; t += kChunkTokens)
    MultiplyChunk(product, t, std::min(kChunkTokens, product.T - t));
}

void Gather(const Weight& w, std::span<const int32_t> rows, float* out) {
  const size_t K = w.in();
  const size_t whole =
      K / kLanes * kLanes;  // decoders write whole vectors: the last one goes by a buffer
  const Kernels kernels = KernelsOf(w.dtype());
  ParallelForWork(rows.size(), rows.size() * K, [&](size_t i, int) {
    const size_t r = static_cast<size_t>(rows[i]);
    DecodeRow(w, kernels, r, 0, whole, out + i * K);
    if (whole == K) return;
    HWY_ALIGN float last[kLanes];
    DecodeRow(w, kernels, r, whole, K - whole, last);
    std::memcpy(out + i * K + whole, last, (K - whole) * sizeof(float));
  });
}

}  // namespace

void MultiplyEntry(const Product& product) { Multiply(product); }
void GatherEntry(const Weight& w, std::span<const int32_t> rows, float* out) {
  Gather(w, rows, out);
}
void DecodeEntry(const Weight& w, size_t r, size_t begin, size_t n, float* out) {
  DecodeRow(w, KernelsOf(w.dtype()), r, begin, n, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {
namespace {

HWY_EXPORT(MultiplyEntry);
HWY_EXPORT(GatherEntry);
HWY_EXPORT(DecodeEntry);

using MultiProduct = void (*)(std::span<const Weight* const> ws, const float* x, size_t T,
                              std::span<float* const> ys);

void MatMulExact(std::span<const Weight* const> ws, const float* x, size_t T,
                 std::span<float* const> ys) {
  HWY_DYNAMIC_DISPATCH(MultiplyEntry)(Product{ws, ys, x, T, ws[0]->in()});
}

// The arithmetic of one kind of rows with one weight. Decode rows are bound by the bytes of the weight: codes go into integer
// products as they are, and floats stay exact. Prompt slices are bound by arithmetic: where the machine has bf16 tiles, which
// are faster than integer products with a scale for every 32 inputs, they take these whatever the weight's type.
MultiProduct ProductFor(const Weight& w, ActMode act, bool is_decode) {
  const bool has_codes = act == ActMode::kInt8 && w.packed(kPackedLayout) != nullptr;
  if (is_decode) return has_codes ? MatMulInt8 : MatMulExact;
  if (has_codes && !Has(Isa::kAmx)) return MatMulInt8;
  return act == ActMode::kBf16 || Has(Isa::kBf16) ? MatMulBf16 : MatMulExact;
}

void MultiplyFast(std::span<const Weight* const> ws, const float* x, size_t T, ActMode act,
                  bool is_decode, std::span<float* const> ys) {
  // Nearly always one product for all; a mixed model takes one for each kind.
  for (size_t begin = 0; begin < ws.size();) {
    const MultiProduct product = ProductFor(*ws[begin], act, is_decode);
    size_t end = begin + 1;
    while (end < ws.size() && ProductFor(*ws[end], act, is_decode) == product) ++end;
    product(ws.subspan(begin, end - begin), x, T, ys.subspan(begin, end - begin));
    begin = end;
  }
}

}  // namespace

void MatMulMany(std::span<const Weight* const> ws, const float* x, const Rows& rows,
                std::span<float* const> ys) {
  const size_t T = rows.total;
  PLANISH_CHECK(ws.size() == ys.size(), "{} weights, {} outputs", ws.size(), ys.size());
  if (ws.empty() || T == 0) return;
  const size_t K = ws[0]->in();
  for (const Weight* w : ws) {
    PLANISH_CHECK(w->in() == K, "{} takes {} inputs, {} takes {}", w->name(), w->in(),
                  ws[0]->name(), K);
    PLANISH_CHECK(IsDequantisable(w->dtype()), "{} is {}", w->name(), Name(w->dtype()));
  }
  if (K == 0) {  // an empty sum
    for (size_t i = 0; i < ws.size(); ++i) std::fill_n(ys[i], T * ws[i]->out(), 0.0f);
    return;
  }
  PLANISH_DCHECK(rows.decode <= T);
  if (rows.act == ActMode::kF32) {
    MatMulExact(ws, x, T, ys);
    return;
  }
  if (rows.decode > 0) MultiplyFast(ws, x, rows.decode, rows.act, /*is_decode=*/true, ys);
  if (rows.decode == T) return;
  std::vector<float*> prompt_ys(ys.begin(), ys.end());
  for (size_t i = 0; i < ws.size(); ++i) prompt_ys[i] += rows.decode * ws[i]->out();
  MultiplyFast(ws, x + rows.decode * K, T - rows.decode, rows.act, /*is_decode=*/false, prompt_ys);
}

void MatMul(const Weight& w, const float* x, const Rows& rows, float* y) {
  const Weight* const weights[] = {&w};
  float* const outputs[] = {y};
  MatMulMany(weights, x, rows, outputs);
}

void GatherRows(const Weight& w, std::span<const int32_t> rows, float* out) {
  PLANISH_CHECK(IsDequantisable(w.dtype()), "{} is {}", w.name(), Name(w.dtype()));
  for (const int32_t r : rows)
    PLANISH_CHECK(r >= 0 && static_cast<size_t>(r) < w.out(), "{}: row {} of {}", w.name(), r,
                  w.out());
  HWY_DYNAMIC_DISPATCH(GatherEntry)(w, rows, out);
}

void DecodeRowPart(const Weight& w, size_t r, size_t begin, size_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeEntry)(w, r, begin, n, out);
}

}  // namespace planish
#endif  // HWY_ONCE

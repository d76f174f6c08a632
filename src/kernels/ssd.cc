// SPDX-License-Identifier: Apache-2.0
// The chunked form of the Mamba-2 state-space layer; see ssd.h. Per chunk of Q rows with inclusive sums s_i of dt A
// (Dao & Gu, section 6), all as products with a broadcast left factor and vectors over the columns of the right one:
//   CB = C B^T per group;  per head, with S as [N, P] and X = dt x:
//   M[i,j] = exp(s_i - s_j) CB[i,j] for j <= i,  Y = exp(s_i) (C S^T) + M X + D x,
//   S' = exp(s_last) S + sum_j exp(s_last - s_j) X_j B_j^T.
#include "kernels/ssd.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/scratch.h"
#include "kernels/simd_targets.h"
#include "kernels/team_work.h"

#ifndef PLANISH_KERNELS_SSD_CC_ONCE
#define PLANISH_KERNELS_SSD_CC_ONCE
namespace planish {
namespace {

struct SsdChunk {
  size_t job, index;    // chunk `index` of jobs[job]
  size_t begin, count;  // tokens
  size_t cb;            // offset of its CB: [G, count, RoundUpToLine(count)]
};

// Consecutive chunks of one job within a block.
struct SsdRun {
  size_t first, count;
  const float* state_in;  // [H, N, P] or null: zeros
  float* state_out;       // [H, N, P] or null; may be state_in: a head reads before it writes
};

// Per-thread scratch of a head's walk.
struct HeadScratch {
  size_t P, N, Q;  // rounded up to lines
  size_t Floats() const { return N * P + Q * Q + 2 * Q * P + 3 * Q; }
};

}  // namespace
}  // namespace planish
#endif  // PLANISH_KERNELS_SSD_CC_ONCE

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssd.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

inline constexpr size_t kTileRows = 4;
inline constexpr size_t kTileVectors = kLanes >= 16 ? 4 : 2;

// out = factor[i * factor_step] * out + a b, or a b when factor is null. Element (i, k) of a is a[i * ai + k * ak]; b rows
// are b_stride apart. kR x kV is the register tile.
struct Product {
  const float* a;
  size_t ai, ak;
  const float* b;
  size_t b_stride;
  const float* factor;
  size_t factor_step;
  float* out;
  size_t out_stride;
};

template <size_t kR, size_t kV>
HWY_INLINE void MultiplyTile(const Product& product, size_t row, size_t column, size_t K) {
  const FloatTag d;
  FloatVec sum[kR][kV];
  float* out = product.out + row * product.out_stride + column;
#pragma GCC unroll 16
  for (size_t i = 0; i < kR; ++i) {
#pragma GCC unroll 16
    for (size_t v = 0; v < kV; ++v) {
      sum[i][v] = product.factor == nullptr
                      ? hn::Zero(d)
                      : hn::Mul(hn::Set(d, product.factor[(row + i) * product.factor_step]),
                                hn::LoadU(d, out + i * product.out_stride + v * kLanes));
    }
  }
  const float* a = product.a + row * product.ai;
  const float* b = product.b + column;
  for (size_t k = 0; k < K; ++k, a += product.ak, b += product.b_stride) {
    FloatVec right[kV];
#pragma GCC unroll 16
    for (size_t v = 0; v < kV; ++v) right[v] = hn::LoadU(d, b + v * kLanes);
#pragma GCC unroll 16
    for (size_t i = 0; i < kR; ++i) {
      const FloatVec left = hn::Set(d, a[i * product.ai]);
#pragma GCC unroll 16
      for (size_t v = 0; v < kV; ++v) sum[i][v] = hn::MulAdd(left, right[v], sum[i][v]);
    }
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kR; ++i) {
#pragma GCC unroll 16
    for (size_t v = 0; v < kV; ++v) {
      hn::StoreU(sum[i][v], d, out + i * product.out_stride + v * kLanes);
    }
  }
}

// kR rows from `row`, all vectors of columns: cut into tiles of nearly equal width (5 vectors: 3 + 2, not 4 + 1).
template <size_t kR>
HWY_INLINE void MultiplyRows(const Product& product, size_t row, size_t columns, size_t K) {
  size_t left = columns / kLanes, column = 0;
  while (left > 0) {
    const size_t tiles = (left + kTileVectors - 1) / kTileVectors;
    const size_t take = (left + tiles - 1) / tiles;
    if (take >= 4) {
      MultiplyTile<kR, 4>(product, row, column, K);
    } else if (take == 3) {
      MultiplyTile<kR, 3>(product, row, column, K);
    } else if (take == 2) {
      MultiplyTile<kR, 2>(product, row, column, K);
    } else {
      MultiplyTile<kR, 1>(product, row, column, K);
    }
    left -= take;
    column += take * kLanes;
  }
}

// columns: a multiple of kLanes. Causal: row i of a has zeros (readable ones) right of column i within its tile, and
// K == rows.
HWY_INLINE void Multiply(const Product& product, size_t rows, size_t columns, size_t K,
                         bool is_causal) {
  size_t row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) {
    MultiplyRows<kTileRows>(product, row, columns, is_causal ? row + kTileRows : K);
  }
  for (; row < rows; ++row) MultiplyRows<1>(product, row, columns, is_causal ? row + 1 : K);
}

// cb[i, j] = C_i . B_j of one group for j <= i (and some beyond); cb rows are `stride` apart. scratch: [N, stride].
void ChunkCB(const SsmInput& in, size_t begin, size_t count, size_t N, size_t group, float* cb,
             size_t stride, float* scratch) {
  const float* B = in.B + begin * in.b_stride + group * N;
  const float* C = in.C + begin * in.c_stride + group * N;
  const size_t columns = PaddedColumns(count);
  for (size_t n = 0; n < N; ++n) {
    float* transposed = scratch + n * stride;
    for (size_t j = 0; j < count; ++j) transposed[j] = B[j * in.b_stride + n];
    std::fill(transposed + count, transposed + columns, 0.0f);
  }
  const Product product{C, in.c_stride, 1, scratch, stride, nullptr, 0, cb, stride};
  size_t row = 0;
  for (; row + kTileRows <= count; row += kTileRows) {
    MultiplyRows<kTileRows>(product, row, PaddedColumns(row + kTileRows), N);
  }
  for (; row < count; ++row) MultiplyRows<1>(product, row, PaddedColumns(row + 1), N);
}

// exp(difference), for differences <= 0. Below exp(-60) = 9e-27 it is zero: that is far under the rounding of anything it
// could be added to, and subnormal products run in microcode (four times slower in all at Q = 256).
HWY_INLINE FloatVec Decay(FloatTag d, FloatVec difference) {
  return hn::IfThenElseZero(hn::Ge(difference, hn::Set(d, -60.0f)), hn::Exp(d, difference));
}

// One head through the chunks of a run; cb: base of their offsets.
void WalkHead(const SsmDims& dims, const SsdJob& job, const SsdRun& run, const SsdChunk* chunks,
              const float* cb, size_t head, const HeadScratch& sizes, float* scratch) {
  const FloatTag d;
  const SsmInput& in = job.input;
  const size_t P = dims.head_dim, N = dims.state, H = dims.heads, width = PaddedColumns(P);
  const size_t group = head / (H / dims.groups);
  float* state = scratch;                // [N, width]
  float* m = state + sizes.N * sizes.P;  // [Q, stride]
  float* input = m + sizes.Q * sizes.Q;  // [Q, width] X, then X scaled for S'
  float* y = input + sizes.Q * sizes.P;  // [Q, width]
  float* sum_high =
      y + sizes.Q * sizes.P;  // [Q] s as a sum of two floats, so that differences are exact
  float* sum_low = sum_high + sizes.Q;  // enough even far down a strongly decaying chunk
  float* decay = sum_low + sizes.Q;     // [Q] exp(s_i)

  std::fill(state, state + N * width, 0.0f);
  if (run.state_in != nullptr) {
    const float* from = run.state_in + head * P * N;
    for (size_t n = 0; n < N; ++n) std::copy_n(from + n * P, P, state + n * width);
  }
  const auto write_state = [&](float* states) {
    float* to = states + head * P * N;
    for (size_t n = 0; n < N; ++n) std::copy_n(state + n * width, P, to + n * P);
  };

  for (size_t c = run.first; c < run.first + run.count; ++c) {
    const SsdChunk& chunk = chunks[c];
    const size_t count = chunk.count, stride = RoundUpToLine(count);
    if (job.chunk_states != nullptr) write_state(job.chunk_states + chunk.index * dims.StateSize());
    const float* x = in.x + chunk.begin * in.x_stride + head * P;
    const float* dt = in.dt + chunk.begin * in.dt_stride + head;
    double sum = 0;
    for (size_t i = 0; i < count; ++i) {
      sum += static_cast<double>(dt[i * in.dt_stride]) * in.A[head];
      sum_high[i] = static_cast<float>(sum);
      sum_low[i] = static_cast<float>(sum - sum_high[i]);
    }
    for (size_t i = count; i < stride; ++i) sum_high[i] = sum_low[i] = 0.0f;
    for (size_t i = 0; i < count; i += kLanes) {
      hn::Store(Decay(d, hn::Load(d, sum_high + i)), d, decay + i);
    }

    const float* chunk_cb = cb + chunk.cb + group * count * stride;
    for (size_t i = 0; i < count; ++i) {
      const FloatVec high = hn::Set(d, sum_high[i]), low = hn::Set(d, sum_low[i]);
      // Up to the end of the row's register tile; zeros right of the diagonal.
      const size_t end = std::min(stride, PaddedColumns(i / kTileRows * kTileRows + kTileRows));
      for (size_t j = 0; j < end; j += kLanes) {
        if (j > i) {
          hn::Store(hn::Zero(d), d, m + i * stride + j);
          continue;
        }
        const FloatVec difference = hn::Add(hn::Sub(high, hn::Load(d, sum_high + j)),
                                            hn::Sub(low, hn::Load(d, sum_low + j)));
        FloatVec value = hn::Mul(Decay(d, difference), hn::LoadU(d, chunk_cb + i * stride + j));
        if (j + kLanes > i + 1) value = hn::IfThenElseZero(hn::FirstN(d, i + 1 - j), value);
        hn::Store(value, d, m + i * stride + j);
      }
    }

    for (size_t i = 0; i < count; ++i) {
      float* row = input + i * width;
      const float step = dt[i * in.dt_stride];
      for (size_t p = 0; p < P; ++p) row[p] = step * x[i * in.x_stride + p];
      std::fill(row + P, row + width, 0.0f);
    }
    const float* C = in.C + chunk.begin * in.c_stride + group * N;
    const float* B = in.B + chunk.begin * in.b_stride + group * N;
    Multiply({C, in.c_stride, 1, state, width, nullptr, 0, y, width}, count, width, N, false);
    Multiply({m, stride, 1, input, width, decay, 1, y, width}, count, width, count, true);
    const float D = in.D[head];
    for (size_t i = 0; i < count; ++i) {
      float* out = job.y + (chunk.begin + i) * job.y_stride + head * P;
      for (size_t p = 0; p < P; ++p) out[p] = y[i * width + p] + D * x[i * in.x_stride + p];
    }

    // S': decay from row i to the end of the chunk goes into X.
    const FloatVec high = hn::Set(d, sum_high[count - 1]), low = hn::Set(d, sum_low[count - 1]);
    const float carry = decay[count - 1];
    for (size_t i = 0; i < count; i += kLanes) {
      const FloatVec difference =
          hn::Add(hn::Sub(high, hn::Load(d, sum_high + i)), hn::Sub(low, hn::Load(d, sum_low + i)));
      hn::Store(Decay(d, difference), d, decay + i);
    }
    for (size_t i = 0; i < count; ++i) {
      const FloatVec factor = hn::Set(d, decay[i]);
      for (size_t p = 0; p < width; p += kLanes) {
        hn::Store(hn::Mul(factor, hn::Load(d, input + i * width + p)), d, input + i * width + p);
      }
    }
    Multiply({B, 1, in.b_stride, input, width, &carry, 0, state, width}, N, width, count, false);
  }
  if (run.state_out != nullptr) write_state(run.state_out);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(ChunkCB);
HWY_EXPORT(WalkHead);

void SsdChunkScan(const SsmDims& dims, size_t chunk, std::span<const SsdJob> jobs) {
  PLANISH_CHECK(chunk > 0 && dims.groups > 0 && dims.heads % dims.groups == 0, "{} {} {}", chunk,
                dims.groups, dims.heads);
  const size_t state_size = dims.StateSize(), G = dims.groups, H = dims.heads;
  std::vector<SsdChunk> chunks;
  size_t longest = 0;
  for (size_t j = 0; j < jobs.size(); ++j) {
    const SsdJob& job = jobs[j];
    for (size_t begin = 0; begin < job.T; begin += chunk) {
      chunks.push_back({j, begin / chunk, begin, std::min(chunk, job.T - begin), 0});
      longest = std::max(longest, chunks.back().count);
    }
    if (job.T == 0 && job.final_state != nullptr && job.final_state != job.initial_state) {
      if (job.initial_state != nullptr) {
        std::copy_n(job.initial_state, state_size, job.final_state);
      } else {
        std::fill_n(job.final_state, state_size, 0.0f);
      }
    }
  }
  if (chunks.empty() || state_size == 0) return;

  // CB of many chunks at once would be large, so blocks of chunks go one after the other; between blocks the state of
  // an unfinished job rests in its final_state, or in `resting` when the caller does not want it.
  constexpr size_t kBlockFloats = size_t{1} << 22;
  static thread_local Scratch cb_memory, thread_memory, resting_memory;
  const HeadScratch sizes{RoundUpToLine(dims.head_dim), RoundUpToLine(dims.state),
                          RoundUpToLine(longest)};
  const size_t thread_floats = std::max(sizes.Floats(), sizes.N * sizes.Q);
  float* scratch = thread_memory.Floats(static_cast<size_t>(ThreadCount()) * thread_floats);
  float* resting = resting_memory.Floats(state_size);
  std::vector<SsdRun> runs;
  const float* previous_state = nullptr;  // where the previous block left its last job's state

  for (size_t first = 0; first < chunks.size();) {
    size_t end = first, cb_floats = 0, tokens = 0;
    runs.clear();
    for (; end < chunks.size(); ++end) {
      SsdChunk& c = chunks[end];
      const size_t floats = G * c.count * RoundUpToLine(c.count);
      if (end > first && cb_floats + floats > kBlockFloats) break;
      c.cb = cb_floats;
      cb_floats += floats;
      tokens += c.count;
      if (end == first || c.job != chunks[end - 1].job) {
        const SsdJob& job = jobs[c.job];
        const float* in = c.index == 0 ? job.initial_state : previous_state;
        runs.push_back({end, 0, in, job.final_state});
      }
      ++runs.back().count;
    }
    if (end < chunks.size() && chunks[end].index > 0 && runs.back().state_out == nullptr) {
      runs.back().state_out = resting;
    }
    float* cb = cb_memory.Floats(cb_floats);
    ParallelForWork((end - first) * G, cb_floats * dims.state / 2, [&](size_t task, int thread) {
      const SsdChunk& c = chunks[first + task / G];
      const size_t group = task % G, stride = RoundUpToLine(c.count);
      HWY_DYNAMIC_DISPATCH(ChunkCB)
      (jobs[c.job].input, c.begin, c.count, dims.state, group, cb + c.cb + group * c.count * stride,
       stride, scratch + static_cast<size_t>(thread) * thread_floats);
    });
    ParallelForWork(runs.size() * H, tokens * state_size * 2, [&](size_t task, int thread) {
      const SsdRun& run = runs[task / H];
      HWY_DYNAMIC_DISPATCH(WalkHead)
      (dims, jobs[chunks[run.first].job], run, chunks.data(), cb, task % H, sizes,
       scratch + static_cast<size_t>(thread) * thread_floats);
    });
    previous_state = runs.back().state_out;
    first = end;
  }
}

void SsdChunkScan(const SsmDims& dims, const SsmInput& input, size_t T, size_t chunk,
                  const float* initial_state, float* final_state, float* y, size_t y_stride,
                  float* chunk_states) {
  const SsdJob job{input, T, initial_state, final_state, y, y_stride, chunk_states};
  SsdChunkScan(dims, chunk, {&job, 1});
}

}  // namespace planish
#endif  // HWY_ONCE

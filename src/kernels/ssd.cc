// SPDX-License-Identifier: Apache-2.0
// The chunked form of the Mamba-2 state-space layer; see ssd.h. Per chunk of Q rows with inclusive sums s_i of dt A
// (Dao & Gu, section 6):
//   CB = C B^T per group;  per head, with S as [N, P]:
//   M[i,j] = exp(s_i - s_j) CB[i,j] dt_j for j <= i,  Y = exp(s_i) (C S) + M x + D x,
//   S' = exp(s_last) S + B^T (exp(s_last - s_j) dt_j x_j).
#include "kernels/ssd.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/simd_targets.h"
#include "kernels/ssd_task.h"
#include "kernels/team_work.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssd.cc"
#include "hwy/foreach_target.h"
#include "kernels/ssd_chunk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// Some heads of a group of one job through all its chunks.
template <class Operands>
class ForwardWalk {
 public:
  ForwardWalk(const SsmDims& dims, const SsdJob& job, const SsdHeads& heads, size_t chunk,
              size_t longest, SsdMemory memory)
      : dims_(dims), job_(job), in_(job.input), heads_(heads), chunk_(chunk), size_(dims, longest) {
    Place(&memory);
  }
  static size_t Floats(const SsmDims& dims, size_t heads, size_t longest) {
    const SsdJob none = {};
    SsdMemory counter(nullptr);
    ForwardWalk walk(dims, none, {0, 0, heads, 0}, longest, longest, counter);
    walk.Place(&counter);
    return counter.used();
  }

  void Run() {
    const size_t state_size = dims_.state * dims_.head_dim;
    for (size_t h = 0; h < heads_.count && job_.initial_state != nullptr; ++h)
      LoadState(job_.initial_state + (heads_.first + h) * state_size, dims_.state, dims_.head_dim,
                State(h));
    for (size_t begin = 0; begin < job_.T; begin += chunk_) {
      const size_t count = std::min(chunk_, job_.T - begin);
      is_zero_ = begin == 0 && job_.initial_state == nullptr;
      const bool is_last = begin + count == job_.T;
      PrepareGroup(begin, count, !is_last || job_.final_state != nullptr);
      for (size_t h = 0; h < heads_.count; ++h) {
        if (job_.chunk_states != nullptr) {
          float* states = job_.chunk_states + begin / chunk_ * dims_.StateSize() +
                          (heads_.first + h) * state_size;
          if (is_zero_) {
            std::fill_n(states, state_size, 0.0f);
          } else {
            StoreState(State(h), dims_.state, dims_.head_dim, states);
          }
        }
        Head(h, begin, count, !is_last || job_.final_state != nullptr);
      }
    }
    for (size_t h = 0; h < heads_.count && job_.final_state != nullptr; ++h)
      StoreState(State(h), dims_.state, dims_.head_dim,
                 job_.final_state + (heads_.first + h) * state_size);
  }

 private:
  using Left = typename Operands::Left;
  using Right = typename Operands::Right;

  void Place(SsdMemory* memory) {
    const size_t Q = size_.Q, N = size_.N, P = size_.P;
    const auto matrix = [&](size_t rows, size_t columns) {
      return SsdMatrix{memory->Take(rows * columns), columns};
    };
    b_ = matrix(Q, N);
    c_ = matrix(Q, N);
    cb_ = matrix(Q, Q);
    m_ = matrix(kRowBlock, Q);
    x_ = matrix(Q, P);
    scaled_ = matrix(Q, P);
    y_ = matrix(Q, P);
    states_ = memory->Take(heads_.count * N * P);
    c_memory_ = memory->Take(OperandFloats(Q, N));
    b_memory_ = memory->Take(OperandFloats(Q, N));
    bt_memory_ = memory->Take(OperandFloats(N, Q));
    m_memory_ = memory->Take(OperandFloats(kRowBlock, Q));
    x_memory_ = memory->Take(OperandFloats(P, Q));
    s_memory_ = memory->Take(OperandFloats(P, N));
    decays_.Place(Q, memory);
  }
  SsdMatrix State(size_t h) const { return {states_ + h * size_.N * size_.P, size_.P}; }

  // What the heads of the group share in a chunk.
  void PrepareGroup(size_t begin, size_t count, bool wants_state) {
    const size_t N = dims_.state, b_column = dims_.XSize() + heads_.group * N;
    LoadRows(in_.type, ElementsAt(in_, begin, b_column), in_.stride, count, N, b_);
    LoadRows(in_.type, ElementsAt(in_, begin, b_column + dims_.groups * N), in_.stride, count, N,
             c_);
    c_left_ = Operands::MakeLeft(c_, count, N, c_memory_);
    const Right b = Operands::MakeRightOfTransposed(b_, N, count, b_memory_);
    for (size_t i = 0; i < count; i += kRowBlock) {
      const size_t rows = std::min(kRowBlock, count - i);
      Operands::Multiply(c_left_.From(i, 0), b, rows, RoundUpToLine(i + rows), N, false,
                         cb_.From(i, 0));
    }
    if (wants_state) bt_left_ = Operands::MakeLeftOfTransposed(b_, N, count, bt_memory_);
  }

  void Head(size_t h, size_t begin, size_t count, bool wants_state) {
    const FloatTag d;
    const size_t head = heads_.first + h, P = size_.P;
    begin_ = begin;
    head_ = head;
    decays_.Compute(in_.dt + begin * in_.dt_stride + head, in_.dt_stride, count, in_.A[head],
                    /*within=*/true);
    LoadRows(in_.type, ElementsAt(in_, begin, head * dims_.head_dim), in_.stride, count,
             dims_.head_dim, x_);
    const FloatVec D = hn::Set(d, in_.D[head]);
    if (is_zero_) {
      for (size_t i = 0; i < count; ++i) {
        for (size_t p = 0; p < P; p += kLanes)
          hn::StoreU(hn::Mul(D, hn::LoadU(d, x_.Row(i) + p)), d, y_.Row(i) + p);
      }
    } else {
      const Right s = Operands::MakeRight(State(h), dims_.state, P, s_memory_);
      Operands::Multiply(c_left_, s, count, P, dims_.state, false, y_);
      for (size_t i = 0; i < count; ++i) {
        const FloatVec decay = hn::Set(d, decays_.from_start[i]);
        for (size_t p = 0; p < P; p += kLanes)
          hn::StoreU(hn::MulAdd(decay, hn::LoadU(d, y_.Row(i) + p),
                                hn::Mul(D, hn::LoadU(d, x_.Row(i) + p))),
                     d, y_.Row(i) + p);
      }
    }
    const Right x = Operands::MakeRight(x_, count, P, x_memory_);
    for (size_t i = 0; i < count; i += kRowBlock) {
      const size_t rows = std::min(kRowBlock, count - i);
      DecayProducts(i, rows);
      const Left m = Operands::MakeLeft(m_, rows, i + rows, m_memory_);
      Operands::Multiply(m, x, rows, P, i + rows, true, y_.From(i, 0));
    }
    StoreRows(begin, count, head);
    if (!wants_state) return;
    ScaleRows(x_, decays_.to_end, decays_.dt, count, P, scaled_);
    AdvanceState<Operands>(bt_left_, scaled_, count, dims_.state, decays_.carry, is_zero_, State(h),
                           State(h), x_memory_);
  }

  // Row i of the next head's x: of this chunk, or the first head's of the next chunk.
  HWY_INLINE void PrefetchNext(size_t i) const {
    const bool wraps = head_ + 1 == heads_.first + heads_.count;
    const size_t row = begin_ + i + (wraps ? chunk_ : 0);
    if (row >= job_.T) return;
    const size_t head = wraps ? heads_.first : head_ + 1;
    PrefetchRow(ElementsAt(in_, row, head * dims_.head_dim),
                dims_.head_dim * (in_.type == DType::kF32 ? 4 : 2));
  }

  // m[i, j] of rows [begin, begin + rows) for j < begin + kRowBlock.
  void DecayProducts(size_t begin, size_t rows) const {
    const FloatTag d;
    for (size_t r = 0; r < rows; ++r) {
      PrefetchNext(begin + r);
      const size_t i = begin + r, block = i / kDecayBlock, diagonal = block * kDecayBlock;
      const float* cb = cb_.Row(i);
      float* out = m_.Row(r);
      if (block > 0) {
        const float* before = decays_.before(block);
        const FloatVec after = hn::Set(d, decays_.after()[i]);
        for (size_t j = 0; j < diagonal; j += kLanes) {
          const FloatVec decay = hn::Mul(hn::Load(d, before + j), hn::Load(d, decays_.dt + j));
          hn::Store(hn::Mul(hn::Mul(after, decay), hn::Load(d, cb + j)), d, out + j);
        }
      }
      for (size_t j = diagonal; j < begin + kRowBlock; j += kLanes) {
        if (j > i) {
          hn::Store(hn::Zero(d), d, out + j);
          continue;
        }
        FloatVec value = hn::Mul(hn::Mul(decays_.DecayTo(i, j), hn::Load(d, decays_.dt + j)),
                                 hn::Load(d, cb + j));
        if (j + kLanes > i + 1) value = hn::IfThenElseZero(hn::FirstN(d, i + 1 - j), value);
        hn::Store(value, d, out + j);
      }
    }
  }

  void StoreRows(size_t begin, size_t count, size_t head) const {
    for (size_t i = 0; i < count; ++i) {
      const size_t offset = (begin + i) * job_.y_stride + head * dims_.head_dim;
      const float* y = y_.Row(i);
      if (in_.type == DType::kF32) {
        std::memcpy(static_cast<float*>(job_.y) + offset, y, dims_.head_dim * sizeof(float));
      } else {
        uint16_t* to = static_cast<uint16_t*>(job_.y) + offset;
        ForEachTyped(dims_.head_dim,
                     [=](size_t p, auto load, auto store) HWY_ATTR { store(load(y + p), to + p); });
      }
    }
  }

  const SsmDims& dims_;
  const SsdJob& job_;
  const SsdInput& in_;
  SsdHeads heads_;
  size_t chunk_;
  SsdSizes size_;
  bool is_zero_ = true;          // the states that enter the chunk
  size_t begin_ = 0, head_ = 0;  // at work
  SsdMatrix b_, c_;              // [Q, N]
  SsdMatrix cb_;                 // [Q, Q]
  SsdMatrix m_;                  // [kRowBlock, Q]
  SsdMatrix x_, scaled_, y_;     // [Q, P]
  float* states_;                // [heads, N, P]
  float *c_memory_, *b_memory_, *bt_memory_, *m_memory_, *x_memory_, *s_memory_;
  Left c_left_{}, bt_left_{};
  ChunkDecays decays_;
};

size_t ForwardFloats(const SsmDims& dims, size_t heads, size_t longest) {
  return ForwardWalk<FloatOperands>::Floats(dims, heads, longest);
}

void RunForward(const SsmDims& dims, const SsdJob& job, const SsdHeads& heads, size_t chunk,
                size_t longest, bool has_panels, float* memory) {
  if (has_panels) {
    ForwardWalk<PanelOperands>(dims, job, heads, chunk, longest, SsdMemory(memory)).Run();
  } else {
    ForwardWalk<FloatOperands>(dims, job, heads, chunk, longest, SsdMemory(memory)).Run();
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(ForwardFloats);
HWY_EXPORT(RunForward);

namespace {

// No tokens: the final state is the initial one.
void CopyInitialState(const SsmDims& dims, const SsdJob& job) {
  if (job.final_state == nullptr || job.final_state == job.initial_state) return;
  if (job.initial_state != nullptr) {
    std::copy_n(job.initial_state, dims.StateSize(), job.final_state);
  } else {
    std::fill_n(job.final_state, dims.StateSize(), 0.0f);
  }
}

}  // namespace

void SsdChunkScan(const SsmDims& dims, size_t chunk, std::span<const SsdJob> jobs) {
  PLANISH_CHECK(chunk > 0 && dims.groups > 0 && dims.heads % dims.groups == 0, "{} {} {}", chunk,
                dims.groups, dims.heads);
  size_t tokens = 0, longest = 0;
  for (const SsdJob& job : jobs) {
    PLANISH_DCHECK(job.input.type == DType::kF32 || job.input.type == DType::kBF16);
    tokens += job.T;
    longest = std::max(longest, std::min(chunk, job.T));
    if (job.T == 0) CopyInitialState(dims, job);
  }
  if (tokens == 0 || dims.StateSize() == 0) return;
  const SsdHeadBlocks blocks(dims);
  const size_t floats = HWY_DYNAMIC_DISPATCH(ForwardFloats)(dims, blocks.size(), longest);
  static thread_local Scratch memory;
  float* scratch = memory.Floats(static_cast<size_t>(ThreadCount()) * floats);
  const bool has_units = HasBf16Units();
  ParallelForWork(jobs.size() * blocks.count(), tokens * dims.StateSize() * 3,
                  [&](size_t task, int thread) {
                    const SsdJob& job = jobs[task / blocks.count()];
                    if (job.T == 0) return;
                    const bool has_panels = has_units && job.input.type == DType::kBF16;
                    std::optional<PanelScope> scope;
                    if (has_panels) scope.emplace();
                    HWY_DYNAMIC_DISPATCH(RunForward)
                    (dims, job, blocks.At(task % blocks.count()), chunk, longest, has_panels,
                     scratch + static_cast<size_t>(thread) * floats);
                  });
}

}  // namespace planish
#endif  // HWY_ONCE

// SPDX-License-Identifier: Apache-2.0
// See ssd_backward.h for the formulas. The triangular matrices are worked on transposed (rows j, columns i >= j), so that M^T is
// made in the order in which it is multiplied, in blocks of rows that stay in the first-level cache.
#include "kernels/ssd_backward.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/simd_targets.h"
#include "kernels/ssd_task.h"
#include "kernels/team_work.h"

#ifndef PLANISH_KERNELS_SSD_BACKWARD_CC_ONCE
#define PLANISH_KERNELS_SSD_BACKWARD_CC_ONCE
namespace planish {
namespace {

// Where a task leaves what is summed over tasks: dB and dC of its heads, and dA and dD of each.
struct SsdSums {
  float* dB;  // [T, N], rows `stride` apart
  float* dC;
  size_t stride;
  double* dA;  // of heads.first ...
  double* dD;
};

}  // namespace
}  // namespace planish
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssd_backward.cc"
#include "hwy/foreach_target.h"
#include "kernels/ssd_chunk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// Some heads of a group of one job through all its chunks: forward for their states, then back.
template <class Operands>
class BackwardWalk {
 public:
  BackwardWalk(const SsmDims& dims, const SsdBackwardJob& job, const SsdHeads& heads, size_t chunk,
               size_t longest, size_t chunks, const SsdSums& sums, SsdMemory memory)
      : dims_(dims),
        job_(job),
        in_(job.input),
        heads_(heads),
        chunk_(chunk),
        size_(dims, longest),
        sums_(sums) {
    Place(&memory, chunks);
  }
  // chunks: of the longest job, 0 if all bring their chunk states.
  static size_t Floats(const SsmDims& dims, size_t heads, size_t longest, size_t chunks) {
    const SsdBackwardJob none = {};
    SsdMemory counter(nullptr);
    BackwardWalk walk(dims, none, {0, 0, heads, 0}, longest, longest, chunks, {}, counter);
    walk.Place(&counter, chunks);
    return counter.used();
  }

  void Run() {
    const size_t chunks = (job_.T + chunk_ - 1) / chunk_;
    if (job_.chunk_states == nullptr) FindStates(chunks);
    for (size_t h = 0; h < heads_.count; ++h) {
      sums_.dA[h] = sums_.dD[h] = 0;
      if (job_.dfinal != nullptr) LoadHeadState(job_.dfinal, h, Gamma(h));
    }
    for (size_t c = chunks; c-- > 0;) {
      begin_ = c * chunk_;
      count_ = std::min(chunk_, job_.T - begin_);
      has_state_ = c > 0 || job_.initial_state != nullptr;
      has_gamma_ = c + 1 < chunks || job_.dfinal != nullptr;
      wants_gamma_ = c > 0 || job_.dinitial != nullptr;
      PrepareGroup();
      for (size_t h = 0; h < heads_.count; ++h) Head(h, c);
      FinishGroup();
    }
    for (size_t h = 0; h < heads_.count && job_.dinitial != nullptr; ++h) {
      StoreState(Gamma(h), dims_.state, dims_.head_dim,
                 job_.dinitial + (heads_.first + h) * dims_.state * dims_.head_dim);
    }
  }

 private:
  using Left = typename Operands::Left;
  using Right = typename Operands::Right;

  void Place(SsdMemory* memory, size_t chunks) {
    const size_t Q = size_.Q, N = size_.N, P = size_.P;
    const auto matrix = [&](size_t rows, size_t columns) {
      return SsdMatrix{memory->Take(rows * columns), columns};
    };
    for (SsdMatrix* m : {&b_, &c_, &db_, &dc_, &e_}) *m = matrix(Q, N);
    for (SsdMatrix* m : {&x_, &dy_, &dx_, &scaled_}) *m = matrix(Q, P);
    for (SsdMatrix* m : {&cb_, &dcb_}) *m = matrix(Q, Q);
    for (SsdMatrix* m : {&g_, &m_}) *m = matrix(kRowBlock, Q);
    state_ = matrix(N, P);
    gammas_ = memory->Take(heads_.count * N * P);
    states_ = memory->Take(chunks * heads_.count * N * P);
    for (float** p : {&w_, &r_, &u_, &v_, &dot_}) *p = memory->Take(Q);
    n_left_ = memory->Take(OperandFloats(N, Q));
    q_left_ = memory->Take(OperandFloats(Q, N));
    qn_right_ = memory->Take(std::max(OperandFloats(N, Q), OperandFloats(Q, N)));
    qq_left_ = memory->Take(OperandFloats(Q, Q));
    m_left_ = memory->Take(OperandFloats(kRowBlock, Q));
    p_left_ = memory->Take(OperandFloats(Q, P));
    np_right_ = memory->Take(std::max(OperandFloats(P, N), OperandFloats(N, P)));
    qp_right_ = memory->Take(OperandFloats(P, Q));
    dyt_right_ = memory->Take(OperandFloats(Q, P));
    decays_.Place(Q, memory);
  }
  SsdMatrix Gamma(size_t h) const { return {gammas_ + h * size_.N * size_.P, size_.P}; }
  SsdMatrix KeptState(size_t c, size_t h) const {
    return {states_ + (c * heads_.count + h) * size_.N * size_.P, size_.P};
  }
  void LoadHeadState(const float* states, size_t h, const SsdMatrix& out) const {
    const size_t offset = (heads_.first + h) * dims_.state * dims_.head_dim;
    LoadState(states + offset, dims_.state, dims_.head_dim, out);
  }
  void LoadB(size_t begin, size_t count) {
    LoadRows(in_.type, ElementsAt(in_, begin, dims_.XSize() + heads_.group * dims_.state),
             in_.stride, count, dims_.state, b_);
  }
  void LoadX(size_t begin, size_t count, size_t head) {
    LoadRows(in_.type, ElementsAt(in_, begin, head * dims_.head_dim), in_.stride, count,
             dims_.head_dim, x_);
  }

  // The states that enter the chunks, as forward finds them.
  void FindStates(size_t chunks) {
    for (size_t h = 0; h < heads_.count && job_.initial_state != nullptr; ++h)
      LoadHeadState(job_.initial_state, h, KeptState(0, h));
    for (size_t c = 0; c + 1 < chunks; ++c) {
      LoadB(c * chunk_, chunk_);
      const Left bt = Operands::MakeLeftOfTransposed(b_, dims_.state, chunk_, n_left_);
      for (size_t h = 0; h < heads_.count; ++h) {
        const size_t head = heads_.first + h;
        const bool is_zero = c == 0 && job_.initial_state == nullptr;
        decays_.Compute(in_.dt + c * chunk_ * in_.dt_stride + head, in_.dt_stride, chunk_,
                        in_.A[head], /*within=*/false);
        LoadX(c * chunk_, chunk_, head);
        ScaleRows(x_, decays_.to_end, decays_.dt, chunk_, size_.P, scaled_);
        AdvanceState<Operands>(bt, scaled_, chunk_, dims_.state, decays_.carry, is_zero,
                               KeptState(c, h), KeptState(c + 1, h), qp_right_);
      }
    }
  }

  // What the heads share in a chunk: B, C and (C B^T)^T.
  void PrepareGroup() {
    const size_t N = dims_.state;
    LoadB(begin_, count_);
    LoadRows(in_.type, ElementsAt(in_, begin_, dims_.XSize() + (dims_.groups + heads_.group) * N),
             in_.stride, count_, N, c_);
    b_left_ = Operands::MakeLeft(b_, count_, N, q_left_);
    const Right c = Operands::MakeRightOfTransposed(c_, N, count_, qn_right_);
    const size_t columns = RoundUpToLine(count_);
    for (size_t j = 0; j < count_; j += kRowBlock) {
      const size_t rows = std::min(kRowBlock, count_ - j);
      Operands::Multiply(b_left_.From(j, 0), c.From(0, j), rows, columns - j, N, false,
                         cb_.From(j, j));
    }
    if (wants_gamma_) ct_left_ = Operands::MakeLeftOfTransposed(c_, N, count_, n_left_);
    for (size_t j = 0; j < count_; ++j) {
      std::fill_n(db_.Row(j), size_.N, 0.0f);
      std::fill_n(dc_.Row(j), size_.N, 0.0f);
      const size_t first = j / kRowBlock * kRowBlock;
      std::fill(dcb_.Row(j) + first, dcb_.Row(j) + columns, 0.0f);
    }
  }

  void Head(size_t h, size_t c) {
    const size_t head = heads_.first + h, P = size_.P;
    head_ = head;
    decays_.Compute(in_.dt + begin_ * in_.dt_stride + head, in_.dt_stride, count_, in_.A[head],
                    /*within=*/true);
    LoadX(begin_, count_, head);
    LoadRows(DType::kF32, job_.dy + begin_ * job_.dy_stride + head * dims_.head_dim, job_.dy_stride,
             count_, dims_.head_dim, dy_);
    SsdMatrix state = state_;
    if (has_state_ && job_.chunk_states == nullptr) {
      state = KeptState(c, h);
    } else if (has_state_) {
      LoadHeadState(job_.chunk_states + c * dims_.StateSize(), h, state);
    }
    std::fill_n(u_, size_.Q, 0.0f);
    std::fill_n(v_, size_.Q, 0.0f);
    double carried = 0;  // exp(s_last) <Gamma, S>
    if (has_gamma_) {
      GammaToRows(h);
      if (has_state_) carried = decays_.carry * Product(Gamma(h), state);
    } else {
      for (size_t j = 0; j < count_; ++j) std::fill_n(dx_.Row(j), P, 0.0f);
    }
    WithinChunk();
    if (has_state_) RowsToState(state);
    if (wants_gamma_) {
      ScaleRows(dy_, decays_.from_start, nullptr, count_, P, scaled_);
      AdvanceState<Operands>(ct_left_, scaled_, count_, dims_.state, decays_.carry, !has_gamma_,
                             Gamma(h), Gamma(h), qp_right_);
    }
    FinishHead(h, head, carried);
  }

  // dX = to_end (B Gamma^T), v, and dB += (to_end dt x) Gamma.
  void GammaToRows(size_t h) {
    const SsdMatrix gamma = Gamma(h);
    const size_t P = size_.P, N = dims_.state;
    const Right rows = Operands::MakeRight(gamma, N, P, np_right_);
    Operands::Multiply(b_left_, rows, count_, P, N, false, dx_);
    ScaleRows(dx_, decays_.to_end, nullptr, count_, P, dx_);
    SumRows(
        count_, [&](size_t j) HWY_ATTR { return RowDot(x_.Row(j), dx_.Row(j), P); }, v_);
    for (size_t j = 0; j < count_; ++j) v_[j] *= decays_.dt[j];
    ScaleRows(x_, decays_.to_end, decays_.dt, count_, P, scaled_);
    const Left x = Operands::MakeLeft(scaled_, count_, P, p_left_);
    const Right columns = Operands::MakeRightOfTransposed(gamma, P, N, np_right_);
    Operands::Multiply(x, columns, count_, size_.N, P, true, db_);
  }

  // Row j of the next head's x, dy and dx: of this chunk, or the first head's of the chunk before it.
  HWY_INLINE void PrefetchNext(size_t j) const {
    const bool wraps = head_ + 1 == heads_.first + heads_.count;
    if (wraps && begin_ < chunk_) return;
    const size_t head = wraps ? heads_.first : head_ + 1,
                 row = wraps ? begin_ - chunk_ + j : begin_ + j;
    const size_t P = dims_.head_dim, size = in_.type == DType::kF32 ? 4 : 2;
    PrefetchRow(ElementsAt(in_, row, head * P), P * size);
    PrefetchRow(job_.dy + row * job_.dy_stride + head * P, P * sizeof(float));
    PrefetchRow(job_.dxbc + row * job_.dxbc_stride + head * P, P * sizeof(float));
  }

  // dX += M^T dY, dCB, and the sums of W over the rectangles i >= k, j < k.
  void WithinChunk() {
    const size_t P = size_.P, columns = RoundUpToLine(count_);
    const Left x = Operands::MakeLeft(x_, count_, P, p_left_);
    const Right dyt = Operands::MakeRightOfTransposed(dy_, P, count_, dyt_right_);
    const Right dy = Operands::MakeRight(dy_, count_, P, qp_right_);
    std::fill_n(w_, size_.Q, 0.0f);
    for (size_t j = 0; j < count_; j += kRowBlock) {
      const size_t rows = std::min(kRowBlock, count_ - j);
      Operands::Multiply(x.From(j, 0), dyt.From(0, j), rows, columns - j, P, false, g_);
      SumRows(
          rows,
          [&](size_t r) HWY_ATTR {
            PrefetchNext(j + r);
            return DecayProducts(j, r);
          },
          r_ + j);
      const Left m = Operands::MakeLeft(m_, rows, count_ - j, m_left_);
      Operands::Multiply(m, dy.From(j, 0), rows, P, count_ - j, true, dx_.From(j, 0));
    }
  }

  // Row j = begin + r of M^T and what else comes of G^T there; columns of g_ and m_ count from `begin` on. w_[i] is the sum of
  // W[i, .] over the rows before j; returned: its sum over i >= j, in lanes.
  HWY_INLINE FloatVec DecayProducts(size_t begin, size_t r) {
    const FloatTag d;
    const size_t j = begin + r, block = j / kDecayBlock, diagonal = block * kDecayBlock;
    const size_t columns = RoundUpToLine(count_);
    const float* g = g_.Row(r) - begin;
    float* m = m_.Row(r) - begin;
    const float* cb = cb_.Row(j);
    float* dcb = dcb_.Row(j);
    const FloatVec dt = hn::Set(d, decays_.dt[j]);
    FloatVec sum = hn::Zero(d);
    for (size_t i = begin; i < diagonal; i += kLanes) hn::Store(hn::Zero(d), d, m + i);
    const auto element = [&](size_t i, FloatVec decay) HWY_ATTR {
      const FloatVec product = hn::Mul(decay, hn::Load(d, cb + i)), G = hn::Load(d, g + i);
      hn::Store(product, d, m + i);
      const FloatVec g_dt = hn::Mul(dt, G);
      hn::Store(hn::MulAdd(decay, g_dt, hn::Load(d, dcb + i)), d, dcb + i);
      hn::Store(hn::MulAdd(product, g_dt, hn::Load(d, w_ + i)), d, w_ + i);
    };
    size_t i = diagonal;
    for (; i < diagonal + kDecayBlock; i += kLanes) {
      const auto lanes = hn::Iota(d, static_cast<float>(i));
      const auto is_below = hn::Ge(lanes, hn::Set(d, static_cast<float>(j)));
      sum = hn::Add(sum, hn::IfThenElseZero(is_below, hn::Load(d, w_ + i)));
      element(i, hn::IfThenElseZero(is_below, decays_.DecayFrom(j, i)));
    }
    for (; i < columns; i += kDecayBlock) {
      const FloatVec before = hn::Set(d, decays_.before(i / kDecayBlock)[j]);
      for (size_t k = i; k < i + kDecayBlock; k += kLanes) {
        sum = hn::Add(sum, hn::Load(d, w_ + k));
        element(k, hn::Mul(before, hn::Load(d, decays_.after() + k)));
      }
    }
    return sum;
  }

  // u, and dC += from_start (dY S).
  void RowsToState(const SsdMatrix& state) {
    const FloatTag d;
    const size_t P = size_.P, N = size_.N;
    const Left dy = Operands::MakeLeft(dy_, count_, P, p_left_);
    const Right columns = Operands::MakeRightOfTransposed(state, P, dims_.state, np_right_);
    Operands::Multiply(dy, columns, count_, N, P, false, e_);
    SumRows(
        count_,
        [&](size_t i) HWY_ATTR {
          const FloatVec factor = hn::Set(d, decays_.from_start[i]);
          const float* e = e_.Row(i);
          const float* c = c_.Row(i);
          float* dc = dc_.Row(i);
          FloatVec sum = hn::Zero(d);
          for (size_t n = 0; n < N; n += kLanes) {
            const FloatVec value = hn::Mul(factor, hn::Load(d, e + n));
            sum = hn::MulAdd(value, hn::Load(d, c + n), sum);
            hn::Store(hn::Add(hn::Load(d, dc + n), value), d, dc + n);
          }
          return sum;
        },
        u_);
  }

  double Product(const SsdMatrix& a, const SsdMatrix& b) const {
    const FloatTag d;
    constexpr size_t kSums = 4;
    FloatVec sums[kSums];
    for (FloatVec& sum : sums) sum = hn::Zero(d);
    const size_t size = dims_.state * size_.P;
    size_t i = 0;
    for (; i + kSums * kLanes <= size; i += kSums * kLanes) {
      for (size_t k = 0; k < kSums; ++k)
        sums[k] = hn::MulAdd(hn::Load(d, a.data + i + k * kLanes),
                             hn::Load(d, b.data + i + k * kLanes), sums[k]);
    }
    for (; i < size; i += kLanes)
      sums[0] = hn::MulAdd(hn::Load(d, a.data + i), hn::Load(d, b.data + i), sums[0]);
    return hn::GetLane(
        hn::SumOfLanes(d, hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]))));
  }

  // dx, ddt, dA, dD.
  void FinishHead(size_t h, size_t head, double carried) {
    const FloatTag d;
    const size_t P = dims_.head_dim;
    SumRows(
        count_, [&](size_t j) HWY_ATTR { return RowDot(x_.Row(j), dx_.Row(j), size_.P); }, dot_);
    double from_u = 0;
    for (size_t i = 0; i < count_; ++i) from_u += u_[i];
    double from_v = 0, dA = 0;
    float* ddt = job_.ddt + begin_ * job_.ddt_stride + head;
    for (size_t k = 0; k < count_; ++k) {
      // Sums of u from k on and of v before k. The former loses what was added: exact enough in double.
      const double da = r_[k] + from_u + from_v + carried;
      from_u -= u_[k];
      from_v += v_[k];
      dA += decays_.dt[k] * da;
      ddt[k * job_.ddt_stride] = static_cast<float>(dot_[k] + in_.A[head] * da);
    }
    sums_.dA[h] += dA;

    FloatVec dD = hn::Zero(d);
    const FloatVec D = hn::Set(d, in_.D[head]);
    for (size_t j = 0; j < count_; ++j) {
      const FloatVec dt = hn::Set(d, decays_.dt[j]);
      float* row = dx_.Row(j);
      for (size_t p = 0; p < size_.P; p += kLanes) {
        const FloatVec dy = hn::Load(d, dy_.Row(j) + p);
        dD = hn::MulAdd(dy, hn::Load(d, x_.Row(j) + p), dD);
        hn::Store(hn::MulAdd(D, dy, hn::Mul(dt, hn::Load(d, row + p))), d, row + p);
      }
      std::memcpy(job_.dxbc + (begin_ + j) * job_.dxbc_stride + head * P, row, P * sizeof(float));
    }
    sums_.dD[h] += hn::GetLane(hn::SumOfLanes(d, dD));
  }

  // dB and dC of the heads together.
  void FinishGroup() {
    const size_t N = size_.N;
    const Right b = Operands::MakeRight(b_, count_, N, qn_right_);
    Left left = Operands::MakeLeftOfTransposed(dcb_, count_, count_, qq_left_);
    for (size_t i = 0; i < count_; i += kRowBlock) {
      const size_t rows = std::min(kRowBlock, count_ - i);
      Operands::Multiply(left.From(i, 0), b, rows, N, i + rows, true, dc_.From(i, 0));
    }
    const Right c = Operands::MakeRight(c_, count_, N, qn_right_);
    left = Operands::MakeLeft(dcb_, count_, count_, qq_left_);
    for (size_t j = 0; j < count_; j += kRowBlock) {
      const size_t rows = std::min(kRowBlock, count_ - j);
      Operands::Multiply(left.From(j, j), c.From(j, 0), rows, N, count_ - j, true, db_.From(j, 0));
    }
    for (size_t j = 0; j < count_; ++j) {
      const size_t offset = (begin_ + j) * sums_.stride, bytes = dims_.state * sizeof(float);
      std::memcpy(sums_.dB + offset, db_.Row(j), bytes);
      std::memcpy(sums_.dC + offset, dc_.Row(j), bytes);
    }
  }

  const SsmDims& dims_;
  const SsdBackwardJob& job_;
  const SsdInput& in_;
  SsdHeads heads_;
  size_t chunk_;
  SsdSizes size_;
  SsdSums sums_;
  size_t begin_ = 0, count_ = 0;    // of the chunk at work
  size_t head_ = 0;                 // at work
  bool has_state_ = false;          // a state other than zero enters it
  bool has_gamma_ = false;          // and a gradient other than zero comes back to its end
  bool wants_gamma_ = false;        // the gradient of the state that enters is wanted
  SsdMatrix b_, c_, db_, dc_, e_;   // [Q, N]
  SsdMatrix x_, dy_, dx_, scaled_;  // [Q, P]
  SsdMatrix cb_, dcb_;              // [Q, Q] transposed: [j, i]
  SsdMatrix g_, m_;                 // [kRowBlock, Q]
  SsdMatrix state_;                 // [N, P]
  float *gammas_, *states_;         // [heads, N, P], [chunks, heads, N, P]
  float *w_, *r_, *u_, *v_, *dot_;  // [Q]
  float *n_left_, *q_left_, *qn_right_, *qq_left_, *m_left_, *p_left_, *np_right_, *qp_right_,
      *dyt_right_;  // operands, named by their shape
  Left b_left_{}, ct_left_{};
  ChunkDecays decays_;
};

size_t BackwardFloats(const SsmDims& dims, size_t heads, size_t longest, size_t chunks) {
  return BackwardWalk<FloatOperands>::Floats(dims, heads, longest, chunks);
}

void RunBackward(const SsmDims& dims, const SsdBackwardJob& job, const SsdHeads& heads,
                 size_t chunk, size_t longest, size_t chunks, const SsdSums& sums, bool has_panels,
                 float* memory) {
  const SsdMemory scratch(memory);
  if (has_panels) {
    BackwardWalk<PanelOperands>(dims, job, heads, chunk, longest, chunks, sums, scratch).Run();
  } else {
    BackwardWalk<FloatOperands>(dims, job, heads, chunk, longest, chunks, sums, scratch).Run();
  }
}

void AddTo(float* sum, const float* x, size_t n) {
  ForEachVector(n, [=](size_t i, auto load, auto store)
                       HWY_ATTR { store(hn::Add(load(sum + i), load(x + i)), sum + i); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(BackwardFloats);
HWY_EXPORT(RunBackward);
HWY_EXPORT(AddTo);

namespace {

void CopyFinalGradient(const SsmDims& dims, const SsdBackwardJob& job) {
  if (job.dinitial == nullptr || job.dinitial == job.dfinal) return;
  if (job.dfinal != nullptr) {
    std::copy_n(job.dfinal, dims.StateSize(), job.dinitial);
  } else {
    std::fill_n(job.dinitial, dims.StateSize(), 0.0f);
  }
}

}  // namespace

void SsdChunkScanBackward(const SsmDims& dims, size_t chunk, std::span<const SsdBackwardJob> jobs,
                          float* dA, float* dD) {
  PLANISH_CHECK(chunk > 0 && dims.groups > 0 && dims.heads % dims.groups == 0, "{} {} {}", chunk,
                dims.groups, dims.heads);
  const size_t H = dims.heads, G = dims.groups, N = dims.state;
  size_t longest = 0, tokens = 0, chunks = 0;
  std::vector<size_t> first_row(jobs.size());
  for (size_t j = 0; j < jobs.size(); ++j) {
    const SsdBackwardJob& job = jobs[j];
    first_row[j] = tokens;
    tokens += job.T;
    longest = std::max(longest, std::min(chunk, job.T));
    if (job.chunk_states == nullptr) chunks = std::max(chunks, (job.T + chunk - 1) / chunk);
    if (job.T == 0) CopyFinalGradient(dims, job);
  }
  if (tokens == 0 || dims.StateSize() == 0) return;

  // The first block of a group writes its dB and dC where they belong, the others beside; then they are added in order.
  const SsdHeadBlocks blocks(dims);
  const size_t others = blocks.per_group() - 1, row = 2 * G * N;
  const size_t floats = HWY_DYNAMIC_DISPATCH(BackwardFloats)(dims, blocks.size(), longest, chunks);
  static thread_local Scratch memory, partial_memory;
  static thread_local std::vector<double> head_sums;  // [jobs, 2, H]
  float* scratch = memory.Floats(static_cast<size_t>(ThreadCount()) * floats);
  float* partial = partial_memory.Floats(others * tokens * row);
  head_sums.assign(jobs.size() * 2 * H, 0.0);
  double* head_sum = head_sums.data();
  const bool has_units = HasBf16Units();
  ParallelForWork(
      jobs.size() * blocks.count(), tokens * dims.StateSize() * 8, [&](size_t task, int thread) {
        const size_t j = task / blocks.count();
        const SsdBackwardJob& job = jobs[j];
        if (job.T == 0) return;
        const SsdHeads heads = blocks.At(task % blocks.count());
        SsdSums sums;
        sums.dA = head_sum + j * 2 * H + heads.first;
        sums.dD = sums.dA + H;
        if (heads.block == 0) {
          sums.stride = job.dxbc_stride;
          sums.dB = job.dxbc + dims.XSize() + heads.group * N;
        } else {
          sums.stride = row;
          sums.dB = partial + ((heads.block - 1) * tokens + first_row[j]) * row + heads.group * N;
        }
        sums.dC = sums.dB + G * N;
        const bool has_panels = has_units && job.input.type == DType::kBF16;
        std::optional<PanelScope> scope;
        if (has_panels) scope.emplace();
        HWY_DYNAMIC_DISPATCH(RunBackward)
        (dims, job, heads, chunk, longest, chunks, sums, has_panels,
         scratch + static_cast<size_t>(thread) * floats);
      });
  if (others > 0) {
    constexpr size_t kRows = 64;
    for (size_t j = 0; j < jobs.size(); ++j) {
      const SsdBackwardJob& job = jobs[j];
      ParallelForWork((job.T + kRows - 1) / kRows, job.T * row * others, [&](size_t task, int) {
        for (size_t t = task * kRows; t < std::min(job.T, (task + 1) * kRows); ++t) {
          for (size_t b = 0; b < others; ++b) HWY_DYNAMIC_DISPATCH(AddTo)
          (job.dxbc + t * job.dxbc_stride + dims.XSize(),
           partial + (b * tokens + first_row[j] + t) * row, row);
        }
      });
    }
  }
  for (size_t h = 0; h < H; ++h) {
    double sum_A = 0, sum_D = 0;
    for (size_t j = 0; j < jobs.size(); ++j) {
      sum_A += head_sum[j * 2 * H + h];
      sum_D += head_sum[(j * 2 + 1) * H + h];
    }
    dA[h] += static_cast<float>(sum_A);
    dD[h] += static_cast<float>(sum_D);
  }
}

}  // namespace planish
#endif  // HWY_ONCE

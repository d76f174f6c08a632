// SPDX-License-Identifier: Apache-2.0
#include "model/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/phases.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/norm_backward.h"
#include "kernels/rope.h"
#include "kernels/rounding.h"
#include "kernels/team_work.h"
#include "model/kv_pool.h"

namespace planish {
namespace {

constexpr size_t kRotatedRows = 32;  // of a task

ActMode ActOf(const Pass& pass) {
  return pass.precision == Precision::kF32 ? ActMode::kF32 : ActMode::kBf16;
}

std::vector<size_t> BoundsOf(const SeqLayout& layout) {
  std::vector<size_t> bounds = {0};
  for (size_t s = 0; s < layout.sequences(); ++s)
    bounds.push_back(layout.begin(s) + layout.length(s));
  return bounds;
}

FlashMatrix Matrix(const Tensor& rows) { return {rows.data(), rows.dtype()}; }

// RopeTable of the tokens of a layout; valid until the next call. The blocks of a model ask for the same one.
std::span<const float> AnglesOf(const SeqLayout& layout, std::span<const float> inv_freq) {
  static thread_local std::vector<int32_t> positions;
  static thread_local RopeTableCache tables;
  positions.clear();
  for (size_t s = 0; s < layout.sequences(); ++s)
    for (size_t i = 0; i < layout.length(s); ++i) positions.push_back(static_cast<int32_t>(i));
  return tables.Get(inv_freq, positions);
}

}  // namespace

void KvState::Truncate(size_t length) {
  const size_t pages = KvPageCount(length);
  if (pages >= pages_.size()) return;
  pages_.resize(pages);
  pointers_.resize(pages);
}

void KvState::PrepareWrite(size_t from, size_t to) {
  for (size_t page = from / kKvPagePositions; page < KvPageCount(to); ++page) {
    if (page >= pages_.size()) {
      pages_.push_back(NewKvPage(layout_.PageBytes()));
      // Lanes of unwritten positions are computed with, though not used: old bytes could be slow subnormals.
      std::memset(pages_.back().get(), 0, layout_.PageBytes());
      pointers_.push_back(pages_.back().get());
    } else if (pages_[page].use_count() > 1) {
      auto copy = NewKvPage(layout_.PageBytes());
      std::memcpy(copy.get(), pages_[page].get(), layout_.PageBytes());
      pages_[page] = std::move(copy);
      pointers_[page] = pages_[page].get();
    }
  }
}

void KvState::SetSyntheticLength(size_t length) {
  const size_t known = pages_.size();
  PLANISH_CHECK(known > 0 || length == 0);
  Truncate(length);
  while (pages_.size() < KvPageCount(length)) {
    pages_.push_back(pages_[pages_.size() % known]);
    pointers_.push_back(pages_.back().get());
  }
  PrepareWrite(0, length);  // each page becomes its own
}

Attention::Attention(const ModelConfig& config, const AttentionConfig& attention)
    : attention_(attention),
      hidden_size_(config.hidden_size),
      norm_eps_(static_cast<float>(config.norm_eps)) {
  if (attention.has_rope)
    inv_freq_ = RopeInverseFrequencies(attention.head_dim, config.rope_theta, config.rope_scaling);
}

std::unique_ptr<MixerState> Attention::NewState(const StateTypes& types) const {
  const DType kv = types.kv;
  PLANISH_CHECK(kv == DType::kF32 || kv == DType::kBF16 || kv == DType::kF16 || kv == DType::kQ8_0,
                "keys and values in {}", Name(kv));
  return std::make_unique<KvState>(KvLayout{kv, attention_.n_kv_heads, attention_.head_dim});
}

void Attention::Project(const Rows& rows, const float* x, float* q, float* k, float* v) const {
  const size_t T = rows.total;
  const auto [H, K, P] = std::tuple(attention_.n_heads, attention_.n_kv_heads, attention_.head_dim);
  const Projection* projections[] = {&q_proj_, &k_proj_, &v_proj_};
  float* outputs[] = {q, k, v};
  {
    const PhaseScope matmul(Phase::kMatMulAttention);
    StepMany(rows, projections, x, outputs);
  }
  if (attention_.has_qk_norm) {
    RmsNorm(q, q_norm_.f32(), T * H, P, norm_eps_, q);
    RmsNorm(k, k_norm_.f32(), T * K, P, norm_eps_, k);
  }
}

void Attention::WriteRows(const StepBatch& batch, float* q, float* k, const float* v) const {
  const size_t T = batch.rows.total;
  const auto [H, K, P] = std::tuple(attention_.n_heads, attention_.n_kv_heads, attention_.head_dim);
  struct Piece {  // rows of one sequence that go to one page
    size_t begin, count, offset;
    KvState* state;
    std::byte* page;
  };
  static thread_local std::vector<Piece> own_pieces;
  static thread_local std::vector<int32_t> positions;
  static thread_local RopeTableCache tables;
  std::vector<Piece>& pieces = own_pieces;  // thread_local is per worker: the team gets this one
  pieces.clear();
  positions.resize(T);
  for (const StepRows& run : batch.runs) {
    auto& state = static_cast<KvState&>(*run.state);
    state.PrepareWrite(run.position, run.position + run.count);
    for (size_t i = 0; i < run.count; ++i)
      positions[run.begin + i] = static_cast<int32_t>(run.position + i);
    for (size_t i = 0; i < run.count;) {
      const size_t position = run.position + i, offset = position % kKvPagePositions;
      const size_t count = std::min(run.count - i, kKvPagePositions - offset);
      pieces.push_back(
          {run.begin + i, count, offset, &state, state.pages()[position / kKvPagePositions]});
      i += count;
    }
  }
  const std::span<const float> table =
      attention_.has_rope ? tables.Get(inv_freq_, positions) : std::span<const float>();
  const size_t half = inv_freq_.size();
  ParallelForWork(pieces.size(), 4 * T * (H + 2 * K) * P, [&, H = H, K = K, P = P](size_t i, int) {
    const Piece& piece = pieces[i];
    float* keys = k + piece.begin * K * P;
    if (attention_.has_rope) {
      const float* angles = table.data() + piece.begin * 2 * half;
      ApplyRope(q + piece.begin * H * P, H * P, piece.count, H, P, angles, half);
      ApplyRope(keys, K * P, piece.count, K, P, angles, half);
    }
    WriteKvPage(piece.state->layout(), keys, K * P, v + piece.begin * K * P, K * P, piece.count,
                piece.offset, piece.page);
  });
}

void Attention::Step(const StepBatch& batch, const float* x, float* y, Workspace* workspace) const {
  const Workspace::Scope scope(*workspace);
  const PhaseScope phase(Phase::kAttention);
  const std::span<const StepRows> runs = batch.runs;
  const size_t T = batch.rows.total;
  const auto [H, K, P] = std::tuple(attention_.n_heads, attention_.n_kv_heads, attention_.head_dim);
  float* q = workspace->Take(T * H * P);
  float* k = workspace->Take(T * K * P);
  float* v = workspace->Take(T * K * P);
  float* out = workspace->Take(T * H * P);
  Project(batch.rows, x, q, k, v);
  WriteRows(batch, q, k, v);

  static thread_local std::vector<AttentionJob> jobs;
  jobs.clear();
  for (const StepRows& run : runs) {
    jobs.push_back({.q = q + run.begin * H * P,
                    .q_stride = H * P,
                    .rows = run.count,
                    .first_position = run.position,
                    .pages = static_cast<KvState&>(*run.state).pages(),
                    .out = out + run.begin * H * P,
                    .out_stride = H * P,
                    .is_decode = run.is_decode});
  }
  if (runs.empty()) return;
  // All sequences of an engine keep their keys and values in one type.
  const KvLayout& layout = static_cast<const KvState&>(*runs.front().state).layout();
  PagedAttention(layout, H, Shape().scale, batch.rows.act, jobs);
  const PhaseScope matmul(Phase::kMatMulAttention);
  o_proj_.Step(batch.rows, out, y);
}

FlashShape Attention::Shape() const {
  return {attention_.n_heads, attention_.n_kv_heads, attention_.head_dim,
          1.0f / std::sqrt(static_cast<float>(attention_.head_dim))};
}

void Attention::NormAndRotate(const SeqLayout& layout, float* q, float* k) const {
  const size_t T = layout.tokens(), half = inv_freq_.size();
  const auto [H, K, P] = std::tuple(attention_.n_heads, attention_.n_kv_heads, attention_.head_dim);
  if (attention_.has_qk_norm) {
    RmsNorm(q, q_norm_.f32(), T * H, P, norm_eps_, q);
    RmsNorm(k, k_norm_.f32(), T * K, P, norm_eps_, k);
  }
  if (!attention_.has_rope) return;
  const std::span<const float> table = AnglesOf(layout, inv_freq_);
  ParallelForWork((T + kRotatedRows - 1) / kRotatedRows, 4 * T * (H + K) * P,
                  [&, H = H, K = K, P = P](size_t i, int) {
                    const size_t t = i * kRotatedRows, n = std::min(kRotatedRows, T - t);
                    const float* angles = table.data() + t * 2 * half;
                    ApplyRope(q + t * H * P, H * P, n, H, P, angles, half);
                    ApplyRope(k + t * K * P, K * P, n, K, P, angles, half);
                  });
}

void Attention::NormAndRotateBackward(const Pass& pass, const AttentionSaved& kept, float* dq,
                                      float* dk) const {
  const size_t T = pass.tokens(), half = inv_freq_.size();
  const auto [H, K, P] = std::tuple(attention_.n_heads, attention_.n_kv_heads, attention_.head_dim);
  if (attention_.has_rope) {
    const std::span<const float> table = AnglesOf(pass.layout, inv_freq_);
    ParallelForWork((T + kRotatedRows - 1) / kRotatedRows, 4 * T * (H + K) * P,
                    [&, H = H, K = K, P = P](size_t i, int) {
                      const size_t t = i * kRotatedRows, n = std::min(kRotatedRows, T - t);
                      const float* angles = table.data() + t * 2 * half;
                      ApplyRopeBackward(dq + t * H * P, H * P, n, H, P, angles, half);
                      ApplyRopeBackward(dk + t * K * P, K * P, n, K, P, angles, half);
                    });
  }
  if (!attention_.has_qk_norm) return;
  const Workspace::Scope scope(*pass.workspace);
  float* raw = pass.workspace->Take(T * H * P);
  WidenRows(kept.q.data(), kept.q.dtype(), T * H * P, raw);
  RmsNormBackward(raw, q_norm_.f32(), dq, T * H, P, norm_eps_, dq, d_q_norm_);
  WidenRows(kept.k.data(), kept.k.dtype(), T * K * P, raw);
  RmsNormBackward(raw, k_norm_.f32(), dk, T * K, P, norm_eps_, dk, d_k_norm_);
}

void Attention::Forward(const Pass& pass, const float* x, float* y,
                        std::unique_ptr<Saved>* saved) const {
  const Workspace::Scope scope(*pass.workspace);
  const PhaseScope phase(Phase::kAttention);
  const size_t T = pass.tokens();
  const auto [H, K, P] = std::tuple(attention_.n_heads, attention_.n_kv_heads, attention_.head_dim);
  const DType type = pass.row_type();
  float* q = pass.workspace->Take(T * H * P);
  float* k = pass.workspace->Take(T * K * P);
  float* v = pass.workspace->Take(T * K * P);
  float* out = pass.workspace->Take(T * H * P);
  float* lse = pass.workspace->Take(T * H);
  {
    const PhaseScope matmul(Phase::kMatMulAttention);
    const Projection* projections[] = {&q_proj_, &k_proj_, &v_proj_};
    float* outputs[] = {q, k, v};
    ForwardMany(pass, T, projections, x, outputs);
  }
  std::unique_ptr<AttentionSaved> keep;
  if (saved != nullptr) keep = std::make_unique<AttentionSaved>();
  if (attention_.has_qk_norm && type != DType::kF32) {
    // Backward norms what is kept, so forward norms the same numbers.
    float* rounded = pass.workspace->Take(T * H * P);
    for (const auto& [rows, n] : {std::pair{q, T * H * P}, {k, T * K * P}}) {
      RoundRows(rows, n, type, rounded);
      WidenRows(rounded, type, n, rows);
    }
  }
  if (keep != nullptr && attention_.has_qk_norm) {
    keep->q = KeepRows(q, T, H * P, type);
    keep->k = KeepRows(k, T, K * P, type);
  }
  NormAndRotate(pass.layout, q, k);
  const std::vector<size_t> bounds = BoundsOf(pass.layout);
  FlashAttentionForward(Shape(), {{q}, {k}, {v}, bounds}, ActOf(pass), out, lse);
  if (keep != nullptr) {
    if (!attention_.has_qk_norm) {
      keep->q = KeepRows(q, T, H * P, type);
      keep->k = KeepRows(k, T, K * P, type);
    }
    keep->v = KeepRows(v, T, K * P, type);
    keep->out = KeepRows(out, T, H * P, type);
    keep->lse = KeepRows(lse, T, H, DType::kF32);
    *saved = std::move(keep);
  }
  const PhaseScope matmul(Phase::kMatMulAttention);
  o_proj_.Forward(pass, T, out, y);
}

void Attention::Backward(const Pass& pass, const float* x, const Saved& saved, const float* dy,
                         float* dx) const {
  const auto& kept = static_cast<const AttentionSaved&>(saved);
  const Workspace::Scope scope(*pass.workspace);
  const PhaseScope phase(Phase::kAttention);
  const size_t T = pass.tokens();
  const auto [H, K, P] = std::tuple(attention_.n_heads, attention_.n_kv_heads, attention_.head_dim);
  float* dout = pass.workspace->Take(T * H * P);
  float* dq = pass.workspace->Take(T * H * P);
  float* dk = pass.workspace->Take(T * K * P);
  float* dv = pass.workspace->Take(T * K * P);
  {
    const PhaseScope matmul(Phase::kMatMulAttention);
    o_proj_.BackwardWeight(pass, T, kept.out, dy);
    o_proj_.BackwardInput(pass, T, dy, dout);
  }
  {
    const Workspace::Scope inner(*pass.workspace);
    const std::vector<size_t> bounds = BoundsOf(pass.layout);
    FlashInput input{Matrix(kept.q), Matrix(kept.k), Matrix(kept.v), bounds};
    if (attention_.has_qk_norm) {
      float* q = pass.workspace->Take(T * H * P);
      float* k = pass.workspace->Take(T * K * P);
      WidenRows(kept.q.data(), kept.q.dtype(), T * H * P, q);
      WidenRows(kept.k.data(), kept.k.dtype(), T * K * P, k);
      NormAndRotate(pass.layout, q, k);
      input.q = {q};
      input.k = {k};
    }
    FlashAttentionBackward(Shape(), input, ActOf(pass), Matrix(kept.out), kept.lse.f32(), dout, dq,
                           dk, dv);
  }
  NormAndRotateBackward(pass, kept, dq, dk);
  const PhaseScope matmul(Phase::kMatMulAttention);
  bool accumulate = false;
  for (const auto& [projection, gradient] :
       {std::pair{&q_proj_, dq}, {&k_proj_, dk}, {&v_proj_, dv}}) {
    projection->BackwardWeight(pass, T, x, gradient);
    projection->BackwardInput(pass, T, gradient, dx, accumulate);
    accumulate = true;
  }
}

void Attention::VisitParams(const ParamVisitor& visit) {
  const auto [H, K, P] = std::tuple(attention_.n_heads, attention_.n_kv_heads, attention_.head_dim);
  q_proj_.Visit("q_proj.weight", H * P, hidden_size_, ParamRole::kInput, visit);
  k_proj_.Visit("k_proj.weight", K * P, hidden_size_, ParamRole::kInput, visit);
  v_proj_.Visit("v_proj.weight", K * P, hidden_size_, ParamRole::kInput, visit);
  o_proj_.Visit("o_proj.weight", hidden_size_, H * P, ParamRole::kOutput, visit);
  if (attention_.has_qk_norm) {
    visit({.name = "q_norm.weight",
           .shape = {P},
           .role = ParamRole::kNorm,
           .vector = &q_norm_,
           .grad = &d_q_norm_});
    visit({.name = "k_norm.weight",
           .shape = {P},
           .role = ParamRole::kNorm,
           .vector = &k_norm_,
           .grad = &d_k_norm_});
  }
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "model/attention.h"

#include <cmath>
#include <cstring>

#include "base/phases.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/rope.h"

namespace planish {

void KvState::Truncate(size_t length) {
  const size_t pages = KvPageCount(length);
  if (pages < pages_.size()) pages_.resize(pages);
}

void KvState::PrepareWrite(size_t from, size_t to) {
  for (size_t page = from / kKvPagePositions; page < KvPageCount(to); ++page) {
    if (page >= pages_.size()) {
      pages_.push_back(std::make_shared<AlignedBuffer>(page_floats_ * sizeof(float)));
    } else if (pages_[page].use_count() > 1) {
      auto copy = std::make_shared<AlignedBuffer>(page_floats_ * sizeof(float));
      std::memcpy(copy->data(), pages_[page]->data(), copy->size());
      pages_[page] = std::move(copy);
    }
  }
}

void KvState::SetSyntheticLength(size_t length) {
  const size_t known = pages_.size();
  PLANISH_CHECK(known > 0 || length == 0);
  Truncate(length);
  while (pages_.size() < KvPageCount(length)) pages_.push_back(pages_[pages_.size() % known]);
  PrepareWrite(0, length);  // each page becomes its own
}

std::vector<float*> KvState::WritePages() {
  std::vector<float*> pages;
  for (const auto& page : pages_) pages.push_back(reinterpret_cast<float*>(page->data()));
  return pages;
}

std::vector<const float*> KvState::ReadPages() const {
  std::vector<const float*> pages;
  for (const auto& page : pages_) pages.push_back(reinterpret_cast<const float*>(page->data()));
  return pages;
}

Attention::Attention(const ModelConfig& config, const AttentionConfig& attention)
    : attention_(attention),
      hidden_size_(config.hidden_size),
      norm_eps_(static_cast<float>(config.norm_eps)) {
  if (attention.has_rope)
    inv_freq_ = RopeInverseFrequencies(attention.head_dim, config.rope_theta, config.rope_scaling);
}

void Attention::Project(const Rows& rows, const float* x, const int32_t* positions, float* q,
                        float* k, float* v) const {
  const size_t T = rows.total;
  const auto [H, K, P] = std::tuple(attention_.n_heads, attention_.n_kv_heads, attention_.head_dim);
  const Weight* weights[] = {&q_proj_, &k_proj_, &v_proj_};
  float* outputs[] = {q, k, v};
  {
    const PhaseScope matmul(Phase::kMatMulAttention);
    MatMulMany(weights, x, rows, outputs);
  }
  if (attention_.has_qk_norm) {
    RmsNorm(q, q_norm_.f32(), T * H, P, norm_eps_, q);
    RmsNorm(k, k_norm_.f32(), T * K, P, norm_eps_, k);
  }
  if (attention_.has_rope) {
    const std::vector<float> table = RopeTable(inv_freq_, positions, T);
    ApplyRope(q, H * P, T, H, P, table);
    ApplyRope(k, K * P, T, K, P, table);
  }
}

void Attention::Run(const StepBatch& batch, const float* x, float* y, Workspace* workspace,
                    AttentionSaved* saved) const {
  const Workspace::Scope scope(*workspace);
  const PhaseScope phase(Phase::kAttention);
  const std::span<const StepRows> runs = batch.runs;
  const size_t T = batch.rows.total;
  const auto [H, K, P] = std::tuple(attention_.n_heads, attention_.n_kv_heads, attention_.head_dim);
  float* q = workspace->Take(T * H * P);
  float* k = workspace->Take(T * K * P);
  float* v = workspace->Take(T * K * P);
  float* out = workspace->Take(T * H * P);
  std::vector<int32_t> positions(T);
  for (const StepRows& run : runs) {
    for (size_t i = 0; i < run.count; ++i)
      positions[run.begin + i] = static_cast<int32_t>(run.position + i);
  }
  Project(batch.rows, x, positions.data(), q, k, v);

  std::vector<std::vector<const float*>> pages(runs.size());
  std::vector<AttentionJob> jobs;
  for (size_t i = 0; i < runs.size(); ++i) {
    const StepRows& run = runs[i];
    auto& state = static_cast<KvState&>(*run.state);
    state.PrepareWrite(run.position, run.position + run.count);
    WriteKv(k + run.begin * K * P, K * P, v + run.begin * K * P, K * P, run.count, K, P,
            run.position, state.WritePages());
    pages[i] = state.ReadPages();
    jobs.push_back({.q = q + run.begin * H * P,
                    .q_stride = H * P,
                    .rows = run.count,
                    .first_position = run.position,
                    .pages = pages[i],
                    .out = out + run.begin * H * P,
                    .out_stride = H * P});
  }
  PagedAttention(H, K, P, 1.0f / std::sqrt(static_cast<float>(P)), jobs);
  if (saved != nullptr) {
    saved->x = KeepRows(x, T, hidden_size_);
    saved->q = KeepRows(q, T, H * P);
    saved->k = KeepRows(k, T, K * P);
    saved->v = KeepRows(v, T, K * P);
    saved->out = KeepRows(out, T, H * P);
  }
  const PhaseScope matmul(Phase::kMatMulAttention);
  MatMul(o_proj_, out, batch.rows, y);
}

void Attention::Forward(const SeqLayout& layout, const float* x, float* y, Workspace* workspace,
                        std::unique_ptr<Saved>* saved) const {
  std::unique_ptr<AttentionSaved> keep =
      saved != nullptr ? std::make_unique<AttentionSaved>() : nullptr;
  std::vector<KvState> states(layout.sequences(),
                              KvState(attention_.n_kv_heads, attention_.head_dim));
  std::vector<StepRows> runs;
  for (size_t s = 0; s < layout.sequences(); ++s)
    runs.push_back({layout.begin(s), layout.length(s), 0, &states[s]});
  Run({runs, layout.tokens()}, x, y, workspace, keep.get());
  if (saved != nullptr) *saved = std::move(keep);
}

void Attention::Step(const StepBatch& batch, const float* x, float* y, Workspace* workspace) const {
  Run(batch, x, y, workspace, nullptr);
}

void Attention::VisitParams(const ParamVisitor& visit) {
  const auto [H, K, P] = std::tuple(attention_.n_heads, attention_.n_kv_heads, attention_.head_dim);
  visit({.name = "q_proj.weight",
         .shape = {H * P, hidden_size_},
         .role = ParamRole::kInput,
         .weight = &q_proj_});
  visit({.name = "k_proj.weight",
         .shape = {K * P, hidden_size_},
         .role = ParamRole::kInput,
         .weight = &k_proj_});
  visit({.name = "v_proj.weight",
         .shape = {K * P, hidden_size_},
         .role = ParamRole::kInput,
         .weight = &v_proj_});
  visit({.name = "o_proj.weight",
         .shape = {hidden_size_, H * P},
         .role = ParamRole::kOutput,
         .weight = &o_proj_});
  if (attention_.has_qk_norm) {
    visit({.name = "q_norm.weight", .shape = {P}, .role = ParamRole::kNorm, .vector = &q_norm_});
    visit({.name = "k_norm.weight", .shape = {P}, .role = ParamRole::kNorm, .vector = &k_norm_});
  }
}

}  // namespace planish

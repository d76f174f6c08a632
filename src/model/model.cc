// SPDX-License-Identifier: Apache-2.0
#include "model/model.h"

#include "base/phases.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/residual.h"
#include "model/registry.h"
#include "model/tensor_names.h"

namespace planish {
namespace {

void Embed(const Weight& embedding, std::span<const int32_t> ids, float* h) {
  const PhaseScope scope(Phase::kEmbed);
  GatherRows(embedding, ids, h);
}

void Norm(const float* x, const float* weight, size_t T, size_t D, float eps, float* y) {
  const PhaseScope scope(Phase::kNorm);
  RmsNorm(x, weight, T, D, eps, y);
}

void AddAndNorm(const float* y, const float* weight, size_t T, size_t D, float eps, float* h,
                float* normed) {
  const PhaseScope scope(Phase::kNorm);
  AddRmsNorm(y, weight, T, D, eps, h, normed);
}

}  // namespace

Model::Model(ModelConfig config) : config_(std::move(config)) {
  for (const BlockConfig& block : config_.blocks)
    blocks_.push_back({MakeMixer(config_, block.mixer), Tensor()});
}

void Model::VisitParams(const ParamVisitor& visit) {
  const size_t D = config_.hidden_size, V = config_.vocab_size;
  const Family family = config_.family;
  visit({.name = EmbeddingName(family),
         .shape = {V, D},
         .role = ParamRole::kEmbedding,
         .weight = &embedding_,
         .grad = &d_embedding_});
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const BlockConfig& block = config_.blocks[i];
    visit({.name = BlockNormName(family, block),
           .shape = {D},
           .role = ParamRole::kNorm,
           .vector = &blocks_[i].norm,
           .block = static_cast<int>(i),
           .grad = &blocks_[i].d_norm});
    const std::string prefix = MixerPrefix(family, block);
    blocks_[i].mixer->VisitParams([&](const Param& param) {
      Param named = param;
      named.block = static_cast<int>(i);
      named.name = prefix + param.name;
      visit(named);
    });
  }
  visit({.name = FinalNormName(family),
         .shape = {D},
         .role = ParamRole::kNorm,
         .vector = &final_norm_,
         .grad = &d_final_norm_});
  if (!config_.tie_embeddings)
    visit({.name = HeadName(),
           .shape = {V, D},
           .role = ParamRole::kHead,
           .weight = &head_,
           .grad = &d_head_});
}

void Model::ParamsChanged() {
  for (Block& block : blocks_) block.mixer->ParamsChanged();
}

void Model::Forward(std::span<const int32_t> ids, const SeqLayout& layout, float* hidden,
                    Workspace* workspace, const Observer& observer) const {
  const Workspace::Scope scope(*workspace);
  const size_t T = layout.tokens(), D = config_.hidden_size;
  PLANISH_CHECK(ids.size() == T);
  const Pass pass{.layout = layout, .workspace = workspace};
  const auto eps = static_cast<float>(config_.norm_eps);
  float* h = workspace->Take(T * D);
  float* normed = workspace->Take(T * D);
  Embed(embedding_, ids, h);
  if (observer) observer(-1, h);
  Norm(h, NormBefore(0), T, D, eps, blocks_.empty() ? hidden : normed);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    RunBlock(pass, i, h, normed, i + 1 == blocks_.size() ? hidden : normed, nullptr);
    if (observer) observer(static_cast<int>(i), h);
  }
}

void Model::RunBlock(const Pass& pass, size_t i, float* h, float* normed, float* next_normed,
                     std::unique_ptr<Saved>* saved) const {
  const Workspace::Scope scope(*pass.workspace);
  const size_t T = pass.tokens(), D = config_.hidden_size;
  float* y = pass.workspace->Take(T * D);
  blocks_[i].mixer->Forward(PassOfBlock(pass, i), normed, y, saved);
  AddAndNorm(y, NormBefore(i + 1), T, D, static_cast<float>(config_.norm_eps), h, next_normed);
}

void Model::Step(std::span<const int32_t> ids, std::span<const StepRun> runs, float* hidden,
                 Workspace* workspace) const {
  const Workspace::Scope scope(*workspace);
  const size_t R = ids.size(), D = config_.hidden_size;
  const auto eps = static_cast<float>(config_.norm_eps);
  float* h = workspace->Take(R * D);
  float* normed = workspace->Take(R * D);
  float* y = workspace->Take(R * D);
  Embed(embedding_, ids, h);
  std::vector<StepRows> rows;
  size_t decode = 0;
  for (const StepRun& run : runs) {
    PLANISH_CHECK(!run.is_decode || (run.count == 1 && decode == rows.size()),
                  "decode runs have one row and come first");
    decode += run.is_decode;
    rows.push_back({run.begin, run.count, run.sequence->length(), nullptr, run.is_decode});
  }
  const StepBatch batch{rows, {R, decode, act_}};
  Norm(h, NormBefore(0), R, D, eps, blocks_.empty() ? hidden : normed);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    for (size_t s = 0; s < runs.size(); ++s) rows[s].state = runs[s].sequence->block(i);
    blocks_[i].mixer->Step(batch, normed, y, workspace);
    AddAndNorm(y, NormBefore(i + 1), R, D, eps, h, i + 1 == blocks_.size() ? hidden : normed);
  }
  for (const StepRun& run : runs) run.sequence->Advance(run.count);
}

SequenceState Model::NewSequence() const {
  std::vector<std::unique_ptr<MixerState>> states;
  for (const Block& block : blocks_) states.push_back(block.mixer->NewState(state_types_));
  return SequenceState(std::move(states));
}

void Model::Head(const float* hidden, size_t R, float* logits) const {
  const PhaseScope scope(Phase::kHead);
  MatMul(head(), hidden, {R, R, act_}, logits);
}

}  // namespace planish

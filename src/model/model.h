// SPDX-License-Identifier: Apache-2.0
// Embedding + blocks + final norm + head. Returns hidden states, never logits of all rows: the caller applies Head to the
// rows it needs. Knows nothing of files (hf_params and gguf_params fill the parameters) or of sampling (infer).
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/activations.h"
#include "model/config.h"
#include "model/mixer.h"
#include "model/sequence_state.h"

namespace planish {

// Rows of a step: run i takes `count` ids starting at `begin` and belongs to one sequence, whose state it advances. Decode
// runs (see StepRows) have one row and come first.
struct StepRun {
  size_t begin = 0;
  size_t count = 0;
  SequenceState* sequence = nullptr;
  bool is_decode = false;
};

class Model {
 public:
  // Parameters are empty until something visits and fills them, then calls ParamsChanged.
  explicit Model(ModelConfig config);

  const ModelConfig& config() const { return config_; }
  void VisitParams(const ParamVisitor& visit);
  void ParamsChanged();

  // Called after the embedding (block = -1) and after each block with the residual stream h [T, D].
  using Observer = std::function<void(int block, const float* h)>;

  // ids: [T] in packed sequences, each in [0, vocab_size); hidden: [T, D] after the final norm.
  void Forward(std::span<const int32_t> ids, const SeqLayout& layout, float* hidden,
               Workspace* workspace, const Observer& observer = nullptr) const;
  // Training: as above in the pass's precision. `keep`, if not null, receives what Backward needs, as far as `recompute` lets
  // it. kFp8 holds for all but the first and last blocks (Fp8Options), which are bf16.
  void Forward(const Pass& pass, std::span<const int32_t> ids, float* hidden,
               const Recompute& recompute, Activations* keep,
               const Observer& observer = nullptr) const;
  // d_hidden: [T, D], gradient of the hidden states; destroyed. Adds parameter gradients where they are wanted, but for the
  // head's, which belongs to the loss. Pass and ids are those of the Forward that filled `kept`, which is emptied.
  // block_done(i): the gradients of block i are complete (blocks come in descending order; the embedding's, of a tied head
  // too, only at the end).
  // add_gradient(i, h, dh): called after the gradient dh [T, D] of the residual stream h [T, D] behind block i is known, before
  // block i uses it; losses of the stream itself add theirs there.
  using BlockDone = std::function<void(size_t block)>;
  using StreamGradient = std::function<void(size_t block, const float* h, float* dh)>;
  void Backward(const Pass& pass, std::span<const int32_t> ids, Activations* kept, float* d_hidden,
                const BlockDone& block_done = nullptr,
                const StreamGradient& add_gradient = nullptr) const;
  // Where the gradient of the head's weight goes (the embedding's when tied); null: frozen.
  float* head_grad() const { return config_.tie_embeddings ? d_embedding_ : d_head_; }

  // ids: [R]; runs cover all rows in order, one per sequence, decode runs first; hidden: [R, D] after the final norm.
  void Step(std::span<const int32_t> ids, std::span<const StepRun> runs, float* hidden,
            Workspace* workspace) const;
  SequenceState NewSequence() const;

  // Arithmetic of Step and Head, and storage of new sequences. Exact (f32) by default; Forward always is.
  void SetActMode(ActMode act) { act_ = act; }
  ActMode act_mode() const { return act_; }
  void SetStateTypes(const StateTypes& types) { state_types_ = types; }
  const StateTypes& state_types() const { return state_types_; }

  // logits [R, V] = hidden [R, D] * head^T.
  void Head(const float* hidden, size_t R, float* logits) const;
  const Weight& head() const { return config_.tie_embeddings ? embedding_ : head_; }
  const Weight& embedding() const { return embedding_; }
  const Mixer& mixer(size_t block) const { return *blocks_[block].mixer; }

 private:
  struct Block {
    std::unique_ptr<Mixer> mixer;
    Tensor norm;              // [D]
    float* d_norm = nullptr;  // [D] gradient
  };
  // [D] of block i, or of the end of the model.
  const float* NormBefore(size_t i) const {
    return i < blocks_.size() ? blocks_[i].norm.f32() : final_norm_.f32();
  }
  float* NormGradBefore(size_t i) const {
    return i < blocks_.size() ? blocks_[i].d_norm : d_final_norm_;
  }
  Pass PassOfBlock(const Pass& pass, size_t i) const;
  // h after block `i` for the norm before the next one; the residual stream h and `normed` are [T, D].
  void RunBlock(const Pass& pass, size_t i, float* h, float* normed, float* next_normed,
                std::unique_ptr<Saved>* saved) const;

  ModelConfig config_;
  ActMode act_ = ActMode::kF32;
  StateTypes state_types_;
  Weight embedding_;  // [V, D]
  std::vector<Block> blocks_;
  Tensor final_norm_;  // [D]
  Weight head_;        // [V, D], empty when tied
  // Gradients, shaped as the parameters.
  float *d_embedding_ = nullptr, *d_final_norm_ = nullptr, *d_head_ = nullptr;
};

}  // namespace planish

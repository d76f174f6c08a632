// SPDX-License-Identifier: Apache-2.0
// Causal grouped-query attention with or without RoPE and QK norm, no bias; scale P^-1/2.
// q = x Wq^T [T,H,P], k, v = x Wk^T, x Wv^T [T,K,P]; (q, k normed per head, then rotated); y = attend(q,k,v) Wo^T.
// Nemotron-H: no positional embedding at all. Llama, DeciLM, Qwen3, Mistral: RoPE in the half-split layout.
#pragma once

#include <vector>

#include "kernels/attention.h"
#include "kernels/flash_attention.h"
#include "model/mixer.h"
#include "model/projection.h"

namespace planish {

// In the pass's row type, as the products read them. With QK norm q and k are kept as they come from their projections, because
// the norm's gradient needs them; norm and rotation are cheap to do again.
struct AttentionSaved : Saved {
  Tensor q;    // [T, H*P] rotated; with QK norm neither normed nor rotated
  Tensor k;    // [T, K*P] likewise
  Tensor v;    // [T, K*P]
  Tensor out;  // [T, H*P] before Wo
  Tensor lse;  // [T, H] float, of the scores
  size_t bytes() const override {
    return q.bytes() + k.bytes() + v.bytes() + out.bytes() + lse.bytes();
  }
};

// Keys and values of one sequence in one layer, in pages of 64 positions shared copy-on-write between snapshots.
class KvState : public MixerState {
 public:
  explicit KvState(const KvLayout& layout) : layout_(layout) {}
  std::unique_ptr<MixerState> Snapshot() const override { return std::make_unique<KvState>(*this); }
  bool CanTruncate() const override { return true; }
  void Truncate(size_t length) override;
  size_t bytes() const override { return pages_.size() * layout_.PageBytes(); }
  void SetSyntheticLength(size_t length) override;

  const KvLayout& layout() const { return layout_; }
  // Makes positions [from, to) writable: adds pages, and copies those that a snapshot shares.
  void PrepareWrite(size_t from, size_t to);
  std::span<std::byte* const> pages() const { return pointers_; }

 private:
  KvLayout layout_;
  std::vector<std::shared_ptr<std::byte>> pages_;
  std::vector<std::byte*> pointers_;  // those of pages_
};

class Attention : public Mixer {
 public:
  Attention(const ModelConfig& config, const AttentionConfig& attention);
  void Forward(const Pass& pass, const float* x, float* y,
               std::unique_ptr<Saved>* saved) const override;
  void Backward(const Pass& pass, const float* x, const Saved& saved, const float* dy,
                float* dx) const override;
  void Step(const StepBatch& batch, const float* x, float* y, Workspace* workspace) const override;
  std::unique_ptr<MixerState> NewState(const StateTypes& types) const override;
  void VisitParams(const ParamVisitor& visit) override;
  MixerCost Cost() const override { return CostOf(attention_, hidden_size_); }

 private:
  // Projections and norms; rotation comes with the write to the pages.
  void Project(const Rows& rows, const float* x, float* q, float* k, float* v) const;
  // Rotates q and k of all rows in place and writes k and v to the pages of their sequences.
  void WriteRows(const StepBatch& batch, float* q, float* k, const float* v) const;
  // Training: norm, if there is one, and rotation of q [T, H*P] and k [T, K*P] in place.
  void NormAndRotate(const SeqLayout& layout, float* q, float* k) const;
  // The gradients of what it read, from those of what it gave, in place; gradients of the norms are added.
  void NormAndRotateBackward(const Pass& pass, const AttentionSaved& kept, float* dq,
                             float* dk) const;
  FlashShape Shape() const;

  AttentionConfig attention_;
  size_t hidden_size_;
  float norm_eps_;
  std::vector<float> inv_freq_;  // [P/2], empty without RoPE
  Projection q_proj_;            // [H*P, D]
  Projection k_proj_;            // [K*P, D]
  Projection v_proj_;            // [K*P, D]
  Projection o_proj_;            // [D, H*P]
  Tensor q_norm_, k_norm_;       // [P], Qwen3
  float* d_q_norm_ = nullptr;    // [P] gradients
  float* d_k_norm_ = nullptr;
};

}  // namespace planish

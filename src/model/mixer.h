// SPDX-License-Identifier: Apache-2.0
// The one interface of attention, Mamba-2, FFN and linear blocks. Two ways through: Forward (packed documents, training,
// keeps what backward needs) and Step (the engine: rows of any sequences, prefill slices and decode rows mixed). A property
// test over every registered mixer holds them together.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "kernels/matmul.h"
#include "model/config.h"
#include "model/param.h"
#include "model/pass.h"

namespace planish {

// What one sequence carries from token to token through one mixer: KV pages, or conv window + SSM state.
class MixerState {
 public:
  virtual ~MixerState() = default;
  // An independent copy; KV pages are shared until one side writes.
  virtual std::unique_ptr<MixerState> Snapshot() const = 0;
  // Recurrent states remember only the present and cannot go back: restore a snapshot and replay.
  virtual bool CanTruncate() const = 0;
  // Drops everything after the first `length` tokens; only if CanTruncate.
  virtual void Truncate(size_t length) = 0;
  virtual size_t bytes() const = 0;  // memory held, shared pages counted in full
  // For measurements: as if `length` tokens had been taken, in memory of its own. Missing positions become copies of earlier
  // ones, of which a page must be there; a recurrent state, which has no length, stays as it is.
  virtual void SetSyntheticLength(size_t) {}
};

// Consecutive rows of one sequence within a step.
struct StepRows {
  size_t begin = 0;  // first row in the step's [R, D] input
  size_t count = 0;
  size_t position = 0;          // of the first row in its sequence
  MixerState* state = nullptr;  // null for stateless mixers
  bool is_decode =
      false;  // one token that was just sampled, not a (perhaps short) piece of a prompt
};

// One engine step. The runs cover the rows in order; decode runs, of one row each, come first (they are rows.decode), so that
// decode rows and prompt slices are two blocks in every matrix product. Fast modes may treat the two kinds in different
// arithmetic. The kind is a property of the token and not of the cut: a last slice of one row is still a prompt slice.
struct StepBatch {
  std::span<const StepRows> runs;
  Rows rows;
};

// Storage of what sequences carry: float is exact; smaller types trade precision for memory and bandwidth.
struct StateTypes {
  DType kv = DType::kF32;   // keys and values
  DType ssm = DType::kF32;  // Mamba-2's state
};

// What backward needs of one Forward beside its input, kept or recomputed; each mixer has its own named struct.
struct Saved {
  virtual ~Saved() = default;
  virtual size_t bytes() const = 0;  // memory held
};
// A copy of [T, width] floats in `type` (kF32, or kBF16 rounded to nearest even) for a Saved struct.
Tensor KeepRows(const float* values, size_t T, size_t width, DType type);

// Sizes and work of one block, from its config alone. Formulas: models.md sections 5-7.
struct MixerCost {
  size_t parameters = 0;             // without the block's norm
  size_t kv_elements_per_token = 0;  // 2 K P for attention
  size_t ssm_elements = 0;           // H P N
  size_t conv_elements = 0;          // conv_dim (W-1)
  double flops_per_token = 0;        // forward, matrices and recurrences; attention core excluded
  double attention_flops_per_token_and_context = 0;  // 4 H P
};
MixerCost CostOf(const MixerConfig& mixer, size_t hidden_size);

class Mixer {
 public:
  virtual ~Mixer() = default;
  // x: [T, D] normed rows; y: [T, D], assigned (the residual add is Model's). Sequences of the layout start from an empty
  // state. `saved`, if not null, receives what Backward needs beside x.
  virtual void Forward(const Pass& pass, const float* x, float* y,
                       std::unique_ptr<Saved>* saved) const = 0;
  // dy: [T, D]; dx: [T, D], assigned. Adds the gradients of parameters where they are wanted (Param::grad). The pass and x are
  // those of the Forward that filled `saved`.
  virtual void Backward(const Pass& pass, const float* x, const Saved& saved, const float* dy,
                        float* dx) const = 0;
  // x: [R, D]; y: [R, D], assigned; states are advanced by their rows.
  virtual void Step(const StepBatch& batch, const float* x, float* y,
                    Workspace* workspace) const = 0;
  // State of a sequence before its first token; null if the mixer has none.
  virtual std::unique_ptr<MixerState> NewState(const StateTypes&) const { return nullptr; }
  // Parameters with names relative to the mixer ("q_proj.weight"), in the order of Hugging Face's modules.
  virtual void VisitParams(const ParamVisitor& visit) = 0;
  // Call after parameters were loaded or changed: renews what is derived from them.
  virtual void ParamsChanged() {}
  virtual MixerCost Cost() const = 0;
};

}  // namespace planish

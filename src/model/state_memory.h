// SPDX-License-Identifier: Apache-2.0
// What the states of sequences weigh, and their KV pages one by one: for whoever keeps many states that share pages within a
// budget. All layers of a state add, copy and share their pages together, so pages are counted as columns: the pages of
// every attention layer for the same kKvPagePositions positions.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "model/model.h"

namespace planish {

struct StateSize {
  size_t recurrent_bytes =
      0;                    // conv windows and SSM states; 0: a state can be cut back to any length
  size_t column_bytes = 0;  // of KV; 0 without attention

  bool is_recurrent() const { return recurrent_bytes > 0; }
  size_t Columns(size_t positions) const;  // a partial one counts
  size_t Bytes(size_t positions) const {   // of one sequence that shares nothing
    return recurrent_bytes + Columns(positions) * column_bytes;
  }
  // Positions that fit into `bytes` of one sequence; at most `most`.
  size_t PositionsWithin(size_t bytes, size_t most) const;
};
// In the types of states that the model makes now (Model::SetStateTypes), or with SSM states of type `ssm`.
StateSize StateSizeOf(const Model& model, std::optional<DType> ssm = std::nullopt);

// SSM states in another type, kF32 or kBF16: rounded to the nearest, ties to even, or widened. The model steps only states of
// its own types: others are for keeping. Convolution windows and keys and values stay as they are.
void SetSsmType(const Model& model, DType type, SequenceState* state);

// Names the columns of a state: two states share a column exactly when they have the same name at its place. Valid as long
// as one of them lives. Empty without attention.
std::vector<const std::byte*> ColumnsOf(const Model& model, const SequenceState& state);

// A state as bytes, in pieces whose sizes follow from the model, the types of states and the length alone: for files that the
// same build reads again. Together they are StateSize::Bytes(length). KV pages whole, layer by layer; of a Mamba-2 layer the
// window of the convolution, then the SSM state.
void VisitBytes(const Model& model, const SequenceState& state,
                const std::function<void(std::span<const std::byte>)>& visit);
// The other way: `fill` is given every piece to write to. `ssm`: type of SSM states if not the model's.
SequenceState FillState(const Model& model, size_t length, std::optional<DType> ssm,
                        const std::function<void(std::span<std::byte>)>& fill);

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "model/state_memory.h"

#include <algorithm>

#include "model/attention.h"
#include "model/mamba2.h"

namespace planish {

size_t StateSize::Columns(size_t positions) const {
  return column_bytes > 0 ? KvPageCount(positions) : 0;
}

size_t StateSize::PositionsWithin(size_t bytes, size_t most) const {
  if (bytes < recurrent_bytes) return 0;
  if (column_bytes == 0) return most;
  return std::min(most, (bytes - recurrent_bytes) / column_bytes * kKvPagePositions);
}

StateSize StateSizeOf(const Model& model) {
  const SequenceState empty = model.NewSequence();
  StateSize size;
  size.recurrent_bytes = empty.bytes();  // no pages yet
  for (size_t i = 0; i < model.config().blocks.size(); ++i) {
    if (const auto* kv = dynamic_cast<const KvState*>(empty.block(i)))
      size.column_bytes += kv->layout().PageBytes();
  }
  return size;
}

std::vector<const std::byte*> ColumnsOf(const Model& model, const SequenceState& state) {
  for (size_t i = 0; i < model.config().blocks.size(); ++i) {
    const auto* kv = dynamic_cast<const KvState*>(state.block(i));
    if (kv != nullptr) return {kv->pages().begin(), kv->pages().end()};
  }
  return {};
}

namespace {

// Piece by piece: fn(bytes, size) of every layer in order.
template <typename Function>
void ForEachPiece(const Model& model, const SequenceState& state, const Function& fn) {
  for (size_t i = 0; i < model.config().blocks.size(); ++i) {
    if (const auto* kv = dynamic_cast<const KvState*>(state.block(i))) {
      for (std::byte* page : kv->pages()) {
        fn(page, kv->layout().PageBytes());
      }
    } else if (auto* mamba = dynamic_cast<Mamba2State*>(state.block(i))) {
      fn(static_cast<std::byte*>(mamba->conv.data()), mamba->conv.bytes());
      fn(static_cast<std::byte*>(mamba->ssm.data()), mamba->ssm.bytes());
    }
  }
}

}  // namespace

void VisitBytes(const Model& model, const SequenceState& state,
                const std::function<void(std::span<const std::byte>)>& visit) {
  ForEachPiece(model, state, [&](std::byte* bytes, size_t size) { visit({bytes, size}); });
}

SequenceState FillState(const Model& model, size_t length,
                        const std::function<void(std::span<std::byte>)>& fill) {
  SequenceState state = model.NewSequence();
  for (size_t i = 0; i < model.config().blocks.size(); ++i) {
    if (auto* kv = dynamic_cast<KvState*>(state.block(i))) kv->PrepareWrite(0, length);
  }
  state.Advance(length);
  ForEachPiece(model, state, [&](std::byte* bytes, size_t size) { fill({bytes, size}); });
  return state;
}

}  // namespace planish

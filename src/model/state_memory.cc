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

StateSize StateSizeOf(const Model& model, std::optional<DType> ssm) {
  SequenceState empty = model.NewSequence();
  if (ssm) SetSsmType(model, *ssm, &empty);
  StateSize size;
  size.recurrent_bytes = empty.bytes();  // no pages yet
  for (size_t i = 0; i < model.config().blocks.size(); ++i) {
    if (const auto* kv = dynamic_cast<const KvState*>(empty.block(i)))
      size.column_bytes += kv->layout().PageBytes();
  }
  return size;
}

void SetSsmType(const Model& model, DType type, SequenceState* state) {
  PLANISH_CHECK(type == DType::kF32 || type == DType::kBF16);
  for (size_t i = 0; i < model.config().blocks.size(); ++i) {
    auto* mamba = dynamic_cast<Mamba2State*>(state->block(i));
    if (mamba == nullptr || mamba->ssm.dtype() == type) continue;
    const Tensor& old = mamba->ssm;
    Tensor fresh(type, old.shape());
    const size_t n = old.elements();
    if (type == DType::kBF16) {
      const float* from = old.f32();
      auto* to = reinterpret_cast<uint16_t*>(fresh.data());
      for (size_t k = 0; k < n; ++k) to[k] = BF16FromFloat(from[k]);
    } else {
      const auto* from = reinterpret_cast<const uint16_t*>(old.data());
      float* to = fresh.f32();
      for (size_t k = 0; k < n; ++k) to[k] = FloatFromBF16(from[k]);
    }
    mamba->ssm = std::move(fresh);
  }
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

SequenceState FillState(const Model& model, size_t length, std::optional<DType> ssm,
                        const std::function<void(std::span<std::byte>)>& fill) {
  SequenceState state = model.NewSequence();
  if (ssm) SetSsmType(model, *ssm, &state);
  for (size_t i = 0; i < model.config().blocks.size(); ++i) {
    if (auto* kv = dynamic_cast<KvState*>(state.block(i))) kv->PrepareWrite(0, length);
  }
  state.Advance(length);
  ForEachPiece(model, state, [&](std::byte* bytes, size_t size) { fill({bytes, size}); });
  return state;
}

}  // namespace planish

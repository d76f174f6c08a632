// SPDX-License-Identifier: Apache-2.0
#include "model/state_memory.h"

#include <algorithm>

#include "model/attention.h"

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

}  // namespace planish

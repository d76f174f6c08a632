// SPDX-License-Identifier: Apache-2.0
#include "train/flat_params.h"

#include <algorithm>
#include <cstring>

namespace planish {
namespace {

size_t AlignUp(size_t n) {
  return (n + FlatParams::kAlignFloats - 1) / FlatParams::kAlignFloats * FlatParams::kAlignFloats;
}

float* MasterOf(const Param& param) {
  if (param.vector != nullptr) {
    PLANISH_CHECK(param.vector->elements() == param.shape.elements(), "{} is not filled",
                  param.name);
    return param.vector->f32();
  }
  PLANISH_CHECK(param.weight->dtype() == DType::kF32 && !param.weight->is_mapped(),
                "{} is {}{}, training needs f32 of its own", param.name,
                Name(param.weight->dtype()), param.weight->is_mapped() ? " in a file" : "");
  return reinterpret_cast<float*>(param.weight->mutable_data());
}

}  // namespace

FlatParams::FlatParams(Model* model, const IsTrainable& is_trainable,
                       const std::vector<Param>& others)
    : model_(model) {
  model->VisitParams([&](const Param& param) { Add(param, is_trainable); });
  for (const Param& param : others) Add(param, is_trainable);
}

FlatParams::FlatParams(const std::vector<Param>& params, const IsTrainable& is_trainable) {
  for (const Param& param : params) Add(param, is_trainable);
}

void FlatParams::Add(const Param& param, const IsTrainable& is_trainable) {
  PLANISH_CHECK(param.grad != nullptr, "{} has no place for a gradient", param.name);
  *param.grad = nullptr;
  if (is_trainable && !is_trainable(param)) return;
  const size_t elements = param.shape.elements();
  entries_.push_back({.name = param.name,
                      .shape = param.shape,
                      .role = param.role,
                      .block = param.block,
                      .offset = size_,
                      .elements = elements,
                      .value = MasterOf(param),
                      .grad = param.grad});
  if (param.weight != nullptr) weights_.push_back(param.weight);
  for (size_t begin = 0; begin < elements; begin += kChunkFloats) {
    chunks_.push_back({.entry = entries_.size() - 1,
                       .begin = size_ + begin,
                       .elements = std::min(kChunkFloats, elements - begin)});
  }
  size_ += AlignUp(elements);
  elements_ += elements;
}

std::pair<size_t, size_t> FlatParams::ChunksOf(const FlatRange& range) const {
  const auto first_from = [this](size_t offset) {
    const auto found =
        std::partition_point(chunks_.begin(), chunks_.end(),
                             [offset](const Chunk& chunk) { return chunk.begin < offset; });
    return static_cast<size_t>(found - chunks_.begin());
  };
  return {first_from(range.begin), first_from(range.end)};
}

FlatRange FlatParams::RangeOfBlock(size_t block) const {
  FlatRange range;
  for (const Entry& entry : entries_) {
    if (entry.block != static_cast<int>(block)) continue;
    if (range.size() == 0) range.begin = entry.offset;
    range.end = entry.offset + (entry.elements + kAlignFloats - 1) / kAlignFloats * kAlignFloats;
  }
  return range;
}

FlatRange FlatParams::RangeOf(size_t rank, size_t ranks) const {
  PLANISH_CHECK(rank < ranks);
  const auto boundary = [&](size_t i) {  // the chunk boundary nearest to the i-th equal part
    if (i == 0) return size_t{0};
    if (i == ranks) return size_;
    const size_t ideal = size_ / ranks * i + size_ % ranks * i / ranks;
    const size_t after = ChunksOf({ideal, size_}).first;
    const size_t above = after < chunks_.size() ? chunks_[after].begin : size_;
    const size_t below = after > 0 ? chunks_[after - 1].begin : 0;
    return ideal - below < above - ideal ? below : above;
  };
  return {boundary(rank), boundary(rank + 1)};
}

void FlatParams::BindGradients(float* gradients) {
  for (const Entry& entry : entries_)
    *entry.grad = gradients == nullptr ? nullptr : gradients + entry.offset;
}

// copy(value in the model, offset from the range's beginning, floats) for the part of each entry inside the range.
template <typename Copy>
void FlatParams::ForEachPiece(const FlatRange& range, const Copy& copy) const {
  for (const Entry& entry : entries_) {
    const size_t begin = std::max(range.begin, entry.offset);
    const size_t end = std::min(range.end, entry.end());
    if (begin < end) copy(entry.value + (begin - entry.offset), begin - range.begin, end - begin);
  }
}

void FlatParams::ReadValues(const FlatRange& range, float* out) const {
  std::fill(out, out + range.size(), 0.0f);
  ForEachPiece(range, [out](const float* value, size_t offset, size_t count) {
    std::memcpy(out + offset, value, count * sizeof(float));
  });
}

void FlatParams::WriteValues(const FlatRange& range, const float* values) {
  ForEachPiece(range, [values](float* value, size_t offset, size_t count) {
    std::memcpy(value, values + offset, count * sizeof(float));
  });
}

void FlatParams::ValuesChanged() {
  for (Weight* weight : weights_) weight->Touch();
  if (model_ != nullptr) model_->ParamsChanged();
}

}  // namespace planish

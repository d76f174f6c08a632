// SPDX-License-Identifier: Apache-2.0
// The trainable parameters of a model laid out one after the other in one flat space of floats, in VisitParams order, each
// beginning at a multiple of 64 floats. Gradients, optimizer state and what ranks exchange are arrays over that space. The
// values themselves (the f32 masters) stay in the model. Holes between parameters hold zeros.
//
// Reductions over the space (norms) run over its chunks: pieces of one parameter of at most kChunkFloats from its beginning.
// Ranges given to ranks end where chunks do, so that sums do not depend on the number of ranks.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "model/model.h"

namespace planish {

// [begin, end) of the flat space, in floats.
struct FlatRange {
  size_t begin = 0, end = 0;
  size_t size() const { return end - begin; }
  bool operator==(const FlatRange&) const = default;
};

class FlatParams {
 public:
  static constexpr size_t kAlignFloats = 64;  // 256 bytes
  static constexpr size_t kChunkFloats = size_t{1}
                                         << 16;  // 256 KiB: a task of a reduction or an update

  struct Entry {
    std::string name;
    Shape shape;
    ParamRole role;
    int block;        // Param::block
    size_t offset;    // multiple of kAlignFloats
    size_t elements;  // without padding
    float* value;     // [elements], in the model
    float** grad;     // where the model's backward pass looks for its place
    size_t end() const { return offset + elements; }
  };
  struct Chunk {
    size_t entry;  // index in entries()
    size_t begin;  // in the flat space, multiple of kAlignFloats
    size_t elements;
  };

  // Parameters for which `is_trainable` says yes (null: all); the others are frozen: their gradient pointer becomes null.
  // Every trainable parameter must be float in memory of its own (checked). The model must outlive this and stay in place.
  using IsTrainable = std::function<bool(const Param&)>;
  // `others`: parameters outside the model that are trained with it; they come last.
  explicit FlatParams(Model* model, const IsTrainable& is_trainable = nullptr,
                      const std::vector<Param>& others = {});
  // The same over parameters of any owner.
  explicit FlatParams(const std::vector<Param>& params, const IsTrainable& is_trainable = nullptr);

  size_t size() const { return size_; }  // floats, padding included; multiple of kAlignFloats
  size_t elements() const { return elements_; }  // trainable values
  FlatRange all() const { return {0, size_}; }
  const std::vector<Entry>& entries() const { return entries_; }
  const std::vector<Chunk>& chunks() const { return chunks_; }  // of all entries, in order
  // The chunks inside a range, as [first, last) of chunks().
  std::pair<size_t, size_t> ChunksOf(const FlatRange& range) const;

  // The range of rank `rank` of `ranks`: consecutive, covering all, nearly equal, ending where chunks do.
  FlatRange RangeOf(size_t rank, size_t ranks) const;

  // Parameters of one block of the model, which lie next to each other; empty if all are frozen.
  FlatRange RangeOfBlock(size_t block) const;

  // Backward passes add into `gradients` [size()] from now on; null: compute no gradients.
  void BindGradients(float* gradients);

  // Copies values of a range out of or into the model; holes become zero, or are ignored. After writing: ValuesChanged.
  void ReadValues(const FlatRange& range, float* out) const;
  void WriteValues(const FlatRange& range, const float* values);
  float* ValueOf(const Chunk& chunk) const {  // [chunk.elements], in the model
    return entries_[chunk.entry].value + (chunk.begin - entries_[chunk.entry].offset);
  }
  // Tells the model, if there is one, that its parameters changed, so that packed copies of them are made anew.
  void ValuesChanged();

 private:
  void Add(const Param& param, const IsTrainable& is_trainable);
  template <typename Copy>
  void ForEachPiece(const FlatRange& range, const Copy& copy) const;

  Model* model_ = nullptr;
  std::vector<Entry> entries_;
  std::vector<Weight*> weights_;  // the matrices among them
  std::vector<Chunk> chunks_;
  size_t size_ = 0, elements_ = 0;
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// What the writers of safetensors and GGUF take: a tensor whose values are pulled in slabs of rows while the file is
// written, so that neither a model nor its largest matrix ever exists in memory at once.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "base/file.h"
#include "tensor/tensor.h"

namespace planish {

struct TensorToWrite {
  std::string name;
  DType dtype;
  Shape shape;
  // Writes rows [begin, end) of the tensor seen as a matrix of rows of shape.last() values (a vector is one row):
  // BytesOf(dtype, shape.last()) bytes each. Called for all rows in turn.
  std::function<void(size_t begin, size_t end, std::byte* out)> fill;
  // Where all of it stands already, if it does: then it is written from there. A vector of any length needs no slab so.
  const std::byte* data = nullptr;
  // True: `fill` may run for several ranges at the same time; the writer then spreads a slab over the thread team.
  bool is_parallel = false;
  // If set, called by the writing thread after each slab with the bytes it had.
  std::function<void(uint64_t bytes)> written;
};

// Keeps a pointer: `tensor` must outlive the write.
TensorToWrite ToWrite(std::string name, const Tensor& tensor);
TensorToWrite ToWrite(std::string name, const TensorView& view);

// Appends the tensor's data to `writer`. Memory: one slab of at most 8 MiB, or of one row.
void WriteRows(const TensorToWrite& tensor, FileWriter* writer);

}  // namespace planish

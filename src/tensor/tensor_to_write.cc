// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor_to_write.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"

namespace planish {
namespace {

constexpr size_t kSlabBytes = size_t{8} << 20;
constexpr size_t kTasksPerSlab = 64;

void FillSlab(const TensorToWrite& tensor, size_t begin, size_t end, size_t row_bytes,
              std::byte* out) {
  if (!tensor.is_parallel) return tensor.fill(begin, end, out);
  const size_t rows = (end - begin + kTasksPerSlab - 1) / kTasksPerSlab;  // of a task
  ParallelFor((end - begin + rows - 1) / rows, [&](size_t task, int) {
    const size_t first = begin + task * rows;
    tensor.fill(first, std::min(first + rows, end), out + task * rows * row_bytes);
  });
}

}  // namespace

TensorToWrite ToWrite(std::string name, const TensorView& view) {
  return {.name = std::move(name),
          .dtype = view.dtype,
          .shape = view.shape,
          .fill =
              [view, row_bytes = BytesOf(view.dtype, view.shape.last())](size_t begin, size_t end,
                                                                         std::byte* out) {
                std::memcpy(out, view.data + begin * row_bytes, (end - begin) * row_bytes);
              },
          .data = view.data};
}

TensorToWrite ToWrite(std::string name, const Tensor& tensor) {
  return ToWrite(std::move(name), tensor.view());
}

void WriteRows(const TensorToWrite& tensor, FileWriter* writer) {
  const size_t elements = tensor.shape.elements();
  if (elements == 0) return;
  if (tensor.data != nullptr) {
    writer->Write(tensor.data, BytesOf(tensor.dtype, elements));
    if (tensor.written) tensor.written(BytesOf(tensor.dtype, elements));
    return;
  }
  const size_t rows = elements / tensor.shape.last();
  const size_t row_bytes = BytesOf(tensor.dtype, tensor.shape.last());
  const size_t slab = std::clamp<size_t>(kSlabBytes / row_bytes, 1, rows);
  AlignedBuffer buffer(slab * row_bytes);
  for (size_t begin = 0; begin < rows; begin += slab) {
    const size_t end = std::min(begin + slab, rows);
    FillSlab(tensor, begin, end, row_bytes, buffer.data());
    writer->Write(buffer.data(), (end - begin) * row_bytes);
    if (tensor.written) tensor.written((end - begin) * row_bytes);
  }
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor.h"

#include <cstring>

#include "tensor/blocks.h"

namespace planish {
namespace {

template <typename T>
void ConvertIntegers(const std::byte* in, float* out, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    T value;
    std::memcpy(&value, in + i * sizeof(T), sizeof(T));  // a view into a file may be unaligned
    out[i] = static_cast<float>(value);
  }
}

}  // namespace

std::string Shape::ToString() const {
  std::string out = "[";
  for (size_t i = 0; i < count_; ++i) out += fmt::format("{}{}", i == 0 ? "" : ", ", dims_[i]);
  return out + "]";
}

Tensor Tensor::ZerosF32(Shape shape) {
  Tensor tensor = F32(shape);
  if (tensor.bytes() > 0) std::memset(tensor.data(), 0, tensor.bytes());
  return tensor;
}

Tensor Tensor::ToF32(const TensorView& view) {
  Tensor tensor = F32(view.shape);
  const size_t n = view.elements();
  if (n == 0) return tensor;
  float* out = tensor.f32();
  switch (view.dtype) {
    case DType::kBool:
    case DType::kU8:
      ConvertIntegers<uint8_t>(view.data, out, n);
      break;
    case DType::kI8:
      ConvertIntegers<int8_t>(view.data, out, n);
      break;
    case DType::kU16:
      ConvertIntegers<uint16_t>(view.data, out, n);
      break;
    case DType::kI16:
      ConvertIntegers<int16_t>(view.data, out, n);
      break;
    case DType::kU32:
      ConvertIntegers<uint32_t>(view.data, out, n);
      break;
    case DType::kI32:
      ConvertIntegers<int32_t>(view.data, out, n);
      break;
    case DType::kU64:
      ConvertIntegers<uint64_t>(view.data, out, n);
      break;
    case DType::kI64:
      ConvertIntegers<int64_t>(view.data, out, n);
      break;
    default:
      DequantizeRow(view.dtype, view.data, out, n);
  }
  return tensor;
}

}  // namespace planish

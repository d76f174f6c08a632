// SPDX-License-Identifier: Apache-2.0
#include "tensor/blocks.h"

#include "base/error.h"
#include "tensor/block_formats.h"
#include "tensor/block_grid.h"

namespace planish {
namespace {

// out[i] = convert(the i-th T of `in`), which may be unaligned.
template <typename T, typename Convert>
void ReadPlain(const void* in, float* out, size_t n, Convert&& convert) {
  const auto* bytes = static_cast<const unsigned char*>(in);
  for (size_t i = 0; i < n; ++i) {
    T value;
    std::memcpy(&value, bytes + i * sizeof(T), sizeof(T));
    out[i] = convert(value);
  }
}

template <typename T, typename Convert>
void WritePlain(const float* in, void* out, size_t n, Convert&& convert) {
  auto* bytes = static_cast<unsigned char*>(out);
  for (size_t i = 0; i < n; ++i) {
    const T value = convert(in[i]);
    std::memcpy(bytes + i * sizeof(T), &value, sizeof(T));
  }
}

using DequantizeBlock = void (*)(const uint8_t*, float*);
using QuantizeBlock = void (*)(const float*, uint8_t*);

DequantizeBlock BlockReader(DType dtype) {
  using namespace block_formats;
  switch (dtype) {
    case DType::kQ8_0:
      return DequantizeQ8_0;
    case DType::kQ4_0:
      return DequantizeQ4_0;
    case DType::kQ4_1:
      return DequantizeQ4_1;
    case DType::kQ5_0:
      return DequantizeQ5_0;
    case DType::kQ5_1:
      return DequantizeQ5_1;
    case DType::kQ2_K:
      return DequantizeQ2_K;
    case DType::kQ3_K:
      return DequantizeQ3_K;
    case DType::kQ4_K:
      return DequantizeQ4_K;
    case DType::kQ5_K:
      return DequantizeQ5_K;
    case DType::kQ6_K:
      return DequantizeQ6_K;
    case DType::kIQ4_NL:
      return DequantizeIQ4_NL;
    case DType::kIQ4_XS:
      return DequantizeIQ4_XS;
    case DType::kMXFP4:
      return DequantizeMXFP4;
    default:
      return nullptr;
  }
}

QuantizeBlock BlockWriter(DType dtype) {
  using namespace block_formats;
  switch (dtype) {
    case DType::kQ8_0:
      return QuantizeQ8_0;
    case DType::kQ4_0:
      return QuantizeQ4_0;
    case DType::kQ4_1:
      return QuantizeQ4_1;
    case DType::kQ5_0:
      return QuantizeQ5_0;
    case DType::kQ5_1:
      return QuantizeQ5_1;
    case DType::kMXFP4:
      return QuantizeMXFP4;
    default:
      return nullptr;
  }
}

}  // namespace

void DequantizeRow(DType dtype, const void* in, float* out, size_t n) {
  const DTypeTraits& traits = Traits(dtype);
  PLANISH_CHECK(n % traits.block_elems == 0, "{} values of {}", n, traits.name);
  if (n == 0) return;
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out, in, n * sizeof(float));
      return;
    case DType::kF16:
      ReadPlain<uint16_t>(in, out, n, FloatFromF16);
      return;
    case DType::kBF16:
      ReadPlain<uint16_t>(in, out, n, FloatFromBF16);
      return;
    case DType::kF64:
      ReadPlain<double>(in, out, n, [](double v) { return static_cast<float>(v); });
      return;
    case DType::kF8E4M3:
      ReadPlain<uint8_t>(in, out, n, FloatFromF8E4M3);
      return;
    case DType::kF8E5M2:
      ReadPlain<uint8_t>(in, out, n, FloatFromF8E5M2);
      return;
    default:
      break;
  }
  const DequantizeBlock read = BlockReader(dtype);
  PLANISH_CHECK(read != nullptr, "{} cannot be dequantised", traits.name);
  const auto* bytes = static_cast<const uint8_t*>(in);
  for (size_t i = 0; i < n; i += traits.block_elems, bytes += traits.block_bytes)
    read(bytes, out + i);
}

bool CanQuantize(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kF8E4M3:
    case DType::kF8E5M2:
      return true;
    default:
      return BlockWriter(dtype) != nullptr || HasBlockGrid(dtype);
  }
}

DType WritableType(DType dtype, size_t columns) {
  if (columns % Traits(dtype).block_elems == 0) return dtype;
  const bool fills_32 = columns % 32 == 0;
  switch (dtype) {
    case DType::kQ2_K:
    case DType::kQ3_K:
    case DType::kIQ4_XS:
      return fills_32 ? DType::kIQ4_NL : DType::kF16;
    case DType::kQ4_K:
      return fills_32 ? DType::kQ5_0 : DType::kF16;
    case DType::kQ5_K:
      return fills_32 ? DType::kQ5_1 : DType::kF16;
    case DType::kQ6_K:
      return fills_32 ? DType::kQ8_0 : DType::kF16;
    default:
      return DType::kF16;
  }
}

void QuantizeRow(DType dtype, const float* in, void* out, size_t n) {
  const DTypeTraits& traits = Traits(dtype);
  if (!CanQuantize(dtype)) throw UsageError("tensors cannot be written as {}", traits.name);
  PLANISH_CHECK(n % traits.block_elems == 0, "{} values of {}", n, traits.name);
  if (n == 0) return;
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out, in, n * sizeof(float));
      return;
    case DType::kF16:
      WritePlain<uint16_t>(in, out, n, F16FromFloat);
      return;
    case DType::kBF16:
      WritePlain<uint16_t>(in, out, n, BF16FromFloat);
      return;
    case DType::kF8E4M3:
      WritePlain<uint8_t>(in, out, n, F8E4M3FromFloat);
      return;
    case DType::kF8E5M2:
      WritePlain<uint8_t>(in, out, n, F8E5M2FromFloat);
      return;
    default:
      break;
  }
  const QuantizeBlock write = BlockWriter(dtype);
  if (write == nullptr) return QuantizeRowFitted(dtype, in, /*importance=*/nullptr, out, n);
  auto* bytes = static_cast<uint8_t*>(out);
  for (size_t i = 0; i < n; i += traits.block_elems, bytes += traits.block_bytes)
    write(in + i, bytes);
}

}  // namespace planish

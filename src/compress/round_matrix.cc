// SPDX-License-Identifier: Apache-2.0
#include "compress/round_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/gemm_f32.h"
#include "tensor/block_grid.h"
#include "tensor/blocks.h"

namespace planish {
namespace {

constexpr float kLargestF8E4M3 = 448.0f;

float LargestMagnitude(const float* x, size_t n) {
  float largest = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(x[i]));
  return largest;
}

// The step that brings the largest magnitude to an end of the codes.
float StepOfLargest(DType type, const float* x, size_t n) {
  if (type == DType::kQ8_0) return LargestMagnitude(x, n) / 127.0f;
  const BlockGrid grid = GridWithStep(type, 1.0f);
  const float low =
      static_cast<float>(grid.range.table != nullptr ? grid.range.table[0] : grid.range.low);
  const float* signed_largest =
      std::max_element(x, x + n, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  return *signed_largest / low;
}

// One scale for `shared` values, written into each of their blocks.
void RoundShared(DType type, const float* in, const float* importance, size_t n, size_t shared,
                 ScaleRule rule, uint8_t* out) {
  const size_t block_bytes = Traits(type).block_bytes;
  std::vector<float> x(shared), w(shared, 1.0f);
  int codes[32];
  for (size_t begin = 0; begin < n; begin += shared) {
    const size_t count = std::min(shared, n - begin);
    for (size_t i = 0; i < count; ++i) {
      const float value = in[begin + i];
      x[i] = std::fabs(value) >= 1e-20f ? std::clamp(value, -65504.0f, 65504.0f) : 0.0f;
      if (importance != nullptr) w[i] = importance[begin + i];
    }
    const float step =
        rule == ScaleRule::kFitted
            ? FitStep(x.data(), w.data(), static_cast<int>(count), GridWithStep(type, 1.0f).range)
            : StepOfLargest(type, x.data(), count);
    const BlockGrid grid = GridWithStep(type, step);
    for (size_t b = 0; b < count; b += 32, out += block_bytes) {
      for (int i = 0; i < 32; ++i) codes[i] = grid.Code(i, x[b + static_cast<size_t>(i)]);
      PackBlock(grid, codes, out);
    }
  }
}

Weight RoundToFp8(const std::string& name, const Tensor& w, size_t tile) {
  const size_t out = w.shape()[0], in = w.shape()[1];
  const size_t block_out = tile == StorageType::kRow ? 1 : tile;
  const size_t block_in = tile == StorageType::kRow ? in : tile;
  const size_t tiles_out = (out + block_out - 1) / block_out,
               tiles_in = (in + block_in - 1) / block_in;
  Weight weight(name, out, in, DType::kF8E4M3);
  Tensor scales = Tensor::F32({tiles_out, tiles_in});
  auto* codes = reinterpret_cast<uint8_t*>(weight.mutable_data());
  ParallelFor(tiles_out, [&](size_t i, int) {
    const size_t row_end = std::min((i + 1) * block_out, out);
    for (size_t j = 0; j < tiles_in; ++j) {
      const size_t begin = j * block_in, count = std::min(block_in, in - begin);
      float largest = 0;
      for (size_t r = i * block_out; r < row_end; ++r)
        largest = std::max(largest, LargestMagnitude(w.row(r) + begin, count));
      const float scale = largest > 0 ? largest / kLargestF8E4M3 : 1.0f;
      scales.row(i)[j] = scale;
      for (size_t r = i * block_out; r < row_end; ++r)
        for (size_t c = begin; c < begin + count; ++c)
          codes[r * in + c] = F8E4M3FromFloat(w.row(r)[c] / scale);
    }
  });
  weight.SetScales({.values = std::move(scales), .block_out = block_out, .block_in = block_in});
  return weight;
}

}  // namespace

std::string Describe(const StorageType& storage) {
  std::string text(Name(storage.type));
  if (storage.shared == StorageType::kRow) return text + ", one scale a row";
  if (storage.shared == 0) return text;
  return text + (storage.type == DType::kF8E4M3 ? fmt::format(", tiles of {}", storage.shared)
                                                : fmt::format(", groups of {}", storage.shared));
}

Weight RoundMatrix(const std::string& name, const Tensor& w, const StorageType& storage,
                   ScaleRule rule, const float* importance) {
  const size_t out = w.shape()[0], in = w.shape()[1];
  if (storage.type == DType::kF8E4M3)
    return RoundToFp8(name, w, storage.shared == 0 ? 128 : storage.shared);
  Weight weight(name, out, in, storage.type);
  auto* bytes = reinterpret_cast<uint8_t*>(weight.mutable_data());
  const size_t row_bytes = weight.row_bytes();
  ParallelFor(out, [&](size_t r, int) {
    uint8_t* to = bytes + r * row_bytes;
    if (storage.shared != 0)
      RoundShared(storage.type, w.row(r), importance, in, std::min(storage.shared, in), rule, to);
    else if (rule == ScaleRule::kFitted && HasBlockGrid(storage.type))
      QuantizeRowFitted(storage.type, w.row(r), importance, to, in);
    else
      QuantizeRow(storage.type, w.row(r), to, in);
  });
  return weight;
}

Tensor ValuesOf(const Weight& weight) {
  Tensor values = Tensor::F32({weight.out(), weight.in()});
  ParallelFor(weight.out(), [&](size_t r, int) { weight.DequantizeRow(r, values.row(r)); });
  return values;
}

double SignalAndNoise::decibels() const {
  return noise > 0 ? 10 * std::log10(signal / noise) : INFINITY;
}

SignalAndNoise WeightNoise(const Tensor& exact, const Tensor& rounded) {
  const size_t out = exact.shape()[0], in = exact.shape()[1];
  std::vector<SignalAndNoise> rows(out);
  ParallelFor(out, [&](size_t r, int) {
    const float *a = exact.row(r), *b = rounded.row(r);
    SignalAndNoise sum;
    for (size_t i = 0; i < in; ++i) {
      const double x = a[i], e = x - b[i];
      sum.signal += x * x;
      sum.noise += e * e;
    }
    rows[r] = sum;
  });
  SignalAndNoise sum;
  for (const SignalAndNoise& row : rows) {
    sum.signal += row.signal;
    sum.noise += row.noise;
  }
  return sum;
}

SignalAndNoise ProductNoise(const Tensor& exact, const Tensor& rounded, const Tensor& gram,
                            size_t rows) {
  const size_t out = exact.shape()[0], in = exact.shape()[1], count = std::min(rows, out);
  constexpr size_t kRows = 256;
  Tensor both = Tensor::F32({2 * std::min(kRows, count), in});
  Tensor product = Tensor::F32({both.shape()[0], in});
  std::vector<SignalAndNoise> sums(count);
  for (size_t begin = 0; begin < count; begin += kRows) {
    const size_t n = std::min(kRows, count - begin);
    ParallelFor(n, [&](size_t i, int) {
      const size_t r = (begin + i) * out / count;
      std::memcpy(both.row(2 * i), exact.row(r), in * sizeof(float));
      for (size_t c = 0; c < in; ++c) both.row(2 * i + 1)[c] = exact.row(r)[c] - rounded.row(r)[c];
    });
    GemmF32({both.data(), in, DType::kF32, false}, {gram.data(), in, DType::kF32, false}, 2 * n, in,
            in, /*accumulate=*/false, product.f32(), in);
    ParallelFor(n, [&](size_t i, int) {
      SignalAndNoise& sum = sums[begin + i];
      for (size_t c = 0; c < in; ++c) {
        sum.signal += static_cast<double>(both.row(2 * i)[c]) * product.row(2 * i)[c];
        sum.noise += static_cast<double>(both.row(2 * i + 1)[c]) * product.row(2 * i + 1)[c];
      }
    });
  }
  SignalAndNoise sum;
  for (const SignalAndNoise& row : sums) {
    sum.signal += row.signal;
    sum.noise += row.noise;
  }
  sum.noise = std::max(sum.noise, 0.0);
  return sum;
}

}  // namespace planish

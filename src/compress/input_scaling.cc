// SPDX-License-Identifier: Apache-2.0
#include "compress/input_scaling.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"

namespace planish {
namespace {

constexpr size_t kRowsTried = 512;

// A format whose rounding is fast and about as fine, for the search.
StorageType Stand(const StorageType& storage) {
  switch (storage.type) {
    case DType::kQ2_K:
    case DType::kQ3_K:
    case DType::kQ4_K:
      return {DType::kQ4_1};
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
      return {DType::kQ4_0};
    case DType::kQ5_K:
      return {DType::kQ5_1};
    case DType::kQ6_K:
      return {DType::kQ8_0};
    default:
      return storage;
  }
}

// At most kRowsTried rows, spread over the matrix, columns times s.
Tensor SomeRows(const Tensor& w, const std::vector<float>& s) {
  const size_t out = w.shape()[0], in = w.shape()[1], count = std::min(kRowsTried, out);
  Tensor rows = Tensor::F32({count, in});
  ParallelFor(count, [&](size_t i, int) {
    const float* from = w.row(i * out / count);
    for (size_t c = 0; c < in; ++c) rows.row(i)[c] = from[c] * s[c];
  });
  return rows;
}

// Divided by the geometric mean of the extremes. Channels that are always zero get one.
void Normalise(std::vector<float>* s) {
  float low = INFINITY, high = 0;
  for (const float value : *s) {
    if (!(value > 0) || !std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  const float middle = high > 0 ? std::sqrt(low) * std::sqrt(high) : 1.0f;
  for (float& value : *s)
    value = value > 0 && std::isfinite(value) ? std::clamp(value / middle, 1e-4f, 1e4f) : 1.0f;
}

std::vector<float> Power(const std::vector<float>& x, double alpha) {
  std::vector<float> s;
  for (const float value : x)
    s.push_back(static_cast<float>(std::pow(static_cast<double>(value), alpha)));
  Normalise(&s);
  return s;
}

// The error of the group's products when it is rounded after scaling by s.
double ErrorWith(const std::vector<float>& s, const InputGroup& group,
                 const InputStatistics& inputs, const WorkMatrices& work,
                 const std::vector<StorageType>& storage) {
  double error = 0;
  for (size_t i = 0; i < group.products.size(); ++i) {
    const Tensor& w = work.at(group.products[i].weight);
    const Tensor scaled = SomeRows(w, s);
    Tensor rounded = ValuesOf(
        RoundMatrix("", scaled, Stand(storage[i]), ScaleRule::kLargest, /*importance=*/nullptr));
    // Back to the unscaled inputs, whose Gram matrix is known.
    const std::vector<float> ones(s.size(), 1.0f);
    const Tensor exact = SomeRows(w, ones);
    ParallelFor(rounded.shape()[0], [&](size_t r, int) {
      for (size_t c = 0; c < s.size(); ++c) rounded.row(r)[c] /= s[c];
    });
    const double share = static_cast<double>(w.shape()[0]) / static_cast<double>(exact.shape()[0]);
    error += share * ProductNoise(exact, rounded, inputs.gram).noise;
  }
  return error;
}

}  // namespace

ChannelScale SearchAwqScale(const InputGroup& group, const InputStatistics& inputs,
                            const WorkMatrices& work, const std::vector<StorageType>& storage,
                            size_t steps) {
  const std::vector<float> means = inputs.MeanAbs(group);
  ChannelScale best;
  double least = INFINITY;
  for (size_t step = 0; step <= steps; ++step) {
    const double alpha = static_cast<double>(step) / static_cast<double>(steps);
    std::vector<float> s = Power(means, alpha);
    const double error = ErrorWith(s, group, inputs, work, storage);
    if (!(error < least)) continue;
    least = error;
    best = {alpha, step == 0 ? std::vector<float>() : std::move(s)};
  }
  return best;
}

ChannelScale SmoothScale(const InputGroup& group, const InputStatistics& inputs,
                         const WorkMatrices& work, double alpha) {
  const size_t in = group.in();
  std::vector<float> s = inputs.MaxAbs(group), weights(in, 0.0f);
  for (const Param& product : group.products) {
    const Tensor& w = work.at(product.weight);
    for (size_t r = 0; r < w.shape()[0]; ++r)
      for (size_t c = 0; c < in; ++c) weights[c] = std::max(weights[c], std::fabs(w.row(r)[c]));
  }
  if (group.fold == InputGroup::Fold::kValueRows) {
    // Equal over the query heads of a KV head, as the inputs' are.
    const size_t P = group.head_dim, share = group.heads / group.kv_heads;
    for (size_t i = 0; i < in; ++i) {
      float& first = weights[i / (P * share) * P * share + i % P];
      first = std::max(first, weights[i]);
    }
    for (size_t i = 0; i < in; ++i) weights[i] = weights[i / (P * share) * P * share + i % P];
  }
  for (size_t c = 0; c < in; ++c) {
    s[c] = weights[c] > 0
               ? static_cast<float>(std::pow(s[c], alpha) / std::pow(weights[c], 1 - alpha))
               : 0.0f;
  }
  Normalise(&s);
  return {alpha, std::move(s)};
}

void ApplyScale(const InputGroup& group, const std::vector<float>& s, WorkMatrices* work) {
  PLANISH_CHECK(s.size() == group.in());
  for (const Param& product : group.products) {
    Tensor& w = work->at(product.weight);
    ParallelFor(w.shape()[0], [&](size_t r, int) {
      for (size_t c = 0; c < s.size(); ++c) w.row(r)[c] *= s[c];
    });
  }
  if (group.fold == InputGroup::Fold::kNorm) {
    for (size_t c = 0; c < s.size(); ++c) group.norm->f32()[c] /= s[c];
    return;
  }
  Tensor& rows = work->at(group.provider.weight);
  const size_t P = group.head_dim, share = group.kv_heads == 0 ? 1 : group.heads / group.kv_heads;
  ParallelFor(rows.shape()[0], [&](size_t r, int) {
    float factor = s[r];
    if (group.fold == InputGroup::Fold::kUpRowsSquared) factor = std::sqrt(s[r]);
    if (group.fold == InputGroup::Fold::kValueRows) factor = s[r / P * share * P + r % P];
    for (size_t c = 0; c < rows.shape()[1]; ++c) rows.row(r)[c] /= factor;
  });
}

}  // namespace planish

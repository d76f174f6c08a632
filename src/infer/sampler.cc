// SPDX-License-Identifier: Apache-2.0
#include "infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/random.h"
#include "kernels/sample.h"

namespace planish {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

}  // namespace

void Sampler::SeePrompt(std::span<const int32_t> ids) {
  if (params_.repetition_penalty == 1.0) return;  // nothing else asks for the prompt
  for (const int32_t id : ids) ++counts_[id].prompt;
}

void Sampler::SeeToken(int32_t id) { ++counts_[id].answer; }

void Sampler::Penalise(std::span<float> logits) const {
  for (const auto& [id, bias] : params_.logit_bias) logits[static_cast<size_t>(id)] += bias;
  if (params_.repetition_penalty == 1.0 && params_.frequency_penalty == 0.0 && params_.presence_penalty == 0.0) return;
  const auto repetition = static_cast<float>(params_.repetition_penalty);
  for (const auto& [id, count] : counts_) {
    float& logit = logits[static_cast<size_t>(id)];
    logit = logit > 0 ? logit / repetition : logit * repetition;
    if (count.answer > 0) logit -= static_cast<float>(params_.frequency_penalty * count.answer + params_.presence_penalty);
  }
}

int32_t Sampler::Sample(std::span<float> logits, uint64_t position, const TokenMask* mask) {
  Penalise(logits);
  if (mask != nullptr) {
    for (size_t id = 0; id < logits.size(); ++id) {
      if (!mask->Allows(id)) logits[id] = kForbidden;
    }
  }
  if (params_.temperature > 0.0) return Draw(logits, position);
  const size_t best = ArgMax(logits.data(), logits.size());
  return logits[best] > kForbidden ? static_cast<int32_t>(best) : -1;
}

int32_t Sampler::Draw(std::span<const float> logits, uint64_t position) const {
  // Candidates in descending order; only as many as the filters can need are sorted.
  const size_t V = logits.size();
  size_t wanted = params_.top_k > 0 ? std::min<size_t>(static_cast<size_t>(params_.top_k), V) : V;
  const double log_sum = LogSumExp(logits.data(), V);
  if (!(log_sum > -std::numeric_limits<double>::infinity())) return -1;
  std::vector<int32_t> ids;
  if (params_.top_k > 0 || params_.top_p < 1.0) {
    ids = TopK(logits.data(), V, wanted);
  } else {
    ids.resize(V);
    std::iota(ids.begin(), ids.end(), 0);
  }
  const float top = logits[ArgMax(logits.data(), V)];
  std::vector<double> weights;
  double total = 0;
  for (const int32_t id : ids) {
    const float logit = logits[static_cast<size_t>(id)];
    // Temperature first, relative to the largest, so that nothing overflows however small it is.
    weights.push_back(logit > kForbidden ? std::exp(static_cast<double>(logit - top) / params_.temperature) : 0.0);
    total += weights.back();
  }
  if (params_.top_p < 1.0) {
    double kept = 0;
    size_t count = 0;
    while (count < ids.size() && (count == 0 || kept < params_.top_p * total)) kept += weights[count++];
    ids.resize(count);
    weights.resize(count);
  }
  if (params_.min_p > 0.0) {
    for (double& weight : weights) weight = weight < params_.min_p ? 0.0 : weight;  // the largest weight is 1
  }
  total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double target = UniformAt(params_.seed, params_.choice, position) * total;
  int32_t last = -1;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (weights[i] <= 0.0) continue;
    last = ids[i];
    if (target < weights[i]) break;
    target -= weights[i];
  }
  return last;
}

}  // namespace planish

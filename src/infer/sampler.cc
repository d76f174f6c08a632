// SPDX-License-Identifier: Apache-2.0
#include "infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "kernels/sample.h"

namespace planish {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

}  // namespace

void CheckSampling(const SamplingParams& params, size_t vocab_size) {
  const auto check = [](bool ok, const char* name, double value, const char* expected) {
    if (!ok) throw UsageError("{} is {}, expected {}", name, value, expected);
  };
  const auto in_unit = [](double value) { return value >= 0 && value <= 1; };
  check(params.temperature >= 0 && std::isfinite(params.temperature), "temperature",
        params.temperature, "a number of at least 0");
  check(in_unit(params.top_p), "top_p", params.top_p, "a number in [0, 1]");
  check(in_unit(params.min_p), "min_p", params.min_p, "a number in [0, 1]");
  check(params.repetition_penalty > 0 && std::isfinite(params.repetition_penalty),
        "repetition_penalty", params.repetition_penalty, "a number above 0");
  check(std::isfinite(params.frequency_penalty), "frequency_penalty", params.frequency_penalty,
        "a number");
  check(std::isfinite(params.presence_penalty), "presence_penalty", params.presence_penalty,
        "a number");
  for (const auto& [id, bias] : params.logit_bias) {
    if (id < 0 || static_cast<size_t>(id) >= vocab_size) {
      throw UsageError("logit_bias names token {}, expected an id from 0 to {}", id,
                       vocab_size - 1);
    }
    check(bias < std::numeric_limits<float>::infinity(), "logit_bias", static_cast<double>(bias),
          "a number");  // -inf forbids
  }
}

void Sampler::SeePrompt(std::span<const int32_t> ids) {
  if (params_.repetition_penalty == 1.0) return;  // nothing else asks for the prompt
  for (const int32_t id : ids) ++counts_[id].prompt;
}

void Sampler::SeeToken(int32_t id) {
  if (penalises()) ++counts_[id].answer;
}

bool Sampler::penalises() const {
  return !params_.logit_bias.empty() || params_.repetition_penalty != 1.0 ||
         params_.frequency_penalty != 0.0 || params_.presence_penalty != 0.0;
}

void Sampler::Penalise(std::span<float> logits) const {
  for (const auto& [id, bias] : params_.logit_bias) logits[static_cast<size_t>(id)] += bias;
  if (params_.repetition_penalty == 1.0 && params_.frequency_penalty == 0.0 &&
      params_.presence_penalty == 0.0)
    return;
  const auto repetition = static_cast<float>(params_.repetition_penalty);
  for (const auto& [id, count] : counts_) {
    float& logit = logits[static_cast<size_t>(id)];
    logit = logit > 0 ? logit / repetition : logit * repetition;
    if (count.answer > 0)
      logit -=
          static_cast<float>(params_.frequency_penalty * count.answer + params_.presence_penalty);
  }
}

int32_t Sampler::Sample(std::span<float> logits, uint64_t position, const TokenMask* mask) const {
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
  const size_t V = logits.size(), best = ArgMax(logits.data(), V);
  const float top = logits[best];
  if (!(top > kForbidden)) return -1;
  if (top == std::numeric_limits<float>::infinity())
    return static_cast<int32_t>(best);  // no other can be drawn beside it
  // Temperature first, relative to the largest, so that nothing overflows however small it is. NaN
  // weighs nothing.
  const auto weight_of = [&](int32_t id) {
    const float logit = logits[static_cast<size_t>(id)];
    return logit > kForbidden ? std::exp((static_cast<double>(logit) - static_cast<double>(top)) /
                                         params_.temperature)
                              : 0.0;
  };
  std::vector<int32_t> ids;     // candidates, in descending order where a filter needs that
  std::vector<double> weights;  // of ids
  const auto weigh = [&] {
    weights.clear();
    for (const int32_t id : ids) weights.push_back(weight_of(id));
    return std::accumulate(weights.begin(), weights.end(), 0.0);
  };
  if (params_.top_k > 0) {
    ids = TopK(logits.data(), V, static_cast<size_t>(params_.top_k));
  } else {
    ids.resize(V);
    std::iota(ids.begin(), ids.end(), 0);
  }
  const double all = weigh();
  if (params_.top_p < 1.0) {
    // The shortest beginning of the descending order that holds top_p of the weight. It is short
    // almost always, so only as much as is needed gets sorted.
    for (size_t sorted = 64;; sorted *= 16) {
      if (params_.top_k <= 0) {
        ids = TopK(logits.data(), V, sorted);
        weigh();
      }
      double kept = 0;
      size_t count = 0;
      while (count < ids.size() && (count == 0 || kept < params_.top_p * all))
        kept += weights[count++];
      if (kept < params_.top_p * all && params_.top_k <= 0 && sorted < V) continue;
      ids.resize(count);
      weights.resize(count);
      break;
    }
  }
  if (params_.min_p > 0.0) {
    const double least = std::min(params_.min_p, 1.0);  // the largest weight is 1
    for (double& weight : weights) weight = weight < least ? 0.0 : weight;
  }
  double target = UniformAt(params_.seed, params_.choice, position) *
                  std::accumulate(weights.begin(), weights.end(), 0.0);
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

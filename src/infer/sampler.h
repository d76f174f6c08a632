// SPDX-License-Identifier: Apache-2.0
// Chooses a token from a row of logits. Order: logit bias, penalties, mask, temperature, top_k,
// top_p, min_p, draw. Temperature 0 is the largest value, lowest id on ties. Random numbers are
// keyed by (seed, choice, position), so a result does not depend on batch neighbours.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace planish {

struct SamplingParams {
  double temperature = 1.0;
  double top_p = 1.0;
  double min_p = 0.0;
  int64_t top_k = 0;  // 0: all
  double repetition_penalty = 1.0;
  double frequency_penalty = 0.0;
  double presence_penalty = 0.0;
  uint64_t seed = 0;
  uint64_t choice = 0;  // which of several answers to one prompt
  std::vector<std::pair<int32_t, float>> logit_bias;
};

// Error(kUsage) naming a parameter that is out of its range, or a biased id outside the vocabulary.
void CheckSampling(const SamplingParams& params, size_t vocab_size);

// Tokens a hook allows; one bit a token.
class TokenMask {
 public:
  explicit TokenMask(size_t vocab_size, bool allowed = false)
      : bits_((vocab_size + 63) / 64, allowed ? ~uint64_t{0} : 0) {}
  void Allow(size_t id) { bits_[id / 64] |= uint64_t{1} << id % 64; }
  void Forbid(size_t id) { bits_[id / 64] &= ~(uint64_t{1} << id % 64); }
  // Keeps what both allow.
  void Intersect(const TokenMask& other) {
    for (size_t i = 0; i < bits_.size(); ++i)
      bits_[i] &= i < other.bits_.size() ? other.bits_[i] : 0;
  }
  // Ids beyond the vocabulary (rows that a model was padded with) are not allowed.
  bool Allows(size_t id) const { return id / 64 < bits_.size() && (bits_[id / 64] >> id % 64 & 1); }
  bool AllowsAny() const {
    for (const uint64_t bits : bits_) {
      if (bits != 0) return true;
    }
    return false;
  }
  // Adds what the other allows; of the same vocabulary size.
  void Unite(const TokenMask& other) {
    for (size_t i = 0; i < bits_.size(); ++i) bits_[i] |= other.bits_[i];
  }

 private:
  std::vector<uint64_t> bits_;
};

class Sampler {
 public:
  explicit Sampler(SamplingParams params) : params_(std::move(params)) {}

  // Tokens of the prompt and of the answer, for the penalties: repetition counts both, frequency
  // and presence the answer.
  void SeePrompt(std::span<const int32_t> ids);
  void SeeToken(int32_t id);

  // `logits` [V] is scratch: overwritten. `mask` may be null. A NaN is never chosen; -1 when
  // nothing is left: all are NaN, -inf or not allowed.
  int32_t Sample(std::span<float> logits, uint64_t position, const TokenMask* mask) const;
  // Whether Sample changes logits of tokens that it may choose.
  bool penalises() const;
  const SamplingParams& params() const { return params_; }

 private:
  void Penalise(std::span<float> logits) const;
  int32_t Draw(std::span<const float> logits, uint64_t position) const;

  struct Count {
    uint32_t prompt = 0, answer = 0;
  };
  SamplingParams params_;
  std::unordered_map<int32_t, Count> counts_;
};

}  // namespace planish

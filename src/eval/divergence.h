// SPDX-License-Identifier: Apache-2.0
// How far a model's next-token distributions are from a reference's with the same vocabulary: KL(reference || model), the
// direction that punishes what the model has lost, perplexities and agreement of first choices. Sums are in double in row
// order; neither threads nor the cut into chunks change a bit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/model.h"

namespace planish {

struct Divergence {
  double nll = 0, reference_nll = 0;  // nats, summed over tokens
  double kl = 0, kl_max = 0;
  uint64_t tokens = 0, top1 = 0;  // of those: equal first choices
  std::vector<double> sample_kl;  // mean KL of each row of text, for intervals
  double mean_kl() const { return tokens == 0 ? 0 : kl / static_cast<double>(tokens); }
  double perplexity() const;
  double reference_perplexity() const;
  void Add(const Divergence& other);
};

// Adds tokens of a row of text: logits, reference: [T, V], T = next.size(); the model's are undefined afterwards.
// Error(kFailure) if logits are not finite. sample_kl is left alone: a row may come in parts.
void AddTokens(float* logits, const float* reference, std::span<const int32_t> next, size_t V,
               Divergence* sum);

// One row of text. hidden, reference_hidden: [T, D] of each model after its final norm, each with its own D; next: [T], the ids
// that follow. Error(kFailure) if logits are not finite.
Divergence CompareHidden(const Model& model, const float* hidden, const Model& reference,
                         const float* reference_hidden, std::span<const int32_t> next);
// Whole rows of ids through both models' exact forward pass (and act mode of Head).
Divergence CompareModels(const Model& model, const Model& reference,
                         std::span<const std::vector<int32_t>> rows);

// The KL compares token by token: Error(kBadFile) unless both have the same ids for the same bytes (models without a tokenizer:
// as many ids).
struct Pretrained;
void RequireSameVocabulary(const Pretrained& model, const Pretrained& reference);

}  // namespace planish

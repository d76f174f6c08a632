// SPDX-License-Identifier: Apache-2.0
// What blocks cost in time on this machine (compress.md 5.5): seconds of one engine step through one block of each config, in
// each setting, as cost_measure found them. Attention is linear in the context between measured ones; everything else has no
// context. A model costs the sum of its blocks and of what is no block: embedding, final norm, head, choice of tokens.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "kernels/matmul.h"
#include "model/config.h"
#include "model/mixer.h"

namespace planish {

// One engine step: `rows` sequences that take one token each, or `rows` tokens of one prompt; each sequence holds `context`
// tokens already.
struct CostSetting {
  bool is_decode = true;
  size_t rows = 1;
  size_t context = 0;
  bool operator==(const CostSetting&) const = default;
};
std::string Describe(const CostSetting& setting);  // "decode, batch 8, context 2048"

// Seconds: the median of the samples and an interval that holds it with 95 % confidence.
struct Seconds {
  double median = 0, low = 0, high = 0;
  // The larger side of the interval relative to the median; 0 for a median of 0.
  double relative_error() const;
};
Json SecondsToJson(const Seconds& seconds);
// Of an odd or even number of samples, at least one: interval by order statistics, which assumes nothing about their
// distribution.
Seconds SecondsOf(std::vector<double> samples);

// Under what everything in a table was measured; tables of other conditions are not mixed.
struct CostConditions {
  std::string cpu, isa;
  int threads = 0;
  size_t hidden_size = 0, vocab_size = 0;
  DType weights = DType::kBF16;
  ActMode act = ActMode::kF32;
  StateTypes states;
  size_t reuse_bytes =
      0;  // what passes through the caches between two uses of a weight: a step of the parent
  bool operator==(const CostConditions& other) const;
};
// Of this process: CPU, ISA level and team as they are now.
CostConditions ConditionsHere(const ModelConfig& parent, DType weights, std::optional<ActMode> act,
                              const StateTypes& states, size_t reuse_bytes);

struct CostEntry {
  std::optional<MixerConfig>
      mixer;  // nullopt: all that is no block, with the head for decode settings
  CostSetting setting;
  Seconds seconds;
  size_t copies = 0, samples = 0;
};

class CostTable {
 public:
  CostTable() = default;
  explicit CostTable(CostConditions conditions) : conditions_(std::move(conditions)) {}

  const CostConditions& conditions() const { return conditions_; }
  const std::vector<CostEntry>& entries() const { return entries_; }
  void Add(CostEntry entry);  // replaces one of the same mixer and setting

  // As measured, or on the line through the two nearest measured contexts; nullopt if neither is there.
  std::optional<Seconds> Find(const std::optional<MixerConfig>& mixer,
                              const CostSetting& setting) const;
  bool Has(const std::optional<MixerConfig>& mixer, const CostSetting& setting) const;

  // A step of a model with these blocks (nullopt: none), what is no block included. The intervals of equal blocks add up,
  // those of different ones are independent. Error(kFailure) if the table lacks one.
  Seconds Step(std::span<const std::optional<MixerConfig>> blocks,
               const CostSetting& setting) const;
  // A prompt of `tokens`, cut as the engine does, up to its first new token.
  Seconds Prompt(std::span<const std::optional<MixerConfig>> blocks, size_t tokens) const;

  Json ToJson() const;
  // Error(kBadFile) for what ToJson cannot have written.
  static CostTable FromJson(const Json& json, const std::string& where);

 private:
  CostConditions conditions_;
  std::vector<CostEntry> entries_;
};

// The same setting without a context where the mixer's cost has none.
CostSetting Canonical(const std::optional<MixerConfig>& mixer, CostSetting setting);
// Settings that CostTable::Prompt looks up, of a prompt of `tokens`.
std::vector<CostSetting> PromptSettings(size_t tokens);
// One mixer's share of a prompt, or that of what is no block.
std::optional<Seconds> PromptSeconds(const CostTable& table,
                                     const std::optional<MixerConfig>& mixer, size_t tokens);

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Measures what a cost table holds. For each mixer config a stack of copies with buffers of their own runs through
// Model::Step, between nothing but embedding and final norm; the same model without blocks is subtracted, round by round, and
// all stacks take turns, so that drifts of the machine's clock hit all alike. Before each timed step as many bytes pass
// through the caches as in a step of the whole parent, so that weights are as cold as they will be there.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compress/cost_table.h"
#include "model/model.h"

namespace planish {

struct MeasureOptions {
  size_t samples = 15;  // timed rounds; at least 10 for an honest interval
  size_t warm_ups = 2;  // rounds that do not count
  size_t copies = 8;    // of a block in its stack, fewer where memory is short
  uint64_t memory = 0;  // bytes that stacks may take at a time; 0: half of what is free
  // Not a new group of stacks after this; what was measured stays.
  std::optional<std::chrono::steady_clock::time_point> deadline;
  std::function<void(size_t done, size_t all, const std::string& what)> progress;
  std::function<void()> save;  // after each group
};

// Blocks of one parent, and the table that they are missing from.
struct CostRequest {
  const ModelConfig* parent = nullptr;
  std::vector<MixerConfig> mixers;
  CostTable* table = nullptr;  // of this parent's conditions
};

// Measures what the tables lack in `settings`: of each parent the mixers and what is no block. Stacks of all parents take turns
// as far as memory holds them, so that parents can be compared. False if the deadline came first.
bool MeasureCosts(std::span<const CostRequest> requests, std::span<const CostSetting> settings,
                  const MeasureOptions& options);

// A step of a whole model of this config with random weights, in the table's conditions, head and choice of tokens included:
// what CostTable::Step predicts. Error(kNoMemory) if it does not fit.
Seconds MeasureStep(const ModelConfig& config, const CostConditions& conditions,
                    const CostSetting& setting, const MeasureOptions& options);
// Likewise a prompt up to its first token.
Seconds MeasurePrompt(const ModelConfig& config, const CostConditions& conditions, size_t tokens,
                      const MeasureOptions& options);

// Bytes that a step of the model streams: matrices once, KV of the context and states of all sequences.
size_t StreamedBytes(const ModelConfig& config, const CostConditions& conditions,
                     const CostSetting& setting);

// Values of speed measurements: random, but equal in parameters of one shape, each in a buffer of its own.
void FillForSpeed(DType type, Model* model);

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// From a recipe to the parts of a run: data, schedule, optimizer, validation sets, arithmetic. Everything that can be refused
// is refused here, before work begins.
#pragma once

#include <optional>
#include <vector>

#include "data/loader.h"
#include "model/adapter.h"
#include "model/pretrained.h"
#include "train/micro_pass.h"
#include "train/optimizer.h"
#include "train/recipe.h"
#include "train/schedule.h"
#include "train/train_plan.h"
#include "train/validation.h"

namespace planish {

// Error(kBadFile) for an empty dataset, one of another tokenizer than the model's, or one with ids beyond its vocabulary.
// `begin_tokens`: what an earlier run took (--branch-decay): phases count from there.
Loader OpenLoader(const Recipe& recipe, const Pretrained& model);
std::vector<ValidationSet> OpenValidation(const Recipe& recipe, const Pretrained& model);

// `total_tokens` of the run, as the loader counts them.
Schedule ScheduleOf(const Recipe& recipe, uint64_t total_tokens);
OptimizerConfig OptimizerConfigOf(const Recipe& recipe);
PassSettings PassSettingsOf(const Recipe& recipe);
// nullopt if all parameters are trained.
std::optional<AdapterConfig> AdapterOf(const Recipe& recipe);

// The largest pass of the run. `model`: described, or opened.
TrainPlanRequest PlanRequestOf(const Recipe& recipe, const Pretrained& model);
// Error(kNoMemory) with the plan, the limit and the smallest change that fits. `memory_limit` 0: what this process may take.
void CheckTrainMemory(const Pretrained& model, const Recipe& recipe, uint64_t memory_limit);

// Keys of two recipes that a run may not change when it resumes: all but names, paths, and what only watches or saves memory.
// Each as "schedule.lr: 0.001 was 0.002".
std::vector<std::string> DifferencesThatMatter(const Recipe& now, const Recipe& before);

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "train/distill_recipe.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"

namespace planish {
namespace {

std::string Absolute(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
}

}  // namespace

Recipe DistillRecipe(const QuickDistill& quick) {
  if (quick.tokens == 0) throw UsageError("the length of the distillation is 0 tokens");
  Recipe recipe;
  recipe.name = "distill";
  recipe.seed = quick.seed;
  recipe.model.init = Absolute(quick.student);
  recipe.data.mode = quick.is_packed ? RowMode::kPacked : RowMode::kStream;
  recipe.data.phases = {{.datasets = {{.path = Absolute(quick.token_file), .name = "train"}}}};
  recipe.batch = {
      .seq_len = quick.seq_len,
      .tokens = std::max(quick.batch_tokens / quick.seq_len, uint64_t{1}) * quick.seq_len,
      .micro_samples = quick.micro_samples};
  // A short run still takes some steps.
  constexpr uint64_t kFewestSteps = 8;
  const uint64_t rows = std::max<uint64_t>(quick.tokens / kFewestSteps / quick.seq_len, 1);
  recipe.batch.tokens = std::min(recipe.batch.tokens, rows * quick.seq_len);
  if (recipe.batch.tokens / quick.seq_len % quick.micro_samples != 0)
    recipe.batch.micro_samples = 1;
  const uint64_t steps = (quick.tokens + recipe.batch.tokens - 1) / recipe.batch.tokens;
  recipe.schedule = {.kind = ScheduleKind::kCosine,
                     .lr = quick.lr,
                     .min_lr = quick.lr / 10,
                     .steps = steps,
                     .warmup_steps = steps / 20};
  recipe.optimizer.weight_decay = 0;
  recipe.precision.mode = quick.precision;
  recipe.checkpoint.every_steps = std::max<uint64_t>(steps / 10, 1);
  recipe.distill = quick.distill;
  recipe.distill.teacher = Absolute(quick.teacher);
  recipe.distill.cache = Absolute(quick.distill.cache);
  if (!recipe.distill.cache.empty()) recipe.distill.teacher.clear();
  if (!quick.held_out.empty()) {
    recipe.eval.datasets = {{.path = Absolute(quick.held_out), .name = "held out"}};
    recipe.eval.every_steps = std::max<uint64_t>(steps / 10, 1);
    recipe.eval.tokens = 16 * quick.seq_len;
  }
  // Read back, so that every check of a written recipe holds and a printed one says the same.
  return ParseRecipe(PrintRecipe(recipe), "distill", "/");
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Steps whose loss or gradient is not finite (reliability.md N1): computed once more in place. Other bits: hardware or a race,
// exit 17. The same bits: the data or the numbers; the batch is written down and skipped, weights and schedule stay as they
// are. Three in a row: a checkpoint is saved, exit 16.
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "train/grad_norm.h"
#include "train/trainer.h"

namespace planish {
namespace {

constexpr uint64_t kMostInRow = 3;

}  // namespace

// Of everything the step computed, of all ranks: the bits of sums and of the gradient.
uint64_t Trainer::HashOf(const Step& step) const {
  const auto bytes = [](const auto& values) {
    return std::string_view(reinterpret_cast<const char*>(values.data()),
                            values.size() * sizeof(values[0]));
  };
  const std::span<const float> gradients(step.gradients, sum_->own_range().size());
  const double loss = step.sums.loss.ce;
  std::string all(bytes(step.squares));
  all.append(reinterpret_cast<const char*>(&loss), sizeof(loss));
  for (const std::string& hash : comm_->AllGather(std::to_string(Fnv1a(bytes(gradients)))))
    all += hash;
  return Fnv1a(all);
}

void Trainer::SkipNonFinite(const Step& step) {
  const uint64_t first_hash = HashOf(step);
  const std::optional<size_t> entry = FirstNonFinite(*flat_, step.squares);
  const std::string what =
      entry ? "gradient of " + flat_->entries()[*entry].name : std::string("loss");
  const Step again = ComputeGradients(/*attempt=*/1);
  if (HashOf(again) != first_hash) {
    Tell("mismatch", "computed twice, with different results", true);
    throw Error(ExitCode::kMismatch,
                fmt::format("step {} was computed twice with different results (loss {} and {}): a "
                            "hardware fault or a race",
                            state_.step, step.loss(), again.loss()),
                "a memory test, then --resume auto");
  }
  const std::string file = DumpBatch(step);
  ++state_.skipped_steps;
  ++skipped_in_row_;
  Advance(step, /*is_applied=*/false);
  Tell("skip", fmt::format("{} is not finite; batch skipped, see {}", what, file), true);
  if (skipped_in_row_ < kMostInRow) return;
  Save(SaveKind::kLast);
  throw Error(
      ExitCode::kNonFinite,
      fmt::format("{} steps in a row were not finite (last: {}); the checkpoint of step {} is "
                  "saved",
                  kMostInRow, what, state_.step),
      "a lower schedule.lr, or a look at the batches in " + folder_->path() + "/skipped");
}

std::string Trainer::DumpBatch(const Step& step) const {
  const std::string name = fmt::format("skipped/step-{}.json", state_.step);
  if (comm_->rank() != 0) return name;
  Json rows = Json::MakeArray();
  for (uint64_t sample = step.first_sample; sample < step.first_sample + step.samples; ++sample) {
    const TokenBatch batch = loader_->Micro(sample, 1);
    Json ids = Json::MakeArray();
    for (const TokenId id : batch.ids) ids.Append(int64_t{id});
    Json row = Json::MakeObject();
    row.Set("sample", sample);
    row.Set("dataset", loader_->datasets()[batch.rows[0].dataset].name);
    row.Set("ids", std::move(ids));
    rows.Append(std::move(row));
  }
  Json json = Json::MakeObject();
  json.Set("step", state_.step);
  json.Set("loss", std::isfinite(step.loss()) ? Json(step.loss()) : Json());
  json.Set("rows", std::move(rows));
  MakeDirectories(folder_->path() + "/skipped");
  WriteFile(folder_->path() + "/" + name, DumpJson(json) + "\n");
  return name;
}

}  // namespace planish

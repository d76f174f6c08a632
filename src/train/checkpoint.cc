// SPDX-License-Identifier: Apache-2.0
#include "train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "train/checkpoint_tensors.h"

namespace planish {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kShardBytes = uint64_t{4} << 30;
constexpr const char* kTemporarySuffix = ".tmp";
constexpr const char* kPrefix = "step-";
constexpr const char* kLatest = "latest";

std::string StepName(uint64_t step) { return fmt::format("{}{:08}", kPrefix, step); }

bool IsCommitted(const std::string& name) {
  return name.starts_with(kPrefix) && name.size() > 5 &&
         name.find_first_not_of("0123456789", 5) == std::string::npos;
}

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

struct Committed {
  std::string folder;
  Manifest manifest;
  std::string problem;  // why the manifest cannot be used; empty: it can
};

// All under `folder`, newest first, those with unreadable manifests last.
std::vector<Committed> AllCommitted(const std::string& folder) {
  std::vector<Committed> found;
  for (const std::string& name : NamesIn(folder)) {
    if (!IsCommitted(name)) continue;
    Committed item{.folder = (fs::path(folder) / name).string(), .manifest = {}, .problem = {}};
    try {
      item.manifest = ReadManifest(item.folder);
    } catch (const Error& error) {
      item.problem = error.what();
    }
    found.push_back(std::move(item));
  }
  std::stable_sort(found.begin(), found.end(), [](const Committed& a, const Committed& b) {
    return a.problem.empty() != b.problem.empty()
               ? a.problem.empty()
               : a.manifest.state.generation > b.manifest.state.generation;
  });
  return found;
}

uint64_t NextGeneration(const std::string& folder) {
  const std::vector<Committed> all = AllCommitted(folder);
  return all.empty() ? 1 : all.front().manifest.state.generation + 1;
}

std::string ModelCard(const CheckpointParts& parts) {
  const TrainState& state = parts.state;
  return fmt::format(
      "---\nlibrary_name: {}\npipeline_tag: text-generation\ntags:\n- planish\n---\n"
      "# {}, step {}\n\n{}{}"
      "A checkpoint of a training run of planish: {} samples, {} tokens, {} optimizer steps.\n\n"
      "{}"
      "`master.safetensors`, `optim*.safetensors` and `state.json` are for going on with the "
      "training\nand may be deleted where only the model is wanted.\n",
      parts.adapter != nullptr ? "peft" : "transformers",
      parts.model->name.empty() ? "Model" : parts.model->name, state.step, parts.description,
      parts.description.empty() ? "" : "\n\n", state.samples, state.tokens, state.optimizer_steps,
      parts.adapter != nullptr ? "`adapter_config.json` and `adapter_model.safetensors` are a "
                                 "low-rank adapter for PEFT.\n"
                               : "The model is `config.json`, `model*.safetensors` (bfloat16) and "
                                 "the tokenizer's files.\n");
}

void CheckSpace(const std::string& folder, uint64_t bytes) {
  const uint64_t free = FreeDiskBytes(folder);
  if (free >= bytes) return;
  throw Error(ExitCode::kFailure,
              fmt::format("{}: a checkpoint takes {} MiB, the disk has {} MiB left",
                          Quoted(folder, 300), bytes >> 20, free >> 20),
              "make room, or keep fewer checkpoints");
}

}  // namespace

CheckpointStore::CheckpointStore(std::string folder, CheckpointPolicy policy)
    : folder_(std::move(folder)), policy_(policy) {
  policy_.keep_last = std::max<uint64_t>(policy_.keep_last, 2);
}

CheckpointStore::~CheckpointStore() {
  if (writer_.joinable()) writer_.join();
}

std::string CheckpointStore::Begin(uint64_t step) const {
  MakeDirectories(folder_);
  for (const std::string& name : NamesIn(folder_)) {  // of a process that was killed
    if ((name.starts_with(kPrefix) || name.starts_with(kLatest)) &&
        name.find(kTemporarySuffix) != std::string::npos)
      RemoveTree((fs::path(folder_) / name).string());
  }
  const std::string temporary = (fs::path(folder_) / (StepName(step) + kTemporarySuffix)).string();
  MakeDirectories(temporary);
  return temporary;
}

void CheckpointStore::Discard(const std::string& temporary) const noexcept {
  try {
    RemoveTree(temporary);
  } catch (const std::exception& error) {
    LogWarning("{}", error.what());
  }
}

std::string CheckpointStore::CommitTensors(const std::string& temporary,
                                           const CheckpointParts& parts,
                                           const Tensors& tensors) const {
  const fs::path root = temporary;
  if (!tensors.moments.empty()) {
    WriteSafetensors((root / "optim.safetensors").string(), tensors.moments,
                     tensors.moments_metadata);
  }
  WriteSafetensors((root / kMasterName).string(), tensors.masters);
  WriteFile((root / "README.md").string(), ModelCard(parts));
  if (parts.adapter != nullptr) {
    SaveAdapter(temporary, parts.model->model.get(), *parts.adapter);
  } else {
    ExportHf(
        parts.model, temporary, DType::kBF16, kShardBytes,
        {.progress = nullptr, .rows = tensors.Rows(), .notes = {}, .uses_team = tensors.uses_team});
  }
  Manifest manifest{.state = parts.state, .files = HashFiles(temporary)};
  manifest.state.generation = NextGeneration(folder_);
  WriteManifest(temporary, manifest);
  SyncFolder(temporary);
  CheckFiles(temporary, ReadManifest(temporary));  // as a reader will see it

  const std::string name = StepName(parts.state.step);
  const std::string final_path = (fs::path(folder_) / name).string();
  if (FileExists(final_path)) {  // from before the run went back to an earlier checkpoint
    ExchangePaths(temporary, final_path);
    Discard(temporary);
  } else {
    RenamePath(temporary, final_path);
  }
  try {
    WriteFile((fs::path(folder_) / kLatest).string(), name + "\n");
    RemoveOld();
  } catch (const Error& error) {  // the checkpoint stands all the same
    LogWarning("{}", error.what());
  }
  return final_path;
}

void CheckpointStore::RemoveOld() const {
  const std::vector<Committed> all = AllCommitted(folder_);
  for (size_t i = policy_.keep_last; i < all.size(); ++i) {
    const uint64_t step = all[i].manifest.state.step;
    const bool is_kept =
        policy_.keep_every_steps > 0 && step > 0 && step % policy_.keep_every_steps == 0;
    if (!all[i].problem.empty() || is_kept) continue;
    // First out of its name, so that a half removed one is never taken for a checkpoint.
    const std::string temporary = all[i].folder + kTemporarySuffix;
    RenamePath(all[i].folder, temporary);
    RemoveTree(temporary);
  }
}

std::string CheckpointStore::SaveTensors(const CheckpointParts& parts,
                                         const Tensors& tensors) const {
  const std::string temporary = Begin(parts.state.step);
  try {
    CheckSpace(folder_, tensors.bytes());
    return CommitTensors(temporary, parts, tensors);
  } catch (...) {
    Discard(temporary);
    throw;
  }
}

std::string CheckpointStore::Save(const CheckpointParts& parts) {
  Wait();
  CheckpointParts now = parts;
  now.state.optimizer_steps = parts.optimizer->steps();
  Tensors tensors;
  tensors.View(parts);
  return SaveTensors(now, tensors);
}

void CheckpointStore::SaveAsync(const CheckpointParts& parts) {
  Wait();
  if (parts.adapter != nullptr) {
    try {
      Save(parts);
    } catch (const Error& error) {
      failure_ = error;
    }
    return;
  }
  auto now = std::make_shared<CheckpointParts>(parts);
  now->state.optimizer_steps = parts.optimizer->steps();
  auto tensors = std::make_shared<Tensors>();
  tensors->Copy(parts);
  writer_ = std::thread([this, now, tensors] {
    try {
      SaveTensors(*now, *tensors);
    } catch (const Error& error) {
      failure_ = error;
    } catch (const std::exception& error) {
      failure_ = RuntimeError("{}", error.what());
    }
  });
}

std::optional<Error> CheckpointStore::Wait() {
  if (writer_.joinable()) writer_.join();
  return std::exchange(failure_, std::nullopt);
}

std::string CheckpointStore::Commit(const std::string& temporary,
                                    const CheckpointParts& parts) const {
  CheckpointParts masters = parts;
  masters.optimizer = nullptr;
  masters.state.optimizer_steps = StepsOfShards(temporary);
  Tensors tensors;
  tensors.View(masters);
  return CommitTensors(temporary, masters, tensors);
}

std::optional<std::string> CheckpointStore::NewestValid() const {
  const std::vector<Committed> all = AllCommitted(folder_);
  std::string first_problem;
  for (const Committed& item : all) {
    std::string problem = item.problem;
    try {
      if (problem.empty()) {
        CheckFiles(item.folder, item.manifest);
        return item.folder;
      }
    } catch (const Error& error) {
      problem = error.what();
    }
    LogWarning("{}; this checkpoint is passed over", problem);
    if (first_problem.empty()) first_problem = problem;
  }
  if (all.empty()) return std::nullopt;
  throw BadFile("{}: none of {} checkpoints is whole: {}", Quoted(folder_, 300), all.size(),
                first_problem);
}

TrainState VerifyCheckpoint(const std::string& folder) {
  const Manifest manifest = ReadManifest(folder);
  CheckFiles(folder, manifest);
  return manifest.state;
}

}  // namespace planish

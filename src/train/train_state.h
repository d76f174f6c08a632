// SPDX-License-Identifier: Apache-2.0
// state.json of a checkpoint: the trainer's counters, and size and SHA-256 of every other file. Its own last member is the
// SHA-256 of all before it, and it is read only if its text is exactly what we would write, so any flipped bit shows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace planish {

// Everything but tensors. With the weights and moments it makes the rest of the run a pure function of recipe and data.
struct TrainState {
  uint64_t step = 0;     // of the run, applied and skipped ones
  uint64_t samples = 0;  // that all these steps took: where the loader goes on
  uint64_t tokens = 0;
  uint64_t schedule_samples = 0;  // of applied steps only: progress of the schedule
  uint64_t schedule_tokens = 0;
  uint64_t optimizer_steps = 0;  // Optimizer::steps()
  uint64_t skipped_steps = 0;
  uint64_t seed = 0;
  double loss_ema = 0;
  uint64_t log_offset = 0;  // RunLogWriter::offset()
  uint64_t ranks = 1;
  uint64_t generation = 0;  // filled by saving: one more than that of the newest checkpoint
  std::string config_hash;  // of what a run may not change
  std::string code_version, isa;
  std::string recipe;                  // its TOML text, in full
  Json schedule = Json::MakeObject();  // the trainer's own
  Json blend = Json::MakeObject();     // counters of datasets
};

struct ManifestFile {
  std::string name;  // relative to the folder
  uint64_t bytes = 0;
  std::string sha256;
};
struct Manifest {
  TrainState state;
  std::vector<ManifestFile> files;
};

inline constexpr const char* kManifestName = "state.json";

// The files of a folder, without the manifest itself and without folders, by name.
std::vector<ManifestFile> HashFiles(const std::string& folder);

void WriteManifest(const std::string& folder, const Manifest& manifest);
// Error(kBadFile) if it is missing or not exactly as it was written. Says nothing about the other files.
Manifest ReadManifest(const std::string& folder);
// Error(kBadFile) naming the first file that is missing, or of other size or content.
void CheckFiles(const std::string& folder, const Manifest& manifest);

}  // namespace planish

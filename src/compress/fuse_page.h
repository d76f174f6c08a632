// SPDX-License-Identifier: Apache-2.0
// What `planish fuse` measured and did, as JSON and as a page.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "compress/ffn_runs.h"
#include "eval/divergence.h"
#include "model/config_edit.h"

namespace planish {

struct FuseRecord {
  std::string parent, output, program;
  ModelConfig config;  // the parent's
  EditedConfig child;
  std::vector<FfnRun> runs;                 // fused, in order
  std::vector<RunDependency> dependencies;  // of all runs of the parent; empty: not measured
  FusionLimits limits;
  size_t most = 0;                     // blocks of a fused one at most
  bool is_explicit = false;            // runs were given by hand
  std::optional<Divergence> parallel;  // KL of the parallel form, held-out rows
  struct RandomTry {
    std::vector<FfnRun> runs;
    Divergence divergence;
  };
  std::vector<RandomTry> random;      // the same lengths at other places
  std::optional<Divergence> written;  // KL of what was written
  double written_error = 0;  // of its hidden states, relative to the largest of the parallel form's
  std::string calibration, held_out;  // descriptions of the rows
  uint64_t seed = 0;
  std::string type;  // of what was written
};

Json FuseJson(const FuseRecord& record);
std::string FusePage(const FuseRecord& record);

}  // namespace planish

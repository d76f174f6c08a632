// SPDX-License-Identifier: Apache-2.0
// Puzzle's vocabulary: for each block of the parent a list of candidates (children) to put in its place, with what they cost
// and how much they hurt. Made by the library, scored by replacement, priced by the cost table, chosen by the solver.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/config.h"

namespace planish {

struct Candidate {
  std::string
      name;  // unique within its block: "parent", "kv_heads=1", "ffn=50%", "linear", "no_op"
  std::optional<MixerConfig> mixer;  // nullopt: no-op
  bool is_parent = false;
  std::string weights;  // file in the library's folder; empty for the parent's block and no-op
  // Normalised error on the block's held-out inputs, as initialised and after block-wise distillation; 1 for a no-op.
  double initial_loss = 0, bld_loss = 0;
  double score =
      std::numeric_limits<double>::quiet_NaN();  // smaller is better; NaN: not measured yet
};

struct CandidateBlock {
  size_t block = 0;                   // index in the parent's list of blocks
  std::vector<Candidate> candidates;  // the parent's own first
};

// One candidate for each block: indices into CandidateBlock::candidates, in the order of the blocks.
using Choice = std::vector<size_t>;

// block_library.json / scores.json speak of candidates in this form; MixerConfig as {"kind": "ffn", "intermediate_size": ...}.
Json CandidateToJson(const Candidate& candidate);
Candidate CandidateFromJson(const Json& json, const std::string& where);
Json MixerToJson(const std::optional<MixerConfig>& mixer);  // null: no-op
std::optional<MixerConfig> MixerFromJson(const Json& json, const std::string& where);

}  // namespace planish

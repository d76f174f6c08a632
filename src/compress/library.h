// SPDX-License-Identifier: Apache-2.0
// Puzzle's block library (compress.md 5): every candidate of a search space, distilled apart, in files. The parent runs block
// by block over the training tokens and its inputs and outputs go to all children of the block at once; the stream of hidden
// states between blocks is kept in memory, or computed again for groups of blocks where it is too large.
//
// In the folder: library/<address>.safetensors, one for each child, named by what decides its bits (parent, block, mixer, data,
// training); block_library.json, the index. Building goes on with the files it finds, so libraries are merged by putting their
// files into one folder. A file holds the child's losses, so the index can always be written anew.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compress/calibration.h"
#include "compress/search_space.h"
#include "model/pass.h"

namespace planish {

using Deadline = std::optional<std::chrono::steady_clock::time_point>;

// Rate and step were chosen on the first 4 blocks of SmolLM2-135M, 20,000 tokens a child: at 1e-3, or with steps of 1024, less
// was learnt; 6e-3 suited narrow FFNs and hurt attention and wide ones; 1e-2 with steps of 1024 made half of the children worse.
struct LibraryOptions {
  uint64_t tokens =
      100'000;  // each child is trained on; 0: none, children are as initialised. Rows are used again if few
  size_t step_tokens = 512;  // of an update, rounded to whole rows
  double lr = 3e-3;          // peak; after a warm-up it falls on a cosine to a tenth
  double warmup = 0.1;       // share of the tokens
  double weight_decay = 0;
  size_t init_tokens = 8192;  // the first of the training tokens, on which children are initialised
  Precision precision = Precision::kBf16;
  uint64_t memory = 0;         // bytes for hidden states and children; 0: half of what is free
  size_t part = 0, parts = 1;  // this process does blocks b with b % parts == part
  Deadline deadline;           // no new group of blocks begins that would not end before
  bool shows_progress = false;
};

struct BlockLibrary {
  std::string folder;
  std::string parent;                  // fingerprint
  std::string parent_name;             // for messages
  std::string data;                    // description of the training rows
  std::string scored_on;               // metric and rows of the scores read, for reports
  Json training;                       // tokens, rates, precision: for reports
  std::vector<CandidateBlock> blocks;  // of the whole space; children not made yet have no weights
  std::vector<std::string> notes;      // of the space
  size_t children = 0, made = 0;       // with parameters; of those in files
  double seconds = 0;                  // this call took
  uint64_t trained_tokens = 0;         // in this call, summed over children
  bool is_complete() const { return made == children; }
};

// What a model's parameters are known by: config, names, shapes and samples of values; the storage type does not matter as long
// as values do not change.
std::string FingerprintOf(const Pretrained& model);

// Rows of `train` and `held_out` are all of one length. Error(kUsage) if there are none. A child that training made worse on
// the held-out rows is stored as initialised.
BlockLibrary BuildLibrary(const Pretrained& parent, const SearchSpace& space,
                          const CalibrationRows& train, const CalibrationRows& held_out,
                          const LibraryOptions& options, const std::string& folder);

// The index, and scores where they are there (scores.h). Error(kBadFile) if there is no library.
BlockLibrary LoadLibrary(const std::string& folder);
// Error(kUsage) if the library is another parent's.
void RequireParent(const BlockLibrary& library, const Pretrained& parent);

}  // namespace planish

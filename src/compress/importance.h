// SPDX-License-Identifier: Apache-2.0
// Which parts of a model matter, measured in one forward sweep over calibration rows, without gradients (Minitron, arXiv
// 2407.14679; Minitron-SSM, 2504.11409; compress.md section 1). Of a tensor X [T, width] per sample b:
//   score = sqrt( sum_b ( mean_t |X_bt| )^2 ).
// One sample is one row of ids. Rows of scores are never kept: the sweep goes block by block over the residual stream of a wave
// of samples, so each block's weights are read once a wave.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "compress/calibration.h"
#include "model/pass.h"
#include "model/pretrained.h"

namespace planish {

struct BlockImportance {
  // FFN: [F], of the input of down_proj. Attention: [H], of the input of o_proj, L2 over the head's channels. Mamba-2: [H * P], of
  // x as in_proj gives it, before the convolution. Linear: empty.
  std::vector<double> scores;
  double influence = 0;  // 1 - mean over tokens of cos(stream before, stream after the block)
};

struct Importance {
  std::string model;        // name of the parent, for messages
  std::string calibration;  // CalibrationRows::description
  uint64_t calibration_hash = 0;
  uint64_t weights = 0;        // WeightsMark of the parent
  std::vector<double> hidden;  // [D]: scores of every block's normed input, summed over the blocks
  std::vector<BlockImportance> blocks;
  // What iterative removal took away (compress/depth.h), first the least missed: blocks of each step, and the mean squared
  // difference of the logits once it was gone. Empty if depth was not looked at.
  struct Removal {
    std::vector<size_t> blocks;
    double logit_mse = 0;
  };
  std::vector<Removal> removals;
};

struct ImportanceOptions {
  Precision precision = Precision::kF32;
  uint64_t stream_bytes = uint64_t{512} << 20;  // of the residual stream of a wave of samples
  bool evicts = false;  // gives mapped weights back block by block: for models larger than memory
  std::function<void(size_t done, size_t total)> progress;  // in samples times blocks
};

// Error(kFailure) if activations are not finite.
Importance MeasureImportance(const Pretrained& parent, const CalibrationRows& calibration,
                             const ImportanceOptions& options = {});

// The sums under the root of BlockImportance::scores, of one pass of a block that kept `saved`: squares [ScoredWidth] +=. Of
// attention they are those of single channels [H * P].
size_t ScoredWidth(const MixerConfig& mixer);
void AddBlockSquares(const Pass& pass, const MixerConfig& mixer, const Saved& saved,
                     std::vector<double>* squares);

Json ImportanceToJson(const Importance& importance);
// Error(kBadFile) if it is not that of a model with these blocks.
Importance ImportanceFromJson(const Json& json, const std::string& where,
                              const ModelConfig& config);

// Tells models of one shape apart: a hash of their norms, which every step of training moves.
uint64_t WeightsMark(const Pretrained& model);

// Gives the mapped weights of a block (-1: embedding and head) back to the system; reading them fetches them again.
void EvictBlock(const Pretrained& model, int block);

}  // namespace planish

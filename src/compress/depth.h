// SPDX-License-Identifier: Apache-2.0
// Which blocks a model misses least: of those that may go, the one whose removal changes the logits least (mean squared
// difference over a few rows of text) goes first; then again on what is left, until enough are gone (Nemotron Nano 2, arXiv
// 2508.14444). The part of a pass in front of a candidate is done once for all later ones, which halves the work: L^2 / 2 blocks
// a step. Nothing of the logits themselves is computed: with the head's Gram matrix G = W^T W [D, D] the squared difference of
// two hidden states is d^T G d.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "compress/importance.h"

namespace planish {

// Blocks that go together, so that the child stays in the parent's family: single blocks of Nemotron-H and DeciLM, whole layers
// of Llama, Mistral and Qwen3.
std::vector<std::vector<size_t>> DepthUnits(const ModelConfig& config);

struct DepthOptions {
  size_t removals = 0;       // units to take away
  size_t min_attention = 4;  // attention blocks that stay, or as many as there are
  Precision precision = Precision::kF32;
  bool evicts = false;                                      // as in ImportanceOptions
  std::function<void(size_t done, size_t total)> progress;  // in blocks run
};

// Error(kUsage) if fewer units than that may go.
std::vector<Importance::Removal> RankDepth(const Pretrained& parent,
                                           std::span<const std::vector<int32_t>> rows,
                                           const DepthOptions& options);

// The same by one number a block, that of the sweep (the smallest sum over a unit's blocks goes first); logit_mse is 0.
std::vector<Importance::Removal> RankByInfluence(const ModelConfig& config,
                                                 std::span<const double> influence,
                                                 const DepthOptions& options);

}  // namespace planish

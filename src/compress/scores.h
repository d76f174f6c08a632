// SPDX-License-Identifier: Apache-2.0
// What a child costs in quality: it alone is put into the parent and the model is measured on rows it was not trained on
// (replace-one-block scores, compress.md 5.3). The parent's hidden states before the block are kept, so a swap runs only the
// blocks after it. Measures are means over tokens, all zero for the parent's own block:
//   kl      KL(parent || model with the child), nats          loss    increase of the loss, nats
//   cosine  1 - cos of the last hidden states                 top1    share of tokens with another first choice
#pragma once

#include <string>

#include "compress/library.h"

namespace planish {

enum class ScoreMetric { kKl, kLoss, kCosine, kTop1 };
inline constexpr const char* kScoreMetrics[] = {"kl", "loss", "cosine", "top1"};
ScoreMetric ScoreMetricFromName(const std::string& name);  // Error(kUsage) with the known names

struct ReplacementScore {
  double kl = 0, loss = 0, cosine = 0, top1 = 0;
  double Of(ScoreMetric metric) const;
};

struct ScoreOptions {
  ScoreMetric metric = ScoreMetric::kKl;   // which of them becomes Candidate::score
  Precision precision = Precision::kBf16;  // of blocks and head, for parent and child alike
  size_t batch_tokens = 2048;              // rows run together
  size_t part = 0, parts = 1;              // this process does blocks b with b % parts == part
  Deadline deadline;
  bool shows_progress = false;
};

// Scores the children that have none yet in the folder's scores.json (scores-I-of-N.json for one part of several), which is
// written after every block; they belong to the parent, the rows and the precision, and are measured anew when one of those
// changes. Fills Candidate::score; children that are not made yet stay NaN. False if the deadline came first.
bool ScoreLibrary(const Pretrained& parent, const CalibrationRows& rows,
                  const ScoreOptions& options, BlockLibrary* library);

// Candidate::score from the score files of the folder, as far as they are of this parent; none is no error.
void ReadScores(BlockLibrary* library);

}  // namespace planish

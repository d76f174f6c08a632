// SPDX-License-Identifier: Apache-2.0
// Internal to scores: scores.json and its parts.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "compress/scores.h"

namespace planish {

// What scores belong to; those of another set are not comparable.
struct ScoreSet {
  std::string parent, rows, precision;
  bool operator==(const ScoreSet&) const = default;
};

struct ScoreFile {
  ScoreSet set;
  std::string data;  // description of the rows
  ScoreMetric metric = ScoreMetric::kKl;
  double parent_loss = 0;                          // nats a token
  std::map<std::string, ReplacementScore> scores;  // by ScoreKey

  static std::string PathOf(const std::string& folder, size_t part, size_t parts);
  static std::vector<std::string> PathsIn(const std::string& folder);  // all of them, sorted
  static ScoreFile Read(const std::string& path);                      // Error(kBadFile)
  void Write(const std::string& path) const;
};

// The child's file; of a no-op its block.
std::string ScoreKey(const CandidateBlock& block, const Candidate& candidate);

}  // namespace planish

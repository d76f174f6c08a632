// SPDX-License-Identifier: Apache-2.0
#include "compress/scores.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "compress/child_block.h"
#include "compress/replacement_run.h"
#include "compress/score_file.h"

namespace planish {
namespace {

// Scores of the same set, from this file and those of other parts.
ScoreFile KnownScores(const BlockLibrary& library, const ScoreSet& set, const std::string& path) {
  ScoreFile known;
  for (const std::string& other : ScoreFile::PathsIn(library.folder)) {
    const ScoreFile file = ScoreFile::Read(other);
    if (!(file.set == set)) {
      if (other == path) LogWarning("{}: scores of other rows or settings are replaced", path);
      continue;
    }
    known.parent_loss = file.parent_loss;
    known.scores.insert(file.scores.begin(), file.scores.end());
  }
  return known;
}

}  // namespace

bool ScoreLibrary(const Pretrained& parent, const CalibrationRows& rows,
                  const ScoreOptions& options, BlockLibrary* library) {
  RequireParent(*library, parent);
  const bool predicts = std::any_of(rows.rows.begin(), rows.rows.end(),
                                    [](const auto& row) { return row.size() > 1; });
  if (!predicts) throw UsageError("scores need rows of at least 2 tokens, there are none");
  PLANISH_CHECK(options.part < options.parts);
  const std::string path = ScoreFile::PathOf(library->folder, options.part, options.parts);
  const ScoreSet set{library->parent, fmt::format("{:016x}", rows.hash),
                     options.precision == Precision::kF32 ? "f32" : "bf16"};
  ScoreFile file = KnownScores(*library, set, path);
  file.set = set;
  file.data = rows.description;
  file.metric = options.metric;
  const auto is_due = [&](const CandidateBlock& block, const Candidate& candidate) {
    return block.block % options.parts == options.part && !candidate.is_parent &&
           (!candidate.mixer || !candidate.weights.empty()) &&
           !file.scores.contains(ScoreKey(block, candidate));
  };
  size_t due = 0, done = 0;
  for (const CandidateBlock& block : library->blocks)
    for (const Candidate& candidate : block.candidates) due += is_due(block, candidate);
  std::optional<ReplacementRun> swaps;
  std::optional<Progress> progress;
  if (options.shows_progress && due > 0) progress.emplace("Scoring children", due, "children");
  bool is_complete = true;
  for (CandidateBlock& block : library->blocks) {
    bool has_new = false;
    for (const Candidate& candidate : block.candidates) {
      if (!is_due(block, candidate)) continue;
      if (options.deadline && std::chrono::steady_clock::now() >= *options.deadline) {
        is_complete = false;
        break;
      }
      if (!swaps) swaps.emplace(parent.model.get(), rows, options.precision, options.batch_tokens);
      swaps->MoveTo(block.block);
      const std::unique_ptr<Mixer> child =
          candidate.mixer ? LoadChild(library->folder + "/" + candidate.weights, parent.config,
                                      *candidate.mixer)
                          : nullptr;
      file.scores[ScoreKey(block, candidate)] = swaps->Score(child.get());
      file.parent_loss = swaps->parent_loss();
      has_new = true;
      if (progress) progress->Update(++done, fmt::format("block {}", block.block));
    }
    if (has_new) file.Write(path);
    if (!is_complete) break;
  }
  if (due == 0) file.Write(path);  // the metric may have changed
  ReadScores(library);
  return is_complete;
}

}  // namespace planish

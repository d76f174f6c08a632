// SPDX-License-Identifier: Apache-2.0
#include "compress/fusion_borders.h"

#include <algorithm>
#include <set>

namespace planish {
namespace {

bool IsWithin(const FfnRun& run, const std::vector<FfnRun>& allowed) {
  return std::any_of(allowed.begin(), allowed.end(), [&](const FfnRun& outer) {
    return outer.begin <= run.begin && run.end <= outer.end;
  });
}

bool IsValid(const std::vector<FfnRun>& runs, const std::vector<FfnRun>& allowed, size_t most) {
  for (size_t i = 0; i < runs.size(); ++i) {
    const FfnRun& run = runs[i];
    if (run.end < run.begin + 2 || run.size() > most || !IsWithin(run, allowed)) return false;
    if (i > 0 && runs[i - 1].end > run.begin) return false;
  }
  return true;
}

// One block less at an end of run `from`, one more at an end of run `to`.
std::vector<FfnRun> Moved(std::vector<FfnRun> runs, size_t from, bool at_begin, size_t to,
                          bool to_begin) {
  if (at_begin)
    ++runs[from].begin;
  else
    --runs[from].end;
  if (to_begin)
    --runs[to].begin;  // a run at block 0 wraps around and is in no allowed one
  else
    ++runs[to].end;
  return runs;
}

}  // namespace

std::vector<FfnRun> ShiftBorders(const BlockRunner& runner, std::vector<FfnRun> runs,
                                 const std::vector<FfnRun>& allowed, size_t most, TokenRows rows,
                                 const RowsDone& done) {
  double best = ParallelDivergence(runner, runs, rows, done).mean_kl();
  const auto key = [](const std::vector<FfnRun>& some) {
    std::vector<std::pair<size_t, size_t>> borders;
    for (const FfnRun& run : some) borders.emplace_back(run.begin, run.end);
    return borders;
  };
  std::set<std::vector<std::pair<size_t, size_t>>> seen{key(runs)};
  const size_t ends = 2 * runs.size();
  for (bool is_better = true; is_better;) {
    is_better = false;
    for (size_t move = 0; move < ends * ends; ++move) {
      const size_t from = move / ends, to = move % ends;
      std::vector<FfnRun> moved = Moved(runs, from / 2, from % 2 == 0, to / 2, to % 2 == 0);
      if (!IsValid(moved, allowed, most) || !seen.insert(key(moved)).second) continue;
      const double kl = ParallelDivergence(runner, moved, rows, done).mean_kl();
      if (!(kl < best)) continue;
      best = kl;
      runs = std::move(moved);
      is_better = true;
    }
  }
  return runs;
}

}  // namespace planish

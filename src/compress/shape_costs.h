// SPDX-License-Identifier: Apache-2.0
// Decode steps of pruned shapes from blocks timed on this machine (cost_measure.h). A grid has hundreds of different blocks, so
// blocks of the first, middle and last value of each axis are timed at once, in turns, and an estimate lies on the (multi)linear
// surface through them; the shapes that come into question then have their own blocks timed.
//
// costs.json of a pruning: {"format": "planish prune costs 1", "tables": [one of cost_table.h for each hidden size]}.
#pragma once

#include <array>
#include <map>
#include <string>

#include "compress/cost_measure.h"
#include "compress/prune_search.h"
#include "compress/step_prediction.h"

namespace planish {

struct ShapeCostOptions {
  PredictionConditions conditions;
  CostSetting setting;
  MeasureOptions measure;
  std::string
      file;  // costs.json to begin with, if it is there, and to keep up to date; empty: none
};

class ShapeCosts : public ShapeClock {
 public:
  // The parent must outlive this. Error(kBadFile) for a file that is no costs.json; tables of other conditions are left out.
  ShapeCosts(const ModelConfig& parent, const PruneGrid& grid, ShapeCostOptions options);

  double Estimate(const PruneShape& shape) override;
  std::vector<Seconds> Measure(std::span<const PruneShape> shapes) override;

  // From now on there, with all that is known.
  void KeepIn(const std::string& file);
  Json ToJson() const;

 private:
  // A kind (3: what is no block) at a hidden size, with the values of its own axes.
  using Place =
      std::array<size_t, 4>;  // kind, hidden, and ffn | heads | mamba heads, mamba head size
  CostTable* TableOf(size_t hidden);
  void Time(const std::map<size_t, std::vector<MixerConfig>>& by_hidden);
  void TimeKnots();
  Place PlaceOf(size_t kind, const PruneShape& shape) const;
  std::optional<MixerConfig> MixerAt(const Place& place) const;
  double At(const Place& place);  // seconds on the surface
  void Load();
  void Save() const;

  const ModelConfig& parent_;
  ShapeCostOptions options_;
  PruneShape whole_;
  std::array<std::optional<MixerConfig>, 3> mixers_;  // the parent's
  // Values of axes that are timed at first, rising: hidden, ffn, heads, mamba heads, mamba head size.
  std::array<std::vector<size_t>, 5> knots_;
  bool has_knots_ = false, has_warned_ = false;
  CostConditions conditions_;  // but for the hidden size
  std::map<size_t, ModelConfig> configs_;
  std::map<size_t, CostTable> tables_;
  std::map<Place, double> known_;
};

}  // namespace planish

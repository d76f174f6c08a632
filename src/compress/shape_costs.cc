// SPDX-License-Identifier: Apache-2.0
#include "compress/shape_costs.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"

namespace planish {
namespace {

constexpr const char* kFormat = "planish prune costs 1";
constexpr size_t kOutside = 3;  // in place of a kind
enum Axis { kHidden, kFfn, kHeads, kMambaHeads, kMambaHeadDim };

std::vector<size_t> FirstMiddleLast(const std::set<size_t>& values) {
  const std::vector<size_t> all(values.begin(), values.end());
  if (all.size() <= 3) return all;
  return {all.front(), all[all.size() / 2], all.back()};
}

// The knots on both sides of a value and how much the second counts. Beyond the ends the last two go on.
struct Between {
  size_t low, high;
  double share;
};
Between Around(const std::vector<size_t>& knots, size_t value) {
  if (knots.size() == 1) return {knots[0], knots[0], 0};
  size_t right = 1;
  while (right + 1 < knots.size() && knots[right] < value) ++right;
  const size_t low = knots[right - 1], high = knots[right];
  return {
      low, high,
      (static_cast<double>(value) - static_cast<double>(low)) / static_cast<double>(high - low)};
}

// Axes of the second and third part of a place; -1: none.
std::array<int, 2> AxesOfKind(size_t kind) {
  static constexpr std::array<int, 2> kAxes[] = {
      {kHeads, -1}, {kMambaHeads, kMambaHeadDim}, {kFfn, -1}, {-1, -1}};
  return kAxes[kind];
}

}  // namespace

ShapeCosts::ShapeCosts(const ModelConfig& parent, const PruneGrid& grid, ShapeCostOptions options)
    : parent_(parent), options_(std::move(options)), whole_(ShapeOf(parent)) {
  for (const BlockConfig& block : parent.blocks)
    if (block.mixer.index() < mixers_.size()) mixers_[block.mixer.index()] = block.mixer;
  std::array<std::set<size_t>, 5> values;
  EnumerateShapes(parent, grid, [&](const PruneShape& s) {
    const size_t axes[] = {s.hidden, s.ffn, s.heads, s.mamba_heads, s.mamba_head_dim};
    for (size_t a = 0; a < values.size(); ++a) values[a].insert(axes[a]);
  });
  for (size_t a = 0; a < values.size(); ++a) knots_[a] = FirstMiddleLast(values[a]);
  conditions_ = ConditionsHere(parent, options_.conditions.weights, options_.conditions.act,
                               options_.conditions.states, 0);
  conditions_.reuse_bytes = StreamedBytes(parent, conditions_, options_.setting);
  Load();
}

void ShapeCosts::Load() {
  const std::string& file = options_.file;
  if (file.empty() || !FileExists(file)) return;
  const Json json = ParseJson(ReadFile(file, limits::kTokenizerBytes), file);
  const JsonReader reader(json, file);
  if (reader.String("format") != kFormat) reader.Fail("format", kFormat);
  for (size_t i = 0; i < reader.Array("tables").size(); ++i) {
    CostTable table = CostTable::FromJson(reader.Element("tables", i).json(), file);
    CostConditions here = conditions_;
    here.hidden_size = table.conditions().hidden_size;
    if (table.conditions() == here)
      tables_[here.hidden_size] = std::move(table);
    else
      LogWarning("{}: measured under other conditions, measured anew", file);
  }
}

CostTable* ShapeCosts::TableOf(size_t hidden) {
  if (!configs_.contains(hidden)) {
    PruneShape shape = whole_;
    shape.hidden = hidden;
    configs_[hidden] = ConfigOfShape(parent_, shape);
  }
  if (!tables_.contains(hidden)) {
    CostConditions here = conditions_;
    here.hidden_size = hidden;
    tables_[hidden] = CostTable(here);
  }
  return &tables_[hidden];
}

void ShapeCosts::Time(const std::map<size_t, std::vector<MixerConfig>>& by_hidden) {
  std::vector<CostRequest> requests;
  for (const auto& [hidden, mixers] : by_hidden) {
    CostTable* table = TableOf(hidden);
    requests.push_back({&configs_.at(hidden), mixers, table});
  }
  MeasureOptions measure = options_.measure;
  measure.save = [this] { Save(); };
  MeasureCosts(requests, {&options_.setting, 1}, measure);
  double worst = 0;
  for (const CostRequest& request : requests)
    for (const CostEntry& entry : request.table->entries())
      worst = std::max(worst, entry.seconds.relative_error());
  if (worst <= 0.2 || has_warned_) return;
  has_warned_ = true;
  LogWarning(
      "costs: intervals are up to {:.0f} % wide on one side; other work on this machine makes "
      "predictions that unsure",
      100 * worst);
}

void ShapeCosts::TimeKnots() {
  has_knots_ = true;
  std::map<size_t, std::vector<MixerConfig>> wanted;
  const std::vector<size_t> none{0};
  for (const size_t hidden : knots_[kHidden]) {
    std::vector<MixerConfig>& mixers = wanted[hidden];
    for (size_t kind = 0; kind < mixers_.size(); ++kind) {
      if (!mixers_[kind]) continue;
      const auto [second, third] = AxesOfKind(kind);
      for (const size_t a : second < 0 ? none : knots_[static_cast<size_t>(second)])
        for (const size_t b : third < 0 ? none : knots_[static_cast<size_t>(third)])
          mixers.push_back(*MixerAt({kind, hidden, a, b}));
    }
  }
  Time(wanted);
}

std::optional<MixerConfig> ShapeCosts::MixerAt(const Place& place) const {
  const size_t kind = place[0];
  if (kind == kOutside) return std::nullopt;
  PruneShape shape = whole_;
  shape.heads = shape.mamba_heads = shape.ffn = place[2];
  shape.mamba_head_dim = place[3];
  return ShapedMixer(*mixers_[kind], shape);
}

ShapeCosts::Place ShapeCosts::PlaceOf(size_t kind, const PruneShape& shape) const {
  switch (kind) {
    case 0:
      return {kind, shape.hidden, shape.heads, 0};
    case 1:
      return {kind, shape.hidden, shape.mamba_heads, shape.mamba_head_dim};
    case 2:
      return {kind, shape.hidden, shape.ffn, 0};
    default:
      return {kind, shape.hidden, 0, 0};
  }
}

double ShapeCosts::At(const Place& place) {
  const auto found = known_.find(place);
  if (found != known_.end()) return found->second;
  const auto [second, third] = AxesOfKind(place[0]);
  const auto around = [&](int axis, size_t value) {
    return axis < 0 ? Between{value, value, 0} : Around(knots_[static_cast<size_t>(axis)], value);
  };
  const Between sides[] = {around(kHidden, place[1]), around(second, place[2]),
                           around(third, place[3])};
  double sum = 0;
  for (size_t corner = 0; corner < 8; ++corner) {
    double weight = 1;
    Place at = place;
    for (size_t a = 0; a < 3; ++a) {
      const bool is_high = (corner >> a & 1) != 0;
      weight *= is_high ? sides[a].share : 1 - sides[a].share;
      at[a + 1] = is_high ? sides[a].high : sides[a].low;
    }
    if (weight == 0) continue;
    const auto seconds = TableOf(at[1])->Find(MixerAt(at), options_.setting);
    PLANISH_CHECK(seconds);
    sum += weight * seconds->median;
  }
  return known_[place] = std::max(sum, 0.0);
}

double ShapeCosts::Estimate(const PruneShape& shape) {
  if (!has_knots_) TimeKnots();
  double seconds = At(PlaceOf(kOutside, shape));
  for (size_t kind = 0; kind < mixers_.size(); ++kind)
    if (const size_t count = CountOf(shape, kind); count > 0)
      seconds += static_cast<double>(count) * At(PlaceOf(kind, shape));
  return seconds;
}

std::vector<Seconds> ShapeCosts::Measure(std::span<const PruneShape> shapes) {
  std::map<size_t, std::vector<MixerConfig>> wanted;
  std::vector<std::vector<std::optional<MixerConfig>>> blocks(shapes.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    std::vector<MixerConfig>& mixers = wanted[shapes[i].hidden];
    for (size_t kind = 0; kind < mixers_.size(); ++kind) {
      const size_t count = CountOf(shapes[i], kind);
      if (count == 0) continue;
      const MixerConfig mixer = ShapedMixer(*mixers_[kind], shapes[i]);
      mixers.push_back(mixer);
      blocks[i].insert(blocks[i].end(), count, mixer);
    }
  }
  Time(wanted);
  std::vector<Seconds> steps;
  for (size_t i = 0; i < shapes.size(); ++i)
    steps.push_back(TableOf(shapes[i].hidden)->Step(blocks[i], options_.setting));
  return steps;
}

void ShapeCosts::KeepIn(const std::string& file) {
  options_.file = file;
  Save();
}

Json ShapeCosts::ToJson() const {
  Json json = Json::MakeObject(), list = Json::MakeArray();
  json.Set("format", kFormat);
  for (const auto& [hidden, table] : tables_)
    if (!table.entries().empty()) list.Append(table.ToJson());
  json.Set("tables", std::move(list));
  return json;
}

void ShapeCosts::Save() const {
  if (options_.file.empty()) return;
  WriteFile(options_.file, DumpJson(ToJson(), JsonStyle::kPython, 1) + "\n");
}

}  // namespace planish

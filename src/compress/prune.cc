// SPDX-License-Identifier: Apache-2.0
#include "compress/prune.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "compress/compared_file.h"
#include "compress/depth.h"
#include "compress/kept_hidden.h"
#include "compress/output_folder.h"
#include "compress/shape_costs.h"
#include "model/export.h"

namespace planish {
namespace {

constexpr uint64_t kImportanceBytes = uint64_t{1} << 30;

// Block counts of what stays.
PruneShape CountsWithout(const ModelConfig& parent, const std::vector<size_t>& dropped) {
  PruneShape counts;
  for (size_t i = 0; i < parent.blocks.size(); ++i) {
    if (std::find(dropped.begin(), dropped.end(), i) != dropped.end()) continue;
    const size_t kind = parent.blocks[i].mixer.index();
    counts.attention_blocks += kind == 0;
    counts.mamba_blocks += kind == 1;
    counts.ffn_blocks += kind == 2;
  }
  return counts;
}

std::vector<size_t> BlocksOf(std::span<const Importance::Removal> removals) {
  std::vector<size_t> blocks;
  for (const Importance::Removal& removal : removals)
    blocks.insert(blocks.end(), removal.blocks.begin(), removal.blocks.end());
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

void CheckDrop(const ModelConfig& parent, const std::vector<size_t>& drop) {
  std::vector<bool> seen(parent.blocks.size());
  for (const size_t block : drop) {
    if (block >= seen.size())
      throw UsageError("--drop names block {}, the model has blocks 0 to {}", block,
                       seen.size() - 1);
    if (seen[block]) throw UsageError("--drop names block {} twice", block);
    seen[block] = true;
  }
}

// Most units that any depth of the grid removes.
size_t MostRemovals(const ModelConfig& parent, const PruneRequest& request) {
  if (!request.drop.empty()) return 0;
  const size_t units = DepthUnits(parent).size();
  if (request.grid.fixed_blocks) {
    if (*request.grid.fixed_blocks > units || *request.grid.fixed_blocks == 0)
      throw UsageError("--blocks is {}, expected 1 to {}", *request.grid.fixed_blocks, units);
    return units - *request.grid.fixed_blocks;
  }
  const auto most =
      static_cast<size_t>(request.grid.depth_limit * static_cast<double>(units) + 1e-9);
  return most / request.grid.depth_step * request.grid.depth_step;
}

// This machine's clock, where one is needed and none is given.
std::unique_ptr<ShapeCosts> ClockHere(const ModelConfig& parent, const PruneRequest& request) {
  if (!request.budget.latency || request.clock != nullptr) return nullptr;
  const PlanRequest& plan = request.budget.plan;
  ShapeCostOptions options{.conditions = {.weights = plan.weight_dtype, .states = {}},
                           .setting = {true, plan.batch, plan.context},
                           .measure = request.measure,
                           .file = request.costs};
  options.conditions.states.kv = plan.kv_dtype;
  options.conditions.states.ssm = plan.ssm_dtype;
  return std::make_unique<ShapeCosts>(parent, request.grid, std::move(options));
}

PruneSearch SearchOrExplain(const ModelConfig& parent, const PruneGrid& grid,
                            const PruneRequest& request, ShapeClock* clock) {
  PruneSearch search = SearchShapes(parent, grid, request.budget, request.top, clock);
  if (!search.best.empty()) return search;
  if (search.points == 0) throw UsageError("no shape is within the bounds of the grid");
  std::string least = fmt::format("the smallest have {} parameters and take {}",
                                  search.smallest_parameters, GiB(search.smallest_memory));
  if (search.least_step)
    least += fmt::format(
        ", the fastest one's decode step takes {:.4g} ms, the parent's {:.4g} ms, "
        "{:.4g} ms were asked for",
        1e3 * search.least_step->median, 1e3 * search.parent_step->median,
        1e3 * request.budget.latency->Of(search.parent_step->median));
  throw Error(ExitCode::kUsage,
              fmt::format("none of {} shapes is within the budget: {}", search.points, least),
              "a larger budget, or larger --max-width-pruned and --max-depth-pruned");
}

PruneSearch PlanWith(const ModelConfig& parent, const PruneRequest& request, ShapeClock* clock) {
  CheckDrop(parent, request.drop);
  PruneGrid grid = request.grid;
  if (!request.drop.empty()) {
    grid.fixed_blocks.reset();
    grid.depth_limit = 0;
    grid.counts_at = [&](size_t) -> std::optional<PruneShape> {
      return CountsWithout(parent, request.drop);
    };
  }
  return SearchOrExplain(parent, grid, request, clock);
}

class Pruner {
 public:
  Pruner(const Pretrained& parent, const PruneRequest& request, const std::string& output,
         const PruneProgress& progress)
      : parent_(parent),
        request_(request),
        output_(output),
        part_(output + ".part"),
        progress_(progress) {
    // In memory only what leaves most of it free: the rest goes by way of files.
    evicts_ = parent.file_bytes > AvailableBytes() / 4 || parent.file_bytes > uint64_t{2} << 30;
  }

  PruneOutcome Run() {
    const auto start = std::chrono::steady_clock::now();
    if (FileExists(output_) || IsDirectory(output_))
      throw UsageError("{} exists already", Quoted(output_, 300));
    CheckDrop(parent_.config, request_.drop);
    // What is left of a run that was cut off is gone on with; any other folder of that name is not touched.
    if (FileExists(part_) && !IsEmptyFolder(part_) && !FileExists(Part("importance.json")) &&
        !FileExists(Part("costs.json")))
      throw Error(ExitCode::kUsage, fmt::format("{} is in the way", Quoted(part_, 300)),
                  "move it away or choose another folder");
    ShapeOf(parent_.config);
    outcome_.parent_plan = MakePlan(parent_.config, request_.budget.plan);
    // Whatever cannot be done is found before the long work.
    PlanWith(parent_.config, request_, MakeClock());
    MakeDirectories(part_);
    if (own_clock_ != nullptr && request_.costs.empty()) own_clock_->KeepIn(Part("costs.json"));
    Calibrate();
    FindShapes();
    Compare();
    Write();
    outcome_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return std::move(outcome_);
  }

 private:
  void Report(const std::string& stage, size_t done, size_t total) const {
    if (progress_) progress_(stage, done, total);
  }
  std::string Part(const std::string& name) const { return part_ + "/" + name; }

  ShapeClock* MakeClock() {
    PruneRequest request = request_;
    if (request.costs.empty() && FileExists(Part("costs.json"))) request.costs = Part("costs.json");
    request.measure.progress = [this](size_t done, size_t total, const std::string&) {
      Report("costs", done, total);
    };
    own_clock_ = ClockHere(parent_.config, request);
    clock_ = own_clock_ != nullptr ? own_clock_.get() : request_.clock;
    return clock_;
  }

  void Calibrate() {
    const size_t removals = MostRemovals(parent_.config, request_);
    const bool sweeps = request_.importance.empty();
    CalibrationRows rows;
    if (!request_.calibration.inputs.empty()) {
      rows = ReadCalibration(parent_, request_.calibration);
      outcome_.calibration = rows.description;
      if (request_.score_samples > 0) {
        held_out_ = ReadHeldOut(parent_, request_.calibration, request_.score_samples);
        outcome_.held_out = held_out_.description;
      }
    }
    const bool has_scores = sweeps ? ContinueScores(rows.hash) : ReadScores();
    if (!has_scores) {
      outcome_.importance = MeasureImportance(
          parent_, rows,
          {.precision = request_.precision,
           .evicts = evicts_,
           .progress = [&](size_t done, size_t total) { Report("scores", done, total); }});
      SaveImportance();
    }
    if (outcome_.importance.removals.size() < removals) RankBlocks(rows, removals);
    SaveImportance();
  }

  // The user's file.
  bool ReadScores() {
    const std::string& file = request_.importance;
    outcome_.importance =
        ImportanceFromJson(ParseJson(ReadFile(file, kImportanceBytes), file), file, parent_.config);
    if (outcome_.importance.weights != WeightsMark(parent_)) {
      LogWarning("{}: scores of {}, whose weights are others than those of {}", file,
                 Quoted(outcome_.importance.model), parent_.name);
    }
    if (outcome_.calibration.empty()) outcome_.calibration = outcome_.importance.calibration;
    return true;
  }

  // What a run that was cut off has left, if it was about this model and this text.
  bool ContinueScores(uint64_t calibration_hash) {
    const std::string file = Part("importance.json");
    if (!FileExists(file)) return false;
    try {
      Importance found = ImportanceFromJson(ParseJson(ReadFile(file, kImportanceBytes), file), file,
                                            parent_.config);
      if (found.calibration_hash != calibration_hash || found.weights != WeightsMark(parent_))
        return false;
      outcome_.importance = std::move(found);
    } catch (const Error&) {
      return false;
    }
    LogInfo("continuing with {}", file);
    return true;
  }

  void RankBlocks(const CalibrationRows& rows, size_t removals) {
    DepthOptions options{
        .removals = removals,
        .min_attention = request_.grid.min_attention,
        .precision = request_.precision,
        .evicts = evicts_,
        .progress = [&](size_t done, size_t total) { Report("depth", done, total); }};
    if (request_.depth_by_influence) {
      std::vector<double> influence;
      for (const BlockImportance& block : outcome_.importance.blocks)
        influence.push_back(block.influence);
      outcome_.importance.removals = RankByInfluence(parent_.config, influence, options);
      return;
    }
    if (rows.rows.empty()) {
      throw UsageError(
          "the scores rank {} removed blocks, {} are needed: --data with text to rank them on, or "
          "--depth-score influence",
          outcome_.importance.removals.size(), removals);
    }
    std::vector<std::vector<int32_t>> some;
    for (const auto& row : rows.rows) {
      if (some.size() == request_.depth_samples) break;
      some.emplace_back(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                       row.size(), request_.depth_tokens)));
    }
    outcome_.importance.removals = RankDepth(parent_, some, options);
  }

  void SaveImportance() const {
    WriteFile(Part("importance.json"), DumpJson(ImportanceToJson(outcome_.importance)) + "\n");
  }

  // Blocks that go when `removed` units do.
  std::vector<size_t> Dropped(size_t removed) const {
    if (!request_.drop.empty()) return request_.drop;
    return BlocksOf(std::span(outcome_.importance.removals).first(removed));
  }

  void FindShapes() {
    PruneGrid grid = request_.grid;
    std::map<std::array<size_t, 3>, std::vector<size_t>> dropped_of;
    const auto key = [](const PruneShape& s) {
      return std::array{s.attention_blocks, s.mamba_blocks, s.ffn_blocks};
    };
    if (!request_.drop.empty()) {
      grid.fixed_blocks.reset();
      grid.depth_limit = 0;
    }
    grid.counts_at = [&](size_t removed) -> std::optional<PruneShape> {
      const std::vector<size_t> dropped = Dropped(removed);
      const PruneShape counts = CountsWithout(parent_.config, dropped);
      dropped_of[key(counts)] = dropped;
      return counts;
    };
    outcome_.search = SearchOrExplain(parent_.config, grid, request_, clock_);
    for (const PruneCandidate& candidate : outcome_.search.best)
      outcome_.shapes.push_back({candidate, dropped_of.at(key(candidate.shape)), {}, {}});
  }

  // The child into `folder`, the parent's pages given back as it goes.
  void Export(const PrunedModel& cut, const std::string& folder, const std::string& stage) {
    Pretrained child = ChildOf(parent_, cut.edited.config);
    uint64_t given_back = 0;
    const auto written = [&](uint64_t done, uint64_t total) {
      constexpr uint64_t kSlice = uint64_t{256} << 20;
      if (evicts_ && done / kSlice != given_back / kSlice) {
        given_back = done;
        EvictAll();
      }
      Report(stage, static_cast<size_t>(done >> 20), static_cast<size_t>(total >> 20));
    };
    ExportHf(&child, folder, request_.type, request_.shard_bytes,
             {.progress = written, .rows = SlicedRows(parent_, cut.edited, cut.slice)});
    EvictAll();
  }
  PrunedModel Cut(const ScoredShape& shape) const {
    return CutToShape(parent_.config, outcome_.importance, shape.candidate.shape, shape.dropped);
  }

  // A child to compare: in memory where that is little, else from its files, which the only one has already.
  Divergence CompareShape(const KeptHidden& kept, const ScoredShape& shape) {
    const PrunedModel cut = Cut(shape);
    if (!evicts_) {
      return kept.Compare(
          FilledChild(parent_, cut.edited.config, SlicedRows(parent_, cut.edited, cut.slice)));
    }
    const bool is_written = !shape.folder.empty();
    const std::string folder = is_written ? part_ : Part("comparing");
    if (!is_written) {
      RemoveTree(folder);
      Export(cut, folder, "writing to compare");
    }
    const Divergence found = kept.Compare(OpenPretrained(folder, {.checks_memory = false}));
    if (!is_written) RemoveTree(folder);
    return found;
  }

  void Compare() {
    if (held_out_.rows.empty()) return;
    if (evicts_ && outcome_.shapes.size() == 1) Write();
    const KeptHidden kept(parent_, held_out_.rows, evicts_);
    ComparedFile compared(Part("compared.jsonl"));
    for (size_t i = 0; i < outcome_.shapes.size(); ++i) {
      Report("candidates", i, outcome_.shapes.size());
      ScoredShape& shape = outcome_.shapes[i];
      const std::string key =
          fmt::format("{}; without {}; scores {:016x} of {:016x}; text {:016x}",
                      Describe(shape.candidate.shape), fmt::join(shape.dropped, ","),
                      outcome_.importance.calibration_hash, WeightsMark(parent_), held_out_.hash);
      if (const Divergence* known = compared.Find(key)) {
        shape.divergence = *known;
        continue;
      }
      shape.divergence = CompareShape(kept, shape);
      compared.Add(key, shape.divergence);
    }
    Report("candidates", outcome_.shapes.size(), outcome_.shapes.size());
    std::stable_sort(outcome_.shapes.begin(), outcome_.shapes.end(),
                     [](const ScoredShape& a, const ScoredShape& b) {
                       return a.divergence.mean_kl() < b.divergence.mean_kl();
                     });
  }

  void EvictAll() const {
    if (!evicts_) return;
    for (int block = -1; block < static_cast<int>(parent_.config.blocks.size()); ++block)
      EvictBlock(parent_, block);
  }

  void Write() {
    for (size_t i = 0; i < std::min(request_.write, outcome_.shapes.size()); ++i) {
      ScoredShape& shape = outcome_.shapes[i];
      if (!shape.folder.empty()) continue;
      const std::string name = i == 0 ? "" : fmt::format("/candidate-{}", i + 1);
      RemoveModel(part_ + name);
      Export(Cut(shape), part_ + name, fmt::format("writing {}", i + 1));
      shape.folder = output_ + name;
    }
  }

  // What an earlier run has left of a model in `folder`.
  static void RemoveModel(const std::string& folder) {
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
      const std::string name = entry.path().filename().string();
      if (name == "config.json" || name.find(".safetensors") != std::string::npos)
        RemoveTree(entry.path().string());
    }
  }

  const Pretrained& parent_;
  const PruneRequest& request_;
  const std::string output_, part_;
  const PruneProgress& progress_;
  bool evicts_ = false;
  std::unique_ptr<ShapeCosts> own_clock_;
  ShapeClock* clock_ = nullptr;
  CalibrationRows held_out_;
  PruneOutcome outcome_;
};

}  // namespace

PruneOutcome Prune(const Pretrained& parent, const PruneRequest& request, const std::string& output,
                   const PruneProgress& progress) {
  PruneOutcome outcome = Pruner(parent, request, output, progress).Run();
  const std::string part = output + ".part";
  WriteFile(part + "/prune.json",
            DumpJson(PruneToJson(parent, request, outcome), JsonStyle::kPython, 2) + "\n");
  WriteFile(part + "/prune.html", PrunePage(parent, request, outcome));
  RenamePath(part, output);
  return outcome;
}

PruneSearch PlanPrune(const ModelConfig& parent, const PruneRequest& request) {
  const std::unique_ptr<ShapeCosts> here = ClockHere(parent, request);
  return PlanWith(parent, request, here != nullptr ? here.get() : request.clock);
}

}  // namespace planish

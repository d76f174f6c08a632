// SPDX-License-Identifier: Apache-2.0
// `planish fuse`: FFN blocks with no other block between them become one wide block (FFN Fusion).
#include "compress/fuse.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/hidden_states.h"
#include "cli/model_options.h"
#include "cli/verbs.h"
#include "compress/calibration.h"
#include "compress/fuse_page.h"
#include "compress/fusion_borders.h"
#include "compress/output_folder.h"
#include "compress/slice.h"

namespace planish {
namespace {

class FuseVerb : public Verb {
 public:
  const char* name() const override { return "fuse"; }
  const char* group() const override { return "shrink"; }
  const char* summary() const override {
    return "FFN blocks with nothing between them become one wide block";
  }
  const char* examples() const override {
    return "  planish fuse -m deci-model --data docs.jsonl -o fused\n  planish fuse -m deci-model "
           "--runs 10-13,15-20 --data docs.jsonl -o fused --json";
  }
  void Declare(OptionSet* options) override {
    model_.Declare(options);
    options->Text("-o,--output", &output_, "folder to write", true);
    options->Choice("--type", &type_, {"bf16", "f16", "f32"}, "type of what is written");
    options->Bytes("--shard", &shard_bytes_, "largest safetensors file");
    options->Flag("--json", &json_, "what fuse.json holds as one line on stdout");
    options->Group("Choice of runs");
    options->Text("--runs", &runs_,
                  "layers to fuse, 3-6,9-12, ends included; default: chosen by the dependency "
                  "d = 1 - cosine between what a block adds with and without an earlier one");
    options->Real("--max-d", &limits_.max_d, 0, 2, "no pair of a run may have a larger d");
    options->Real("--mean-d", &limits_.mean_d, 0, 2, "mean of d over the pairs of a run, at most");
    options->Int("--most", &most_, 2, 1 << 16,
                 "blocks in one; longer runs are cut where the KL of the pieces is least");
    options->Flag("--fuse-last", &fuse_last_,
                  "also fuse the last block of the last run, which is the sensitive one");
    options->Group("Text to measure on");
    options->TextList("--data", &data_.inputs,
                      "JSONL, text or token files, or folders; needed unless --runs is given");
    options->Int("--samples", &samples_, 1, 1 << 20, "rows of text for the dependencies");
    options->Int("--seq-len", &seq_len_, 2, static_cast<int64_t>(limits::kContext),
                 "tokens of a row");
    options->Int("--held-out", &held_out_, 1, 1 << 20, "rows of other text for the KLs");
    options->Int("--cut-samples", &cut_samples_, 1, 1 << 20,
                 "of the first rows, for the KLs of possible cuts of long runs");
    options->Int("--random", &random_, 0, 1000,
                 "random choices of runs of the same lengths to compare the KL with");
    options->Int("--seed", &seed_, 0, INT64_MAX, "of rows and random runs");
  }

  ExitCode Run(const OptionSet& options) override {
    FuseRecord record;
    Pretrained parent = model_.Open(/*needs_tokenizer=*/!data_.inputs.empty());
    record.config = parent.config;
    record.parent = parent.name;
    record.output = output_;
    record.program = ProgramVersion();
    record.seed = static_cast<uint64_t>(seed_);
    record.type = type_;
    record.is_explicit = options.WasGiven("--runs");
    record.limits = limits_;
    record.limits.keeps_last = !fuse_last_;
    record.most = static_cast<size_t>(most_);
    const std::vector<FfnRun> runs = FfnRuns(parent.config);
    if (runs.empty()) {
      throw Error(ExitCode::kBadFile,
                  fmt::format("{}: no two FFN blocks follow each other ({}), nothing can be fused",
                              parent.name, DescribeBlocks(parent.config)),
                  "remove the attention between them first, with planish prune or search");
    }
    if (data_.inputs.empty() && !record.is_explicit)
      throw UsageError("--data is needed to choose runs, or --runs to name them");
    if (record.is_explicit) record.runs = RunsOfLayers(parent.config, runs_);
    OutputFolder folder(output_, "fuse");
    const BlockRunner runner(parent.model.get());
    CalibrationRows held_out;
    if (!data_.inputs.empty()) held_out = Measure(parent, runner, runs, &record);
    record.child = FusedConfig(parent.config, record.runs);
    Write(parent, record, folder.part());
    if (!held_out.rows.empty()) Verify(runner, held_out.rows, folder.part(), &record);
    const Json json = FuseJson(record);
    WriteFile(folder.part() + "/fuse.html", FusePage(record));
    WriteFile(folder.part() + "/fuse.json", DumpJson(json, JsonStyle::kPython, 2) + "\n");
    folder.Commit();
    if (json_)
      fmt::print("{}\n", DumpJson(json));
    else if (GetLogLevel() >= LogLevel::kInfo)
      Print(record);
    return ExitCode::kOk;
  }

 private:
  // Dependencies, the choice unless it was given, and KLs; returns the held-out rows.
  CalibrationRows Measure(const Pretrained& parent, const BlockRunner& runner,
                          const std::vector<FfnRun>& runs, FuseRecord* record) {
    data_.samples = static_cast<size_t>(samples_);
    data_.seq_len = static_cast<size_t>(seq_len_);
    data_.seed = record->seed;
    // As much of the text as of the rows, so that neither part runs short of it.
    data_.held_out = static_cast<double>(held_out_) / static_cast<double>(samples_ + held_out_);
    const CalibrationRows rows = ReadCalibration(parent, data_);
    CalibrationRows held_out = ReadHeldOut(parent, data_, static_cast<size_t>(held_out_));
    record->calibration = rows.description;
    record->held_out = held_out.description;
    {
      RowsProgress progress("dependencies", rows.rows.size());
      record->dependencies = MeasureDependencies(runner, runs, rows.rows, progress.Done());
    }
    if (!record->is_explicit) {
      const std::vector<FfnRun> safe = SafeRuns(record->dependencies, record->limits);
      if (safe.empty()) throw NothingSafe(*record);
      const size_t cut_rows = std::min(static_cast<size_t>(cut_samples_), rows.rows.size());
      const auto long_runs = static_cast<size_t>(std::count_if(
          safe.begin(), safe.end(), [&](const FfnRun& run) { return run.size() > record->most; }));
      RowsProgress progress("cuts", cut_rows * long_runs);
      record->runs = SplitRuns(runner, safe, record->most, std::span(rows.rows).first(cut_rows),
                               progress.Done());
      RowsProgress borders("borders", cut_rows * 4 * record->runs.size() * record->runs.size());
      record->runs = ShiftBorders(runner, std::move(record->runs), safe, record->most,
                                  std::span(rows.rows).first(cut_rows), borders.Done());
    }
    std::vector<std::vector<FfnRun>> others;
    for (int64_t i = 0; i < random_; ++i) {
      std::vector<FfnRun> other =
          RandomRuns(parent.config, record->runs, record->seed + static_cast<uint64_t>(i));
      if (!other.empty() && std::find(others.begin(), others.end(), other) == others.end())
        others.push_back(std::move(other));
    }
    RowsProgress progress("KL", held_out.rows.size() * (1 + others.size()));
    record->parallel = ParallelDivergence(runner, record->runs, held_out.rows, progress.Done());
    for (std::vector<FfnRun>& other : others) {
      Divergence divergence = ParallelDivergence(runner, other, held_out.rows, progress.Done());
      record->random.push_back({std::move(other), std::move(divergence)});
    }
    return held_out;
  }

  static Error NothingSafe(const FuseRecord& record) {
    double least = 2;
    for (const RunDependency& dependency : record.dependencies) {
      for (size_t i = dependency.run.begin; i + 1 < dependency.run.end; ++i)
        least = std::min(least, dependency.Max({i, i + 2}));
    }
    return Error(ExitCode::kFailure,
                 fmt::format("no run is within the limits; the smallest d of two neighbours is "
                             "{:.4f}, expected at most {} (--max-d) and {} (--mean-d)",
                             least, record.limits.max_d, record.limits.mean_d),
                 "raise the limits, or name layers with --runs");
  }

  void Write(const Pretrained& parent, const FuseRecord& record, const std::string& folder) const {
    Pretrained child = ChildOf(parent, record.child.config);
    std::unique_ptr<Progress> line;
    ExportOptions options;
    options.rows = FusedRows(parent, record.child, record.runs);
    options.progress = [&](uint64_t done, uint64_t total) {
      if (line == nullptr) line = std::make_unique<Progress>("write", total >> 20, "MiB");
      line->Update(done >> 20);
    };
    ExportHf(&child, folder, *DTypeFromName(type_), shard_bytes_, options);
  }

  // Opens what was written: its distance from the parent and from the parallel form that it should equal.
  void Verify(const BlockRunner& runner, const std::vector<std::vector<int32_t>>& rows,
              const std::string& folder, FuseRecord* record) const {
    const Pretrained written = OpenPretrained(folder, {.needs_tokenizer = false});
    const Model& parent = runner.model();
    RowsProgress progress("verify", rows.size());
    record->written.emplace();
    for (const std::vector<int32_t>& row : rows) {
      record->written->Add(CompareModels(*written.model, parent, {&row, 1}));
      progress.Done()(1);
    }
    const size_t T = rows[0].size(), D = record->config.hidden_size;
    const SeqLayout layout(T);
    Workspace workspace;
    const Pass pass{.layout = layout, .workspace = &workspace};
    Tensor h = Tensor::F32({T, D}), expected = Tensor::F32({T, D});
    runner.Embed(rows[0], h.f32());
    RunParallelForm(runner, pass, 0, runner.blocks(), record->runs, h.f32());
    runner.Norm(runner.blocks(), h.f32(), T, expected.f32());
    const Tensor hidden = HiddenStates(*written.model, rows[0], HiddenPath::kForward);
    double difference = 0, largest = 0;
    for (size_t i = 0; i < T * D; ++i) {
      difference = std::max(difference, std::abs(double{hidden.f32()[i]} - expected.f32()[i]));
      largest = std::max(largest, std::abs(double{expected.f32()[i]}));
    }
    record->written_error = largest == 0 ? difference : difference / largest;
  }

  // Counts rows of text.
  class RowsProgress {
   public:
    RowsProgress(const char* label, size_t rows) : line_(label, rows, "rows") {}
    RowsDone Done() {
      return [this](size_t rows) { line_.Update(done_ += rows); };
    }

   private:
    Progress line_;
    uint64_t done_ = 0;
  };

  static void Print(const FuseRecord& record) {
    for (const FfnRun& run : record.runs) {
      fmt::print("layers {:<12} {} FFN blocks become one", DescribeRun(record.config, run),
                 run.size());
      for (const RunDependency& d : record.dependencies) {
        if (run.begin >= d.run.begin && run.end <= d.run.end)
          fmt::print(", d {:.3f} mean, {:.3f} largest", d.Mean(run), d.Max(run));
      }
      fmt::print("\n");
    }
    const auto line = [](const char* name, const Divergence& divergence) {
      fmt::print(
          "{:<19} KL {:.6f} nats a token, perplexity {:.4f}, same first choice {:.2f} %\n", name,
          divergence.mean_kl(), divergence.perplexity(),
          100 * static_cast<double>(divergence.top1) / static_cast<double>(divergence.tokens));
    };
    if (record.parallel) {
      fmt::print("{:<19} perplexity {:.4f}\n", "parent", record.parallel->reference_perplexity());
      line("parallel form", *record.parallel);
    }
    if (record.written) line("as written", *record.written);
    for (const FuseRecord::RandomTry& random : record.random)
      line("random runs", random.divergence);
    fmt::print("{} blocks, before {}; wrote {}\n", record.child.config.blocks.size(),
               record.config.blocks.size(), record.output);
  }

  ModelOptions model_;
  CalibrationOptions data_;
  FusionLimits limits_;
  std::string output_, type_ = "bf16", runs_;
  uint64_t shard_bytes_ = uint64_t{4} << 30;
  int64_t samples_ = 32, seq_len_ = 512, held_out_ = 16, cut_samples_ = 4, random_ = 4, seed_ = 1,
          most_ = 8;
  bool json_ = false, fuse_last_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeFuse() { return std::make_unique<FuseVerb>(); }

}  // namespace planish

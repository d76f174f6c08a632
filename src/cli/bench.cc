// SPDX-License-Identifier: Apache-2.0
// `planish bench machine`: the machine's peaks. `planish bench -m MODEL`: prefill and decode speed beside them. `planish
// bench serve`: a running server (bench_serve).
#include <algorithm>

#include "base/memory.h"
#include "base/parallel.h"
#include "cli/bench_report.h"
#include "cli/bench_serve.h"
#include "cli/model_options.h"
#include "cli/verbs.h"
#include "model/planner.h"

namespace planish {
namespace {

std::vector<size_t> Sizes(const std::vector<int64_t>& values) {
  return {values.begin(), values.end()};
}

class BenchVerb : public Verb {
 public:
  const char* name() const override { return "bench"; }
  const char* group() const override { return "measure"; }
  const char* summary() const override {
    return "speed of this machine (bench machine), of a model as shares of it, of a server (bench "
           "serve)";
  }
  const char* examples() const override {
    return "  planish bench -m MODEL -p 512 -n 128 -d 0,8192 -b 1,4\n  planish bench serve --url "
           "http://127.0.0.1:8080 --dataset multiturn --num-prompts 4";
  }
  bool declares_threads() const override { return true; }

  void Declare(OptionSet* options) override {
    const auto context = static_cast<int64_t>(limits::kContext);
    options->Positional("what", &what_, "`machine` for its peaks alone, `serve` for a server");
    model_.Declare(options, /*required=*/false);
    model_.DeclareRun(options, "auto");
    options->Group("Tests: every combination of depth, batch and threads");
    options->IntList("-p,--n-prompt", &prompts_, 0, context, "prompt lengths; 0: none");
    options->IntList("-n,--n-gen", &news_, 0, context, "numbers of new tokens; 0: none");
    options->IntList("-d,--n-depth", &depths_, 0, context, "tokens that the cache already holds");
    options->IntList("-b,--n-batch", &batches_, 1, static_cast<int64_t>(limits::kBatch),
                     "sequences at a time");
    options->Int("-r,--repetitions", &repetitions_, 1, 10'000, "timed runs of each test");
    options->IntList("-t,--threads", &threads_, 0, 1024,
                     "threads; 0: OMP_NUM_THREADS, else the cores this process may use");
    options->Group("Output");
    options->Choice("-o,--output", &output_, {"md", "json"}, "tables or one line of JSON");
    options->Flag("--phases", &phases_, "time and parallel regions of each kind of kernel");
    options->Flag("--patterns", &patterns_, "with machine: every pattern of memory access");
    options->Group("Peaks");
    options->Real("--seconds", &seconds_, 0.01, 3600, "time to measure the machine");
    options->Flag("--renew", &renew_, "measure it again, whatever an earlier run found");
    serve_.Declare(options);
  }

  ExitCode Run(const OptionSet&) override {
    const bool is_machine = what_.size() == 1 && what_[0] == "machine";
    const bool is_serve = what_.size() == 1 && what_[0] == "serve";
    if (!what_.empty() && !is_machine && !is_serve)
      throw UsageError("{} cannot be measured, expected `machine`, `serve` or -m MODEL",
                       Quoted(what_[0]));
    if (is_serve != serve_.is_asked()) throw UsageError("`serve` and --url go together");
    if ((is_machine || is_serve) != model_.model.empty())
      throw UsageError("expected one of `machine`, `serve` and -m MODEL");
    if (is_serve) return serve_.Run(output_);
    return is_machine ? RunMachine() : RunModel();
  }

 private:
  MachinePeaks Peaks(std::vector<PatternRate>* patterns = nullptr) const {
    if (!renew_ && patterns == nullptr) return LoadOrMeasurePeaks(seconds_);
    const MachinePeaks peaks = MeasurePeaks(seconds_, patterns);
    WritePeaks(PeaksFolder(), peaks);
    return peaks;
  }

  ExitCode RunMachine() const {
    Json all = Json::MakeArray();
    for (const int64_t threads : threads_) {
      SetThreadCount(static_cast<int>(threads));
      std::vector<PatternRate> patterns;
      const MachinePeaks peaks = Peaks(patterns_ ? &patterns : nullptr);
      if (output_ == "md") {
        fmt::print("{}", PeaksText(peaks) + (patterns_ ? PatternsText(patterns) : ""));
        continue;
      }
      Json json = PeaksToJson(peaks);
      if (patterns_) {
        Json list = Json::MakeArray();
        for (const PatternRate& p : patterns) {
          Json entry = Json::MakeObject();
          entry.Set("pattern", p.pattern);
          entry.Set("one_thread", p.rate.one_thread);
          entry.Set("team", p.rate.team);
          list.Append(std::move(entry));
        }
        json.Set("patterns", std::move(list));
      }
      all.Append(std::move(json));
    }
    if (output_ == "json")
      fmt::print("{}\n", DumpJson(all.AsArray().size() == 1 ? all.AsArray()[0] : all));
    return ExitCode::kOk;
  }

  // The tests of one depth and batch.
  std::vector<ThroughputTest> Tests(size_t depth, size_t batch) const {
    std::vector<ThroughputTest> tests;
    for (const size_t n : Sizes(prompts_))
      if (n > 0) tests.push_back({.n_prompt = n, .depth = depth, .batch = batch});
    for (const size_t n : Sizes(news_))
      if (n > 0) tests.push_back({.n_gen = n, .depth = depth, .batch = batch});
    return tests;
  }

  ExitCode RunModel() {
    if (Tests(0, 1).empty()) throw UsageError("-p 0 and -n 0 leave nothing to measure");
    const Pretrained opened = model_.Open(/*needs_tokenizer=*/false);
    Model* model = opened.model.get();
    std::vector<BenchRow> rows;
    MachinePeaks widest;  // of the largest team
    for (const int64_t threads : threads_) {
      SetThreadCount(static_cast<int>(threads));
      const MachinePeaks peaks = Peaks();
      if (peaks.threads > widest.threads) widest = peaks;
      for (const size_t depth : Sizes(depths_))
        for (const size_t batch : Sizes(batches_)) MeasureAll(model, peaks, depth, batch, &rows);
    }
    if (output_ == "json")
      PrintJson(opened, widest, rows);
    else
      PrintText(opened, widest, rows);
    return ExitCode::kOk;
  }

  void MeasureAll(Model* model, const MachinePeaks& peaks, size_t depth, size_t batch,
                  std::vector<BenchRow>* rows) {
    const std::vector<ThroughputTest> tests = Tests(depth, batch);
    size_t longest = 0;
    for (const ThroughputTest& test : tests)
      longest = std::max(longest, test.n_prompt + test.n_gen);
    Throughput throughput(model, depth, batch, longest);
    for (const ThroughputTest& test : tests) {
      rows->push_back(
          {.threads = peaks.threads,
           .act = model->act_mode(),
           .result = throughput.Measure(test, static_cast<size_t>(repetitions_), phases_),
           .read_peak = peaks.read.team,
           .arithmetic_peak = ArithmeticPeak(peaks, model->act_mode()).team});
    }
    resident_ = std::max(resident_, ResidentBytes());
  }

  void PrintText(const Pretrained& opened, const MachinePeaks& peaks,
                 const std::vector<BenchRow>& rows) const {
    const uint64_t parameters = MakePlan(opened.config, {}).parameters;
    std::string text = PeaksText(peaks);
    text += fmt::format("{:<22} {}: {}, {:.2f} G parameters, {} ({}), activations in {}\n", "model",
                        opened.name, ModelType(opened.config.family),
                        static_cast<double>(parameters) / 1e9, GiB(opened.file_bytes),
                        BytesByType(opened.model.get())[0].first, Name(rows[0].act));
    text += fmt::format("{:<22} {} resident while it ran, {} at most\n\n", "memory", GiB(resident_),
                        GiB(PeakResidentBytes()));
    text += RowsText(rows);
    for (const BenchRow& row : rows) text += PhasesText(row);
    fmt::print("{}", text);
  }

  void PrintJson(const Pretrained& opened, const MachinePeaks& peaks,
                 const std::vector<BenchRow>& rows) const {
    Json model = Json::MakeObject();
    model.Set("name", opened.name);
    model.Set("type", ModelType(opened.config.family));
    model.Set("blocks", DescribeBlocks(opened.config));
    model.Set("weights", BytesByType(opened.model.get())[0].first);
    model.Set("size_bytes", opened.file_bytes);
    model.Set("parameters", MakePlan(opened.config, {}).parameters);
    Json results = Json::MakeArray();
    for (const BenchRow& row : rows) results.Append(RowToJson(row));
    Json json = Json::MakeObject();
    json.Set("model", std::move(model));
    json.Set("act", Name(rows[0].act));
    json.Set("isa", peaks.isa);
    json.Set("compiler", "g++ " __VERSION__);
    json.Set("peaks", PeaksToJson(peaks));
    json.Set("resident_bytes", resident_);
    json.Set("peak_resident_bytes", PeakResidentBytes());
    json.Set("results", std::move(results));
    fmt::print("{}\n", DumpJson(json));
  }

  ModelOptions model_;
  ServeBench serve_;
  std::vector<std::string> what_;
  std::vector<int64_t> prompts_{512}, news_{128}, depths_{0}, batches_{1}, threads_{0};
  int64_t repetitions_ = 5;
  uint64_t resident_ = 0;  // largest with caches filled
  std::string output_ = "md";
  double seconds_ = 10;
  bool phases_ = false, patterns_ = false, renew_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeBench() { return std::make_unique<BenchVerb>(); }

}  // namespace planish

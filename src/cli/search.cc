// SPDX-License-Identifier: Apache-2.0
// `planish search`: Puzzle. A library of replacement blocks, their scores and costs, the best choice under limits, the model.
// Each stage is skipped when what it would make is there for the same inputs, and goes on where it was stopped.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/random.h"
#include "cli/model_options.h"
#include "cli/search_options.h"
#include "cli/verbs.h"
#include "compress/cost_measure.h"
#include "compress/found_model.h"
#include "compress/output_folder.h"
#include "compress/realise.h"
#include "compress/scores.h"
#include "model/masters.h"
#include "model/planner.h"

namespace planish {
namespace {

using Clock = std::chrono::steady_clock;

// Held-out rows on which it is decided whether training made a child worse; scores are of other ones.
constexpr size_t kChecked = 8;

class SearchVerb : public Verb {
 public:
  const char* name() const override { return "search"; }
  const char* group() const override { return "shrink"; }
  const char* summary() const override {
    return "the best smaller architecture for this machine: measured costs, integer program "
           "(Puzzle)";
  }
  const char* examples() const override {
    return "  planish search -m MODEL -o found --data docs.jsonl --max-latency 70% -b 8 --context "
           "2048\n  planish search -m MODEL -o found --mip-only --max-latency 50% --name half "
           "--data docs.jsonl";
  }
  void Declare(OptionSet* options) override { options_.Declare(options); }

  ExitCode Run(const OptionSet&) override {
    options_.Resolve();
    began_ = Clock::now();
    if (options_.minutes > 0)
      deadline_ = began_ + std::chrono::duration_cast<Clock::duration>(
                               std::chrono::duration<double>(60 * options_.minutes));
    parent_ = options_.model.Open(/*needs_tokenizer=*/!options_.data.empty());
    ClaimFolder();
    HoldFloats();
    if (!options_.data.empty()) ReadRows();
    if (!BuildAll()) {
      LogInfo("stopped after {:.0f} minutes; the same command goes on from here", options_.minutes);
      if (options_.is_json) PrintJson(/*is_complete=*/false);
      return ExitCode::kOk;
    }
    if (options_.build_only) {
      if (options_.is_json) PrintJson(/*is_complete=*/true);
      return ExitCode::kOk;
    }
    Solve();
    AddBaselines();
    Sweep();
    for (FoundModel& found : report_.found) RealiseOne(&found);
    if (options_.measures) MeasureAll();
    if (!evaluation_.rows.empty()) CompareAll();
    Write();
    if (options_.is_json)
      PrintJson(/*is_complete=*/true);
    else
      PrintText();
    return ExitCode::kOk;
  }

 private:
  std::string Path(const std::string& name) const { return options_.output + "/" + name; }

  // Distillation and scores run the parent thousands of times in bf16 passes, which are several times slower on quantised
  // weights; where floats do not fit beside the library's own memory they stay as they are.
  void HoldFloats() {
    if (options_.mip_only) return;
    const uint64_t floats = 4 * MakePlan(parent_.config, {.weight_dtype = DType::kF32}).parameters;
    if (floats < AvailableBytes() / 4) HoldMasters(parent_.model.get());
  }

  // A folder of this verb has its library or its marker; anything else that is there is not touched.
  void ClaimFolder() {
    const std::string& out = options_.output;
    const bool is_ours = FileExists(Path("search.json")) || FileExists(Path("block_library.json"));
    if (options_.mip_only && !is_ours)
      throw Error(ExitCode::kBadFile, fmt::format("{}: holds no search to solve again", out),
                  "the same command without --mip-only");
    if (is_ours) return;
    if (FileExists(out) || (IsDirectory(out) && !IsEmptyFolder(out)))
      throw UsageError("{} exists and is no folder of a search", out);
    MakeDirectories(out);
    Json marker = Json::MakeObject();
    marker.Set("verb", "search");
    marker.Set("is_complete", false);
    WriteFile(Path("search.json"), DumpJson(marker) + "\n");
  }

  void ReadRows() {
    CalibrationOptions read{.inputs = options_.data,
                            .samples = static_cast<size_t>(options_.samples),
                            .seq_len = static_cast<size_t>(options_.seq_len),
                            .seed = static_cast<uint64_t>(options_.seed),
                            .held_out = 0.2};
    if (!options_.mip_only) training_ = ReadCalibration(parent_, read);
    const auto scored = static_cast<size_t>(options_.score_samples),
               compared = static_cast<size_t>(options_.eval_samples);
    const CalibrationRows held = ReadHeldOut(parent_, read, kChecked + scored + compared);
    checking_ = PartOf(held, 0, kChecked);
    scoring_ = PartOf(held, kChecked, kChecked + scored);
    evaluation_ = PartOf(held, kChecked + scored, kChecked + scored + compared);
  }

  // Library, scores and costs; false if the deadline came first.
  bool BuildAll() {
    if (options_.mip_only) {
      library_ = LoadLibrary(options_.output);
      RequireParent(library_, parent_);
      if (!library_.is_complete() || !FileExists(Path("costs.json")))
        throw Error(ExitCode::kBadFile,
                    fmt::format("{}: the search was interrupted with {} of {} children made",
                                options_.output, library_.made, library_.children),
                    "the same command without --mip-only, which goes on with it");
      table_ = CostTable::FromJson(
          ParseJson(ReadFile(Path("costs.json"), limits::kTokenizerBytes), Path("costs.json")),
          Path("costs.json"));
      return true;
    }
    const SearchSpace space = MakeSearchSpace(parent_.config, options_.space);
    for (const std::string& note : space.notes) LogInfo("{}", note);
    LibraryOptions build = options_.library;
    build.deadline = deadline_;
    build.shows_progress = GetLogLevel() >= LogLevel::kInfo;
    library_ = BuildLibrary(parent_, space, training_, checking_, build, options_.output);
    LogInfo("library: {} of {} children", library_.made, library_.children);
    if (!library_.is_complete()) return false;
    ScoreOptions score{.metric = ScoreMetricFromName(options_.metric)};
    score.deadline = deadline_;
    score.shows_progress = GetLogLevel() >= LogLevel::kInfo;
    if (!ScoreLibrary(parent_, scoring_, score, &library_)) return false;
    return MeasureTable();
  }

  bool MeasureTable() {
    const SearchTargets& widest = options_.targets;
    const StateTypes states = options_.States();
    CostConditions here =
        ConditionsHere(parent_.config, options_.Weights(), options_.Act(), states, 0);
    const size_t largest =
        static_cast<size_t>(*std::max_element(options_.batches.begin(), options_.batches.end()));
    here.reuse_bytes = StreamedBytes(parent_.config, here, {true, largest, widest.context});
    table_ = CostTable(here);
    if (FileExists(Path("costs.json"))) {
      CostTable old = CostTable::FromJson(
          ParseJson(ReadFile(Path("costs.json"), limits::kTokenizerBytes), Path("costs.json")),
          Path("costs.json"));
      if (old.conditions() == here)
        table_ = std::move(old);
      else
        LogWarning("{}: measured under other conditions, measured anew", Path("costs.json"));
    }
    std::vector<MixerConfig> mixers;
    for (const CandidateBlock& block : library_.blocks)
      for (const Candidate& candidate : block.candidates)
        if (candidate.mixer) mixers.push_back(*candidate.mixer);
    std::vector<CostSetting> settings;
    for (const int64_t batch : options_.batches) {
      SearchTargets targets = options_.targets;
      targets.batch = static_cast<size_t>(batch);
      for (const CostSetting& setting : SettingsFor(targets))
        if (std::find(settings.begin(), settings.end(), setting) == settings.end())
          settings.push_back(setting);
    }
    MeasureOptions measure = options_.measure;
    measure.deadline = deadline_;
    measure.progress = [&](size_t done, size_t all, const std::string& what) {
      LogInfo("costs: {} of {} entries, {}", done, all, what);
    };
    measure.save = [&] {
      Json json = table_.ToJson();
      json.Set("program", ProgramVersion());
      WriteFile(Path("costs.json"), DumpJson(json, JsonStyle::kPython, 1) + "\n");
    };
    const CostRequest request{&parent_.config, std::move(mixers), &table_};
    if (!MeasureCosts({&request, 1}, settings, measure)) return false;
    double worst = 0;
    for (const CostEntry& entry : table_.entries())
      worst = std::max(worst, entry.seconds.relative_error());
    if (worst > 0.2)
      LogWarning(
          "costs: intervals are up to {:.0f} % wide on one side; other work on this machine "
          "makes predictions that unsure",
          100 * worst);
    return true;
  }

  // The best batch's solutions. Error(kUsage) with what would be possible if there is none.
  void Solve() {
    const auto begin = Clock::now();
    std::string why;
    for (const int64_t batch : options_.batches) {
      SearchTargets targets = options_.targets;
      targets.batch = static_cast<size_t>(batch);
      RequireMeasured(table_, library_.blocks, targets);
      SearchProblem problem = MakeProblem(parent_.config, library_.blocks, table_, targets);
      std::vector<SearchSolution> solutions = SolveSearch(problem, options_.solve);
      if (solutions.empty()) {
        if (why.empty())
          why = DescribeInfeasible(problem, ExplainInfeasible(problem, options_.solve));
        continue;
      }
      if (!report_.found.empty() && report_.found[0].solution.score <= solutions[0].score) continue;
      report_.found.clear();
      report_.problem = std::move(problem);
      report_.targets = targets;
      for (size_t i = 0; i < solutions.size(); ++i)
        report_.found.push_back(Found(fmt::format("{}_{}", options_.solution_name, i + 1),
                                      ChoiceOf(library_.blocks, solutions[i]), solutions[i]));
    }
    if (report_.found.empty()) throw UsageError("{}", why);
    report_.parent_itself = FoundOf("parent", ParentChoice(library_.blocks));
    solve_s_ = std::chrono::duration<double>(Clock::now() - begin).count();
    LogInfo("{} solutions in {:.2f} s", report_.found.size(), solve_s_);
  }

  FoundModel Found(const std::string& name, const Choice& choice,
                   const SearchSolution& solution) const {
    FoundModel found{.name = name, .choice = choice, .solution = solution};
    found.latency = table_.Step(MixersOf(library_.blocks, choice), report_.targets.decode());
    return found;
  }
  FoundModel FoundOf(const std::string& name, const Choice& choice) const {
    return Found(name, choice, SolutionOf(report_.problem, library_.blocks, choice));
  }

  void AddBaselines() {
    const double latency = report_.found[0].solution.totals[0];
    const auto add = [&](const std::string& name, const std::optional<Choice>& choice) {
      if (choice)
        report_.found.push_back(FoundOf(name, *choice));
      else
        LogWarning("no {} pruning of these candidates is as fast as the solution", name);
    };
    for (const std::string& baseline : options_.Baselines()) {
      if (baseline == "width")
        add(baseline, WidthBaseline(library_.blocks, report_.problem, latency));
      else
        add(baseline, DepthBaseline(parent_.config, library_.blocks, report_.problem, latency,
                                    baseline == "depth-even"));
    }
  }

  // The least sum of scores for latencies between the parent's and the least of all, without the other limits.
  void Sweep() {
    SearchProblem problem = report_.problem;
    for (SearchLimit& limit : problem.limits) {
      limit.low = -std::numeric_limits<double>::infinity();
      limit.high = std::numeric_limits<double>::infinity();
    }
    const double most = report_.parent_itself.solution.totals[0];
    problem.limits[0].high = most;
    const double least = ExplainInfeasible(problem, options_.solve)[0].alone;
    constexpr size_t kPoints = 10;
    SolveOptions solve = options_.solve;
    solve.count = 1;
    solve.gap = std::max(solve.gap, 1e-3);
    solve.seconds = std::min(solve.seconds, 5.0);
    for (size_t i = 0; i < kPoints; ++i) {
      const double share = static_cast<double>(i) / (kPoints - 1);
      problem.limits[0].high = (least + share * (most - least)) * (1 + 1e-9);
      for (SearchSolution& solution : SolveSearch(problem, solve))
        report_.sweep.push_back(std::move(solution));
    }
  }

  void RealiseOne(FoundModel* found) {
    if (options_.solve_only) return;
    const std::string folder = Path(found->name), mark = "/search_choice.txt";
    const std::string fingerprint = ChoiceText(found->choice);
    found->folder = folder;
    if (FileExists(folder + mark) && ReadFile(folder + mark, 1 << 20) == fingerprint) return;
    OutputFolder output(folder, "search", folder + mark);
    Realisation(parent_, library_, found->choice)
        .Write(output.part(), *DTypeFromName(options_.type));
    WriteFile(output.part() + mark, fingerprint);
    output.Commit();
  }

  // What a folder was made from: another choice, library or type makes it anew.
  std::string ChoiceText(const Choice& choice) const {
    std::string text = library_.parent + " " + options_.type + "\n";
    for (size_t b = 0; b < choice.size(); ++b) {
      const Candidate& candidate = library_.blocks[b].candidates[choice[b]];
      text += fmt::format("{} {} {}\n", b, candidate.name, candidate.weights);
    }
    return text;
  }

  ModelConfig ConfigOf(const FoundModel& found) const {
    return EditConfig(parent_.config, {.blocks = MixersOf(library_.blocks, found.choice)}).config;
  }

  void MeasureAll() {
    const auto measure = [&](FoundModel* found, const ModelConfig& config) {
      found->measured_latency =
          MeasureStep(config, table_.conditions(), report_.targets.decode(), options_.measure);
      LogInfo("{}: predicted {:.3f} ms, measured {:.3f} ms", found->name,
              1e3 * found->latency.median, 1e3 * found->measured_latency->median);
    };
    measure(&report_.parent_itself, parent_.config);
    for (FoundModel& found : report_.found) measure(&found, ConfigOf(found));
  }

  Divergence Compare(const Choice& choice) const {
    const Pretrained child = Realisation(parent_, library_, choice).InMemory();
    return CompareModels(*child.model, *parent_.model, evaluation_.rows);
  }

  void CompareAll() {
    const size_t by_chance = static_cast<size_t>(options_.random);
    Progress progress("comparing", report_.found.size() + by_chance, "models");
    size_t done = 0;
    for (FoundModel& found : report_.found) {
      found.divergence = Compare(found.choice);
      progress.Update(++done);
    }
    Random random(static_cast<uint64_t>(options_.seed) + 1);
    for (size_t i = 0; i < by_chance; ++i) {
      // Each choice replaces another share of the blocks, so that the sums spread.
      const double share = (static_cast<double>(i) + 1) / static_cast<double>(by_chance + 1);
      Choice choice = ParentChoice(library_.blocks);
      for (size_t b = 0; b < choice.size(); ++b) {
        const auto& candidates = library_.blocks[b].candidates;
        if (random.Uniform() < share) choice[b] = random.Below(candidates.size());
        if (!std::isfinite(candidates[choice[b]].score)) choice[b] = 0;
      }
      report_.random_scores.push_back(SolutionOf(report_.problem, library_.blocks, choice).score);
      report_.random_kl.push_back(Compare(choice).mean_kl());
      progress.Update(++done);
    }
  }

  // Of summed scores with measured KL, over every model that was compared.
  double Spearman() const {
    std::vector<double> scores = report_.random_scores, kl = report_.random_kl;
    for (const FoundModel& found : report_.found) {
      if (!found.divergence) continue;
      scores.push_back(found.solution.score);
      kl.push_back(found.divergence->mean_kl());
    }
    return SpearmanOf(scores, kl);
  }

  void Write() {
    report_.parent_name = parent_.name;
    report_.parent = &parent_.config;
    report_.blocks = &library_.blocks;
    report_.costs = &table_;
    const CostConditions& c = table_.conditions();
    report_.facts = {
        {"program", ProgramVersion()},
        {"machine", fmt::format("{}, {}, {} threads", c.cpu, c.isa, c.threads)},
        {"costs", fmt::format("weights {}, activations {}, KV {}, states {}", Name(c.weights),
                              Name(c.act), Name(c.states.kv), Name(c.states.ssm))},
        {"step", Describe(report_.targets.decode())},
        {"library", library_.data},
        {"scores", library_.scored_on}};
    if (!evaluation_.rows.empty())
      report_.facts.emplace_back("KL and perplexity on", evaluation_.description);
    for (const SearchLimit& limit : report_.problem.limits) {
      if (std::isfinite(limit.high))
        report_.facts.emplace_back(limit.name + " at most", limit.Show(limit.high));
      if (std::isfinite(limit.low))
        report_.facts.emplace_back(limit.name + " at least", limit.Show(limit.low));
    }
    if (const double rho = Spearman(); std::isfinite(rho))
      report_.facts.emplace_back(
          "Spearman of summed scores with measured KL",
          fmt::format("{:.3f}, {} models", rho, report_.found.size() + report_.random_kl.size()));
    for (const FoundModel& found : report_.found)
      WriteFile(Path(found.name + ".json"),
                DumpJson(FoundModelToJson(found, library_.blocks, report_.problem, report_.targets),
                         JsonStyle::kPython, 1) +
                    "\n");
    const std::string stem =
        options_.solution_name == kDefaultSolutionName ? "search" : options_.solution_name;
    WriteFile(Path(stem + ".html"), SearchPage(report_));
    WriteFile(Path(stem + ".json"), DumpJson(Summary(true), JsonStyle::kPython, 1) + "\n");
  }

  Json Summary(bool is_complete) const {
    Json json = Json::MakeObject();
    json.Set("verb", "search");
    json.Set("program", ProgramVersion());
    json.Set("is_complete", is_complete);
    json.Set("parent", parent_.name);
    json.Set("options", options_.ToJson());
    json.Set("children", static_cast<int64_t>(library_.children));
    json.Set("children_made", static_cast<int64_t>(library_.made));
    json.Set("seconds", std::chrono::duration<double>(Clock::now() - began_).count());
    if (report_.found.empty()) return json;
    json.Set("solve_seconds", solve_s_);
    json.Set("parent_model", FoundModelToJson(report_.parent_itself, library_.blocks,
                                              report_.problem, report_.targets));
    Json found = Json::MakeArray();
    for (const FoundModel& model : report_.found)
      found.Append(FoundModelToJson(model, library_.blocks, report_.problem, report_.targets));
    json.Set("found", std::move(found));
    Json sweep = Json::MakeArray();
    for (const SearchSolution& solution : report_.sweep) {
      Json point = Json::MakeObject();
      point.Set("latency_s", solution.totals[0]);
      point.Set("objective", solution.score);
      sweep.Append(std::move(point));
    }
    json.Set("sweep", std::move(sweep));
    if (const double rho = Spearman(); std::isfinite(rho)) json.Set("spearman", rho);
    return json;
  }

  void PrintJson(bool is_complete) const { fmt::print("{}\n", DumpJson(Summary(is_complete))); }

  void PrintText() const {
    const auto line = [&](const FoundModel& m) {
      std::string text = fmt::format("{:<14} score {:<9.4g} latency {:.3f} ms [{:.3f}, {:.3f}]",
                                     m.name, m.solution.score, 1e3 * m.latency.median,
                                     1e3 * m.latency.low, 1e3 * m.latency.high);
      if (m.measured_latency)
        text += fmt::format(", measured {:.3f} ms ({:+.1f} %)", 1e3 * m.measured_latency->median,
                            100 * (m.measured_latency->median / m.latency.median - 1));
      text += fmt::format(", {:.1f} M parameters, {:.1f} MiB", 1e-6 * m.solution.totals[2],
                          0x1p-20 * m.solution.totals[1]);
      if (m.divergence)
        text +=
            fmt::format(", KL {:.4g}, perplexity {:.4g} (parent {:.4g})", m.divergence->mean_kl(),
                        m.divergence->perplexity(), m.divergence->reference_perplexity());
      fmt::print("{}\n", text);
    };
    line(report_.parent_itself);
    for (const FoundModel& found : report_.found) line(found);
    if (const double rho = Spearman(); std::isfinite(rho))
      fmt::print("Spearman of summed scores with measured KL: {:.3f}\n", rho);
  }

  SearchOptions options_;
  Pretrained parent_;
  CalibrationRows training_, checking_, scoring_, evaluation_;
  BlockLibrary library_;
  CostTable table_;
  SearchReport report_;
  Clock::time_point began_;
  Deadline deadline_;
  double solve_s_ = 0;
};

}  // namespace

std::unique_ptr<Verb> MakeSearch() { return std::make_unique<SearchVerb>(); }

}  // namespace planish

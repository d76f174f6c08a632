// SPDX-License-Identifier: Apache-2.0
// `planish prune`: smaller models out of a large one by Minitron's recipe; which shapes fit a budget, and what the cut costs.
#include "compress/prune.h"

#include <fmt/ranges.h>

#include <cmath>

#include "base/log.h"
#include "base/progress.h"
#include "cli/config_source.h"
#include "cli/search_options.h"
#include "cli/verbs.h"

namespace planish {
namespace {

// "8.9B", "650M", "4000000", or "70%" of the parent's.
uint64_t ParseParameters(const std::string& text, uint64_t parents) {
  size_t used = 0;
  double number = -1;
  try {
    number = std::stod(text, &used);
  } catch (const std::exception&) {
  }
  const std::string unit = text.substr(std::min(used, text.size()));
  const double scale = unit.empty()                 ? 1
                       : unit == "B" || unit == "b" ? 1e9
                       : unit == "M" || unit == "m" ? 1e6
                       : unit == "K" || unit == "k" ? 1e3
                       : unit == "%"                ? static_cast<double>(parents) / 100
                                                    : std::nan("");
  const double value = number * scale;
  if (!(value >= 1 && value < 0x1p62))
    throw UsageError("--target-params is {}, expected a number such as 8.9B, 650M or 70%",
                     Quoted(text));
  return static_cast<uint64_t>(value);
}

class PruneVerb : public Verb {
 public:
  const char* name() const override { return "prune"; }
  const char* group() const override { return "shrink"; }
  const char* summary() const override {
    return "a smaller model out of a large one: channels, neurons, heads and blocks by importance";
  }
  const char* examples() const override {
    return "  planish prune -m nano-12b-v2 --plan --target-memory 19.66GiB --context 131072\n"
           "  planish prune -m my-model -o smaller --data text.jsonl --target-params 70% --write "
           "3\n"
           "  planish prune -m my-model -o faster --data text.jsonl --target-latency 70% -b 8 "
           "--context "
           "2048\n"
           "  planish prune -m my-model -o narrow --data text.jsonl --ffn 384 --mamba-heads 8\n"
           "  planish prune -m my-llama -o uneven --data text.jsonl --drop 20,22,24";
  }
  void Declare(OptionSet* options) override {
    model_help_ = "the parent: a model folder or GGUF file; with --plan a " + ConfigSourceHelp();
    options->Text("-m,--model", &model_, model_help_.c_str(), true);
    options->Text(
        "-o,--output", &output_,
        "folder to make: the best child as a model, importance.json, prune.json, prune.html");
    options->Flag("--plan", &plan_, "only which shapes are within the budget: no weights, no text");
    options->Choice("--type", &type_, {"bf16", "f16", "f32"}, "type of what is written");
    options->Int("--write", &write_, 1, 64,
                 "children to write, best first; the second one to OUT/candidate-2 and so on");
    options->Flag("--json", &json_, "prune.json on standard output");
    options->Group("Text");
    options->TextList("--data", &calibration_.inputs,
                      "JSONL, text or token file that scores are measured on; may be repeated");
    options->Int("--samples", &samples_, 1, 1 << 20, "rows of text for the scores");
    options->Int("--seq-len", &seq_len_, 2, static_cast<int64_t>(limits::kContext),
                 "tokens of each row");
    options->Int(
        "--score-samples", &score_samples_, 0, 1 << 20,
        "rows of other documents that candidates are compared with the parent on; 0: none");
    options->Int("--seed", &seed_, 0, INT64_MAX, "of the choice of rows");
    options->Text("--importance", &importance_,
                  "importance.json of an earlier run in place of measuring again");
    options->Choice("--precision", &precision_, {"f32", "bf16"},
                    "operands of matrix products while scores are measured; comparisons are f32");
    options->Group("Shape (what is not named stays; within a budget it is searched)");
    options->Int("--hidden", &hidden_, 1, static_cast<int64_t>(limits::kHiddenSize),
                 "embedding channels");
    options->Int("--ffn", &ffn_, 1, static_cast<int64_t>(limits::kIntermediateSize),
                 "neurons of each FFN");
    options->Int("--mamba-heads", &mamba_heads_, 1, static_cast<int64_t>(limits::kHeads),
                 "heads of each Mamba-2 block, a multiple of its groups");
    options->Int("--mamba-head-dim", &mamba_head_dim_, 1, 4096, "channels of each Mamba-2 head");
    options->Int("--heads", &heads_, 1, static_cast<int64_t>(limits::kHeads),
                 "query heads of each attention block, a multiple of its KV heads, which stay");
    options->Int("--blocks", &blocks_, 1, static_cast<int64_t>(limits::kLayers),
                 "blocks that stay (of Llama, Mistral, Qwen3: layers); the least missed ones go");
    options->IntList(
        "--drop", &drop_, 0, 1 << 20,
        "blocks that go, by number, in place of --blocks; of Llama 2 x layer is "
        "attention, 2 x layer + 1 the FFN, and the child is DeciLM unless whole layers go");
    options->Group("Budget");
    options->Text("--target-params", &target_params_,
                  "largest number of parameters: 8.9B, 650M, or 70% of the parent's");
    options->Bytes("--target-memory", &target_memory_,
                   "largest sum of weights, KV and states: 19.66GiB");
    options->Text("--target-latency", &target_latency_,
                  "longest decode step of the batch, predicted from blocks timed on this machine: "
                  "12.5ms, or 70% of the parent's");
    options->Int("--context,--ctx", &context_, 0, static_cast<int64_t>(limits::kContext),
                 "tokens in each sequence's cache for memory and latency");
    options->Int("-b,--batch", &batch_, 1, static_cast<int64_t>(limits::kBatch),
                 "sequences for memory and latency");
    options->Choice("--dtype", &dtype_, {"f32", "bf16", "f16", "q8_0", "q4_0"},
                    "type of the weights for memory and latency");
    options->Int("--top", &top_, 1, 1000, "largest shapes within the budget to look at");
    options->Int("--cost-samples", &cost_samples_, 3, 10'000,
                 "timings of each block for a latency, median taken");
    options->Text("--costs", &costs_,
                  "costs.json of an earlier run, gone on with where blocks are missing");
    options->Group("Search");
    options->Real("--max-width-pruned", &width_limit_, 0, 0.99,
                  "largest share of a width to remove");
    options->Real("--max-depth-pruned", &depth_limit_, 0, 0.99,
                  "largest share of the blocks to remove");
    options->Int("--hidden-step", &hidden_step_, 0, 1 << 20,
                 "grid of hidden sizes; 0: a sixteenth, in whole 64s (8s of small models)");
    options->Int("--ffn-step", &ffn_step_, 0, 1 << 24,
                 "grid of FFN widths; 0: a sixty-fourth, in whole 64s (8s of small ones)");
    options->Int("--mamba-head-dim-step", &head_dim_step_, 1, 4096, "grid of Mamba-2 head sizes");
    options->Int("--depth-step", &depth_step_, 1, 1024, "grid of depths, in blocks or layers");
    options->Flag("--cut-heads", &cuts_heads_, "query heads are searched as well");
    options->Int("--min-attention", &min_attention_, 0, 1024,
                 "attention blocks that stay, or as many as there are");
    options->Choice("--depth-score", &depth_score_, {"logits", "influence"},
                    "which blocks go: logits: one by one, each time the one whose removal changes "
                    "the logits least; influence: those that turn the residual stream least");
    options->Int("--depth-samples", &depth_samples_, 1, 1 << 20, "rows of text for logits");
    options->Int("--depth-tokens", &depth_tokens_, 1, 1 << 20, "tokens of each of these rows");
  }

  ExitCode Run(const OptionSet& options) override {
    if (options.WasGiven("--drop") && options.WasGiven("--blocks"))
      throw UsageError("--drop and --blocks exclude each other");
    if (plan_) {
      const ModelConfig parent = ConfigBySource(model_);
      PrintPlan(parent, PlanPrune(parent, Request(parent, options)));
      return ExitCode::kOk;
    }
    if (output_.empty()) throw UsageError("-o is needed: where to write the child");
    if (calibration_.inputs.empty() && importance_.empty())
      throw UsageError("--data is needed: text to measure importance on, or --importance");
    const Pretrained parent = OpenPretrained(model_, {.checks_memory = false});
    const PruneRequest request = Request(parent.config, options);
    const PruneOutcome outcome = Prune(parent, request, output_, Progressor());
    if (json_)
      fmt::print("{}\n", DumpJson(PruneToJson(parent, request, outcome)));
    else
      Print(parent, request, outcome);
    return ExitCode::kOk;
  }

 private:
  PruneRequest Request(const ModelConfig& parent, const OptionSet& options) const {
    PruneRequest request;
    request.calibration = calibration_;
    request.calibration.samples = static_cast<size_t>(samples_);
    request.calibration.seq_len = static_cast<size_t>(seq_len_);
    request.calibration.seed = static_cast<uint64_t>(seed_);
    request.calibration.held_out = score_samples_ > 0 ? 0.125 : 0.0;
    request.score_samples = static_cast<size_t>(score_samples_);
    request.importance = importance_;
    request.precision = precision_ == "bf16" ? Precision::kBf16 : Precision::kF32;
    request.type = *DTypeFromName(type_);
    request.write = static_cast<size_t>(write_);
    request.top = static_cast<size_t>(top_);
    request.depth_by_influence = depth_score_ == "influence";
    request.depth_samples = static_cast<size_t>(depth_samples_);
    request.depth_tokens = static_cast<size_t>(depth_tokens_);
    for (const int64_t block : drop_) request.drop.push_back(static_cast<size_t>(block));
    request.budget.plan = {.context = static_cast<size_t>(context_),
                           .batch = static_cast<size_t>(batch_),
                           .weight_dtype = *DTypeFromName(dtype_)};
    if (target_memory_ != 0) request.budget.memory = target_memory_;
    if (!target_params_.empty())
      request.budget.parameters = ParseParameters(target_params_, MakePlan(parent, {}).parameters);
    if (!target_latency_.empty())
      request.budget.latency =
          ParseTarget("--target-latency", target_latency_, TargetUnit::kMilliseconds);
    request.measure.samples = static_cast<size_t>(cost_samples_);
    request.measure.progress = [](size_t done, size_t all, const std::string& what) {
      LogInfo("costs: {} of {} blocks, {}", done, all, what);
    };
    request.costs = costs_;
    SetGrid(parent, options, &request);
    return request;
  }

  // Without a budget every axis that is not named keeps the parent's value: one shape.
  void SetGrid(const ModelConfig& parent, const OptionSet& options, PruneRequest* request) const {
    PruneGrid& grid = request->grid;
    const bool is_search =
        request->budget.memory || request->budget.parameters || request->budget.latency;
    grid.hidden_step = static_cast<size_t>(hidden_step_);
    grid.ffn_step = static_cast<size_t>(ffn_step_);
    grid.mamba_head_dim_step = static_cast<size_t>(head_dim_step_);
    grid.depth_step = static_cast<size_t>(depth_step_);
    grid.width_limit = is_search ? width_limit_ : 0;
    grid.depth_limit = is_search ? depth_limit_ : 0;
    grid.min_attention = static_cast<size_t>(min_attention_);
    grid.cuts_heads = cuts_heads_;
    const PruneShape whole = ShapeOf(parent);
    const auto fix = [](int64_t value, size_t parents, const char* option, size_t* axis) {
      if (value == 0) return;
      if (parents == 0) throw UsageError("{}: the model has nothing of the kind", option);
      *axis = static_cast<size_t>(value);
      if (*axis > parents) throw UsageError("{} is {}, the model has {}", option, value, parents);
    };
    fix(hidden_, whole.hidden, "--hidden", &grid.fixed.hidden);
    fix(ffn_, whole.ffn, "--ffn", &grid.fixed.ffn);
    fix(mamba_heads_, whole.mamba_heads, "--mamba-heads", &grid.fixed.mamba_heads);
    fix(mamba_head_dim_, whole.mamba_head_dim, "--mamba-head-dim", &grid.fixed.mamba_head_dim);
    fix(heads_, whole.heads, "--heads", &grid.fixed.heads);
    if (blocks_ > 0) grid.fixed_blocks = static_cast<size_t>(blocks_);
    const bool names_shape = hidden_ > 0 || ffn_ > 0 || mamba_heads_ > 0 || mamba_head_dim_ > 0 ||
                             heads_ > 0 || blocks_ > 0 || options.WasGiven("--drop");
    if (!is_search && !names_shape)
      throw UsageError(
          "what to prune to? --target-params, --target-memory or --target-latency, or a shape: "
          "--hidden, "
          "--ffn, --mamba-heads, --mamba-head-dim, --heads, --blocks, --drop");
  }

  PruneProgress Progressor() {
    return [stage_name = std::string(), stage_total = size_t{0},
            progress = std::shared_ptr<Progress>()](const std::string& stage, size_t done,
                                                    size_t total) mutable {
      // Shapes are timed in several rounds, each with a total of its own.
      if (stage != stage_name || total != stage_total || progress == nullptr) {
        progress.reset();
        const bool is_writing = stage.starts_with("writing");
        progress = std::make_shared<Progress>(stage, total,
                                              is_writing              ? "MiB"
                                              : stage == "candidates" ? "candidates"
                                                                      : "blocks");
        stage_name = stage;
        stage_total = total;
      }
      progress->Update(done);
      if (done >= total) progress.reset();
    };
  }

  static std::string Milliseconds(const std::optional<Seconds>& step) {
    return step ? fmt::format("{:.3f} ms", 1e3 * step->median) : "";
  }
  // A column of tables of a search that has timed shapes.
  static std::string Step(const PruneSearch& search, const std::string& text) {
    return search.parent_step ? fmt::format("  {:>12}", text) : "";
  }

  void PrintPlan(const ModelConfig& parent, const PruneSearch& search) const {
    if (json_) {
      Json json = Json::MakeObject(), list = Json::MakeArray();
      json.Set("points", search.points);
      json.Set("feasible", search.feasible);
      if (search.parent_step) json.Set("parent_step_s", SecondsToJson(*search.parent_step));
      for (const PruneCandidate& candidate : search.best) {
        Json item = ShapeToJson(candidate.shape);
        item.Set("parameters", candidate.parameters);
        item.Set("total_bytes", candidate.plan.total_bytes);
        if (candidate.step) item.Set("step_s", SecondsToJson(*candidate.step));
        list.Append(std::move(item));
      }
      json.Set("candidates", std::move(list));
      fmt::print("{}\n", DumpJson(json));
      return;
    }
    const Plan plan = MakePlan(parent, {.context = static_cast<size_t>(context_),
                                        .batch = static_cast<size_t>(batch_),
                                        .weight_dtype = *DTypeFromName(dtype_)});
    fmt::print("{:>15}  {:>10}{}  {}\n", "parameters", "memory", Step(search, "step"), "shape");
    fmt::print("{:>15}  {:>10}{}  {} (the parent)\n", plan.parameters, GiB(plan.total_bytes),
               Step(search, Milliseconds(search.parent_step)), Describe(ShapeOf(parent)));
    for (const PruneCandidate& candidate : search.best)
      fmt::print("{:>15}  {:>10}{}  {}\n", candidate.parameters, GiB(candidate.plan.total_bytes),
                 Step(search, Milliseconds(candidate.step)), Describe(candidate.shape));
    fmt::print(
        "{} of {} shapes are within the budget; these are the largest that no other one exceeds\n",
        search.feasible, search.points);
  }

  void Print(const Pretrained& parent, const PruneRequest& request,
             const PruneOutcome& outcome) const {
    const bool is_compared = outcome.shapes[0].divergence.tokens > 0;
    if (is_compared) {
      const Divergence& d = outcome.shapes[0].divergence;
      fmt::print("{}: {} parameters, loss {:.4f} on {}\n", parent.name,
                 outcome.parent_plan.parameters, d.reference_nll / static_cast<double>(d.tokens),
                 outcome.held_out);
      fmt::print("{:>15}  {:>10}{}  {:>8}  {:>8}  {}\n", "parameters", "memory",
                 Step(outcome.search, "step"), "KL", "loss", "shape");
    } else {
      fmt::print("{:>15}  {:>10}{}  {}\n", "parameters", "memory", Step(outcome.search, "step"),
                 "shape");
    }
    for (const ScoredShape& scored : outcome.shapes) {
      const Divergence& d = scored.divergence;
      const std::string figures = is_compared ? fmt::format("  {:>8.4f}  {:>8.4f}", d.mean_kl(),
                                                            d.nll / static_cast<double>(d.tokens))
                                              : "";
      fmt::print("{:>15}  {:>10}{}{}  {}{}\n", scored.candidate.parameters,
                 GiB(scored.candidate.plan.total_bytes),
                 Step(outcome.search, Milliseconds(scored.candidate.step)), figures,
                 Describe(scored.candidate.shape),
                 scored.dropped.empty()
                     ? ""
                     : fmt::format(", without blocks {}", fmt::join(scored.dropped, ",")));
    }
    if (outcome.search.parent_step)
      fmt::print("predicted decode step of the parent: {}\n",
                 Milliseconds(outcome.search.parent_step));
    fmt::print("wrote {} in {:.1f} s; to go on:\n", output_, outcome.seconds);
    for (const std::string& command : DistillCommands(model_, request, outcome))
      fmt::print("  {}\n", command);
  }

  std::string model_, output_, importance_, target_params_, target_latency_, costs_, model_help_;
  std::string type_ = "bf16", dtype_ = "bf16", precision_ = "f32", depth_score_ = "logits";
  CalibrationOptions calibration_;
  std::vector<int64_t> drop_;
  int64_t samples_ = 128, seq_len_ = 1024, score_samples_ = 16, seed_ = 0, write_ = 1, top_ = 10;
  int64_t hidden_ = 0, ffn_ = 0, mamba_heads_ = 0, mamba_head_dim_ = 0, heads_ = 0, blocks_ = 0;
  int64_t context_ = 0, batch_ = 1, hidden_step_ = 0, ffn_step_ = 0, head_dim_step_ = 8,
          depth_step_ = 2, min_attention_ = 4, depth_samples_ = 4, depth_tokens_ = 512,
          cost_samples_ = 15;
  uint64_t target_memory_ = 0;
  double width_limit_ = 0.4, depth_limit_ = 0.2;
  bool plan_ = false, json_ = false, cuts_heads_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakePrune() { return std::make_unique<PruneVerb>(); }

}  // namespace planish

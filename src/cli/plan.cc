// SPDX-License-Identifier: Apache-2.0
// `planish plan`: parameters, memory, state and context of any config, memory and work of training it, or how fast it would
// decode by its blocks, without weights.
#include "base/log.h"
#include "base/memory.h"
#include "cli/config_source.h"
#include "cli/verbs.h"
#include "compress/step_prediction.h"
#include "model/planner.h"
#include "train/train_cost.h"
#include "train/train_plan.h"

namespace planish {
namespace {

class PlanVerb : public Verb {
 public:
  const char* name() const override { return "plan"; }
  const char* group() const override { return "measure"; }
  const char* summary() const override {
    return "what a config needs: parameters, weights, KV, states, largest context and batch; or, "
           "with --train, what training it needs, or, with --measure, how fast it would decode "
           "here";
  }
  const char* examples() const override {
    return "  planish plan nano-9b-v2 --context 131072 --memory 22GiB\n  planish plan "
           "my-model/config.json --batch 8 --json\n  planish plan nano-9b-v2 --train --lora 16 "
           "--seq-len 512 --recompute full\n  planish plan nano-12b-v2 nano-9b-v2 --measure "
           "--dtype "
           "q4_0 --batch 8 --context 8192";
  }
  void Declare(OptionSet* options) override {
    names_help_ = ConfigSourceHelp();
    options->Positional("config", &configs_, names_help_.c_str());
    options->Text("-m,--model", &model_, "the same, as an option");
    options->Int("--context,--ctx", &context_, 0, static_cast<int64_t>(limits::kContext),
                 "tokens in each sequence's cache");
    options->Int("-b,--batch", &batch_, 1, static_cast<int64_t>(limits::kBatch), "sequences");
    options->Choice("--dtype", &dtype_, {"f32", "bf16", "f16", "q8_0", "q4_0", "q4_k", "q6_k"},
                    "type of the weights");
    options->Choice("--kv-dtype", &kv_dtype_, {"f32", "bf16", "f16", "q8_0"},
                    "type of the KV cache");
    options->Bytes("--memory", &memory_,
                   "budget for largest context and batch; default: what is free here");
    options->Real("--buffer", &buffer_, 0.0, 1.0, "share of that memory to leave to the system");
    options->Bytes("--reserve", &reserve_,
                   "memory to leave to other things, e.g. a vision encoder");
    options->Flag("--json", &json_, "one JSON object");
    options->Group("Speed of decoding");
    options->Flag("--measure", &measures_,
                  "time blocks of one or several configs in turns on this machine and add them up");
    options->Int("--samples", &samples_, 3, 10'000, "timings of each block, median taken");
    options->Int("--copies", &copies_, 1, 64, "blocks of a kind that are timed in a row");
    options->Group("Training");
    options->Flag("--train", &train_, "memory and work of a training step");
    options->Int("--seq-len", &seq_len_, 2, static_cast<int64_t>(limits::kContext),
                 "tokens of a row");
    options->Int("--micro-samples", &micro_samples_, 1, 1 << 20, "rows of one pass");
    options->Int("--micro-batches", &micro_batches_, 1, 1 << 20, "passes of one step");
    options->Choice("--precision", &precision_, {"f32", "bf16", "fp8"},
                    "operands of matrix products");
    options->Choice("--recompute", &recompute_, {"none", "selective", "full"},
                    "what is computed again on the way back");
    options->Int("--recompute-every", &recompute_every_, 1, static_cast<int64_t>(limits::kLayers),
                 "with full: blocks between kept rows");
    options->Int("--lora", &lora_rank_, 0, 4096,
                 "rank of adapters beside frozen weights of --dtype; 0: all is trained");
    options->TextList("--lora-module", &lora_modules_,
                      "projections that get one, e.g. q_proj; may be repeated; default: all");
    options->Flag("--no-async", &no_async_, "checkpoints without a copy in memory");
  }

  ExitCode Run(const OptionSet&) override {
    if (measures_) return RunMeasure();
    const std::string source = configs_.empty() ? model_ : configs_[0];
    if (source.empty() || configs_.size() > 1)
      throw UsageError("expected one config: a published name, a config.json or a model folder");
    const ModelConfig config = ConfigBySource(source);
    if (train_) return RunTrain(source, config);
    PlanRequest request{.context = static_cast<size_t>(context_),
                        .batch = static_cast<size_t>(batch_)};
    request.weight_dtype = *DTypeFromName(dtype_);
    request.kv_dtype = *DTypeFromName(kv_dtype_);
    const uint64_t memory =
        MemoryBudget(memory_ != 0 ? memory_ : AvailableBytes(), buffer_, reserve_);
    const Plan plan = MakePlan(config, request);
    if (json_)
      PrintJson(plan, config, request, memory);
    else
      PrintText(source, plan, config, request, memory);
    return ExitCode::kOk;
  }

 private:
  ExitCode RunTrain(const std::string& source, const ModelConfig& config) const {
    TrainPlanRequest request;
    request.micro_tokens = static_cast<uint64_t>(seq_len_ * micro_samples_);
    request.micro_batches = static_cast<uint64_t>(micro_batches_);
    request.precision = precision_ == "f32"    ? Precision::kF32
                        : precision_ == "bf16" ? Precision::kBf16
                                               : Precision::kFp8;
    using Kind = Recompute::Kind;
    request.recompute.kind = recompute_ == "none"        ? Kind::kNone
                             : recompute_ == "selective" ? Kind::kSelective
                                                         : Kind::kFull;
    request.recompute.every = static_cast<size_t>(recompute_every_);
    request.has_async_checkpoints = !no_async_;
    request.lora_rank = static_cast<uint64_t>(lora_rank_);
    request.lora_modules = lora_modules_;
    const Plan stored = MakePlan(config, {.weight_dtype = *DTypeFromName(dtype_)});
    request.base_bytes = lora_rank_ > 0 ? stored.weight_bytes : 0;
    const TrainPlan plan = PlanTraining(config, request);
    const Flops flops = StepFlopsOf(config, request.lora_rank, request.lora_modules);
    const double work = flops.per_token + flops.per_context * static_cast<double>(seq_len_) / 2;
    const uint64_t memory =
        MemoryBudget(memory_ != 0 ? memory_ : AvailableBytes(), buffer_, reserve_);
    const std::pair<const char*, uint64_t> parts[] = {
        {"weights", plan.weights},         {"gradients", plan.gradients},
        {"moments", plan.moments},         {"checkpoint", plan.snapshot},
        {"activations", plan.activations}, {"workspace", plan.workspace},
        {"kernels", plan.kernels},         {"program", plan.program}};
    if (json_) {
      Json json = Json::MakeObject();
      json.Set("parameters", stored.parameters);
      json.Set("trained_parameters", plan.trained);
      for (const auto& [name, bytes] : parts) json.Set(std::string(name) + "_bytes", bytes);
      json.Set("total_bytes", plan.total());
      json.Set("memory_bytes", memory);
      json.Set("flops_per_token", work);
      fmt::print("{}\n", DumpJson(json));
      return ExitCode::kOk;
    }
    fmt::print("{:<18} {}: {} layers ({})\n", "config", source, config.n_layers,
               DescribeBlocks(config));
    fmt::print("{:<18} {}, {} trained\n", "parameters", stored.parameters, plan.trained);
    for (const auto& [name, bytes] : parts) fmt::print("{:<18} {}\n", name, GiB(bytes));
    fmt::print("{:<18} {}\n", "total", GiB(plan.total()));
    fmt::print("{:<18} {}\n", "in " + GiB(memory),
               plan.total() <= memory ? "fits" : "does not fit");
    fmt::print("{:<18} {:.3g} FLOP (forward and backward)\n", "work a token", work);
    return ExitCode::kOk;
  }

  ExitCode RunMeasure() const {
    if (train_) throw UsageError("--measure and --train exclude each other");
    std::vector<std::string> sources = configs_;
    if (!model_.empty()) sources.insert(sources.begin(), model_);
    if (sources.empty()) throw UsageError("--measure needs a config, or several");
    std::vector<ModelConfig> configs;
    for (const std::string& source : sources) configs.push_back(ConfigBySource(source));
    const CostSetting setting{true, static_cast<size_t>(batch_), static_cast<size_t>(context_)};
    MeasureOptions measure{.samples = static_cast<size_t>(samples_),
                           .copies = static_cast<size_t>(copies_)};
    measure.progress = [](size_t done, size_t all, const std::string& what) {
      LogInfo("blocks: {} of {}, {}", done, all, what);
    };
    PredictionConditions conditions{.weights = *DTypeFromName(dtype_)};
    conditions.states.kv = *DTypeFromName(kv_dtype_);
    const std::vector<Seconds> steps = PredictSteps(configs, conditions, setting, measure);
    Json list = Json::MakeArray();
    for (size_t i = 0; i < configs.size(); ++i) {
      const uint64_t parameters = MakePlan(configs[i], {}).parameters;
      const double rate = static_cast<double>(batch_) / steps[i].median;
      if (json_) {
        Json json = Json::MakeObject();
        json.Set("config", sources[i]);
        json.Set("parameters", parameters);
        json.Set("step_s", SecondsToJson(steps[i]));
        json.Set("tokens_per_s", rate);
        list.Append(std::move(json));
      } else {
        fmt::print("{:<22} {:>15} parameters, {}: {:.2f} ms [{:.2f}, {:.2f}], {:.2f} tokens/s\n",
                   sources[i], parameters, Describe(setting), 1e3 * steps[i].median,
                   1e3 * steps[i].low, 1e3 * steps[i].high, rate);
      }
    }
    if (json_) {
      Json json = Json::MakeObject();
      json.Set("batch", batch_);
      json.Set("context", context_);
      json.Set("weights", dtype_);
      json.Set("kv", kv_dtype_);
      json.Set("configs", std::move(list));
      fmt::print("{}\n", DumpJson(json));
    }
    return ExitCode::kOk;
  }

  void PrintJson(const Plan& plan, const ModelConfig& config, const PlanRequest& request,
                 uint64_t memory) const {
    Json json = Json::MakeObject();
    json.Set("parameters", plan.parameters);
    json.Set("weight_bytes", plan.weight_bytes);
    json.Set("kv_bytes_per_token", plan.kv_bytes_per_token);
    json.Set("state_bytes", plan.state_bytes);
    json.Set("ssm_state_bytes", plan.ssm_state_bytes);
    json.Set("conv_state_bytes", plan.conv_state_bytes);
    json.Set("cache_bytes", plan.cache_bytes);
    json.Set("total_bytes", plan.total_bytes);
    json.Set("resident_bytes", plan.resident_bytes);
    json.Set("flops_per_token", plan.flops_per_token);
    json.Set("decode_bytes_per_step", plan.decode_bytes_per_step);
    Json parts = Json::MakeObject();
    parts.Set("embedding", plan.embedding_parameters);
    parts.Set("attention", plan.attention_parameters);
    parts.Set("mamba2", plan.mamba_parameters);
    parts.Set("ffn", plan.ffn_parameters);
    parts.Set("linear", plan.linear_parameters);
    json.Set("parameters_by_part", std::move(parts));
    json.Set("memory_bytes", memory);
    json.Set("largest_context", static_cast<uint64_t>(LargestContext(config, request, memory)));
    json.Set("largest_batch", static_cast<uint64_t>(LargestBatch(config, request, memory)));
    fmt::print("{}\n", DumpJson(json));
  }

  void PrintText(const std::string& source, const Plan& plan, const ModelConfig& config,
                 const PlanRequest& request, uint64_t memory) const {
    const auto row = [](const std::string& label, const std::string& value) {
      fmt::print("{:<18} {}\n", label, value);
    };
    row("config", fmt::format("{}: {}, {} layers ({})", source, ModelType(config.family),
                              config.n_layers, DescribeBlocks(config)));
    row("parameters", std::to_string(plan.parameters));
    row("weights", fmt::format("{} in {}", GiB(plan.weight_bytes), dtype_));
    row("KV a token", fmt::format("{} bytes in {}", plan.kv_bytes_per_token, kv_dtype_));
    row("state a sequence", fmt::format("{:.1f} MiB (SSM {:.1f} in f32, conv {:.2f} in bf16)",
                                        static_cast<double>(plan.state_bytes) / (1 << 20),
                                        static_cast<double>(plan.ssm_state_bytes) / (1 << 20),
                                        static_cast<double>(plan.conv_state_bytes) / (1 << 20)));
    row("cache", fmt::format("{} for {} sequence(s) of {} tokens", GiB(plan.cache_bytes),
                             request.batch, request.context));
    row("total", GiB(plan.total_bytes));
    row("resident", GiB(plan.resident_bytes) +
                        " when running (embedding left in the file, whole "
                        "pages, buffers of a step)");
    row("work a token", fmt::format("{:.2f} GFLOP forward at {} tokens of context",
                                    plan.flops_per_token / 1e9, request.context));
    row("decode traffic",
        fmt::format("{} a step", GiB(static_cast<uint64_t>(plan.decode_bytes_per_step))));
    const size_t largest = LargestContext(config, request, memory);
    row("in " + GiB(memory), plan.total_bytes <= memory ? "fits" : "does not fit");
    row("largest context", largest == 0
                               ? "none: the weights and states alone do not fit"
                               : fmt::format("{} tokens at batch {}", largest, request.batch));
    row("largest batch",
        fmt::format("{} at {} tokens", LargestBatch(config, request, memory), request.context));
  }

  std::vector<std::string> configs_;
  std::string names_help_, model_, dtype_ = "bf16", kv_dtype_ = "bf16";
  int64_t context_ = 0, batch_ = 1;
  uint64_t memory_ = 0, reserve_ = 0;
  double buffer_ = 0.0;
  bool json_ = false;
  bool train_ = false, no_async_ = false, measures_ = false;
  int64_t samples_ = 15, copies_ = 3;
  int64_t seq_len_ = 1024, micro_samples_ = 1, micro_batches_ = 1, recompute_every_ = 1,
          lora_rank_ = 0;
  std::string precision_ = "bf16", recompute_ = "selective";
  std::vector<std::string> lora_modules_;
};

}  // namespace

std::unique_ptr<Verb> MakePlan() { return std::make_unique<PlanVerb>(); }

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// `planish plan`: parameters, memory, state and context of any config, without weights.
#include "base/memory.h"
#include "cli/config_source.h"
#include "cli/verbs.h"
#include "model/planner.h"

namespace planish {
namespace {

class PlanVerb : public Verb {
 public:
  const char* name() const override { return "plan"; }
  const char* group() const override { return "measure"; }
  const char* summary() const override {
    return "what a config needs: parameters, weights, KV, states, largest context and batch";
  }
  const char* examples() const override {
    return "  planish plan nano-9b-v2 --context 131072 --memory 22GiB\n  planish plan "
           "my-model/config.json --batch 8 --json";
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
  }

  ExitCode Run(const OptionSet&) override {
    const std::string source = configs_.empty() ? model_ : configs_[0];
    if (source.empty() || configs_.size() > 1)
      throw UsageError("expected one config: a published name, a config.json or a model folder");
    const ModelConfig config = ConfigBySource(source);
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
};

}  // namespace

std::unique_ptr<Verb> MakePlan() { return std::make_unique<PlanVerb>(); }

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// `planish info`: what a model is, what it needs here, and what its templates and defaults say.
#include <cmath>

#include "base/memory.h"
#include "cli/model_options.h"
#include "cli/verbs.h"
#include "infer/generate.h"
#include "infer/grammar.h"
#include "model/planner.h"

namespace planish {
namespace {

void PrintLimits() {
  const std::pair<const char*, uint64_t> table[] = {
      {"safetensors header bytes", limits::kSafetensorsHeaderBytes},
      {"tensors per file", limits::kTensorsPerFile},
      {"shards", limits::kShards},
      {"dimensions of a tensor", limits::kDims},
      {"one dimension", limits::kDimSize},
      {"GGUF keys", limits::kGgufKeys},
      {"GGUF string bytes", limits::kGgufStringBytes},
      {"GGUF array elements", limits::kGgufArrayElements},
      {"GGUF alignment", limits::kGgufAlignmentMax},
      {"layers", limits::kLayers},
      {"heads", limits::kHeads},
      {"vocabulary", limits::kVocabSize},
      {"hidden size", limits::kHiddenSize},
      {"FFN width", limits::kIntermediateSize},
      {"context", limits::kContext},
      {"config.json bytes", limits::kConfigBytes},
      {"tokenizer.json bytes", limits::kTokenizerBytes},
      {"added tokens", limits::kAddedTokens},
      {"merges", limits::kMerges},
      {"JSON depth", limits::kJsonDepth},
      {"JSON values", limits::kJsonValues},
      {"tokenizer.json values", limits::kTokenizerJsonValues},
      {"JSONL line bytes", limits::kJsonlLineBytes},
      {"training document bytes", limits::kDocumentBytes},
      {"template bytes", limits::kTemplateBytes},
      {"template nesting", limits::kTemplateNesting},
      {"template steps", limits::kTemplateSteps},
      {"template output bytes", limits::kTemplateOutputBytes},
      {"template range()", limits::kTemplateRange},
      {"template string repeat bytes", limits::kTemplateStringBytes},
      {"regex match steps", limits::kRegexMatch},
      {"regex depth", limits::kRegexDepth},
      {"regex heap KiB", limits::kRegexHeapKiB},
      {"regex pattern bytes", limits::kRegexPatternBytes},
      {"batch", limits::kBatch},
      {"answer schema bytes", limits::kSchemaBytes},
      {"answer schema depth", limits::kSchemaDepth},
      {"answer schema references", limits::kSchemaRefs},
      {"answer schema pattern bytes", limits::kSchemaPatternBytes},
      {"grammar rules", limits::kGrammarRules},
      {"grammar repeat", limits::kGrammarRepeat},
      {"grammar states", limits::kGrammarStates},
      {"grammar compile ms", limits::kGrammarCompileMs},
      {"grammar stack", limits::kGrammarStack},
  };
  for (const auto& [name, value] : table) fmt::print("{:<30} {:>16}\n", name, value);
}

// Counts values that are NaN or infinite in every parameter.
std::vector<std::string> NotFinite(Model* model) {
  std::vector<std::string> found;
  model->VisitParams([&](const Param& param) {
    size_t bad = 0;
    if (param.vector != nullptr) {
      for (size_t i = 0; i < param.vector->elements(); ++i)
        bad += !std::isfinite(param.vector->f32()[i]);
    } else {
      std::vector<float> row(param.weight->in());
      for (size_t r = 0; r < param.weight->out(); ++r) {
        param.weight->DequantizeRow(r, row.data());
        for (const float value : row) bad += !std::isfinite(value);
      }
    }
    if (bad > 0) found.push_back(fmt::format("{} ({} values)", param.name, bad));
  });
  return found;
}

const char* ToggleName(ThinkingSupport::Toggle toggle) {
  static constexpr const char* kNames[] = {"none", "/think and /no_think in a message",
                                           "enable_thinking",
                                           "detailed thinking on|off in the system prompt"};
  return kNames[static_cast<size_t>(toggle)];
}

class InfoVerb : public Verb {
 public:
  const char* name() const override { return "info"; }
  const char* group() const override { return "measure"; }
  const char* summary() const override {
    return "describe a model: layers, sizes, states, thinking, defaults";
  }
  const char* examples() const override {
    return "  planish info -m models/SmolLM2-135M-Instruct.Q4_1.gguf\n  planish info -m my-model "
           "--check-weights --json";
  }
  void Declare(OptionSet* options) override {
    model_.Declare(options, /*required=*/false);
    options->Group("Output");
    options->Flag("--json", &json_, "one JSON object");
    options->Flag("--limits", &limits_, "print the hard limits on input files and exit");
    options->Flag("--check-weights", &check_weights_,
                  "read every weight; NaN or infinity is an error");
  }

  ExitCode Run(const OptionSet&) override {
    if (limits_) {
      PrintLimits();
      return ExitCode::kOk;
    }
    if (model_.model.empty()) throw UsageError("-m MODEL is missing");
    Pretrained opened = model_.Open(/*needs_tokenizer=*/false, /*checks_memory=*/false);
    if (check_weights_) {
      const std::vector<std::string> bad = NotFinite(opened.model.get());
      if (!bad.empty())
        throw BadFile("{}: NaN or infinite values in {} tensors, first {}", opened.path, bad.size(),
                      bad[0]);
    }
    const size_t context = model_.ContextFor(opened.config);
    const Plan plan =
        MakePlan(opened.config, EngineRequest(context, 1, model_.Mode().state_types()));
    if (json_)
      PrintJson(opened, plan);
    else
      PrintText(&opened, plan, context);
    return ExitCode::kOk;
  }

 private:
  void PrintJson(const Pretrained& opened, const Plan& plan) const {
    const ModelConfig& config = opened.config;
    Json json = Json::MakeObject();
    json.Set("name", opened.name);
    json.Set("format", opened.format);
    json.Set("model_type", ModelType(config.family));
    json.Set("parameters", plan.parameters);
    json.Set("file_bytes", opened.file_bytes);
    Json blocks = Json::MakeObject();
    for (size_t kind = 0; kind < std::size(kMixerNames); ++kind)
      blocks.Set(kMixerNames[kind], static_cast<uint64_t>(config.CountBlocks(kind)));
    json.Set("blocks", std::move(blocks));
    json.Set("layers", static_cast<uint64_t>(config.n_layers));
    json.Set("hidden_size", static_cast<uint64_t>(config.hidden_size));
    json.Set("vocab_size", static_cast<uint64_t>(config.vocab_size));
    json.Set("max_position", static_cast<uint64_t>(config.max_position));
    json.Set("kv_bytes_per_token", plan.kv_bytes_per_token);
    json.Set("state_bytes", plan.state_bytes);
    json.Set("has_tokenizer", opened.tokenizer != nullptr);
    json.Set("has_chat_template", opened.chat_template != nullptr);
    json.Set("thinking", opened.thinking.supported);
    fmt::print("{}\n", DumpJson(json));
  }

  void PrintText(Pretrained* opened, const Plan& plan, size_t context) const {
    const ThinkingSupport& thinking = opened->thinking;
    const ModelConfig& config = opened->config;
    const auto row = [](const char* label, const std::string& value) {
      fmt::print("{:<16} {}\n", label, value);
    };
    row("name", opened->name);
    row("format", fmt::format("{}, {}", opened->format, GiB(opened->file_bytes)));
    row("family", ModelType(config.family));
    row("parameters", fmt::format("{:L}", plan.parameters));
    row("layers", fmt::format("{}: {} blocks ({})", config.n_layers, config.blocks.size(),
                              DescribeBlocks(config)));
    row("hidden size", std::to_string(config.hidden_size));
    row("vocabulary",
        fmt::format("{}{}", config.vocab_size, config.tie_embeddings ? ", tied head" : ""));
    row("trained context", std::to_string(config.max_position));
    std::string types;
    for (const auto& [type, bytes] : BytesByType(opened->model.get()))
      types += fmt::format("{}{} {:.1f} MiB", types.empty() ? "" : ", ", type,
                           static_cast<double>(bytes) / (1 << 20));
    row("weights", types);
    row("KV cache", fmt::format("{} bytes a token (f32)", plan.kv_bytes_per_token));
    row("recurrent state", fmt::format("{} bytes a sequence (f32)", plan.state_bytes));
    const uint64_t needed = opened->file_bytes + plan.cache_bytes;
    const uint64_t available = model_.memory != 0 ? model_.memory : AvailableBytes();
    row("memory",
        fmt::format("{} with one sequence of {} tokens; {} available: {}", GiB(needed), context,
                    GiB(available), needed <= available ? "fits" : "does not fit"));
    row("tokenizer", opened->tokenizer == nullptr
                         ? "none"
                         : fmt::format("{} tokens", opened->tokenizer->vocab_size()));
    row("chat template", opened->chat_template == nullptr ? "none" : "yes");
    row("thinking", thinking.supported
                        ? fmt::format("yes, by {}; {} by default", ToggleName(thinking.toggle),
                                      thinking.default_on ? "on" : "off")
                        : "no");
    const SamplingParams sampling = DefaultSampling(opened->generation);
    row("sampling",
        fmt::format("temperature {}, top_p {}, top_k {}, min_p {}", sampling.temperature,
                    sampling.top_p, sampling.top_k, sampling.min_p));
  }

  ModelOptions model_;
  bool json_ = false, limits_ = false, check_weights_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeInfo() { return std::make_unique<InfoVerb>(); }

}  // namespace planish

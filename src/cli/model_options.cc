// SPDX-License-Identifier: Apache-2.0
#include "cli/model_options.h"

#include <algorithm>

#include "base/file.h"
#include "base/log.h"
#include "cli/embedded_model.h"
#include "model/adapter.h"

namespace planish {

void ModelOptions::Declare(OptionSet* options, bool required) {
  options->Group("Model");
  options->Text("-m,--model", &model, "Hugging Face folder, GGUF file, or folder of a training run",
                required);
  options->Int("--ctx", &context, 0, static_cast<int64_t>(limits::kContext),
               "tokens a sequence may have; 0: the model's, at most 4096");
  options->Bytes("--memory", &memory, "memory that may be used, e.g. 8GiB; default: what is free");
  options->Flag(
      "--no-mmap", &no_mmap,
      "read the weights into memory instead of mapping the files; fast modes then keep a packed "
      "copy beside them");
}

void ModelOptions::DeclareRun(OptionSet* options, const char* default_act) {
  act = default_act;
  options->Text("--adapter", &adapter, "PEFT folder of a low-rank adapter to run the model with");
  options->Choice("--act", &act, {"auto", "f32", "bf16", "int8"},
                  "type in which activations are multiplied; f32 is exact, auto the fastest for "
                  "the weights and this machine");
  options->Choice("--kv", &kv, {"auto", "f32", "bf16", "f16", "q8_0"},
                  "type of the KV cache; auto: f32 with --act f32, else bf16");
  options->Choice("--ssm", &ssm, {"f32", "bf16"}, "type of the recurrent states of Mamba-2");
}

size_t ModelOptions::ContextFor(const ModelConfig& config) const {
  if (context == 0) return std::min(config.max_position, kDefaultContext);
  const auto wanted = static_cast<size_t>(context);
  if (wanted > config.max_position)
    LogWarning("--ctx {} is more than the {} positions the model was made for", wanted,
               config.max_position);
  return wanted;
}

RunMode ModelOptions::Mode() const {
  RunMode mode;
  mode.act = act == "auto"   ? std::optional<ActMode>()
             : act == "bf16" ? ActMode::kBf16
             : act == "int8" ? ActMode::kInt8
                             : ActMode::kF32;
  if (kv != "auto") mode.kv = *DTypeFromName(kv);
  mode.ssm = *DTypeFromName(ssm);
  return mode;
}

namespace {

// The newest checkpoint of a training run's folder, as its `latest` says; any other path as it is.
std::string NewestCheckpoint(const std::string& path) {
  const std::string checkpoints = path + "/checkpoints", hint = checkpoints + "/latest";
  if (!IsDirectory(path) || FileExists(path + "/config.json") || !FileExists(hint)) return path;
  std::string name = ReadFile(hint, 4096);
  while (!name.empty() && name.back() == '\n') name.pop_back();
  const bool is_name = !name.empty() && name.find('/') == std::string::npos && name != "..";
  return is_name ? checkpoints + "/" + name : path;
}

}  // namespace

std::string ModelOptions::Path() const {
  const bool is_embedded =
      model.empty() || (model == kEmbeddedModel && !FileExists(model) && !IsDirectory(model));
  if (!is_embedded) return NewestCheckpoint(model);
  const std::string path = FindEmbeddedModel();
  if (path.empty())
    throw Error(ExitCode::kUsage,
                fmt::format("--model is not given, and {} was not found beside the program",
                            kEmbeddedModel),
                "-m MODEL");
  return path;
}

Pretrained ModelOptions::Open(bool needs_tokenizer, bool checks_memory) const {
  OpenOptions open;
  open.access = no_mmap ? FileBytes::Access::kRead : FileBytes::Access::kMap;
  open.needs_tokenizer = needs_tokenizer;
  open.checks_memory = checks_memory;
  open.memory_limit = memory;
  open.context = static_cast<size_t>(context);
  open.run = Mode();
  Pretrained opened = OpenPretrained(Path(), open);
  if (!adapter.empty()) LoadAdapter(adapter, opened.model.get());
  return opened;
}

void ThinkingOptions::Declare(OptionSet* options) {
  options->Group("Thinking");
  options->Choice("--think", &think, {"default", "on", "off"}, "thinking toggle");
  options->Int("--thinking-budget", &budget, -1, static_cast<int64_t>(limits::kContext),
               "tokens of reasoning before it is closed; -1: no limit, 0: off");
  options->Choice("--toggle", &toggle, {"auto", "slash", "enable_thinking", "detailed"},
                  "how this model is told; auto finds out from its chat template. detailed: "
                  "Llama-Nemotron's system line");
}

void ThinkingOptions::Apply(Pretrained* opened) const {
  ThinkingSupport& support = opened->thinking;
  if (toggle == "auto") {
    if (support.supported || (think != "on" && budget <= 0)) return;
    throw Error(
        ExitCode::kUsage,
        fmt::format("{} has no thinking mode: its chat template reacts to no toggle", opened->name),
        "a reasoning model, or --toggle if you know how this one is told");
  }
  support.supported = true;
  support.kwarg = "enable_thinking";
  support.toggle = toggle == "slash"      ? ThinkingSupport::Toggle::kSlashCommand
                   : toggle == "detailed" ? ThinkingSupport::Toggle::kDetailedThinking
                                          : ThinkingSupport::Toggle::kKwarg;
}

Thinking ThinkingOptions::Resolve() const {
  return budget == 0 || think == "off" ? Thinking::kOff
         : think == "on"               ? Thinking::kOn
                                       : Thinking::kDefault;
}

void SamplingOptions::Declare(OptionSet* options) {
  options->Group("Sampling (defaults: the model's generation_config.json)");
  options->Flag("--greedy", &greedy, "always the likeliest token; same as --temperature 0");
  options->Real("--temperature", &temperature, 0.0, 100.0, "0 is greedy");
  options->Real("--top-p", &top_p, 0.0, 1.0, "smallest set of tokens with this much probability");
  options->Int("--top-k", &top_k, 0, static_cast<int64_t>(limits::kVocabSize),
               "the k likeliest tokens; 0: all");
  options->Real("--min-p", &min_p, 0.0, 1.0,
                "tokens with at least this share of the likeliest one's probability");
  options->Real("--repetition-penalty", &repetition_penalty, 0.001, 100.0,
                "above 1: tokens seen before become less likely");
  options->Real("--frequency-penalty", &frequency_penalty, -100.0, 100.0,
                "subtracted once for every occurrence in the answer");
  options->Real("--presence-penalty", &presence_penalty, -100.0, 100.0,
                "subtracted for any occurrence in the answer");
  options->Int("--seed", &seed, 0, INT64_MAX, "same seed, same answer");
}

SamplingParams SamplingOptions::Merge(const OptionSet& options,
                                      const GenerationDefaults& defaults) const {
  SamplingParams params = DefaultSampling(defaults);
  if (options.WasGiven("--temperature")) params.temperature = temperature;
  if (options.WasGiven("--top-p")) params.top_p = top_p;
  if (options.WasGiven("--top-k")) params.top_k = top_k;
  if (options.WasGiven("--min-p")) params.min_p = min_p;
  if (options.WasGiven("--repetition-penalty")) params.repetition_penalty = repetition_penalty;
  params.frequency_penalty = frequency_penalty;
  params.presence_penalty = presence_penalty;
  params.seed = static_cast<uint64_t>(seed);
  if (greedy) params.temperature = 0.0;
  return params;
}

}  // namespace planish

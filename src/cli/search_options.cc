// SPDX-License-Identifier: Apache-2.0
#include "cli/search_options.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "cli/input.h"
#include "compress/scores.h"
#include "tensor/blocks.h"

namespace planish {

Target ParseTarget(const char* option, const std::string& text, TargetUnit unit) {
  const auto fail = [&]() -> Target {
    static constexpr const char* kExamples[] = {"12.5, in milliseconds", "2GiB", "100M", "250"};
    throw UsageError("{} is {}, expected e.g. {}, or a share of the parent's such as 70%", option,
                     Quoted(text), kExamples[static_cast<size_t>(unit)]);
  };
  size_t used = 0;
  double number = -1;
  try {
    number = std::stod(text, &used);
  } catch (const std::exception&) {
  }
  if (!(number > 0) || !std::isfinite(number)) return fail();
  std::string rest = text.substr(used);
  if (rest == "%") return {number / 100, true};
  if (unit == TargetUnit::kBytes) return {static_cast<double>(ParseBytes(text)), false};
  if (unit == TargetUnit::kMilliseconds && (rest.empty() || rest == "ms"))
    return {number / 1e3, false};
  if (unit == TargetUnit::kCount && rest == "K") return {number * 1e3, false};
  if (unit == TargetUnit::kCount && rest == "M") return {number * 1e6, false};
  if (unit == TargetUnit::kCount && rest == "B") return {number * 1e9, false};
  if (!rest.empty() || unit == TargetUnit::kMilliseconds) return fail();
  return {number, false};
}

void SearchOptions::Declare(OptionSet* options) {
  const auto context = static_cast<int64_t>(limits::kContext);
  options->Group("Parent and result");
  options->Text("-m,--model", &model.model, "Hugging Face folder, or GGUF file, of the parent",
                true);
  options->Text(
      "-o,--output", &output,
      "folder for library, scores, costs, solutions and models; an earlier search there is "
      "gone on with",
      true);
  options->Text("--name", &solution_name, "solutions are called NAME_1, NAME_2, ...");
  options->Choice("--type", &type, {"bf16", "f16", "f32"}, "type of the models that are written");
  options->Group("Text");
  options->TextList("--data", &data,
                    "JSONL, text or token files to distill, score and compare on; a fifth of the "
                    "documents is held out for scores and comparison");
  options->Int("--samples", &samples, 1, 1 << 24,
               "rows of text for distillation, read again and again until --tokens are through");
  options->Int("--seq-len", &seq_len, 2, context, "tokens of a row");
  options->Int("--score-samples", &score_samples, 1, 1 << 24, "held-out rows for scores");
  options->Int("--eval-samples", &eval_samples, 0, 1 << 24,
               "further held-out rows on which models are compared with the parent; 0: none");
  options->Int("--seed", &seed, 0, INT64_MAX / 2, "of the choice of rows, training and the solver");
  options->Group("Candidates of each block");
  options->Text("--attention", &space.attention,
                "for attention: kv=4,2,1 KV heads, linear, none; empty: the parent's alone");
  options->Text("--ffn", &space.ffn, "for FFNs: percent of the width, linear, none");
  options->Text("--mamba", &space.mamba,
                "for Mamba-2: heads=..., head_dim=... in numbers or percent, linear, none");
  options->Int("--tokens", &tokens_, 0, int64_t{1} << 40,
               "each child is distilled on; 0: as initialised");
  options->Real("--lr", &library.lr, 0, 1, "peak learning rate of distillation");
  options->Choice(
      "--metric", &metric, {"kl", "loss", "cosine", "top1"},
      "what a child's score is: KL to the parent, increase of the loss, distance of last "
      "hidden states, share of other first choices");
  options->Group("Costs, measured on this machine");
  options->Text("--weights", &weights, "type of weights that latency and memory are of, e.g. q8_0");
  options->Choice("--act", &act, {"auto", "f32", "bf16", "int8"}, "type of activations");
  options->Choice("--kv", &kv, {"auto", "f32", "bf16", "f16", "q8_0"},
                  "type of the KV cache; auto: f32 with --act f32, else bf16");
  options->Choice("--ssm", &ssm, {"f32", "bf16"}, "type of the recurrent states of Mamba-2");
  options->Int("--cost-samples", &cost_samples_, 3, 10'000, "timings of each entry, median taken");
  options->Int("--copies", &copies_, 1, 64, "blocks of a kind that are timed in a row");
  options->Group("Limits; 70% is a share of the parent's value");
  options->Text("--max-latency", &max_latency, "of a decode step of the whole batch, ms");
  options->Text("--max-memory", &max_memory, "weights, KV and states of the batch, e.g. 2GiB");
  options->Text("--max-params", &max_params, "parameters, e.g. 100M");
  options->Text("--min-throughput", &min_throughput,
                "new tokens a second, of a batch of requests with --prompt and --new-tokens");
  options->Text("--max-ttft", &max_ttft, "time from a prompt of --prompt tokens to its answer, ms");
  options->TextList("--count", &counts, "blocks of a kind: attention>=4, mamba2<=10");
  options->IntList(
      "-b,--batch", &batches, 1, static_cast<int64_t>(limits::kBatch),
      "sequences of a decode step; of several the one with the best solution is taken");
  options->Int("--context", &context_, 0, context, "tokens that each sequence holds");
  options->Int("--prompt", &prompt_, 1, context, "tokens of a prompt");
  options->Int("--new-tokens", &new_tokens_, 1, context, "tokens of an answer");
  options->Group("Solutions");
  options->Int("--solutions", &solutions_, 1, 1000, "how many");
  options->Real("--diversity", &solve.diversity, 0, 1,
                "share of the blocks in which each two solutions differ");
  options->Real("--gap", &solve.gap, 0, 1, "relative distance to the best that is good enough");
  options->Real("--time-limit", &solve.seconds, 0.1, 86400, "seconds of the solver for a solution");
  options->Text("--baseline", &baselines,
                "also models of uniform pruning, as fast as the first solution: depth (layers of "
                "least scores), depth-even (evenly spaced ones), width, with commas between");
  options->Int("--random", &random, 0, 100'000,
               "also compare this many choices by chance: do scores add up?");
  options->Flag("--measure", &measures, "measure the latency of parent and models, too");
  options->Group("Stages");
  options->Flag("--build-only", &build_only, "library, scores and costs, no solution");
  options->Flag("--mip-only", &mip_only, "solve again under these limits with what is there");
  options->Flag("--solve-only", &solve_only, "write no models, only which blocks they would have");
  options->Real("--minutes", &minutes, 0, 1e6,
                "stop after about this long, to go on later; 0: never");
  options->Flag("--json", &is_json, "one JSON object");
}

void SearchOptions::Resolve() {
  if (build_only && mip_only) throw UsageError("--build-only and --mip-only exclude each other");
  if (!mip_only && data.empty())
    throw UsageError("--data is not given: text to distill and score on");
  if (solution_name.empty() || solution_name.find('/') != std::string::npos ||
      solution_name.starts_with("."))
    throw UsageError("--name is {}, expected a name of files", Quoted(solution_name));
  Weights();
  for (const std::string& baseline : Baselines())
    if (baseline != "depth" && baseline != "depth-even" && baseline != "width")
      throw UsageError("--baseline is {}, expected depth, depth-even or width", Quoted(baseline));
  targets.context = static_cast<size_t>(context_);
  targets.prompt = static_cast<size_t>(prompt_);
  targets.new_tokens = static_cast<size_t>(new_tokens_);
  const auto parse = [](const char* option, const std::string& text, TargetUnit unit) {
    return text.empty() ? std::optional<Target>() : ParseTarget(option, text, unit);
  };
  targets.latency = parse("--max-latency", max_latency, TargetUnit::kMilliseconds);
  targets.memory = parse("--max-memory", max_memory, TargetUnit::kBytes);
  targets.parameters = parse("--max-params", max_params, TargetUnit::kCount);
  targets.throughput = parse("--min-throughput", min_throughput, TargetUnit::kPlain);
  targets.first_token = parse("--max-ttft", max_ttft, TargetUnit::kMilliseconds);
  for (const std::string& text : counts) targets.counts.push_back(ParseCount(text));
  const bool has_limit = targets.latency || targets.memory || targets.parameters ||
                         targets.throughput || targets.first_token || !targets.counts.empty();
  if (!build_only && !has_limit)
    throw Error(ExitCode::kUsage, "no limit is given, so the parent itself is the best choice",
                "e.g. --max-latency 70%");
  library.tokens = static_cast<uint64_t>(tokens_);
  measure.samples = static_cast<size_t>(cost_samples_);
  measure.copies = static_cast<size_t>(copies_);
  solve.count = static_cast<size_t>(solutions_);
  solve.seed = static_cast<uint64_t>(seed) + 1;
}

DType SearchOptions::Weights() const {
  const std::optional<DType> found = DTypeFromName(weights);
  if (!found || !CanQuantize(*found))
    throw UsageError("--weights is {}, expected a type that can be written, e.g. bf16, q8_0, q4_0",
                     Quoted(weights));
  return *found;
}

std::optional<ActMode> SearchOptions::Act() const {
  if (act == "auto") return std::nullopt;
  return act == "bf16" ? ActMode::kBf16 : act == "int8" ? ActMode::kInt8 : ActMode::kF32;
}

StateTypes SearchOptions::States() const {
  StateTypes states;
  states.kv = kv != "auto" ? *DTypeFromName(kv) : act == "f32" ? DType::kF32 : DType::kBF16;
  states.ssm = *DTypeFromName(ssm);
  return states;
}

std::vector<std::string> SearchOptions::Baselines() const { return SplitAtCommas(baselines); }

Json SearchOptions::ToJson() const {
  Json json = Json::MakeObject();
  Json files = Json::MakeArray();
  for (const std::string& file : data) files.Append(file);
  json.Set("data", std::move(files));
  json.Set("samples", samples);
  json.Set("seq_len", seq_len);
  json.Set("score_samples", score_samples);
  json.Set("eval_samples", eval_samples);
  json.Set("seed", seed);
  json.Set("attention", space.attention);
  json.Set("ffn", space.ffn);
  json.Set("mamba", space.mamba);
  json.Set("tokens", tokens_);
  json.Set("lr", library.lr);
  json.Set("metric", metric);
  json.Set("weights", weights);
  json.Set("act", act);
  json.Set("kv", kv);
  json.Set("ssm", ssm);
  json.Set("max_latency", max_latency);
  json.Set("max_memory", max_memory);
  json.Set("max_params", max_params);
  json.Set("min_throughput", min_throughput);
  json.Set("max_ttft", max_ttft);
  Json list = Json::MakeArray();
  for (const std::string& count : counts) list.Append(count);
  json.Set("counts", std::move(list));
  Json sizes = Json::MakeArray();
  for (const int64_t batch : batches) sizes.Append(batch);
  json.Set("batches", std::move(sizes));
  json.Set("context", context_);
  json.Set("prompt", prompt_);
  json.Set("new_tokens", new_tokens_);
  json.Set("solutions", solutions_);
  json.Set("diversity", solve.diversity);
  json.Set("gap", solve.gap);
  json.Set("type", type);
  return json;
}

}  // namespace planish

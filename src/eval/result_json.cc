// SPDX-License-Identifier: Apache-2.0
#include "eval/result_json.h"

#include "base/error.h"
#include "base/hash.h"

namespace planish {
namespace {

Json Count(size_t n) { return Json(static_cast<int64_t>(n)); }

Json ShareJson(const Share& share) {
  return Json::Object{{"accuracy", share.mean},
                      {"interval", Json::Array{share.interval.low, share.interval.high}},
                      {"n", Count(share.n)}};
}

template <typename Key>
Json GroupsJson(const std::map<Key, Share>& groups) {
  Json json = Json::MakeObject();
  for (const auto& [key, share] : groups) json.Set(fmt::format("{}", key), ShareJson(share));
  return json;
}

Json SettingJson(const Summary& s) {
  Json json = Json::MakeObject();
  json.Set("thinking", Name(s.setting));
  json.Set("budget", s.setting.budget);
  json.Set("accuracy", s.accuracy.mean);
  json.Set("interval", Json::Array{s.accuracy.interval.low, s.accuracy.interval.high});
  json.Set("stderr", s.accuracy.stderr_);
  json.Set("n", Count(s.items));
  json.Set("answers", Count(s.answers));
  json.Set("by_skill", GroupsJson(s.by_skill));
  json.Set("by_steps", GroupsJson(s.by_steps));
  json.Set("by_digits", GroupsJson(s.by_digits));
  for (const auto& [name, value] : s.metrics) json.Set(name, value);
  json.Set("well_formed", s.well_formed);
  json.Set("toggle_obeyed", s.obeys_toggle);
  json.Set("forced", s.forced);
  json.Set("forced_answers", Count(s.forced_answers));
  json.Set("forced_well_formed", s.forced_answers > 0 ? Json(s.forced_well_formed) : Json());
  json.Set("unfinished", s.unfinished);
  json.Set("no_answer", s.no_answer);
  json.Set("answer_cut", s.cut);
  json.Set("too_long", s.too_long);
  json.Set("errors", s.errors);
  json.Set(
      "thinking_tokens",
      Json::Object{{"mean", s.thinking_mean}, {"p50", s.thinking_p50}, {"p95", s.thinking_p95}});
  json.Set("answer_tokens", s.answer_tokens_mean);
  json.Set("prompt_tokens", Count(s.prompt_tokens));
  json.Set("generated_tokens", Count(s.tokens));
  json.Set("seconds", s.seconds);
  json.Set("tokens_per_s", s.tokens_per_s);
  return json;
}

Json TaskJson(const TaskResult& result) {
  const Summary& first = result.summaries.front();
  Json json = Json::MakeObject();
  json.Set("accuracy", first.accuracy.mean);
  json.Set("interval", Json::Array{first.accuracy.interval.low, first.accuracy.interval.high});
  json.Set("thinking", Name(first.setting));
  json.Set("n", Count(first.items));
  json.Set("version", result.evaluation.version);
  json.Set("data", result.data.empty() ? Json() : Json(result.data));
  json.Set("data_sha256", result.data_sha256.empty() ? Json() : Json(result.data_sha256));
  Json settings = Json::MakeArray();
  for (const Summary& summary : result.summaries) settings.Append(SettingJson(summary));
  json.Set("settings", std::move(settings));
  return json;
}

std::string ResultName(const TaskResult& result, const Summary& summary) {
  return result.summaries.size() == 1
             ? result.evaluation.task
             : fmt::format("{}[thinking={}]", result.evaluation.task, Name(summary.setting));
}

// The keys of lm-eval's results_*.json.
void AddLmEvalKeys(const std::vector<TaskResult>& results, const ResultContext& context,
                   Json* json) {
  Json scores = Json::MakeObject(), configs = Json::MakeObject(), versions = Json::MakeObject(),
       shots = Json::MakeObject(), better = Json::MakeObject(), counts = Json::MakeObject();
  for (const TaskResult& result : results) {
    for (const Summary& summary : result.summaries) {
      const std::string name = ResultName(result, summary);
      scores.Set(name, Json::Object{{"name", name},
                                    {"alias", name},
                                    {"sample_len", Count(summary.items)},
                                    {"exact_match,answer", summary.accuracy.mean},
                                    {"exact_match_stderr,answer", summary.accuracy.stderr_}});
      configs.Set(
          name,
          Json::Object{{"task", result.evaluation.task},
                       {"output_type", "generate_until"},
                       {"num_fewshot", 0},
                       {"repeats", Count(summary.answers / std::max<size_t>(1, summary.items))},
                       {"metadata", Json::Object{{"version", result.evaluation.version}}}});
      versions.Set(name, result.evaluation.version);
      shots.Set(name, 0);
      better.Set(name, Json::Object{{"exact_match", true}});
      counts.Set(name, Json::Object{{"original", Count(summary.items)},
                                    {"effective", Count(summary.items)}});
    }
  }
  json->Set("results", std::move(scores));
  json->Set("configs", std::move(configs));
  json->Set("versions", std::move(versions));
  json->Set("n-shot", std::move(shots));
  json->Set("higher_is_better", std::move(better));
  json->Set("n-samples", std::move(counts));
  const Json* batch = context.model.Find("batch");
  json->Set("config",
            Json::Object{{"model", "planish"},
                         {"model_args", "pretrained=" + context.model_path},
                         {"batch_size", batch != nullptr ? *batch : Json()},
                         {"limit", context.limit == 0 ? Json() : Count(context.limit)},
                         {"bootstrap_iters", 10000},
                         {"gen_kwargs", Json::Object{{"temperature", context.options.temperature},
                                                     {"top_p", context.options.top_p}}},
                         {"random_seed", Json(static_cast<int64_t>(context.options.seed))}});
  json->Set("date", context.date);
  json->Set("total_evaluation_time_seconds", context.seconds);
}

}  // namespace

Json ResultJson(const std::vector<TaskResult>& results, const ResultContext& context) {
  Json json = Json::MakeObject(), tasks = Json::MakeObject();
  for (const TaskResult& result : results) tasks.Set(result.evaluation.task, TaskJson(result));
  json.Set("tasks", std::move(tasks));
  AddLmEvalKeys(results, context, &json);
  const EvalOptions& options = context.options;
  Json ours = Json::MakeObject();
  ours.Set("version", context.version);
  ours.Set("model", context.model);
  ours.Set("seed", static_cast<int64_t>(options.seed));
  ours.Set("samples", Count(options.samples));
  ours.Set("decoding",
           Json::Object{{"thinking_off", "greedy"},
                        {"thinking_on", options.temperature == 0 ? "greedy" : "sampled"},
                        {"temperature", options.temperature},
                        {"top_p", options.top_p}});
  json.Set("planish", std::move(ours));
  return json;
}

std::string SampleLines(const TaskResult& result) {
  std::string lines;
  for (const EvalRun& run : result.evaluation.runs) {
    for (const EvalSample& sample : run.samples) {
      const EvalItem& item = result.evaluation.items[sample.item];
      Json responses = Json::MakeArray(), reasoning = Json::MakeArray();
      std::string ends;
      for (const TextReply& reply : sample.replies) {
        responses.Append(reply.answer);
        reasoning.Append(reply.reasoning);
        ends += (ends.empty() ? "" : ",") + std::string(Name(reply.end));
      }
      Json json = Json::MakeObject();
      json.Set("doc_id", item.id);
      json.Set("doc", Json::Object{{"question", item.question},
                                   {"skill", item.skill},
                                   {"steps", item.steps},
                                   {"digits", item.digits}});
      json.Set("target", item.key);
      json.Set("thinking", Name(run.setting));
      json.Set("choice", static_cast<int64_t>(sample.choice));
      json.Set("resps", std::move(responses));
      json.Set("reasoning", std::move(reasoning));
      json.Set("filtered_resps", Json::Array{sample.verdict.extracted});
      json.Set("exact_match", sample.verdict.score);
      json.Set("reason", sample.verdict.reason);
      json.Set("well_formed", sample.is_well_formed);
      json.Set("toggle_obeyed", sample.obeys_toggle);
      json.Set("thinking_closed_by", ends);
      json.Set("thinking_tokens", Count(sample.reasoning_tokens()));
      json.Set("tokens", Count(sample.tokens()));
      json.Set("doc_hash", Sha256Hex(item.question));
      json.Set("target_hash", Sha256Hex(item.key));
      lines += DumpJson(json) + "\n";
    }
  }
  return lines;
}

}  // namespace planish

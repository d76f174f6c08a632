// SPDX-License-Identifier: Apache-2.0
#include "eval/summary.h"

#include <algorithm>

namespace planish {
namespace {

struct ItemScores {
  double sum = 0;
  size_t n = 0;
};

template <typename Key>
std::map<Key, Share> Groups(const Evaluation& evaluation, const std::vector<double>& scores,
                            bool is_binary, const Key& unknown, Key EvalItem::*field) {
  std::map<Key, std::vector<double>> members;
  for (size_t i = 0; i < scores.size(); ++i) {
    const Key& key = evaluation.items[i].*field;
    if (key != unknown) members[key].push_back(scores[i]);
  }
  std::map<Key, Share> groups;
  for (const auto& [key, values] : members) groups[key] = ShareOf(values, is_binary);
  return groups;
}

}  // namespace

Share ShareOf(const std::vector<double>& item_scores, bool is_binary) {
  Share share{
      .n = item_scores.size(), .mean = Mean(item_scores), .stderr_ = StandardError(item_scores)};
  share.interval = is_binary ? WilsonInterval(share.mean * static_cast<double>(share.n), share.n)
                             : BootstrapInterval(item_scores);
  return share;
}

Summary Summarize(const Evaluation& evaluation, const EvalRun& run) {
  Summary summary{.setting = run.setting,
                  .items = evaluation.items.size(),
                  .answers = run.samples.size(),
                  .seconds = run.seconds};
  std::vector<ItemScores> sums(evaluation.items.size());
  std::vector<double> thinking, answers;
  std::map<std::string, std::vector<double>> metrics;
  bool is_binary = true;
  double well_formed = 0, obeys = 0, forced = 0, unfinished = 0, no_answer = 0, cut = 0,
         too_long = 0, errors = 0, forced_well_formed = 0;
  for (const EvalSample& sample : run.samples) {
    sums[sample.item].sum += sample.verdict.score;
    is_binary = ++sums[sample.item].n == 1 && is_binary &&
                (sample.verdict.score == 0 || sample.verdict.score == 1);
    well_formed += sample.is_well_formed;
    obeys += sample.obeys_toggle;
    forced += sample.is_forced;
    forced_well_formed += sample.is_forced && sample.is_well_formed;
    unfinished += sample.is_unfinished;
    no_answer += !sample.verdict.has_answer;
    thinking.push_back(static_cast<double>(sample.reasoning_tokens()));
    answers.push_back(static_cast<double>(sample.tokens() - sample.reasoning_tokens()));
    summary.tokens += sample.tokens();
    for (const auto& [name, value] : sample.verdict.metrics) metrics[name].push_back(value);
    for (const TextReply& reply : sample.replies) {
      summary.prompt_tokens += reply.prompt_tokens;
      cut += reply.is_cut;
      too_long += reply.is_too_long;
      errors += !reply.error.empty();
    }
  }
  for (const auto& [name, values] : metrics) summary.metrics[name] = Mean(values);
  std::vector<double> scores;
  for (const ItemScores& item : sums)
    scores.push_back(item.n == 0 ? 0 : item.sum / static_cast<double>(item.n));
  summary.accuracy = ShareOf(scores, is_binary);
  summary.by_skill = Groups<std::string>(evaluation, scores, is_binary, "", &EvalItem::skill);
  summary.by_steps = Groups<int>(evaluation, scores, is_binary, 0, &EvalItem::steps);
  summary.by_digits = Groups<int>(evaluation, scores, is_binary, 0, &EvalItem::digits);

  const double n = std::max<double>(1, static_cast<double>(run.samples.size()));
  summary.well_formed = well_formed / n;
  summary.obeys_toggle = obeys / n;
  summary.forced = forced / n;
  summary.unfinished = unfinished / n;
  summary.no_answer = no_answer / n;
  summary.cut = cut / n;
  summary.too_long = too_long / n;
  summary.errors = errors / n;
  summary.forced_answers = static_cast<size_t>(forced);
  summary.forced_well_formed = forced > 0 ? forced_well_formed / forced : 1;
  summary.thinking_mean = Mean(thinking);
  summary.thinking_p50 = Quantile(thinking, 0.5);
  summary.thinking_p95 = Quantile(thinking, 0.95);
  summary.answer_tokens_mean = Mean(answers);
  summary.tokens_per_s = run.seconds > 0 ? static_cast<double>(summary.tokens) / run.seconds : 0;
  return summary;
}

}  // namespace planish

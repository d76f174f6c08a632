// SPDX-License-Identifier: Apache-2.0
#include "eval/evaluation.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "base/stopwatch.h"
#include "text/reasoning.h"

namespace planish {
namespace {

size_t Count(std::string_view text, std::string_view word) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(word, at)) != std::string_view::npos; at += word.size())
    ++count;
  return count;
}

bool IsBlank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// A stream of random numbers of its own for every item: independent of its place, of the batch and of other items.
uint64_t ItemSeed(uint64_t seed, const std::string& id) {
  return Fnv1a(id) ^ (seed * 0x9E3779B97F4A7C15u);
}

}  // namespace

size_t EvalSample::tokens() const {
  size_t total = 0;
  for (const TextReply& reply : replies) total += reply.tokens;
  return total;
}

size_t EvalSample::reasoning_tokens() const {
  size_t total = 0;
  for (const TextReply& reply : replies) total += reply.reasoning_tokens;
  return total;
}

EvalSample Judge(const Task& task, const EvalItem& item, const ThinkingSetting& setting,
                 std::vector<TextReply> replies) {
  EvalSample sample;
  sample.replies = std::move(replies);
  bool has_form = true, obeys = true;
  std::string failure;
  for (const TextReply& reply : sample.replies) {
    const size_t closes = Count(reply.text, kCloseTag);
    if (setting.is_off()) {
      has_form = has_form && closes == 0 && Count(reply.text, kOpenTag) == 0;
      obeys = obeys && has_form;
    } else {
      has_form = has_form && closes == 1;
      obeys = obeys && !IsBlank(reply.reasoning);
    }
    sample.is_forced = sample.is_forced || reply.end == ReasoningEnd::kBudget ||
                       reply.end == ReasoningEnd::kReserve;
    sample.is_unfinished = sample.is_unfinished || reply.end == ReasoningEnd::kUnclosed;
    if (!reply.error.empty()) failure = "error: " + reply.error;
    if (reply.is_too_long) failure = "prompt too long";
  }
  if (failure.empty() && sample.is_unfinished) failure = "unfinished";
  if (failure.empty())
    sample.verdict = task.Check(item, sample.replies);
  else
    sample.verdict.reason = failure;
  sample.is_well_formed = has_form && sample.verdict.has_answer;
  sample.obeys_toggle = obeys && failure.rfind("error", 0) != 0 && failure != "prompt too long";
  return sample;
}

Evaluation Evaluate(const Task& task, std::vector<EvalItem> items, const EvalOptions& options,
                    TextGenerator* generator, const EvalProgress& progress) {
  Evaluation evaluation{.task = task.name(), .version = task.version(), .items = std::move(items)};
  const auto samples_of = [&](const ThinkingSetting& setting) {
    return setting.is_off() || options.temperature == 0 ? size_t{1} : options.samples;
  };
  size_t done = 0, total = 0;
  for (const ThinkingSetting& setting : options.settings)
    total += samples_of(setting) * evaluation.items.size();

  for (const ThinkingSetting& setting : options.settings) {
    EvalRun run{.setting = setting};
    std::vector<TextRequest> requests;
    std::vector<std::pair<size_t, size_t>> owners;  // sample and place among its replies
    for (size_t i = 0; i < evaluation.items.size(); ++i) {
      const std::vector<TextRequest> asked = task.Requests(evaluation.items[i]);
      for (uint64_t choice = 0; choice < samples_of(setting); ++choice) {
        for (size_t part = 0; part < asked.size(); ++part) {
          TextRequest request = asked[part];
          if (options.answer_tokens > 0) request.answer_tokens = options.answer_tokens;
          request.temperature = setting.is_off() ? 0 : options.temperature;
          request.top_p = options.top_p;
          request.seed = ItemSeed(options.seed, evaluation.items[i].id);
          request.choice = choice;
          requests.push_back(std::move(request));
          owners.emplace_back(run.samples.size(), part);
        }
        run.samples.push_back({.item = i, .choice = choice});
        run.samples.back().replies.resize(asked.size());
      }
    }
    std::vector<size_t> missing(run.samples.size());
    for (const auto& owner : owners) ++missing[owner.first];
    size_t right = 0, judged = 0;
    Stopwatch watch;
    generator->Run(requests, setting, [&](size_t index, TextReply reply) {
      const auto [place, part] = owners[index];
      EvalSample& sample = run.samples[place];
      sample.replies[part] = std::move(reply);
      if (--missing[place] > 0) return;
      const size_t item = sample.item;
      const uint64_t choice = sample.choice;
      sample = Judge(task, evaluation.items[item], setting, std::move(sample.replies));
      sample.item = item;
      sample.choice = choice;
      ++judged;
      right += sample.verdict.score >= 1 ? 1 : 0;
      if (progress)
        progress(++done, total,
                 fmt::format("{}, thinking {}: {} of {} right", task.name(), Name(setting), right,
                             judged));
    });
    watch.Lap(&run.seconds);
    evaluation.runs.push_back(std::move(run));
  }
  return evaluation;
}

}  // namespace planish

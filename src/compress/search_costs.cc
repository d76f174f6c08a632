// SPDX-License-Identifier: Apache-2.0
#include "compress/search_costs.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"

namespace planish {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double BytesPerElement(DType type) { return static_cast<double>(BytesOf(type, 256)) / 256; }

// The decode step that stands for all of a request: costs are linear in the context, so the middle one is their mean.
CostSetting MiddleStep(const SearchTargets& targets) {
  return {true, targets.batch, targets.prompt + targets.new_tokens / 2};
}

double MemoryOf(const MixerCost& cost, const CostConditions& c, const SearchTargets& targets) {
  const auto batch = static_cast<double>(targets.batch);
  const double kv = static_cast<double>(cost.kv_elements_per_token) * BytesPerElement(c.states.kv);
  const double state = static_cast<double>(cost.ssm_elements) * BytesPerElement(c.states.ssm) +
                       static_cast<double>(cost.conv_elements) * sizeof(float);
  return static_cast<double>(cost.parameters + c.hidden_size) * BytesPerElement(c.weights) +
         batch * (kv * static_cast<double>(targets.context) + state);
}

double RequestSeconds(const std::optional<Seconds>& prompt, const std::optional<Seconds>& step,
                      const SearchTargets& targets) {
  if (!prompt || !step) return kNan;
  return static_cast<double>(targets.batch) * prompt->median +
         static_cast<double>(targets.new_tokens) * step->median;
}

// Per block or, for nullopt, of all that is no block.
struct Amounts {
  double latency = 0, memory = 0, parameters = 0, request = 0, first_token = 0;
};

Amounts AmountsOf(const std::optional<MixerConfig>& mixer, const CostTable& table,
                  const SearchTargets& targets) {
  Amounts amounts;
  const auto seconds = [](const std::optional<Seconds>& s) { return s ? s->median : kNan; };
  const std::optional<Seconds> prompt = PromptSeconds(table, mixer, targets.prompt);
  amounts.latency = seconds(table.Find(mixer, targets.decode()));
  amounts.request = RequestSeconds(prompt, table.Find(mixer, MiddleStep(targets)), targets);
  amounts.first_token = seconds(prompt);
  if (!mixer) return amounts;
  const CostConditions& c = table.conditions();
  const MixerCost cost = CostOf(*mixer, c.hidden_size);
  amounts.parameters = static_cast<double>(cost.parameters + c.hidden_size);  // with its norm
  amounts.memory = MemoryOf(cost, c, targets);
  return amounts;
}

// Totals of the choice of all parents.
double ParentTotal(const SearchLimit& limit, const std::vector<CandidateBlock>& blocks) {
  double total = limit.fixed;
  size_t offset = 0;
  for (const CandidateBlock& block : blocks) {
    total += limit.amounts[offset];
    offset += block.candidates.size();
  }
  return total;
}

void RequirePriced(const SearchLimit& limit, const std::vector<CandidateBlock>& blocks) {
  if (std::isfinite(limit.fixed) && std::isfinite(ParentTotal(limit, blocks))) return;
  throw RuntimeError("the cost table cannot tell the {} of the parent", limit.name);
}

double LatencyOf(const SearchProblem& problem, const std::vector<CandidateBlock>& blocks,
                 const Choice& choice) {
  return SolutionOf(problem, blocks, choice).totals[0];
}

// Index of the candidate that leaves the block out, or SIZE_MAX.
size_t NoOpOf(const CandidateBlock& block) {
  for (size_t i = 0; i < block.candidates.size(); ++i)
    if (!block.candidates[i].mixer) return i;
  return SIZE_MAX;
}

std::vector<double> RanksOf(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = static_cast<double>(begin + end - 1) / 2;
    begin = end;
  }
  return ranks;
}

}  // namespace

CountTarget ParseCount(const std::string& text) {
  const size_t at = text.find_first_of("<>");
  CountTarget target;
  const auto fail = [&]() -> CountTarget {
    throw UsageError("{} is no count of blocks, expected e.g. attention>=4 or mamba2<=10",
                     Quoted(text));
  };
  if (at == std::string::npos || text.substr(at + 1, 1) != "=") return fail();
  target.is_least = text[at] == '>';
  const std::string name = text.substr(0, at);
  const auto* found = std::find(std::begin(kMixerNames), std::end(kMixerNames), name);
  if (found == std::end(kMixerNames)) return fail();
  target.kind = static_cast<size_t>(found - std::begin(kMixerNames));
  const char* begin = text.data() + at + 2;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, target.count);
  if (error != std::errc() || stop != end || target.count > 1'000'000) return fail();
  return target;
}

std::vector<CostSetting> SettingsFor(const SearchTargets& targets) {
  std::vector<CostSetting> settings{targets.decode()};
  const auto add = [&](const CostSetting& setting) {
    if (std::find(settings.begin(), settings.end(), setting) == settings.end())
      settings.push_back(setting);
  };
  if (!targets.needs_prompts()) return settings;
  if (targets.throughput) add(MiddleStep(targets));
  for (const CostSetting& setting : PromptSettings(targets.prompt)) add(setting);
  return settings;
}

void RequireMeasured(const CostTable& table, const std::vector<CandidateBlock>& blocks,
                     const SearchTargets& targets) {
  std::vector<std::optional<MixerConfig>> mixers{std::nullopt};
  for (const CandidateBlock& block : blocks)
    for (const Candidate& candidate : block.candidates)
      if (candidate.mixer) mixers.push_back(candidate.mixer);
  for (const CostSetting& setting : SettingsFor(targets)) {
    if (std::all_of(mixers.begin(), mixers.end(),
                    [&](const auto& mixer) { return table.Find(mixer, setting).has_value(); }))
      continue;
    const auto has_context = [](const CostEntry& entry) {
      return entry.mixer && std::holds_alternative<AttentionConfig>(*entry.mixer);
    };
    const bool lists_contexts =
        std::any_of(table.entries().begin(), table.entries().end(), has_context);
    std::vector<std::string> measured;
    for (const CostEntry& entry : table.entries()) {
      const std::string text = Describe(entry.setting);
      if (has_context(entry) == lists_contexts &&
          std::find(measured.begin(), measured.end(), text) == measured.end())
        measured.push_back(text);
    }
    throw Error(ExitCode::kUsage, fmt::format("the cost table has no {}", Describe(setting)),
                fmt::format("the same without --mip-only, which measures it; there are: {}",
                            fmt::join(measured, "; ")));
  }
}

SearchProblem MakeProblem(const ModelConfig& parent, const std::vector<CandidateBlock>& blocks,
                          const CostTable& table, const SearchTargets& targets) {
  SearchProblem problem;
  problem.block_count = blocks.size();
  const Amounts fixed = AmountsOf(std::nullopt, table, targets);
  const CostConditions& c = table.conditions();
  const double outside = static_cast<double>(c.hidden_size) *
                         static_cast<double>(c.vocab_size * (parent.tie_embeddings ? 1 : 2) + 1);
  problem.limits = {
      {.name = "latency", .unit = "ms", .per_unit = 1e3, .fixed = fixed.latency, .amounts = {}},
      {.name = "memory",
       .unit = "MiB",
       .per_unit = 0x1p-20,
       .fixed = outside * BytesPerElement(c.weights),
       .amounts = {}},
      {.name = "parameters", .unit = "M", .per_unit = 1e-6, .fixed = outside, .amounts = {}}};
  const bool has_request = std::isfinite(fixed.request),
             has_prompt = std::isfinite(fixed.first_token);
  const size_t request = problem.limits.size();
  if (has_request)
    problem.limits.push_back(
        {.name = "request time", .unit = "s", .fixed = fixed.request, .amounts = {}});
  const size_t first_token = problem.limits.size();
  if (has_prompt)
    problem.limits.push_back({.name = "time to first token",
                              .unit = "ms",
                              .per_unit = 1e3,
                              .fixed = fixed.first_token,
                              .amounts = {}});
  const size_t counts = problem.limits.size();
  for (const char* name : kMixerNames)
    problem.limits.push_back({.name = std::string(name) + " blocks", .amounts = {}});

  for (size_t b = 0; b < blocks.size(); ++b) {
    if (blocks[b].candidates.empty()) throw UsageError("block {} has no candidates", b);
    for (const Candidate& candidate : blocks[b].candidates) {
      const Amounts amounts =
          candidate.mixer ? AmountsOf(candidate.mixer, table, targets) : Amounts{};
      problem.options.push_back({candidate.name, {b}, candidate.score});
      problem.limits[0].amounts.push_back(amounts.latency);
      problem.limits[1].amounts.push_back(amounts.memory);
      problem.limits[2].amounts.push_back(amounts.parameters);
      if (has_request) problem.limits[request].amounts.push_back(amounts.request);
      if (has_prompt) problem.limits[first_token].amounts.push_back(amounts.first_token);
      for (size_t kind = 0; kind < std::size(kMixerNames); ++kind)
        problem.limits[counts + kind].amounts.push_back(
            candidate.mixer && candidate.mixer->index() == kind ? 1 : 0);
    }
  }

  const auto limit = [&](size_t index, const std::optional<Target>& target) {
    if (!target) return;
    RequirePriced(problem.limits[index], blocks);
    problem.limits[index].high = target->Of(ParentTotal(problem.limits[index], blocks));
  };
  limit(0, targets.latency);
  limit(1, targets.memory);
  limit(2, targets.parameters);
  if (targets.first_token) {
    if (!has_prompt)
      throw RuntimeError("the cost table has no prompts of {} tokens", targets.prompt);
    limit(first_token, targets.first_token);
  }
  if (targets.throughput) {
    if (!has_request)
      throw RuntimeError("the cost table has no requests of {} and {} tokens", targets.prompt,
                         targets.new_tokens);
    SearchLimit& time = problem.limits[request];
    RequirePriced(time, blocks);
    // Tokens a second are tokens over time: at least so many are at most so much time.
    const double rate = targets.throughput->Of(ThroughputOf(targets, ParentTotal(time, blocks)));
    time.high = static_cast<double>(targets.batch * targets.new_tokens) / rate;
  }
  for (const CountTarget& count : targets.counts) {
    SearchLimit& blocks_of_kind = problem.limits[counts + count.kind];
    (count.is_least ? blocks_of_kind.low : blocks_of_kind.high) = static_cast<double>(count.count);
  }
  return problem;
}

double ThroughputOf(const SearchTargets& targets, double request_s) {
  return static_cast<double>(targets.batch * targets.new_tokens) / request_s;
}

Choice ChoiceOf(const std::vector<CandidateBlock>& blocks, const SearchSolution& solution) {
  Choice choice;
  size_t offset = 0;
  for (size_t b = 0; b < blocks.size(); ++b) {
    PLANISH_CHECK(solution.options[b] >= offset &&
                  solution.options[b] < offset + blocks[b].candidates.size());
    choice.push_back(solution.options[b] - offset);
    offset += blocks[b].candidates.size();
  }
  return choice;
}

SearchSolution SolutionOf(const SearchProblem& problem, const std::vector<CandidateBlock>& blocks,
                          const Choice& choice) {
  PLANISH_CHECK(choice.size() == blocks.size());
  std::vector<size_t> options;
  size_t offset = 0;
  for (size_t b = 0; b < blocks.size(); ++b) {
    options.push_back(offset + choice[b]);
    offset += blocks[b].candidates.size();
  }
  SearchSolution solution = TotalsOf(problem, std::move(options));
  solution.bound = solution.score;
  return solution;
}

std::vector<std::optional<MixerConfig>> MixersOf(const std::vector<CandidateBlock>& blocks,
                                                 const Choice& choice) {
  std::vector<std::optional<MixerConfig>> mixers;
  for (size_t b = 0; b < blocks.size(); ++b)
    mixers.push_back(blocks[b].candidates[choice[b]].mixer);
  return mixers;
}

Choice ParentChoice(const std::vector<CandidateBlock>& blocks) { return Choice(blocks.size(), 0); }

std::optional<Choice> DepthBaseline(const ModelConfig& parent,
                                    const std::vector<CandidateBlock>& blocks,
                                    const SearchProblem& problem, double latency_s, bool is_even) {
  std::map<size_t, std::vector<size_t>> layers;  // blocks of each
  std::map<size_t, double> scores;
  for (size_t b = 0; b < blocks.size(); ++b) {
    const size_t none = NoOpOf(blocks[b]);
    if (none == SIZE_MAX) return std::nullopt;
    const size_t layer = parent.blocks[blocks[b].block].layer;
    layers[layer].push_back(b);
    scores[layer] += blocks[b].candidates[none].score;
  }
  std::vector<size_t> order;
  for (const auto& [layer, list] : layers) order.push_back(layer);
  const size_t count = order.size();
  if (!is_even) {
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return scores.at(a) < scores.at(b); });
  }
  for (size_t gone = 1; gone <= count; ++gone) {
    Choice choice = ParentChoice(blocks);
    for (size_t i = 0; i < gone; ++i) {
      const size_t layer = is_even ? order[(2 * i + 1) * count / (2 * gone)] : order[i];
      for (const size_t b : layers.at(layer)) choice[b] = NoOpOf(blocks[b]);
    }
    if (LatencyOf(problem, blocks, choice) <= latency_s) return choice;
  }
  return std::nullopt;
}

std::optional<Choice> WidthBaseline(const std::vector<CandidateBlock>& blocks,
                                    const SearchProblem& problem, double latency_s) {
  // For each kind of the parents' blocks the names of candidates that all of them have; a block left out is no width.
  std::map<size_t, std::vector<std::string>> names;
  for (const CandidateBlock& block : blocks) {
    const size_t kind = block.candidates[0].mixer->index();
    std::vector<std::string> own;
    for (const Candidate& candidate : block.candidates)
      if (candidate.mixer && candidate.mixer->index() == kind && std::isfinite(candidate.score))
        own.push_back(candidate.name);
    const auto [at, is_new] = names.emplace(kind, own);
    if (is_new) continue;
    std::erase_if(at->second, [&](const std::string& name) {
      return std::find(own.begin(), own.end(), name) == own.end();
    });
  }
  std::optional<Choice> best;
  double best_score = std::numeric_limits<double>::infinity();
  std::map<size_t, size_t> digits;
  for (const auto& [kind, list] : names) {
    if (list.empty()) return std::nullopt;
    digits[kind] = 0;
  }
  for (;;) {
    Choice choice;
    for (const CandidateBlock& block : blocks) {
      const size_t kind = block.candidates[0].mixer->index();
      const std::string& name = names[kind][digits[kind]];
      for (size_t i = 0; i < block.candidates.size(); ++i)
        if (block.candidates[i].name == name) choice.push_back(i);
    }
    const SearchSolution solution = SolutionOf(problem, blocks, choice);
    if (solution.totals[0] <= latency_s && solution.score < best_score) {
      best_score = solution.score;
      best = choice;
    }
    auto digit = digits.begin();
    while (digit != digits.end() && ++digit->second == names[digit->first].size())
      (digit++)->second = 0;
    if (digit == digits.end()) return best;
  }
}

double SpearmanOf(const std::vector<double>& a, const std::vector<double>& b) {
  PLANISH_CHECK(a.size() == b.size());
  if (a.size() < 3) return kNan;
  const std::vector<double> ra = RanksOf(a), rb = RanksOf(b);
  const double mean = static_cast<double>(a.size() - 1) / 2;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (ra[i] - mean) * (rb[i] - mean);
    aa += (ra[i] - mean) * (ra[i] - mean);
    bb += (rb[i] - mean) * (rb[i] - mean);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : kNan;
}

}  // namespace planish

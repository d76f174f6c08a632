// SPDX-License-Identifier: Apache-2.0
// A search problem out of candidates, the cost table and what a user asks for: latency of decoding, memory, parameters,
// throughput, time to the first token, counts of blocks (compress.md 5.4). Targets may be shares of the parent's values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compress/candidate.h"
#include "compress/cost_table.h"
#include "compress/search_problem.h"
#include "compress/target.h"

namespace planish {

struct CountTarget {
  size_t kind = 0;  // of kMixerNames
  bool is_least = true;
  size_t count = 0;
};
// "attention>=4", "mamba2<=10". Error(kUsage) otherwise.
CountTarget ParseCount(const std::string& text);

struct SearchTargets {
  size_t batch = 1;
  size_t context = 2048;  // tokens of each sequence, of latency and memory
  size_t prompt = 512,
         new_tokens = 128;            // of a request, of throughput and the time to its first token
  std::optional<Target> latency;      // seconds of a decode step, at most
  std::optional<Target> memory;       // bytes: weights, KV and states of the batch, at most
  std::optional<Target> parameters;   // at most
  std::optional<Target> throughput;   // new tokens a second of a batch of requests, at least
  std::optional<Target> first_token;  // seconds from a prompt to its first token, at most
  std::vector<CountTarget> counts;

  // Of the decode step that the latency is of.
  CostSetting decode() const { return {true, batch, context}; }
  bool needs_prompts() const { return throughput.has_value() || first_token.has_value(); }
};

// What a cost table must hold for these targets.
std::vector<CostSetting> SettingsFor(const SearchTargets& targets);

// Error(kUsage) that says what was measured if the table lacks a setting of these targets for one of the candidates.
void RequireMeasured(const CostTable& table, const std::vector<CandidateBlock>& blocks,
                     const SearchTargets& targets);

// Limits by name: "latency", "memory", "parameters", "request time" (of throughput), "time to first token", "attention
// blocks" ... Those not asked for are there without bounds as far as the table has their costs. Options are the candidates in
// order, block by block. Error(kFailure) if the table lacks what a target needs, Error(kUsage) if a block has no candidates.
SearchProblem MakeProblem(const ModelConfig& parent, const std::vector<CandidateBlock>& blocks,
                          const CostTable& table, const SearchTargets& targets);

Choice ChoiceOf(const std::vector<CandidateBlock>& blocks, const SearchSolution& solution);
SearchSolution SolutionOf(const SearchProblem& problem, const std::vector<CandidateBlock>& blocks,
                          const Choice& choice);
// nullopt: no block.
std::vector<std::optional<MixerConfig>> MixersOf(const std::vector<CandidateBlock>& blocks,
                                                 const Choice& choice);
Choice ParentChoice(const std::vector<CandidateBlock>& blocks);

// Tokens a second that a "request time" total means.
double ThroughputOf(const SearchTargets& targets, double request_s);

// Whole layers taken out, those of least summed score first (or evenly spaced), as few as bring the decode latency down to
// `latency_s`. nullopt if a block cannot be left out, or not even all do.
std::optional<Choice> DepthBaseline(const ModelConfig& parent,
                                    const std::vector<CandidateBlock>& blocks,
                                    const SearchProblem& problem, double latency_s, bool is_even);
// The same kind of candidate in all blocks of a kind: of all such choices within `latency_s` the one of least summed score.
std::optional<Choice> WidthBaseline(const std::vector<CandidateBlock>& blocks,
                                    const SearchProblem& problem, double latency_s);

// Rank correlation, equal values share their rank; NaN for less than 3 pairs or constant values.
double SpearmanOf(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Options that every verb with a model shares, and opening it by them.
#pragma once

#include "cli/verb.h"
#include "infer/generate.h"
#include "model/pretrained.h"

namespace planish {

struct ModelOptions {
  std::string model, adapter;
  std::string act = "f32", kv = "auto", ssm = "f32";
  int64_t context = 0;
  uint64_t memory = 0;
  bool no_mmap = false;

  void Declare(OptionSet* options, bool required = true);
  // How it is run, for verbs that run it; others open models exactly as they are stored.
  void DeclareRun(OptionSet* options, const char* default_act);
  RunMode Mode() const;
  // As given; the embedded model's for nothing and for its name. Error(kUsage) if that is not there.
  std::string Path() const;
  // Opens, with its adapter if one is given, with a check that weights and one sequence of the context fit in memory.
  Pretrained Open(bool needs_tokenizer = true, bool checks_memory = true) const;
  // Positions a sequence may have: --ctx, else the smaller of the model's and 4096.
  size_t ContextFor(const ModelConfig& config) const;
};

struct ThinkingOptions {
  std::string think = "default", toggle = "auto";
  int64_t budget = -1;

  void Declare(OptionSet* options);
  // Sets the toggle by hand where the template cannot be probed, e.g. Llama-Nemotron's, which passes the system message on.
  // Error(kUsage) if thinking or a budget is asked of a model that has none.
  void Apply(Pretrained* opened) const;
  Thinking Resolve() const;  // a budget of 0 is off
};

struct SamplingOptions {
  double temperature = 1.0, top_p = 1.0, min_p = 0.0, repetition_penalty = 1.0,
         frequency_penalty = 0.0, presence_penalty = 0.0;
  int64_t top_k = 0;
  int64_t seed = 1234;
  bool greedy = false;

  void Declare(OptionSet* options);
  // The model's own defaults, overruled by what the user gave.
  SamplingParams Merge(const OptionSet& options, const GenerationDefaults& defaults) const;
};

}  // namespace planish

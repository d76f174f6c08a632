// SPDX-License-Identifier: Apache-2.0
// A training run as written by its user: one struct a section of a TOML file, every default valid. Reading is strict: an
// unknown key is an error with file, line and the nearest known name; keys that contradict each other are refused with both
// named. recipe_keys.cc has the one list of keys with what each means.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "data/loader.h"
#include "model/activations.h"
#include "train/schedule.h"

namespace planish {

// Where the model comes from: a trained one (continued pretraining, SFT) or a shape with seeded random weights.
struct ModelSection {
  std::string init;       // model folder or GGUF file
  std::string config;     // published name, config.json or model folder; weights are made at random
  std::string tokenizer;  // folder or tokenizer.json that goes into checkpoints, with `config`
  double initializer_range = 0;  // 0: the config's
};

struct DatasetEntry {
  std::string path;  // token file
  std::string name;  // in logs; empty: the file's stem
  double weight = 1;
};

struct PhaseEntry {
  double until = 1;      // share of the run's tokens at which the phase ends; the last is 1
  uint64_t seq_len = 0;  // 0: batch.seq_len
  double lr_scale = 1;   // times the schedule's rate
  std::vector<DatasetEntry> datasets;
};

struct DataSection {
  RowMode mode = RowMode::kStream;
  bool doc_reset = true;  // attention, states, conv windows and positions start anew at documents
  bool shuffle = true;
  LongExample long_examples = LongExample::kTruncate;  // of packed rows
  double max_epochs = 0;                               // 0: no limit
  Exhausted over_epochs = Exhausted::kError;           // when a dataset was seen max_epochs times
  std::vector<PhaseEntry> phases;
};

struct BatchSection {
  uint64_t seq_len = 1024;
  uint64_t tokens = 16384;     // of one optimizer step, all ranks together
  uint64_t micro_samples = 1;  // rows of one pass through the model
};

struct GroupEntry {
  std::string match;  // glob over parameter names
  double lr_scale = 1;
  double weight_decay = -1;  // < 0: that of the optimizer
  bool frozen = false;
};

struct OptimizerSection {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0.1;
  double clip = 1.0;  // of the global gradient norm; 0: off
  double z_loss = 0;  // times logsumexp^2
  std::vector<GroupEntry> groups;
};

// Lengths in tokens; each may be given in steps (or the run in epochs) instead.
struct ScheduleSection {
  ScheduleKind kind = ScheduleKind::kWsd;
  double lr = 1e-3, min_lr = 0, init_lr = 0;
  uint64_t tokens = 0, steps = 0;
  double epochs = 0;
  uint64_t warmup_tokens = 0, warmup_steps = 0;
  uint64_t decay_tokens = 0, decay_steps = 0;  // of WSD
  DecayShape decay_shape = DecayShape::kMinusSqrt;
};

enum class Fp8Scaling { kBlockwise, kTensorwise };
struct PrecisionSection {
  Precision mode = Precision::kBf16;
  Fp8Scaling fp8 = Fp8Scaling::kBlockwise;
  bool fp8_power_of_two = false;                   // scales rounded up to powers of two
  uint64_t fp8_first_bf16 = 2, fp8_last_bf16 = 2;  // blocks at either end that stay bf16
};

struct RecomputeSection {
  Recompute::Kind policy = Recompute::Kind::kSelective;
  uint64_t every = 1;  // blocks a segment of "full"
};

struct CheckpointSection {
  uint64_t every_steps = 500;
  uint64_t keep_last = 2;
  uint64_t keep_every_steps = 0;  // these stay for good; 0: none
  bool async = true;
};

struct LogSection {
  uint64_t every_steps = 1;
  double spike_factor = 10;  // flags a loss above this many times the running mean; 0: never
};

struct EvalSection {
  uint64_t every_steps = 0;  // 0: never
  uint64_t tokens = 0;       // of each dataset; 0: all
  std::vector<DatasetEntry> datasets;
};

struct SampleSection {
  uint64_t every_steps = 0;  // 0: never
  std::vector<std::string> prompts;
  uint64_t max_new_tokens = 64;
  double temperature = 0.8;
};

struct LoraSection {
  uint64_t rank = 0;  // 0: all parameters are trained
  double alpha = 16;
  bool rank_stabilised = false;             // scaled by alpha / sqrt(rank)
  std::vector<std::string> target_modules;  // last parts of names of projections; empty: all
};

// Knowledge distillation (compress.md 4): the run learns a teacher's distributions instead of, or beside, the text itself.
enum class DistillKind { kForward, kReverse, kMixed };
enum class TeacherAct { kF32, kBf16, kInt8 };
struct DistillSection {
  std::string teacher;  // model that is run beside the student; empty: `cache`, or no distillation
  std::string cache;    // what --cache-teacher wrote; then no teacher is in memory
  TeacherAct teacher_act = TeacherAct::kBf16;
  DistillKind kind = DistillKind::kForward;
  double temperature = 1;
  double alpha = 0;          // share of the cross entropy in the loss, the rest is the divergence's
  double hidden_weight = 0;  // of the mean over blocks of 1 - cosine of residual streams
  std::vector<std::string> hidden_blocks;  // "student:teacher"; empty: all, matched by depth
  double on_policy =
      0;  // share of the rows whose answers the student draws itself (train/on_policy.h)
  uint64_t on_policy_prompt = 32;  // tokens of prompts there, of documents without untrained ones
  uint64_t top_k = 64;             // ids a token that --cache-teacher keeps

  bool is_on() const { return !teacher.empty() || !cache.empty(); }
};

struct Recipe {
  std::string name;  // for people
  uint64_t seed = 1234;
  ModelSection model;
  DataSection data;
  BatchSection batch;
  OptimizerSection optimizer;
  ScheduleSection schedule;
  PrecisionSection precision;
  RecomputeSection recompute;
  CheckpointSection checkpoint;
  LogSection log;
  EvalSection eval;
  SampleSection sample;
  LoraSection lora;
  DistillSection distill;

  // "schedule.lr" -> "tiny.toml:12" | "--set schedule.lr", for keys that were read.
  std::map<std::string, std::string> origins;
  std::set<std::string> changed;  // those that differ from their default
  bool WasGiven(const std::string& key) const { return changed.count(key) > 0; }
};

// `settings`: "section.key=value" each, the value in TOML (a bare word is taken as text); they win over the file. Relative
// paths are relative to the recipe's folder, those of settings to the current one; what is read has absolute ones. Error(kUsage).
// `defaults`: values of keys that neither gives.
Recipe LoadRecipe(const std::string& path, const std::vector<std::string>& settings = {},
                  const Recipe& defaults = {});
Recipe ParseRecipe(const std::string& text, const std::string& where, const std::string& folder,
                   const std::vector<std::string>& settings = {}, const Recipe& defaults = {});
// As TOML that LoadRecipe reads back to the same values, each key with its meaning and origin as a comment.
std::string PrintRecipe(const Recipe& recipe);
// "schedule.lr" -> "0.001": every key with its value in TOML.
std::map<std::string, std::string> ValuesOf(const Recipe& recipe);
// Error(kUsage) naming both keys (and where they stand) if two contradict each other or one lacks its other.
void CheckRecipe(const Recipe& recipe);

}  // namespace planish

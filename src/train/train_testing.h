// SPDX-License-Identifier: Apache-2.0
// For tests only: a tiny hybrid, a token file of random text for it, and a recipe over both.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "base/testing.h"
#include "data/token_file.h"
#include "train/run_log.h"
#include "train/run_setup.h"
#include "train/train_model.h"
#include "train/trainer.h"

namespace planish::testing {

inline constexpr const char* kTinyConfig = R"({"model_type": "nemotron_h", "hidden_size": 32,
 "hybrid_override_pattern": "M-*-", "num_hidden_layers": 4, "vocab_size": 264,
 "max_position_embeddings": 4096, "intermediate_size": 48, "mlp_hidden_act": "relu2",
 "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "mamba_num_heads": 4,
 "mamba_head_dim": 8, "n_groups": 2, "ssm_state_size": 8, "conv_kernel": 4, "chunk_size": 16,
 "use_conv_bias": true, "layer_norm_epsilon": 1e-5, "initializer_range": 0.1,
 "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258, "torch_dtype": "bfloat16"})";

inline constexpr const char* kTinyRecipe = R"(name = "tiny"
[model]
config = "config.json"
[data]
phases = [{ datasets = [{ path = "a.tok", weight = 2 }, { path = "b.tok" }] }]
[batch]
seq_len = 24
tokens = 144
micro_samples = 2
[schedule]
lr = 0.01
warmup_steps = 2
decay_steps = 4
steps = 12
[checkpoint]
every_steps = 3
async = false
)";

// Words of a random language of few words: something that can be learned.
inline std::string RandomText(uint64_t seed, size_t words) {
  Random random(seed);
  std::string text;
  for (size_t i = 0; i < words; ++i) {
    static constexpr const char* kWords[] = {"the ", "river ", "of ", "iron ", "sings. "};
    text += kWords[random.Below(5)];
  }
  return text;
}

// Documents of random text by the model's own (synthetic) tokenizer; with `has_mask` the second half of each is trained.
inline void WriteTokens(const std::string& path, const Pretrained& model, uint64_t seed,
                        size_t documents, bool has_mask = false) {
  TokenFileWriter writer(path, {.vocab_size = model.config.vocab_size,
                                .tokenizer_hash = TokenizerHash(*model.tokenizer),
                                .tokenizer_name = "synthetic",
                                .has_mask = has_mask});
  Random random(seed);
  for (size_t d = 0; d < documents; ++d) {
    const std::string text = RandomText(seed * 1000 + d, 3 + random.Below(9));
    std::vector<TokenId> ids = model.tokenizer->Encode(text);
    ids.push_back(257);
    std::vector<uint8_t> mask;
    for (size_t i = 0; has_mask && i < ids.size(); ++i) mask.push_back(2 * i >= ids.size());
    writer.Append(ids, text.size(), mask);
  }
  writer.Commit();
}

// A folder with config.json, a.tok, b.tok and masked.tok, and tiny.toml: a run of 12 steps over the first two.
class TinyRun {
 public:
  TinyRun() {
    SetLogLevel(LogLevel::kQuiet);
    WriteFile(dir_ / "config.json", kTinyConfig);
    WriteFile(dir_ / "tiny.toml", kTinyRecipe);
    const Pretrained model = DescribeForTraining({.config = dir_ / "config.json"});
    WriteTokens(dir_ / "a.tok", model, 1, 40);
    WriteTokens(dir_ / "b.tok", model, 2, 20);
    WriteTokens(dir_ / "masked.tok", model, 3, 30, /*has_mask=*/true);
  }
  Recipe MakeRecipe(const std::vector<std::string>& settings = {}) const {
    return ParseRecipe(kTinyRecipe, "tiny.toml", dir_.path(), settings);
  }
  TrainOptions Options(const std::string& run) const {
    TrainOptions options;
    options.folder = dir_ / run;
    return options;
  }
  const testing::TemporaryDir& dir() const { return dir_; }

 private:
  TemporaryDir dir_;
};

// Bits of the masters and moments of the newest checkpoint, and its counters.
struct RunBits {
  std::string masters, moments;
  TrainState state;
};
inline RunBits BitsOf(const std::string& folder) {
  const auto newest = CheckpointStore(folder + "/checkpoints", {}).NewestValid();
  PLANISH_CHECK(newest.has_value());
  return {Sha256HexOfFile(*newest + "/master.safetensors"),
          Sha256HexOfFile(*newest + "/optim.safetensors"), VerifyCheckpoint(*newest)};
}

// What a log says of each step, but for times and memory.
inline std::vector<std::string> MetricsOf(const std::string& folder) {
  std::vector<std::string> lines;
  for (const StepRecord& r : ReadRunLog(folder).steps) {
    std::string line =
        fmt::format("{} samples {} tokens {} loss {} norm {} param {} lr {} skipped {}", r.step,
                    r.samples, r.tokens, r.loss, r.grad_norm, r.param_norm, r.lr, r.skipped);
    for (const DatasetLoss& d : r.datasets)
      line += fmt::format(" {}: {} of {}", d.name, d.loss, d.tokens);
    lines.push_back(line);
  }
  return lines;
}

}  // namespace planish::testing

// SPDX-License-Identifier: Apache-2.0
// `planish init` through the program: what it makes opens and answers, is the same every time, takes little memory, and
// what exists is safe.
#include <filesystem>

#include "golden_case.h"
#include "run_program.h"

namespace planish::testing {
namespace {

std::vector<std::string> Init(const std::string& source, const std::string& output,
                              std::vector<std::string> more = {}) {
  std::vector<std::string> arguments{"init", "-q", source, "-o", output};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::string HybridConfig(const std::string& folder) {
  const std::string path = folder + "/config.json";
  WriteFile(path, R"({"model_type": "nemotron_h", "hidden_size": 128, "vocab_size": 512,
    "num_hidden_layers": 8, "hybrid_override_pattern": "M-*-M-M-", "intermediate_size": 256,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "mamba_num_heads": 8,
    "mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 16, "conv_kernel": 4, "chunk_size": 16,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})");
  return path;
}

TEST(InitVerb, EveryTypeOpensAndAnswers) {
  const TemporaryDir work;
  const std::string config = HybridConfig(work.path());
  for (const char* type : {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "mxfp4"}) {
    SCOPED_TRACE(type);
    const std::string model = work / (std::string(type) + ".gguf");
    OutputOf(Init(config, model, {"--type", type}));
    const Json info = JsonOf({"info", "-m", model, "--json", "--check-weights"});
    EXPECT_EQ(Member(info, "model_type"), Json("nemotron_h"));
    EXPECT_EQ(Member(info, "has_tokenizer"), Json(true));
    const Json answer =
        JsonOf({"generate", "-m", model, "Hello", "-n", "4", "--greedy", "--json", "--ignore-eos"});
    EXPECT_EQ(IdsOf(Member(answer, "ids")).size(), 4u);
  }
}

TEST(InitVerb, FolderAndGgufHoldTheSameModel) {
  const TemporaryDir work;
  const std::string config = HybridConfig(work.path());
  OutputOf(Init(config, work / "m.gguf", {"--type", "f32"}));
  OutputOf(Init(config, work / "hf", {"--type", "f32", "--shard", "400000"}));
  EXPECT_TRUE(FileExists(work / "hf/model.safetensors.index.json"));
  WriteFile(work / "text.txt", "def f(x):\n    return x * x\n");
  const Json same = JsonOf({"compare", "-m", work / "m.gguf", "--reference", work / "hf", "--text",
                            work / "text.txt", "--json"});
  EXPECT_LT(Member(same, "kl_max").AsDouble(), 1e-6) << "only A_log is rounded, to 2^-24";
  // An untrained model knows nothing: the perplexity is near the size of its vocabulary.
  EXPECT_NEAR(std::log(Member(same, "perplexity").AsDouble()), std::log(512.0), 0.5);
}

TEST(InitVerb, EqualSeedsGiveEqualBytesWhateverTheThreads) {
  const TemporaryDir work;
  const std::string config = HybridConfig(work.path());
  const auto bytes = [&](const std::vector<std::string>& more) {
    OutputOf(Init(config, work / "model.gguf", more));
    const std::string content = ReadFile(work / "model.gguf", limits::kTokenizerBytes);
    std::filesystem::remove(work / "model.gguf");
    return content;
  };
  const std::string one = bytes({"--type", "q4_0", "-t", "1"});
  EXPECT_TRUE(one == bytes({"--type", "q4_0", "-t", "3", "--seed", "1"}));
  EXPECT_FALSE(one == bytes({"--type", "q4_0", "--seed", "2"}));
}

TEST(InitVerb, PublishedShapesAreSlicedByName) {
  const TemporaryDir work;
  OutputOf(Init("nemotron-h-4b", work / "m.gguf",
                {"--type", "q4_0", "--blocks", "2", "--vocab", "300"}));
  const Json info = JsonOf({"info", "-m", work / "m.gguf", "--json"});
  EXPECT_EQ(Member(info, "hidden_size"), Json(3072));
  EXPECT_EQ(Member(info, "vocab_size"), Json(300));
}

TEST(InitVerb, TakesLessMemoryThanOneMatrix) {
  const TemporaryDir work;
  WriteFile(work / "config.json", R"({"model_type": "llama", "hidden_size": 4096,
    "vocab_size": 300, "num_hidden_layers": 1, "intermediate_size": 16384,
    "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 64})");
  const Outcome outcome = RunProgram(Init(work / "config.json", work / "m.gguf"));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  constexpr uint64_t kMatrixBytes = 2u * 16384 * 4096;  // up, gate and down are that large in bf16
  EXPECT_GT(std::filesystem::file_size(work / "m.gguf"), 3 * kMatrixBytes);
  if (kHasRealMemory) {
    EXPECT_LT(outcome.peak_bytes, kMatrixBytes);
  }
}

TEST(InitVerb, ExistingModelsAreReplacedOnlyByForce) {
  const TemporaryDir work;
  const std::string config = HybridConfig(work.path());
  for (const std::string& output : {work / "m.gguf", work / "hf"}) {
    OutputOf(Init(config, output, {"--seed", "1"}));
    const auto id = [&] {
      return Member(JsonOf({"generate", "-m", output, "Hello", "-n", "8", "--greedy", "--json",
                            "--ignore-eos"}),
                    "ids");
    };
    const Json before = id();
    const Outcome refused = RunProgram(Init(config, output, {"--seed", "2"}));
    EXPECT_EQ(refused.status, 2);
    EXPECT_NE(refused.err.find("--force"), std::string::npos) << refused.err;
    EXPECT_EQ(id(), before);
    OutputOf(Init(config, output, {"--seed", "2", "--force", "--shard", "400000"}));
    EXPECT_NE(id(), before);
    // Fewer shards than before: no old one stays behind.
    OutputOf(Init(config, output, {"--seed", "1", "--force"}));
    EXPECT_EQ(id(), before);
  }
  EXPECT_EQ(Listing(work / "hf", ".safetensors"), std::vector<std::string>{"model.safetensors"});
}

TEST(InitVerb, AFullDiskLeavesNothing) {
  const TemporaryDir work;
  const std::string config = HybridConfig(work.path());
  const RunOptions full{.file_bytes = 500'000};
  for (const std::string& output : {work / "m.gguf", work / "hf"}) {
    const Outcome outcome = RunProgram(Init(config, output, {"--type", "f32"}), full);
    EXPECT_EQ(outcome.status, 1) << outcome.err;
    EXPECT_NE(outcome.err.find("write failed"), std::string::npos) << outcome.err;
  }
  EXPECT_EQ(Listing(work.path()), std::vector<std::string>{"config.json"});
}

TEST(InitVerb, RefusesWhatItCannotMake) {
  const TemporaryDir work;
  const std::string config = HybridConfig(work.path());
  const auto expect = [&](const std::vector<std::string>& arguments, const std::string& word) {
    const Outcome outcome = RunProgram(arguments);
    EXPECT_EQ(outcome.status, 2) << outcome.err;
    EXPECT_NE(outcome.err.find(word), std::string::npos) << word << " is not in " << outcome.err;
  };
  expect(Init("no-such-model", work / "m.gguf"), "nano-9b-v2");
  expect(Init(config, work / "m.gguf", {"--type", "q9_k"}), "q9_k");
  expect(Init(config, work / "hf", {"--type", "q4_0"}), "q4_0");
  expect(Init(config, work / "m.gguf", {"--blocks", "9"}), "9 layers");
  expect(Init(config, work / "m.gguf", {"--vocab", "1000"}), "1000");
  expect(Init(config, config), "is a file");
  expect({"init", config}, "--output");
  EXPECT_EQ(Listing(work.path()), std::vector<std::string>{"config.json"});
}

}  // namespace
}  // namespace planish::testing

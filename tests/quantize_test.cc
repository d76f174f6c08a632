// SPDX-License-Identifier: Apache-2.0
// `planish quantize` from outside: a file of the size that was said, that opens and runs; types chosen for a size; errors in one
// line.
#include <filesystem>

#include "base/file.h"
#include "golden_case.h"
#include "run_program.h"

namespace planish::testing {
namespace {

const std::string kNano = PLANISH_SOURCE_DIR "/models/planish-nano";
const std::string kText = PLANISH_SOURCE_DIR "/README.md";

std::vector<std::string> Quantize(const std::string& output, std::vector<std::string> more) {
  std::vector<std::string> arguments = {
      "quantize",  "-m", kNano,       "-o", output,           "--data", kText,
      "--samples", "3",  "--seq-len", "64", "--eval-samples", "1",      "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(QuantizeVerb, MixesTypesForASizeAndSaysItToTheByte) {
  if (!FileExists(kNano + "/model.safetensors")) GTEST_SKIP() << kNano << " is not here";
  const TemporaryDir work;
  const int64_t target = 3'800'000;
  const Json found = JsonOf(
      Quantize(work / "mixed.gguf", {"--target-size", "3800000", "--score-samples", "1", "--types",
                                     "q4_0,q5_k,q8_0", "--keep", "head=q8_0", "--measure"}));
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(work / "mixed.gguf"));
  EXPECT_EQ(Member(found, "bytes").AsInt(), bytes);
  EXPECT_EQ(Member(Member(found, "mixed"), "predicted_bytes").AsInt(), bytes);
  EXPECT_LE(bytes, target);
  EXPECT_GT(bytes, target * 9 / 10) << "the size is used";
  std::map<std::string, std::string> written;
  for (const Json& tensor : Member(found, "tensors").AsArray())
    written[Member(tensor, "name").AsString()] = Member(tensor, "type").AsString();
  size_t kinds = 0;
  for (const char* type : {"q4_0", "q5_k", "q8_0"})
    kinds += std::any_of(written.begin(), written.end(),
                         [&](const auto& entry) { return entry.second == type; });
  EXPECT_GE(kinds, 2u);
  EXPECT_EQ(written.at("lm_head.weight"), "q8_0");
  for (const Json& matrix : Member(Member(found, "mixed"), "matrices").AsArray())
    EXPECT_EQ(Member(matrix, "chosen").AsString(), written.at(Member(matrix, "name").AsString()));
  EXPECT_GT(Member(Member(found, "evaluation"), "kl_mean").AsDouble(), 0);
  // As it would be run: fast arithmetic, then with 8-bit KV, then with bf16 states.
  const auto& modes = Member(found, "modes").AsArray();
  ASSERT_EQ(modes.size(), 3u);
  EXPECT_EQ(Member(modes[1], "kv").AsString(), "q8_0");
  EXPECT_EQ(Member(modes[2], "ssm").AsString(), "bf16");
  for (const Json& mode : modes) {
    EXPECT_GT(Member(mode, "kl_mean").AsDouble(), 0);
    EXPECT_GT(Member(mode, "decode_tokens_per_s").AsDouble(), 0);
  }
  const std::string page = ReadFile(work / "mixed.gguf.quantize.html", 1 << 24);
  EXPECT_NE(page.find("Mixed precision"), std::string::npos);
  EXPECT_NE(page.find("As it would be run"), std::string::npos);
  EXPECT_EQ(page.find("=\"http"), std::string::npos) << "opens without a network";
  const Outcome answer = RunProgram(
      {"generate", "-m", work / "mixed.gguf", "--greedy", "-n", "8", "What is 2 plus 3?"});
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_FALSE(answer.out.empty());
}

TEST(QuantizeVerb, ErrorsAreOneLineWithTheirStatus) {
  if (!FileExists(kNano + "/model.safetensors")) GTEST_SKIP() << kNano << " is not here";
  const TemporaryDir work;
  const std::string out = work / "x.gguf";
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {Quantize(out, {"--target-size", "1MiB", "--score-samples", "1"}), "least that these types"},
      {Quantize(out, {"--target-bits", "2", "--types", "q8_0"}), "least that these types"},
      {Quantize(out, {"--target-bits", "4", "--target-size", "3MiB"}), "two ways"},
      {Quantize(out, {"--target-bits", "4", "--type", "q4_0"}), "--type"},
      {Quantize(out, {"--target-bits", "4", "--types", "q4_9"}), "q4_9"},
      {{"quantize", "-m", kNano, "-o", out, "--target-bits", "4"}, "--data"},
      {{"quantize", "-m", kNano, "-o", out, "--measure"}, "--data"},
      {{"quantize", "-m", kNano, "-o", out, "--method", "gptq"}, "--data"},
      {{"quantize", "-m", kNano, "-o", work / "folder", "--type", "q4_0"}, "FILE.gguf"},
  };
  for (const auto& [arguments, expected] : cases) {
    const Outcome outcome = RunProgram(arguments);
    EXPECT_EQ(outcome.status, 2) << outcome.err;
    EXPECT_NE(outcome.err.find(expected), std::string::npos) << outcome.err;
    EXPECT_FALSE(FileExists(out)) << "nothing is left behind";
  }
}

}  // namespace
}  // namespace planish::testing

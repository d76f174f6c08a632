// SPDX-License-Identifier: Apache-2.0
// `planish convert`, `compare` and `info` through the program: both directions for every golden model.
#include <bit>
#include <filesystem>

#include "golden_case.h"
#include "run_program.h"

namespace planish::testing {
namespace {

std::map<std::string, StoredTensor> TensorsOf(const std::string& folder) {
  std::map<std::string, StoredTensor> tensors;
  for (const StoredTensor& tensor : ReadSafetensorsFolder(folder, FileBytes::Access::kRead))
    tensors[tensor.name] = tensor;
  return tensors;
}

// GGUF stores A = -exp(A_log), so A_log comes back within 2 ulp; everything else byte for byte.
void ExpectSameTensors(const std::string& found_folder, const std::string& expected_folder) {
  const auto found = TensorsOf(found_folder), expected = TensorsOf(expected_folder);
  EXPECT_EQ(found.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(found.contains(name)) << name;
    const TensorView &a = found.at(name).view, &b = tensor.view;
    ASSERT_EQ(a.dtype, b.dtype) << name;
    ASSERT_EQ(a.shape, b.shape) << name;
    if (name.ends_with("A_log") && a.dtype == DType::kF32) {
      const Tensor x = Tensor::ToF32(a), y = Tensor::ToF32(b);
      for (size_t i = 0; i < x.elements(); ++i) {
        EXPECT_LE(std::abs(std::bit_cast<int32_t>(x.f32()[i]) - std::bit_cast<int32_t>(y.f32()[i])),
                  2)
            << name;
      }
    } else {
      EXPECT_EQ(std::memcmp(a.data, b.data, a.bytes()), 0) << name;
    }
  }
}

TEST(ConvertGolden, HfToGgufAndBackKeepsTensorsIdsAndAnswers) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  const RunOptions text{.input = "{\"text\": \"for i in range(10): print(i)  # na\\u00efve\"}\n"};
  size_t converted = 0;
  for (const std::string& name : GoldenModels()) {
    SCOPED_TRACE(name);
    const TemporaryDir work;
    const std::string model = GoldenDir() + "/models/" + name, gguf = work / "model.gguf",
                      back = work / "back";
    const Outcome there = RunProgram({"convert", "-m", model, "-o", gguf});
    if (there.status != 0) {  // blocks that GGUF has no words for
      EXPECT_EQ(there.status, 2) << there.err;
      EXPECT_NE(there.err.find("GGUF cannot express layer"), std::string::npos) << there.err;
      EXPECT_TRUE(Listing(work.path()).empty()) << "a refused conversion leaves nothing";
      continue;
    }
    ++converted;
    OutputOf({"convert", "-m", gguf, "-o", back});
    ExpectSameTensors(back, model);
    if (FileExists(model + "/tokenizer.json")) {
      const std::string expected =
          OutputOf({"tokenize", "-m", model, "--jsonl", "--special"}, text);
      EXPECT_EQ(OutputOf({"tokenize", "-m", gguf, "--jsonl", "--special"}, text), expected);
      EXPECT_EQ(OutputOf({"tokenize", "-m", back, "--jsonl", "--special"}, text), expected);
    }
    const GoldenTensors golden = ReadTensors(GoldenDir() + "/cases/" + name + ".safetensors");
    const std::string ids = WriteIds(work / "ids.json", golden.ids.at("greedy_prompt"));
    for (const std::string& form : {gguf, back}) {
      const Json json = JsonOf(
          {"generate", "-m", form, "--ids", ids, "-n", "32", "--greedy", "--json", "--ignore-eos"});
      EXPECT_EQ(IdsOf(Member(json, "ids")), golden.ids.at("greedy_ids")) << form;
    }
  }
  EXPECT_GT(converted, 0u);
}

TEST(CompareGolden, AModelEqualsItselfAndItsQ8ConversionIsClose) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  const TemporaryDir work;
  const std::string text = work / "text.txt", gguf = work / "model.gguf";
  std::string code;
  for (int i = 0; i < 15; ++i)
    code += "def f" + std::to_string(i) + "(x):\n    return x * " + std::to_string(i * i) + "\n";
  WriteFile(text, code);
  size_t compared = 0;
  for (const std::string& name : GoldenModels()) {
    SCOPED_TRACE(name);
    const std::string model = GoldenDir() + "/models/" + name;
    if (!FileExists(model + "/tokenizer.json")) continue;
    const Json same =
        JsonOf({"compare", "-m", model, "--reference", model, "--text", text, "--json"});
    EXPECT_EQ(Member(same, "kl_mean").AsDouble(), 0.0);
    EXPECT_EQ(Member(same, "kl_max").AsDouble(), 0.0);
    EXPECT_EQ(Member(same, "top1_agreement").AsDouble(), 1.0);
    EXPECT_EQ(Member(same, "perplexity"), Member(same, "reference_perplexity"));
    EXPECT_GT(Member(same, "perplexity").AsDouble(), 1.0);
    if (RunProgram({"convert", "-m", model, "-o", gguf, "--type", "q8_0"}).status != 0) continue;
    const Json other =
        JsonOf({"compare", "-m", gguf, "--reference", model, "--text", text, "--json"});
    EXPECT_EQ(Member(other, "tokens"), Member(same, "tokens"));
    EXPECT_EQ(Member(other, "reference_perplexity"), Member(same, "perplexity"));
    EXPECT_GT(Member(other, "kl_mean").AsDouble(), 0.0);
    EXPECT_LT(Member(other, "kl_mean").AsDouble(), 0.01);
    EXPECT_GE(Member(other, "kl_max").AsDouble(), Member(other, "kl_mean").AsDouble());
    EXPECT_GT(Member(other, "top1_agreement").AsDouble(), 0.9);
    ++compared;
  }
  EXPECT_GT(compared, 0u);
}

TEST(InfoGolden, DescribesEveryModelAsOneObject) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  for (const std::string& name : GoldenModels()) {
    SCOPED_TRACE(name);
    const std::string model = GoldenDir() + "/models/" + name;
    const Json info = JsonOf({"info", "-m", model, "--json", "--check-weights"});
    const Json config = ReadJson(model + "/config.json");
    EXPECT_EQ(Member(info, "model_type"), Member(config, "model_type"));
    EXPECT_EQ(Member(info, "vocab_size"), Member(config, "vocab_size"));
    EXPECT_EQ(Member(info, "hidden_size"), Member(config, "hidden_size"));
    EXPECT_EQ(Member(info, "format"), Json("safetensors"));
    EXPECT_EQ(Member(info, "has_tokenizer"), Json(FileExists(model + "/tokenizer.json")));
    int64_t blocks = 0;
    for (const auto& [kind, count] : Member(info, "blocks").AsObject()) blocks += count.AsInt();
    EXPECT_GT(blocks, 0);
    EXPECT_NE(OutputOf({"info", "-m", model}).find("parameters"), std::string::npos);
  }
}

TEST(Info, LimitsPrintsTheTable) {
  const std::vector<std::string> lines = Lines(OutputOf({"info", "--limits"}));
  EXPECT_GE(lines.size(), 30u);
  bool found = false;
  for (const std::string& line : lines)
    found |= line.starts_with("safetensors header bytes") && line.ends_with(" 100000000");
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace planish::testing

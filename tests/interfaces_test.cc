// SPDX-License-Identifier: Apache-2.0
// The interfaces that other programs rely on, through the program itself: every golden model, tokenizer and template.
#include <algorithm>
#include <filesystem>

#include "golden_case.h"
#include "run_program.h"

namespace planish::testing {
namespace {

constexpr float kLogitsTolerance = 1e-4f;

// Runs `planish logits` and checks that the one tensor is `logits`, f32, [T, V].
std::vector<float> LogitsOf(const std::string& model, const std::vector<int32_t>& ids,
                            const TemporaryDir& work, const std::vector<std::string>& more = {}) {
  const std::string output = work / "logits.safetensors";
  std::vector<std::string> arguments{
      "logits", "-m", model, "--ids", WriteIds(work / "ids.json", ids), "-o", output};
  arguments.insert(arguments.end(), more.begin(), more.end());
  EXPECT_EQ(OutputOf(arguments), "") << "results go to the file";
  const SafetensorsFile file = ReadSafetensors(output, FileBytes::Access::kRead);
  EXPECT_EQ(file.tensors.size(), 1u);
  const StoredTensor& logits = file.tensors.at(0);
  EXPECT_EQ(logits.name, "logits");
  EXPECT_EQ(logits.view.dtype, DType::kF32);
  EXPECT_EQ(logits.view.shape.rank(), 2u);
  EXPECT_EQ(logits.view.shape[0], ids.size());
  const Tensor values = Tensor::ToF32(logits.view);
  return {values.f32(), values.f32() + values.elements()};
}

TEST(InterfaceGolden, LogitsOfEveryModelAndLengthAreInTolerance) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  const TemporaryDir work;
  size_t cases = 0;
  for (const std::string& name : GoldenModels()) {
    const GoldenTensors golden = ReadTensors(GoldenDir() + "/cases/" + name + ".safetensors");
    for (const auto& [tensor, ids] : golden.ids) {
      if (!tensor.starts_with("ids_")) continue;
      const std::vector<float>& expected = golden.values.at("logits_" + tensor.substr(4));
      ExpectNear(LogitsOf(GoldenDir() + "/models/" + name, ids, work), expected, kLogitsTolerance,
                 name + " " + tensor);
      ++cases;
    }
    const auto& [tensor, ids] = *golden.ids.find("greedy_prompt");
    const std::vector<float> together = LogitsOf(GoldenDir() + "/models/" + name, ids, work);
    ExpectNear(LogitsOf(GoldenDir() + "/models/" + name, ids, work, {"--steps"}), together,
               kLogitsTolerance, name + " in steps");
  }
  EXPECT_GT(cases, 0u);
}

TEST(InterfaceGolden, LogitsOfEveryGgufFileAreInTolerance) {
  const std::string folder = GoldenDir() + "/gguf";
  PLANISH_NEEDS_GOLDEN(folder);
  const TemporaryDir work;
  const GoldenTensors rounded = ReadTensors(folder + "/weight_rounded_logits.safetensors");
  for (const std::string& file : Listing(folder, ".gguf")) {
    const std::string stem = file.substr(0, file.size() - 5),
                      model = stem.substr(0, stem.rfind('.'));
    const GoldenTensors golden = ReadTensors(GoldenDir() + "/cases/" + model + ".safetensors");
    const bool is_exact = stem.ends_with(".f32");
    size_t cases = 0;
    for (const auto& [tensor, expected] : is_exact ? golden.values : rounded.values) {
      const std::string prefix = is_exact ? "logits_" : stem + ".logits_";
      if (!tensor.starts_with(prefix) || tensor.find("bf16_") != std::string::npos) continue;
      const std::string length = tensor.substr(prefix.size());
      ExpectNear(LogitsOf(folder + "/" + file, golden.ids.at("ids_" + length), work), expected,
                 kLogitsTolerance, file + " " + length);
      ++cases;
    }
    EXPECT_GT(cases, 0u) << file;
  }
}

TEST(InterfaceGolden, GreedyIdsOfEveryModelAreExact) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  const TemporaryDir work;
  for (const std::string& name : GoldenModels()) {
    SCOPED_TRACE(name);
    const std::string model = GoldenDir() + "/models/" + name;
    const GoldenTensors golden = ReadTensors(GoldenDir() + "/cases/" + name + ".safetensors");
    const std::vector<int32_t>& expected = golden.ids.at("greedy_ids");
    std::vector<std::string> arguments{"generate",
                                       "-m",
                                       model,
                                       "--ids",
                                       WriteIds(work / "ids.json", golden.ids.at("greedy_prompt")),
                                       "-n",
                                       std::to_string(expected.size()),
                                       "--greedy",
                                       "--json"};
    // Without --ignore-eos the ids end with the first end token, if there is one.
    const Json until_end = JsonOf(arguments);
    arguments.push_back("--ignore-eos");
    const Json json = JsonOf(arguments);
    EXPECT_EQ(IdsOf(Member(json, "ids")), expected);
    EXPECT_TRUE(Member(json, "text").is_string());
    EXPECT_EQ(Member(json, "finish_reason"), Json("length"));
    EXPECT_EQ(Member(json, "prompt_tokens").AsInt(),
              static_cast<int64_t>(golden.ids.at("greedy_prompt").size()));
    EXPECT_EQ(Member(json, "logprobs").AsArray().size(), expected.size());
    const std::vector<int32_t> short_ids = IdsOf(Member(until_end, "ids"));
    ASSERT_LE(short_ids.size(), expected.size());
    EXPECT_TRUE(std::equal(short_ids.begin(), short_ids.end(), expected.begin()));
    EXPECT_EQ(Member(until_end, "finish_reason"),
              Json(short_ids.size() < expected.size() ? "stop" : "length"));
  }
}

// The config of each model in the spelling of the published checkpoints gives the same answer.
TEST(InterfaceGolden, PublishedSpellingOfTheConfigGivesTheSameIds) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  for (const std::string& name : GoldenModels()) {
    const std::string model = GoldenDir() + "/models/" + name;
    if (!FileExists(model + "/config.published.json")) continue;
    const TemporaryDir work;
    for (const std::string& file : Listing(model)) {
      if (file != "config.json") std::filesystem::copy_file(model + "/" + file, work / file);
    }
    WriteFile(work / "config.json",
              ReadFile(model + "/config.published.json", limits::kConfigBytes));
    const GoldenTensors golden = ReadTensors(GoldenDir() + "/cases/" + name + ".safetensors");
    const Json json = JsonOf({"generate", "-m", work.path(), "--ids",
                              WriteIds(work / "ids.json", golden.ids.at("greedy_prompt")), "-n",
                              std::to_string(golden.ids.at("greedy_ids").size()), "--greedy",
                              "--json", "--ignore-eos"});
    EXPECT_EQ(IdsOf(Member(json, "ids")), golden.ids.at("greedy_ids")) << name;
  }
}

// Sends one line a case and compares each line that comes back.
void CheckLines(const std::vector<std::string>& arguments, const std::vector<Json>& lines,
                const std::vector<Json>& expected, const std::string& key,
                const std::string& what) {
  std::string input;
  for (const Json& line : lines) input += DumpJson(line) + "\n";
  const std::vector<std::string> found = Lines(OutputOf(arguments, {.input = input}));
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (size_t i = 0; i < found.size(); ++i) {
    const Json json = ParseJson(found[i], what);
    EXPECT_EQ(json.AsObject().size(), 1u) << found[i];
    EXPECT_EQ(Member(json, key), expected[i])
        << what << " case " << i << ": " << DumpJson(lines[i]).substr(0, 300);
  }
}

TEST(InterfaceGolden, TokenizeGivesTheIdsOfEveryTokenizer) {
  const std::string folder = GoldenDir() + "/tokenizer";
  PLANISH_NEEDS_GOLDEN(folder);
  for (const std::string& name : Listing(folder)) {
    std::string tokenizer = folder + "/" + name + "/tokenizer.json";
    if (!FileExists(tokenizer)) tokenizer += ".zst";
    const Json golden = ReadJson(folder + "/" + name + "/golden.json");
    std::vector<Json> texts, ids, special, id_lines, decoded;
    for (const Json& item : Member(golden, "cases").AsArray()) {
      texts.push_back(Json(Json::Object{{"text", Member(item, "text")}}));
      ids.push_back(Member(item, "ids"));
      const Json* with_special = item.Find("ids_with_special");
      special.push_back(with_special != nullptr ? *with_special : ids.back());
      id_lines.push_back(Json(Json::Object{{"ids", ids.back()}}));
      decoded.push_back(Member(item, "decoded"));
    }
    ASSERT_FALSE(texts.empty());
    CheckLines({"tokenize", "--tokenizer", tokenizer, "--jsonl"}, texts, ids, "ids", name);
    CheckLines({"tokenize", "--tokenizer", tokenizer, "--jsonl", "--special"}, texts, special,
               "ids", name + " --special");
    CheckLines({"tokenize", "--tokenizer", tokenizer, "--decode"}, id_lines, decoded, "text",
               name + " --decode");
  }
}

TEST(InterfaceGolden, TokenizeWithAModelUsesItsTokenizer) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  const RunOptions input{.input =
                             "{\"text\": \"def f(x):\\n    return x + 12345  # caf\\u00e9\"}\n"};
  for (const std::string& name : GoldenModels()) {
    const std::string model = GoldenDir() + "/models/" + name;
    if (!FileExists(model + "/tokenizer.json")) continue;
    const std::string by_file = OutputOf(
        {"tokenize", "--tokenizer", model + "/tokenizer.json", "--jsonl", "--special"}, input);
    EXPECT_EQ(OutputOf({"tokenize", "-m", model, "--jsonl", "--special"}, input), by_file) << name;
    EXPECT_FALSE(by_file.empty());
    for (const std::string& file : Listing(GoldenDir() + "/gguf", ".gguf")) {
      if (!file.starts_with(name + ".")) continue;
      EXPECT_EQ(OutputOf({"tokenize", "-m", GoldenDir() + "/gguf/" + file, "--jsonl", "--special"},
                         input),
                by_file)
          << file;
    }
  }
}

TEST(InterfaceGolden, TemplateRendersEveryChat) {
  const std::string folder = GoldenDir() + "/chat";
  PLANISH_NEEDS_GOLDEN(folder);
  const Json golden = ReadJson(folder + "/chat.json");
  for (const auto& [name, cases] : Member(golden, "templates").AsObject()) {
    const Json* bos = Member(golden, "bos_token").Find(name);
    std::vector<Json> lines, expected;
    for (const Json& item : cases.AsArray()) {
      Json line = item;
      line.Remove("case");
      line.Remove("text");
      if (bos != nullptr) line.Set("bos_token", *bos);
      lines.push_back(std::move(line));
      expected.push_back(Member(item, "text"));
    }
    CheckLines({"template", "--template", folder + "/" + name + ".jinja", "--jsonl"}, lines,
               expected, "text", name);
  }
}

}  // namespace
}  // namespace planish::testing

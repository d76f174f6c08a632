// SPDX-License-Identifier: Apache-2.0
// A real model end to end: SmolLM2-135M-Instruct in Q4_1 and Q8_0 blocks, with the tokenizer and chat template out of the
// GGUF file. Ids and rendered chats are exact, log-probabilities and logits within 2e-3 of the oracle.
#include <filesystem>

#include "golden_case.h"
#include "run_program.h"

namespace planish::testing {
namespace {

constexpr float kTolerance = 2e-3f;

class SmolLm2Golden : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = SmolLm2Path();
    if (model_.empty())
      GTEST_SKIP() << "SmolLM2 is missing: run tools/fetch_demo_model.sh or set PLANISH_SMOLLM2";
    if (!FileExists(folder_ + "/cases.json"))
      GTEST_SKIP() << folder_ << " is missing: set PLANISH_GOLDEN to the full golden data";
    golden_ = ReadJson(folder_ + "/cases.json");
    for (const Json& item : Member(golden_, "cases").AsArray()) {
      (item.Find("messages") != nullptr ? chats_ : texts_).push_back(item);
    }
    ASSERT_FALSE(texts_.empty());
    ASSERT_FALSE(chats_.empty());
  }

  std::vector<Json> Run(const std::vector<std::string>& arguments, const std::string& input) const {
    std::vector<Json> found;
    for (const std::string& line : Lines(OutputOf(arguments, {.input = input})))
      found.push_back(ParseJson(line, "stdout"));
    return found;
  }

  static std::string Name(const Json& item) { return Member(item, "name").AsString(); }

  const std::string folder_ = GoldenDir() + "/smollm2";
  std::string model_;
  Json golden_;
  std::vector<Json> texts_, chats_;
};

TEST_F(SmolLm2Golden, TokenizerAndChatTemplateOutOfTheGgufAreExact) {
  std::string texts, conversations, rendered;
  for (const Json& item : texts_)
    texts += DumpJson(Json(Json::Object{{"text", Member(item, "text")}})) + "\n";
  for (const Json& item : chats_) {
    conversations += DumpJson(Json(Json::Object{{"messages", Member(item, "messages")},
                                                {"add_generation_prompt", true}})) +
                     "\n";
    rendered += DumpJson(Json(Json::Object{{"text", Member(item, "rendered")}})) + "\n";
  }
  const std::vector<Json> ids = Run({"tokenize", "-m", model_, "--jsonl"}, texts + rendered);
  ASSERT_EQ(ids.size(), texts_.size() + chats_.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const Json& item = i < texts_.size() ? texts_[i] : chats_[i - texts_.size()];
    EXPECT_EQ(Member(ids[i], "ids"), Member(item, "ids")) << Name(item);
  }
  const std::vector<Json> chats = Run({"template", "-m", model_, "--jsonl"}, conversations);
  ASSERT_EQ(chats.size(), chats_.size());
  for (size_t i = 0; i < chats.size(); ++i)
    EXPECT_EQ(Member(chats[i], "text"), Member(chats_[i], "rendered")) << Name(chats_[i]);
}

TEST_F(SmolLm2Golden, GreedyContinuationsOfTextsAndChatsAreExact) {
  std::string input;
  std::vector<Json> cases = texts_;
  for (const Json& item : texts_)
    input += DumpJson(Json(Json::Object{{"prompt", Member(item, "text")}})) + "\n";
  for (const Json& item : chats_)
    input += DumpJson(Json(Json::Object{{"messages", Member(item, "messages")}})) + "\n";
  cases.insert(cases.end(), chats_.begin(), chats_.end());
  const std::vector<Json> found =
      Run({"generate", "-m", model_, "-n", "40", "--greedy", "--json", "--jsonl"}, input);
  ASSERT_EQ(found.size(), cases.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(Member(found[i], "ids"), Member(cases[i], "greedy")) << Name(cases[i]);
    EXPECT_EQ(Member(found[i], "prompt_tokens").AsInt(),
              static_cast<int64_t>(Member(cases[i], "ids").AsArray().size()))
        << Name(cases[i]);
    const bool ended = IdsOf(Member(cases[i], "greedy")).size() < 40;
    EXPECT_EQ(Member(found[i], "finish_reason"), Json(ended ? "stop" : "length")) << Name(cases[i]);
  }
}

TEST_F(SmolLm2Golden, LogprobsOfEveryTokenAndTheLastLogitsAreInTolerance) {
  const TemporaryDir work;
  const GoldenTensors golden = ReadTensors(folder_ + "/logits.safetensors");
  size_t cases = 0;
  for (const auto& [tensor, ids] : golden.ids) {
    if (!tensor.ends_with(".ids")) continue;
    const std::string name = tensor.substr(0, tensor.size() - 4),
                      output = work / "logits.safetensors";
    const Json json = JsonOf({"logits", "-m", model_, "--ids", WriteIds(work / "ids.json", ids),
                              "-o", output, "--logprobs"});
    EXPECT_EQ(IdsOf(Member(json, "ids")), ids) << name;
    std::vector<float> logprobs;
    for (const Json& value : Member(json, "logprobs").AsArray())
      logprobs.push_back(static_cast<float>(value.AsDouble()));
    ExpectNear(logprobs, golden.values.at(name + ".token_logprobs"), kTolerance,
               name + " token_logprobs");
    const std::vector<float>& last = golden.values.at(name + ".logits_last");
    const std::vector<float> logits = ReadTensors(output).values.at("logits");
    ASSERT_EQ(logits.size(), ids.size() * last.size()) << name;
    ExpectNear({logits.end() - static_cast<std::ptrdiff_t>(last.size()), logits.end()}, last,
               kTolerance, name + " logits_last");
    ++cases;
  }
  EXPECT_GT(cases, 0u);
}

// What the fast modes cost against exact arithmetic on the same weights, in nats a token of real text: prompts in bf16 and
// int8, answers in int8 with 16- and 8-bit caches. llama.cpp's own int8 products are 0.007 away on this file.
TEST_F(SmolLm2Golden, FastModesStayNearTheExactOneOnRealText) {
  const TemporaryDir work;
  std::string text;
  for (const Json& item : texts_) text += Member(item, "text").AsString() + "\n\n";
  for (const Json& item : chats_) text += Member(item, "rendered").AsString() + "\n";
  WriteFile(work / "text.txt", text);
  const auto kl = [&](std::vector<std::string> options) {
    options.insert(options.begin(),
                   {"compare", "-m", model_, "--text", work / "text.txt", "--json"});
    return Member(JsonOf(options), "kl_mean").AsDouble();
  };
  EXPECT_LE(kl({"--act", "bf16"}), 0.0005);
  EXPECT_LE(kl({"--act", "int8"}), 0.006);
  EXPECT_LE(kl({"--act", "int8", "--steps"}), 0.006);
  EXPECT_LE(kl({"--act", "int8", "--steps", "--kv", "q8_0"}), 0.006);
  EXPECT_GT(kl({"--act", "int8", "--steps"}), 0.0) << "the fast mode is not in use";
  EXPECT_LT(kl({"--act", "f32"}), 1e-9);
}

// Resident size after loading and answering: the file, the states of the tokens seen, and 64 MiB; mapped or read.
TEST_F(SmolLm2Golden, MemoryStaysNearTheFileAndItsStates) {
  const Json info = JsonOf({"info", "-m", model_, "--json"});
  const Json& chat = chats_[0];  // one user message, perhaps with a system prompt
  const size_t tokens =
      Member(chat, "ids").AsArray().size() + Member(chat, "greedy").AsArray().size();
  const auto state = static_cast<uint64_t>(Member(info, "kv_bytes_per_token").AsInt()) * tokens +
                     static_cast<uint64_t>(Member(info, "state_bytes").AsInt());
  const auto bound =
      static_cast<uint64_t>(1.05 * static_cast<double>(std::filesystem::file_size(model_))) +
      state + (64u << 20);
  const Json::Array& messages = Member(chat, "messages").AsArray();
  std::vector<std::string> arguments{"chat", "-m", model_, "--greedy", "-n", "40"};
  if (messages.size() == 2)
    arguments.insert(arguments.end(), {"--system", Member(messages[0], "content").AsString()});
  const std::string question = Member(messages.back(), "content").AsString() + "\n";
  for (const bool is_mapped : {true, false}) {
    // Read into memory, a fast mode would keep the file and its packed copy: mapped pages can be given back, these cannot.
    if (!is_mapped) arguments.insert(arguments.end(), {"--no-mmap", "--act", "f32"});
    if (is_mapped && !kHasRealMemory) continue;  // the other tests answer from the mapped file
    const Outcome outcome = RunProgram(arguments, {.input = question});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    ASSERT_GT(outcome.out.size(), 1u);
    const std::string answer =
        outcome.out.substr(0, outcome.out.size() - 1);  // the golden text has the end token, too
    EXPECT_TRUE(Member(chat, "greedy_text").AsString().starts_with(answer)) << answer;
    if (kHasRealMemory) {
      EXPECT_LE(outcome.peak_bytes, bound) << (is_mapped ? "mapped" : "read");
    }
    RecordProperty(
        is_mapped ? "mapped" : "read",
        std::to_string(outcome.peak_bytes >> 20) + " of " + std::to_string(bound >> 20) + " MiB");
  }
}

// The program says so plainly instead of pretending that this model can think.
TEST_F(SmolLm2Golden, ThinkingIsRefusedPlainly) {
  EXPECT_EQ(Member(JsonOf({"info", "-m", model_, "--json"}), "thinking"), Json(false));
  for (const std::vector<std::string>& verb :
       {std::vector<std::string>{"chat"}, {"generate", "--chat"}}) {
    std::vector<std::string> arguments = verb;
    arguments.insert(arguments.end(), {"-m", model_, "--think", "on", "-n", "1"});
    const Outcome outcome = RunProgram(arguments, {.input = "Hello\n"});
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(Lines(outcome.err).size(), 1u) << outcome.err;
    EXPECT_NE(outcome.err.find("no thinking mode"), std::string::npos) << outcome.err;
  }
}

}  // namespace
}  // namespace planish::testing

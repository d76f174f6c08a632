// SPDX-License-Identifier: Apache-2.0
// `planish data sft`: its steps one after the other, as a user runs them. `planish data problems`: its rows.
#include "base/file.h"
#include "base/testing.h"
#include "run_program.h"

namespace planish::testing {
namespace {

constexpr const char* kChats =
    R"({"messages":[{"role":"user","content":"1+1?"},{"role":"assistant","content":"2",)"
    R"("reasoning_content":"Count.\nOne and one.\nThat gives two.\nSo two."}]})"
    "\n"
    R"({"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"Hello"}]})"
    "\n";

TEST(DataSft, StepsMakeATokenFileWithMask) {
  const TemporaryDir work;
  const std::string tokenizer = GoldenDir() + "/tokenizer/bpe_qwen_style/tokenizer.json";
  const std::string chat = GoldenDir() + "/chat/chatml.jinja";
  const std::string in = work / "chats.jsonl";
  WriteFile(in, kChats);
  const Json pairs = JsonOf({"data", "sft", "pairs", in, "-o", work / "pairs.jsonl", "--json"});
  EXPECT_EQ(pairs.Find("pairs")->AsInt(), 1);
  const Json cut = JsonOf({"data", "sft", "truncate-think", in, "-o", work / "cut.jsonl", "-m",
                           tokenizer, "--min", "2", "--max", "12", "--fraction", "1", "--json"});
  EXPECT_EQ(cut.Find("truncated")->AsInt(), 1);
  EXPECT_EQ(cut.Find("without_reasoning")->AsInt(), 1);
  int64_t trained = 0;
  for (const std::string& name : {in, work / "pairs.jsonl", work / "cut.jsonl"}) {
    const Json counts = JsonOf({"data", "sft", "tokenize", name, "-o", work / "out.tokens", "-m",
                                tokenizer, "--template", chat, "--json"});
    EXPECT_EQ(counts.Find("samples")->AsInt(), 2) << name;
    if (name == in) trained = counts.Find("trained_tokens")->AsInt();
    EXPECT_LE(counts.Find("trained_tokens")->AsInt(), trained) << name;
    EXPECT_TRUE(ReadFilePrefix(work / "out.tokens", 8) == "PLTOKENS");
  }
}

TEST(DataSft, ErrorsHaveTheirExitStatusAndLeaveNoFile) {
  const TemporaryDir work;
  const std::string tokenizer = GoldenDir() + "/tokenizer/bpe_qwen_style/tokenizer.json";
  const std::string chat = GoldenDir() + "/chat/chatml.jinja";
  WriteFile(work / "bad.jsonl", "{\"messages\": 3}\n");
  const auto status = [&](const std::string& step, const std::string& file) {
    return RunProgram(
               {"data", "sft", step, file, "-o", work / "out", "-m", tokenizer, "--template", chat})
        .status;
  };
  EXPECT_EQ(status("tokenize", work / "bad.jsonl"), 3);
  EXPECT_EQ(status("tokenize", work / "missing.jsonl"), 3);
  EXPECT_EQ(status("pairs", work / "bad.jsonl"), 3);
  EXPECT_EQ(status("truncate-think", work / "bad.jsonl"), 3);
  EXPECT_EQ(status("cook", work / "bad.jsonl"), 2);
  EXPECT_EQ(RunProgram({"data"}).status, 2);
  EXPECT_EQ(Listing(work.path()).size(), 1u);
}

std::string Problems(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"data", "problems", "-o", "-", "--seed", "3"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Outcome outcome = RunProgram(arguments);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  return outcome.out;
}

TEST(DataProblems, RowsDoNotDependOnThreadsOrOnWhereARunBegins) {
  const std::string all = Problems({"--count", "300", "-t", "1"});
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 600);  // with thinking and without
  EXPECT_EQ(all, Problems({"--count", "300", "-t", "2"}));
  EXPECT_EQ(all, Problems({"--count", "120"}) + Problems({"--first", "120", "--count", "180"}));
  EXPECT_NE(all, Problems({"--count", "300", "--split", "test"}));
}

TEST(DataProblems, ChatRowsAreWhatSftTokenizes) {
  const TemporaryDir work;
  WriteFile(work / "p.jsonl", Problems({"--count", "50"}));
  const Json counts =
      JsonOf({"data", "sft", "tokenize", work / "p.jsonl", "-o", work / "out.tokens", "-m",
              GoldenDir() + "/tokenizer/bpe_qwen_style/tokenizer.json", "--template",
              GoldenDir() + "/chat/chatml.jinja", "--json"});
  EXPECT_EQ(counts.Find("dialogues")->AsInt(), 100);
  EXPECT_EQ(counts.Find("samples")->AsInt(), 100);
  EXPECT_EQ(counts.Find("turns_without_reasoning")->AsInt(), 0);
}

TEST(DataProblems, FormsHaveTheirMembers) {
  const auto first = [](const std::string& rows) {
    return ParseJson(rows.substr(0, rows.find('\n')), "row");
  };
  const Json test = first(Problems({"--count", "1", "--form", "test", "--split", "test"}));
  for (const char* key : {"question", "answer", "answer_type", "skill"})
    EXPECT_TRUE(test.Find(key) != nullptr && test.Find(key)->is_string()) << key;
  EXPECT_TRUE(test.Find("steps")->is_integer() && test.Find("digits")->is_integer());
  const Json text = first(Problems({"--count", "1", "--form", "text"}));
  EXPECT_NE(text.Find("text")->AsString().find("The answer is "), std::string::npos);
  const Json off = first(Problems({"--count", "1", "--thinking", "off"}));
  EXPECT_FALSE(off.Find("enable_thinking")->AsBool());
  EXPECT_EQ(off.Find("messages")->AsArray()[1].Find("reasoning_content"), nullptr);
  EXPECT_EQ(RunProgram({"data", "problems", "-o", "-"}).status, 2);
  EXPECT_EQ(RunProgram({"data", "problems", "--count", "3"}).status, 2);
  EXPECT_EQ(RunProgram({"data", "problems", "-o", "-", "--count", "3", "--mix", "odd"}).status, 2);
}

}  // namespace
}  // namespace planish::testing

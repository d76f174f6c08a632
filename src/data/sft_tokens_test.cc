// SPDX-License-Identifier: Apache-2.0
#include "data/sft_tokens.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/parallel.h"
#include "data/chat_testing.h"

namespace planish {
namespace {

using testing::TemporaryDir;

std::string Line(const std::string& question, const std::string& answer) {
  const auto message = [](const char* role, const std::string& content) {
    Json out = Json::MakeObject();
    out.Set("role", role);
    out.Set("content", content);
    return out;
  };
  Json line = Json::MakeObject();
  line.Set("messages", Json::Array{message("user", question), message("assistant", answer)});
  return DumpJson(line) + "\n";
}

class SftTokensTest : public ::testing::Test {
 protected:
  SftCounts Run(const std::string& jsonl, const SftOptions& options, const std::string& out) {
    const std::string in = dir_ / "in.jsonl";
    std::ofstream(in) << jsonl;
    DialogueLines lines(in);
    TokenFileWriter writer(dir_ / out,
                           {tokenizer().vocab_size(), TokenizerHash(tokenizer()), "chat",
                            /*has_mask=*/true});
    const SftCounts counts = TokenizeDialogues(&lines, encoder_, options, &writer);
    writer.Commit();
    return counts;
  }
  const Tokenizer& tokenizer() const { return encoder_.tokenizer(); }

  TemporaryDir dir_;
  ChatEncoder encoder_{testing::TestFormat("chat/chatml")};
};

TEST_F(SftTokensTest, DocumentsAreTheSamplesInOrderForAnyNumberOfThreads) {
  std::string jsonl;
  for (int i = 0; i < 600; ++i)
    jsonl += Line("question " + std::to_string(i), "answer " + std::to_string(i * i));
  std::string first;
  const int threads = ThreadCount();
  for (const int count : {1, 2, 3}) {
    SetThreadCount(count);
    const SftCounts counts = Run(jsonl, {}, "a.tokens");
    EXPECT_EQ(counts.samples, 600u);
    const std::string bytes = ReadFile(dir_ / "a.tokens", 1u << 30);
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << count;
  }
  SetThreadCount(threads);
  const auto file = TokenFile::Open(dir_ / "a.tokens");
  ASSERT_EQ(file->document_count(), 600u);
  uint64_t bytes = 0;
  for (uint64_t d = 0; d < 600; ++d) {
    std::vector<TokenId> ids(file->document_length(d)), trained;
    std::vector<uint8_t> mask(ids.size());
    file->ReadIds(file->document_begin(d), ids);
    file->ReadMask(file->document_begin(d), mask);
    for (size_t t = 0; t < ids.size(); ++t) {
      if (mask[t] == 1) trained.push_back(ids[t]);
    }
    const std::string expected = "answer " + std::to_string(d * d) + "<|im_end|>";
    ASSERT_EQ(tokenizer().Decode(trained), expected);
    bytes += expected.size();
  }
  EXPECT_EQ(file->source_bytes(), bytes);
}

TEST_F(SftTokensTest, LongSamplesAreTruncatedDroppedOrSplitAndCounted) {
  std::string answer;
  for (int i = 0; i < 60; ++i) answer += "word ";
  const std::string jsonl = Line("q", answer) + Line("q", "a");
  const SftCounts whole = Run(jsonl, {}, "a.tokens");
  const auto all = TokenFile::Open(dir_ / "a.tokens");
  EXPECT_EQ(whole.long_samples, 0u);
  const uint64_t length = all->document_length(0), rest = all->document_length(1);
  ASSERT_GT(length, 60u);
  const auto with = [&](LongExample policy) {
    const SftCounts counts = Run(jsonl, {.max_tokens = 32, .long_examples = policy}, "b.tokens");
    EXPECT_EQ(counts.long_samples, 1u);
    const auto file = TokenFile::Open(dir_ / "b.tokens");
    EXPECT_EQ(counts.samples, file->document_count());
    EXPECT_EQ(file->token_count() + counts.lost_tokens, length + rest);
    return counts.lost_tokens;
  };
  EXPECT_EQ(with(LongExample::kTruncate), length - 32);
  EXPECT_EQ(with(LongExample::kDrop), length);
  EXPECT_LE(with(LongExample::kSplit), 1u);  // a piece of one token trains nothing
}

TEST_F(SftTokensTest, BadLinesStopWithTheirPlaceOrAreCounted) {
  const std::string jsonl = Line("q", "a") + "\n" + "{\"messages\": 7}\n" + Line("q", "b") + "nope";
  try {
    Run(jsonl, {}, "a.tokens");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadFile);
    EXPECT_NE(std::string(error.what()).find("in.jsonl:3: messages"), std::string::npos)
        << error.what();
  }
  EXPECT_FALSE(FileExists(dir_ / "a.tokens"));
  const SftCounts counts = Run(jsonl, {.skips_bad_lines = true}, "a.tokens");
  EXPECT_EQ(counts.dialogues, 4u);
  EXPECT_EQ(counts.bad_lines, 2u);
  EXPECT_EQ(counts.samples, 2u);
  EXPECT_NE(counts.first_bad.find("in.jsonl:3"), std::string::npos);
}

TEST_F(SftTokensTest, DialoguesWithoutAnswersAreCounted) {
  const SftCounts counts = Run(
      Line("q", "") + "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}\n", {}, "a.tokens");
  EXPECT_EQ(counts.without_answer, 2u);
  EXPECT_EQ(counts.empty_turns, 1u);
  EXPECT_EQ(TokenFile::Open(dir_ / "a.tokens")->document_count(), 0u);
}

}  // namespace
}  // namespace planish

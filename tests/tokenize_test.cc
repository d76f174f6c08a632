// SPDX-License-Identifier: Apache-2.0
// `planish tokenize` on corpora, through the program: training a tokenizer, writing token files with it, and what is refused.
#include <filesystem>

#include "base/file.h"
#include "data/token_file.h"
#include "golden_case.h"
#include "model/pretrained.h"
#include "run_program.h"

namespace planish::testing {
namespace {

std::string Corpus() {
  std::string lines;
  for (int i = 0; i < 400; ++i) {
    lines += "{\"id\": " + std::to_string(i) + ", \"text\": \"Document " + std::to_string(i) +
             " says: the quick brown fox jumps.\\nIt's caf\\u00e9 time again, <|endoftext|> is "
             "text.\"}\n";
  }
  return lines;
}

class TokenizeTest : public ::testing::Test {
 protected:
  TokenizeTest() { WriteFile(work_ / "corpus.jsonl", Corpus()); }
  std::string Train(const std::string& folder, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{"tokenize", work_ / "corpus.jsonl", "--train-bpe", "300",
                                       "-o",       work_ / folder};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return OutputOf(arguments);
  }
  void ExpectRefused(std::vector<std::string> arguments, int status, const std::string& expected) {
    arguments.insert(arguments.begin(), "tokenize");
    const Outcome outcome = RunProgram(arguments);
    EXPECT_EQ(outcome.status, status) << outcome.err;
    ASSERT_FALSE(outcome.err.empty());
    EXPECT_NE(Lines(outcome.err).back().find(expected), std::string::npos) << outcome.err;
  }
  TemporaryDir work_;
};

TEST_F(TokenizeTest, TrainedTokenizerMakesATokenFileWhoseTextComesBack) {
  WriteFile(work_ / "chat.jinja", "{{ messages[0].content }}");
  const std::string said = Train("tok", {"--special-tokens", "<|endoftext|>,<pad>", "--pad",
                                         "<pad>", "--chat-template", work_ / "chat.jinja"});
  EXPECT_NE(said.find("300 tokens from 400 documents"), std::string::npos) << said;
  EXPECT_EQ(ReadFile(work_ / "tok/chat_template.jinja", 1000), "{{ messages[0].content }}");
  const Json config = ParseJson(ReadFile(work_ / "tok/tokenizer_config.json", 10000), "config");
  EXPECT_EQ(config.Find("eos_token")->AsString(), "<|endoftext|>");
  EXPECT_EQ(config.Find("pad_token")->AsString(), "<pad>");
  for (const char* threads : {"1", "2"}) {
    OutputOf({"tokenize", work_ / "corpus.jsonl", "--tokenizer", work_ / "tok", "-o",
              work_ / (std::string("c.tokens") + threads), "-t", threads});
  }
  EXPECT_EQ(ReadFile(work_ / "c.tokens1", 1 << 24), ReadFile(work_ / "c.tokens2", 1 << 24));
  const auto file = TokenFile::Open(work_ / "c.tokens1");
  const auto tokenizer = OpenTokenizer(work_ / "tok");
  EXPECT_EQ(file->document_count(), 400u);
  EXPECT_EQ(file->info().tokenizer_hash, TokenizerHash(*tokenizer));
  EXPECT_EQ(file->info().tokenizer_name, "tok");
  std::vector<TokenId> ids(file->document_length(7));
  file->ReadIds(file->document_begin(7), ids);
  EXPECT_EQ(ids.back(), 0);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 0), 1) << "the text of a special token stays text";
  EXPECT_EQ(tokenizer->Decode(ids),
            "Document 7 says: the quick brown fox jumps.\nIt's caf\xC3\xA9 time again, "
            "<|endoftext|> is text.<|endoftext|>");
  OutputOf({"tokenize", work_ / "corpus.jsonl", "--tokenizer", work_ / "tok/tokenizer.json", "-o",
            work_ / "n.tokens", "--no-eos", "--match-special"});
  const auto other = TokenFile::Open(work_ / "n.tokens");
  std::vector<TokenId> matched(other->document_length(7));
  other->ReadIds(other->document_begin(7), matched);
  EXPECT_EQ(std::count(matched.begin(), matched.end(), 0), 1);
  EXPECT_NE(matched.back(), 0);
}

TEST_F(TokenizeTest, TrainingGivesTheSameBytesForAnyNumberOfThreadsAndFromStandardInput) {
  Train("a", {"-t", "1"});
  Train("b", {"-t", "2"});
  OutputOf({"tokenize", "--train-bpe", "300", "-o", work_ / "c"}, {.input = Corpus()});
  for (const char* name : {"/tokenizer.json", "/tokenizer_config.json"}) {
    const std::string expected = ReadFile(work_ / "a" + name, 1 << 24);
    EXPECT_EQ(ReadFile(work_ / "b" + name, 1 << 24), expected);
    EXPECT_EQ(ReadFile(work_ / "c" + name, 1 << 24), expected);
  }
}

TEST_F(TokenizeTest, BadInputIsDroppedAndCountedOrWithStrictAnError) {
  Train("tok");
  const std::string bad = work_ / "bad.jsonl", out = work_ / "out.tokens";
  WriteFile(bad,
            "{\"text\":\"good\"}\n{broken\n{\"text\":\"a\\u0000\"}\n{\"text\":\"also good\"}\n");
  const std::string said = OutputOf({"tokenize", bad, "--tokenizer", work_ / "tok", "-o", out});
  EXPECT_NE(said.find("2 documents"), std::string::npos) << said;
  EXPECT_NE(said.find("2 dropped: 1 bad_json, 1 nul"), std::string::npos) << said;
  std::filesystem::remove(out);
  ExpectRefused({bad, "--tokenizer", work_ / "tok", "-o", out, "--strict"}, 3,
                "line 2: is not valid JSON");
  ExpectRefused({bad, "--tokenizer", work_ / "tok", "-o", out, "--field", "body"}, 3,
                "hold no documents");
  ExpectRefused({work_ / "none.jsonl", "--tokenizer", work_ / "tok", "-o", out}, 3, "no such file");
  EXPECT_FALSE(FileExists(out)) << "a failed run leaves no file";
  for (const auto& entry : std::filesystem::directory_iterator(work_ / ""))
    EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos);
}

TEST_F(TokenizeTest, OptionsThatContradictAreRefused) {
  const std::string corpus = work_ / "corpus.jsonl";
  Train("tok", {"--special-tokens", ""});
  ExpectRefused({corpus, "--train-bpe", "300"}, 2, "--train-bpe needs -o FOLDER");
  ExpectRefused({corpus, "--train-bpe", "300", "-o", work_ / "tok"}, 2,
                "already holds a tokenizer");
  ExpectRefused({corpus, "--train-bpe", "100", "-o", work_ / "x"}, 2, "expected 257");
  ExpectRefused({corpus, "--train-bpe", "300", "-o", work_ / "x", "--eos", "<s>"}, 2,
                "'<s>' is not among --special-tokens");
  ExpectRefused({corpus, "--train-bpe", "300", "-o", work_ / "x", "--no-eos"}, 2,
                "--no-eos means nothing");
  ExpectRefused({corpus, "--tokenizer", work_ / "tok", "-o", work_ / "x"}, 2,
                "which token ends a document");
  ExpectRefused({corpus, "--tokenizer", work_ / "tok", "-o", work_ / "x", "--eos", "<s>"}, 2,
                "no token '<s>'");
  ExpectRefused({corpus, "--tokenizer", work_ / "tok", "-o", corpus, "--no-eos"}, 2,
                "both input and output");
  ExpectRefused({"text", "--tokenizer", work_ / "tok", "--strict"}, 2,
                "--strict means nothing without -o");
  ExpectRefused({corpus, "--tokenizer", work_ / "tok", "-o", work_ / "x", "--no-eos",
                 "--document-separator", "\\q"},
                2, "unknown escape");
}

}  // namespace
}  // namespace planish::testing

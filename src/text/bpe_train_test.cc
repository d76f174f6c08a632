// SPDX-License-Identifier: Apache-2.0
#include "text/bpe_train.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parallel.h"
#include "text/tokenizer_parts.h"
#include "text/tokenizer_testing.h"

namespace planish {
namespace {

std::vector<std::string> Strings(const Json& list) {
  std::vector<std::string> strings;
  for (const Json& item : list.AsArray()) strings.push_back(item.AsString());
  return strings;
}

std::vector<std::string_view> Views(const std::vector<std::string>& strings) {
  return {strings.begin(), strings.end()};
}

std::string Trained(const std::string& pre_tokenizer, const BpeTrainOptions& options,
                    const std::vector<std::string>& texts) {
  BpeTrainer trainer(pre_tokenizer, options);
  trainer.Feed(Views(texts));
  return DumpJson(trainer.Train()->ToJson());
}

void ExpectRefused(const std::string& pre_tokenizer, const BpeTrainOptions& options,
                   const std::string& expected) {
  try {
    BpeTrainer trainer(pre_tokenizer, options);
    FAIL() << "accepted, expected: " << expected;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
  }
}

// tests/golden/bpe_train/cases.json, written by tools/oracle/bpe_train.py.
TEST(BpeTrain, LearnsTheTokensAndMergesOfHuggingFaceTokenizers) {
  const std::string path = PLANISH_SOURCE_DIR "/tests/golden/bpe_train/cases.json";
  const Json golden = ParseJson(ReadFile(path, 1 << 24), path);
  size_t repeats = 0, limited = 0, merges_in_all = 0;
  for (const Json& each : golden.Find("cases")->AsArray()) {
    const JsonReader reader(each, path);
    BpeTrainOptions options;
    options.vocab_size = static_cast<size_t>(reader.Int("vocab_size", 0, 1 << 20));
    options.min_frequency = static_cast<uint64_t>(reader.Int("min_frequency", 0, 1 << 20));
    options.max_token_length = static_cast<size_t>(reader.Int("max_token_length", 0, 1 << 20));
    options.special_tokens = Strings(*each.Find("special_tokens"));
    const std::vector<std::string> texts = Strings(*each.Find("texts"));
    const Json made = ParseJson(Trained(reader.String("pre_tokenizer"), options, texts), "made");
    const Json& model = *made.Find("model");
    EXPECT_EQ(*model.Find("merges"), *each.Find("merges")) << DumpJson(each);
    std::vector<std::string> tokens;
    for (const auto& [token, id] : model.Find("vocab")->AsObject()) {
      ASSERT_EQ(id.AsInt(), static_cast<int64_t>(tokens.size()));
      tokens.push_back(token);
    }
    const std::vector<std::string> learned = Strings(*each.Find("learned_tokens"));
    ASSERT_GE(tokens.size(), learned.size());
    const auto first = tokens.end() - static_cast<ptrdiff_t>(learned.size());
    EXPECT_EQ(std::vector<std::string>(first, tokens.end()), learned);
    const auto bytes = tokens.begin() + static_cast<ptrdiff_t>(options.special_tokens.size());
    EXPECT_EQ(std::vector<std::string>(tokens.begin(), bytes), options.special_tokens);
    std::string alphabet;
    for (auto token = bytes; token != first; ++token) alphabet += *token;
    EXPECT_EQ(alphabet, reader.String("byte_tokens"));
    const size_t merges = each.Find("merges")->AsArray().size();
    merges_in_all += merges;
    repeats += merges > learned.size();
    limited += options.max_token_length > 0;
  }
  EXPECT_GT(merges_in_all, 300u);
  EXPECT_GT(repeats, 5u);  // cases where several merges make one string
  EXPECT_GT(limited, 5u);
}

std::vector<std::string> RandomTexts(uint64_t seed) {
  RandomText random(seed);
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i) texts.push_back(random.Valid(random.Below(60)));
  std::string lines;  // longer than a task of one thread
  while (lines.size() < 700'000)
    lines += "A line of text.\n" + random.Valid(random.Below(20)) + "\n";
  texts.push_back(lines);
  return texts;
}

TEST(BpeTrain, ResultDependsNeitherOnThreadsNorOnOrderNorOnHowTextsAreFed) {
  std::vector<std::string> texts = RandomTexts(3);
  for (const std::string pre_tokenizer : {"llama3", "qwen2", "smollm"}) {
    const BpeTrainOptions options{
        .vocab_size = 700, .min_frequency = 2, .special_tokens = {"<eos>", "<pad>"}};
    SetThreadCount(1);
    const std::string one = Trained(pre_tokenizer, options, texts);
    SetThreadCount(3);
    EXPECT_EQ(Trained(pre_tokenizer, options, texts), one);
    std::reverse(texts.begin(), texts.end());
    BpeTrainer trainer(pre_tokenizer, options);
    for (const std::string& text : texts) {
      const std::string_view view = text;
      trainer.Feed({&view, 1});
    }
    EXPECT_EQ(DumpJson(trainer.Train()->ToJson()), one);
  }
  SetThreadCount(0);
}

TEST(BpeTrain, TextCutAtPlacesToCutHasThePiecesOfTheWhole) {
  RandomText random(11);
  size_t cuts = 0;
  for (const std::string& name : PreTokenizerNames()) {
    TokenizerParts parts;
    ASSERT_TRUE(SetPreTokenizer(name, &parts));
    const PreTokenizer pre_tokenizer(parts.pre_tokenizer, name);
    ASSERT_TRUE(pre_tokenizer.cuts_at_lines());
    PreTokenizeScratch scratch;
    const auto split = [&](std::string_view text, std::vector<std::string>* pieces) {
      for (const Piece& piece : pre_tokenizer.Split(text, &scratch))
        pieces->emplace_back(piece.text);
    };
    for (int i = 0; i < 400; ++i) {
      std::string text;
      for (size_t n = random.Below(12) + 1; n-- > 0;) {
        text += random.Valid(random.Below(4));
        text +=
            std::vector<std::string>{"a\nb", "It.\nI", "\n",          "x!\n\nY",
                                     "'\ns", "1\n2",   "e\n\xCC\x81", ")\nwe'll"}[random.Below(8)];
      }
      std::vector<std::string> whole, parted;
      split(text, &whole);
      for (std::string_view rest = text; !rest.empty();) {
        const size_t cut = PlaceToCut(rest, random.Below(10));
        ASSERT_GT(cut, 0u);
        cuts += cut < rest.size();
        split(rest.substr(0, cut), &parted);
        rest.remove_prefix(cut);
      }
      ASSERT_EQ(parted, whole) << name << ": " << text;
    }
  }
  EXPECT_GT(cuts, 1000u);
  EXPECT_EQ(PlaceToCut("", 0), 0u);
  EXPECT_EQ(PlaceToCut("a\nb", 100), 3u);
}

TEST(BpeTrain, TextTokensHaveIdsOfTheirOwnAndAreNotSpecial) {
  BpeTrainer trainer("qwen2", {.vocab_size = 260,
                               .special_tokens = {"<end>"},
                               .text_tokens = {"<think>", "<end>", "</think>"}});
  const std::string text = "abab";
  trainer.Feed({{std::string_view(text)}});
  const auto tokenizer = trainer.Train();
  EXPECT_EQ(tokenizer->Encode("<think>a</think><end>", {}).size(), 4u);
  EXPECT_EQ(tokenizer->Find("</think>"), TokenId{2});
  EXPECT_TRUE(tokenizer->IsSpecial(0));
  EXPECT_FALSE(tokenizer->IsSpecial(1));
  const std::vector<TokenId> ids{1, 0, 2};
  EXPECT_EQ(tokenizer->Decode(ids, /*skip_special=*/true), "<think></think>");
}

TEST(BpeTrain, TokenizerMadeEncodesWithItsMergesAndFindsItsSpecialTokens) {
  BpeTrainer trainer("gpt-2", {.vocab_size = 262, .special_tokens = {"<eos>", "<pad>", "<eos>"}});
  const std::vector<std::string> texts = {"low low low lower lower", "<eos>"};
  trainer.Feed(Views(texts));
  EXPECT_EQ(trainer.distinct_words() > 2, true);
  const auto tokenizer = trainer.Train();
  ASSERT_EQ(tokenizer->vocab_size(), 262u);
  EXPECT_EQ(tokenizer->Find("<eos>"), 0);
  EXPECT_EQ(tokenizer->Find("<pad>"), 1);
  EXPECT_TRUE(tokenizer->IsSpecial(0));
  EXPECT_FALSE(tokenizer->IsSpecial(2));
  const std::vector<TokenId> ids = tokenizer->Encode("low lower<eos>");
  EXPECT_EQ(ids.back(), 0);
  EXPECT_LE(ids.size(), 5u);
  EXPECT_EQ(tokenizer->Decode(ids), "low lower<eos>");
}

TEST(BpeTrain, StopsWhenNoPairIsFrequentEnough) {
  const auto size = [](uint64_t min_frequency) {
    BpeTrainer trainer("gpt-2", {.vocab_size = 5000, .min_frequency = min_frequency});
    const std::vector<std::string> texts = {"abc abc abd xyz"};
    trainer.Feed(Views(texts));
    return trainer.Train()->vocab_size();
  };
  EXPECT_EQ(size(2),
            258u);  // "ab" and " ab"; "abc" comes from " ab" + "c" once and from "ab" + "c" once
  EXPECT_GT(size(0), size(2));
  EXPECT_EQ(size(100), 256u);
}

// A text without any place to cut a word must not cost quadratic time.
TEST(BpeTrain, OneLongWordIsLearnedFrom) {
  RandomText random(9);
  std::string word;
  while (word.size() < 300'000) word += static_cast<char>('a' + random.Below(6));
  BpeTrainer trainer("llama3", {.vocab_size = 1000});
  const std::vector<std::string> texts = {word, std::string(300'000, 'z')};
  trainer.Feed(Views(texts));
  const auto tokenizer = trainer.Train();
  EXPECT_EQ(tokenizer->vocab_size(), 1000u);
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(word)), word);
}

TEST(BpeTrain, SettingsThatContradictAreRefused) {
  ExpectRefused("llama4", {.vocab_size = 1000}, "unknown pre-tokenizer 'llama4', expected one of:");
  ExpectRefused("llama3", {.vocab_size = 255}, "expected 256");
  ExpectRefused("llama3", {.vocab_size = 257, .special_tokens = {"<a>", "<b>"}}, "expected 258");
  ExpectRefused("llama3", {.vocab_size = size_t{1} << 40}, "a vocabulary of");
  ExpectRefused("llama3", {.vocab_size = 1000, .special_tokens = {""}}, "is empty");
  ExpectRefused("llama3", {.vocab_size = 1000, .special_tokens = {"\xFF"}}, "UTF-8");
  BpeTrainer trainer("llama3", {.vocab_size = 1000});
  trainer.Feed({});
  EXPECT_THROW(trainer.Train(), Error);
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "text/tokenizer_testing.h"
#include "text/utf8.h"

namespace planish {
namespace {

using Ids = std::vector<TokenId>;
using TokenizerPtr = std::shared_ptr<const Tokenizer>;
constexpr const char* kFamilies[] = {"gpt-2", "llama-bpe", "qwen2", "tekken", "smollm"};

TokenizerPtr Small(const std::string& pre) {
  return Tokenizer::FromGguf(SmallVocabulary(pre), "small.gguf");
}

Ids IdsOf(const Json& json) {
  Ids ids;
  for (const Json& id : json.AsArray()) ids.push_back(static_cast<TokenId>(id.AsInt()));
  return ids;
}

TEST(Tokenizer, GoldenTextsGiveTheIdsAndTextOfHuggingFaceTokenizers) {
  const auto folders = GoldenTokenizers(PLANISH_SOURCE_DIR);
  if (folders.empty())
    GTEST_SKIP() << "no golden tokenizers: set PLANISH_GOLDEN to the golden folder";
  for (const auto& folder : folders) {
    const TokenizerPtr direct = Tokenizer::FromJson(GoldenTokenizerJson(folder), folder.string());
    const TokenizerPtr via_gguf = Tokenizer::FromGguf(direct->ToGguf(), "gguf");
    const TokenizerPtr via_both = Tokenizer::FromJson(DumpJson(via_gguf->ToJson()), "json");
    EXPECT_EQ(via_both->ToGguf().tokens, direct->ToGguf().tokens);
    EXPECT_EQ(via_both->ToGguf().types, direct->ToGguf().types);
    EXPECT_EQ(via_both->ToGguf().merges, direct->ToGguf().merges);
    EXPECT_EQ(via_both->ToGguf().pre, direct->ToGguf().pre);
    const Json golden =
        ParseJson(ReadFile((folder / "golden.json").string(), 1 << 28), folder.string());
    size_t cases = 0;
    for (const Json& entry : golden.Find("cases")->AsArray()) {
      const std::string& text = entry.Find("text")->AsString();
      const Ids ids = IdsOf(*entry.Find("ids"));
      const Json* special = entry.Find("ids_with_special");
      const TextSpan span{text, true};
      for (const TokenizerPtr& tokenizer : {direct, via_gguf, via_both}) {
        ASSERT_EQ(tokenizer->Encode(text), ids) << folder << text;
        ASSERT_EQ(tokenizer->Decode(ids), entry.Find("decoded")->AsString()) << folder << text;
        ASSERT_EQ(tokenizer->Encode(text, {.add_special = true}),
                  special == nullptr ? ids : IdsOf(*special))
            << text;
        std::vector<uint32_t> owner;
        ASSERT_EQ(tokenizer->EncodeSpans({&span, 1}, &owner), ids) << folder << text;
        ASSERT_EQ(owner, std::vector<uint32_t>(ids.size(), 0));
      }
      ++cases;
    }
    EXPECT_GT(cases, 0u) << folder;
  }
}

TEST(Tokenizer, BytesOfAnyTextComeBackThroughIds) {
  RandomText random(21);
  for (const char* family : kFamilies) {
    if (std::string(family) == "qwen2") continue;  // NFC changes text
    const TokenizerPtr tokenizer = Small(family);
    for (int i = 0; i < 5000; ++i) {
      const std::string bytes = random.Bytes(random.Below(60) + 1);
      std::string back;
      const Ids ids = tokenizer->Encode(bytes);
      for (const TokenId id : ids) back += tokenizer->TokenBytes(id);
      ASSERT_EQ(back, bytes) << family;
      ASSERT_EQ(tokenizer->Decode(ids), LossyUtf8(bytes));
    }
  }
}

TEST(Tokenizer, LoneSurrogatesAndQwenTextWithDamageDoNotLoseBytes) {
  const TokenizerPtr tokenizer = Small("qwen2");
  std::string back;
  const std::string text = "a\xED\xA0\x80\xED\xB0\x80z\xFF\xC3";
  for (const TokenId id : tokenizer->Encode(text)) back += tokenizer->TokenBytes(id);
  EXPECT_EQ(back, text);
}

TEST(Tokenizer, ControlTextOfAUserStaysPlain) {
  for (const char* family : kFamilies) {
    const TokenizerPtr tokenizer = Small(family);
    EXPECT_EQ(tokenizer->Encode("<s>"), (Ids{0}));
    for (const TokenId id : tokenizer->Encode("<s><think>", {.parse_special = false})) {
      EXPECT_FALSE(tokenizer->IsSpecial(id)) << family;
      EXPECT_EQ(tokenizer->TokenBytes(id).find("think"), std::string_view::npos);
    }
    const TextSpan spans[] = {{"<s>", true}, {"<s>", false}, {"<s", true},
                              {">", false},  {"</", true},   {"s>", true}};
    std::vector<uint32_t> owner;
    const Ids ids = tokenizer->EncodeSpans(spans, &owner);
    EXPECT_EQ(std::count(ids.begin(), ids.end(), 0), 1) << family;  // the first span alone
    EXPECT_EQ(std::count(ids.begin(), ids.end(), 1), 1)
        << family;  // "</s>" over two template spans
    EXPECT_EQ(ids.front(), 0);
    EXPECT_EQ(owner.front(), 0u);
    EXPECT_EQ(ids.back(), 1);
    EXPECT_EQ(owner.back(), 4u);
  }
}

TEST(Tokenizer, SpansEncodeAsTheirConcatenationAndEveryIdKnowsItsSpan) {
  RandomText random(22);
  for (const char* family : kFamilies) {
    const TokenizerPtr tokenizer = Small(family);
    const bool is_exact = std::string(family) != "qwen2";
    for (int i = 0; i < 1500; ++i) {
      std::vector<std::string> texts;
      std::vector<TextSpan> spans;
      for (uint64_t n = random.Below(6); n > 0; --n)
        texts.push_back(random.Below(4) == 0 ? "" : random.Valid(3));
      std::string whole;
      for (const std::string& text : texts) {
        spans.push_back({text, true});
        whole += text;
      }
      std::vector<uint32_t> owner;
      const Ids ids = tokenizer->EncodeSpans(spans, &owner);
      ASSERT_EQ(ids, tokenizer->Encode(whole));
      ASSERT_EQ(ids, tokenizer->EncodeSpans(spans));
      ASSERT_EQ(owner.size(), ids.size());
      for (TextSpan& span : spans) span.parse_special = false;
      ASSERT_EQ(tokenizer->EncodeSpans(spans), tokenizer->Encode(whole, {.parse_special = false}));
      size_t at = 0;
      for (size_t j = 0; j < ids.size() && is_exact; ++j) {
        size_t span = 0, end = texts[0].size();
        while (at >= end) end += texts[++span].size();
        ASSERT_EQ(owner[j], span) << family << ' ' << whole;
        at += tokenizer->TokenBytes(ids[j]).size();
      }
      ASSERT_TRUE(std::is_sorted(owner.begin(), owner.end()));
    }
  }
}

TEST(Tokenizer, StreamedPiecesAddUpToTheDecodedText) {
  RandomText random(23);
  const TokenizerPtr tokenizer = Small("llama-bpe");
  for (int i = 0; i < 3000; ++i) {
    Ids ids;
    if (i % 2 == 0)
      ids = tokenizer->Encode(random.Bytes(40));
    else
      for (uint64_t n = random.Below(20); n > 0; --n)
        ids.push_back(static_cast<TokenId>(random.Below(400)) - 20);
    for (const bool skip : {false, true}) {
      StreamDecoder decoder(tokenizer, skip);
      std::string text;
      for (const TokenId id : ids) {
        const std::string piece = decoder.Push(id);
        ASSERT_EQ(ValidUtf8Prefix(piece), piece.size());
        text += piece;
      }
      text += decoder.Finish();
      ASSERT_EQ(text, tokenizer->Decode(ids, skip));
      ASSERT_EQ(decoder.Finish(), "");
    }
  }
  StreamDecoder decoder(tokenizer);
  const Ids euro = tokenizer->Encode("€");
  ASSERT_EQ(euro.size(), 3u);
  EXPECT_EQ(decoder.Push(euro[0]), "");
  EXPECT_EQ(decoder.Push(0), "");  // a skipped token does not disturb
  EXPECT_EQ(decoder.Push(euro[1]), "");
  EXPECT_EQ(decoder.Push(euro[2]), "€");
}

TEST(Tokenizer, LookUpsAnswerForEveryIdAndRefuseNone) {
  const TokenizerPtr tokenizer = Small("smollm");
  EXPECT_EQ(tokenizer->Find("<s>"), 0);
  EXPECT_EQ(tokenizer->Find("the"), tokenizer->Encode("the")[0]);
  EXPECT_EQ(tokenizer->Find(" the"), tokenizer->Encode(" the")[0]);
  EXPECT_EQ(tokenizer->Find("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer->Find(""), std::nullopt);
  EXPECT_EQ(tokenizer->TokenBytes(-1), "");
  EXPECT_EQ(tokenizer->TokenBytes(static_cast<TokenId>(tokenizer->vocab_size())), "");
  EXPECT_FALSE(tokenizer->IsSpecial(-1));
  EXPECT_EQ(tokenizer->PrefixIds(), (Ids{0}));
  EXPECT_EQ(tokenizer->Encode("", {.add_special = true}), (Ids{0}));
  EXPECT_EQ(tokenizer->Encode(""), Ids{});
  EXPECT_EQ(tokenizer->added_tokens().size(), 4u);
  EXPECT_EQ(tokenizer->Decode(Ids{0, 1}, /*skip_special=*/true), "");
  const TokenId think = *tokenizer->Find("<think>");
  EXPECT_EQ(tokenizer->Decode(Ids{0, think}, /*skip_special=*/true), "<think>");
}

TEST(Tokenizer, ThreadsShareOneTokenizer) {
  const TokenizerPtr tokenizer = Small("tekken");
  std::vector<std::string> texts;
  std::vector<Ids> expected;
  RandomText random(24);
  for (int i = 0; i < 200; ++i) {
    texts.push_back(random.Valid(20));
    expected.push_back(tokenizer->Encode(texts.back()));
  }
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < texts.size(); ++i) wrong += tokenizer->Encode(texts[i]) != expected[i];
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

// Seconds of processor time, the smaller of two: other work on the machine does not count.
double SecondsToEncode(const Tokenizer& tokenizer, const std::string& text) {
  double best = 1e9;
  for (int i = 0; i < 2; ++i) {
    const clock_t start = clock();
    tokenizer.Encode(text);
    best = std::min(best, static_cast<double>(clock() - start) / CLOCKS_PER_SEC);
  }
  return best;
}

TEST(Tokenizer, HostileRunsTakeLinearTime) {
#ifdef PLANISH_DEBUG
  constexpr size_t kHalf = size_t{1} << 15;  // sanitizers make it some ten times slower
#else
  constexpr size_t kHalf = size_t{1}
                           << 18;  // so twice that must stay under a second, a mebibyte under two
#endif
  const std::pair<const char*, std::string> runs[] = {
      {"letter", "a"}, {"capital", "A"},         {"space", " "},     {"newline", "\n"},
      {"digit", "1"},  {"mark", "\u0301\u0323"}, {"zwj", "👨\u200d"}, {"dot", "."},
      {"han", "中"},   {"damage", "\xFF"},       {"tag", "<s"},      {"space newline", "  \n"}};
  for (const char* family : kFamilies) {
    const TokenizerPtr tokenizer = Small(family);
    for (const auto& [name, unit] : runs) {
      std::string half;
      while (half.size() < kHalf) half += unit;
      const double once = SecondsToEncode(*tokenizer, half),
                   twice = SecondsToEncode(*tokenizer, half + half);
      EXPECT_LT(twice, 1.0) << family << ' ' << name;
      EXPECT_LT(twice, 4 * once + 0.02) << family << ' ' << name;
    }
  }
}

}  // namespace
}  // namespace planish

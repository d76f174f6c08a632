// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "base/limits.h"
#include "text/tokenizer.h"
#include "text/tokenizer_testing.h"

namespace planish {
namespace {

std::string RefusalOf(const std::function<void(GgufVocabulary&)>& change) {
  GgufVocabulary vocabulary = SmallVocabulary("llama-bpe");
  change(vocabulary);
  try {
    Tokenizer::FromGguf(vocabulary, "m.gguf");
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadFile);
    return error.what();
  }
}
void ExpectRefused(const std::function<void(GgufVocabulary&)>& change, const std::string& named) {
  const std::string message = RefusalOf(change);
  EXPECT_NE(message.find(named), std::string::npos) << message;
  EXPECT_EQ(message.rfind("m.gguf", 0), 0u) << message;
}

TEST(TokenizerGguf, UnknownPreTokenizersAreRefusedWithTheKnownNames) {
  ExpectRefused([](GgufVocabulary& v) { v.pre = "viking"; },
                "'viking', expected one of: llama-bpe");
  ExpectRefused([](GgufVocabulary& v) { v.pre = ""; }, "tekken");
  for (const char* name : {"default", "gpt-2", "llama-bpe", "llama3", "llama-v3", "smollm", "qwen2",
                           "tekken", "pixtral"}) {
    EXPECT_EQ(RefusalOf([&](GgufVocabulary& v) { v.pre = name; }), "");
  }
}

TEST(TokenizerGguf, ArraysThatContradictEachOtherAreRefused) {
  ExpectRefused([](GgufVocabulary& v) { v.types.pop_back(); }, "token_type has");
  ExpectRefused(
      [](GgufVocabulary& v) {
        v.tokens.clear();
        v.types.clear();
      },
      "tokens has 0");
  ExpectRefused([](GgufVocabulary& v) { v.types[3] = 7; }, "token_type[3] is 7");
  ExpectRefused([](GgufVocabulary& v) { v.types[3] = -1; }, "token_type[3]");
  ExpectRefused([](GgufVocabulary& v) { v.tokens[5] = v.tokens[6]; }, "both token");
  ExpectRefused([](GgufVocabulary& v) { v.merges.push_back("zq x"); }, "merge 25 names 'zq'");
  ExpectRefused([](GgufVocabulary& v) { v.merges.push_back("nospace"); }, "one space");
  ExpectRefused([](GgufVocabulary& v) { v.merges.push_back("a  a"); }, "one space");
  ExpectRefused([](GgufVocabulary& v) { v.merges.push_back(" a"); }, "empty part");
  ExpectRefused([](GgufVocabulary& v) { v.bos = -1; }, "bos_token_id is -1");
  ExpectRefused([](GgufVocabulary& v) { v.eos = static_cast<TokenId>(v.tokens.size()); },
                "eos_token_id");
  ExpectRefused([](GgufVocabulary& v) { v.pad = 1 << 30; }, "padding_token_id");
  ExpectRefused([](GgufVocabulary& v) { v.bos.reset(); }, "add_bos_token");
  ExpectRefused([](GgufVocabulary& v) { v.tokens[0] = ""; }, "added token 0 is empty");
  ExpectRefused([](GgufVocabulary& v) { v.tokens[0] = "\xFF"; }, "UTF-8");
  ExpectRefused(
      [](GgufVocabulary& v) { v.tokens[0] = std::string(limits::kAddedTokenBytes + 1, 'x'); },
      "65536");
}

TEST(TokenizerGguf, ByteTokensAreReadStrictly) {
  const auto with = [](const std::string& token) {
    return [token](GgufVocabulary& v) {
      v.tokens[2 + 0x0A] = token;  // the place of the newline byte
      v.types[2 + 0x0A] = 6;
      std::erase_if(v.merges,
                    [](const std::string& merge) { return merge.find("Ċ") != std::string::npos; });
    };
  };
  EXPECT_EQ(RefusalOf(with("<0x0A>")), "");
  EXPECT_EQ(RefusalOf(with("<0x0a>")), "");
  for (const char* token :
       {"<0x-1>", "<0xZZ>", "<0x123>", "<0x1>", "0x0A", "<0x0A", "<0x0A> ", "<0X0A>", ""}) {
    ExpectRefused(with(token), "byte token");
  }
  GgufVocabulary vocabulary = SmallVocabulary("gpt-2");
  with("<0x0A>")(vocabulary);
  EXPECT_EQ(Tokenizer::FromGguf(vocabulary, "m.gguf")->Encode("\n"),
            (std::vector<TokenId>{2 + 0x0A}));
}

TEST(TokenizerGguf, RoundTripsKeepNamesTypesAndIds) {
  for (const char* name : {"gpt-2", "llama-bpe", "smaug-bpe", "smollm", "qwen2", "tekken"}) {
    const GgufVocabulary given = SmallVocabulary(name);
    const auto tokenizer = Tokenizer::FromGguf(given, "m.gguf");
    const GgufVocabulary back =
        Tokenizer::FromJson(DumpJson(tokenizer->ToJson()), "json")->ToGguf();
    EXPECT_EQ(back.tokens, given.tokens);
    EXPECT_EQ(back.types, given.types);
    EXPECT_EQ(back.merges, given.merges);
    EXPECT_EQ(back.bos, given.bos);
    EXPECT_TRUE(back.add_bos);
    EXPECT_FALSE(back.add_eos);
    // All tokens of the small vocabulary come from merges, so both names of Llama 3's pattern mean the same.
    EXPECT_EQ(back.pre, std::string(name) == "smaug-bpe" ? "llama-bpe" : name);
  }
}

TEST(TokenizerGguf, IgnoreMergesThatMattersSelectsTheName) {
  GgufVocabulary vocabulary = SmallVocabulary("smaug-bpe");
  vocabulary.tokens.insert(vocabulary.tokens.end() - 2, "xyz");  // no merge makes it
  vocabulary.types.insert(vocabulary.types.end() - 2, 1);
  const auto without = Tokenizer::FromGguf(vocabulary, "m.gguf");
  EXPECT_EQ(without->ToGguf().pre, "smaug-bpe");
  EXPECT_EQ(without->Encode("xyz").size(), 3u);
  vocabulary.pre = "llama-bpe";
  const auto with = Tokenizer::FromGguf(vocabulary, "m.gguf");
  EXPECT_EQ(with->ToGguf().pre, "llama-bpe");
  EXPECT_EQ(with->Encode("xyz").size(), 1u);
}

TEST(TokenizerGguf, WhatGgufCannotExpressIsAUsageError) {
  const auto refusal = [](const std::function<void(Json&)>& change) {
    Json json = Tokenizer::FromGguf(SmallVocabulary("llama-bpe"), "m.gguf")->ToJson();
    change(json);
    const auto tokenizer = Tokenizer::FromJson(DumpJson(json), "json");
    try {
      tokenizer->ToGguf();
    } catch (const Error& error) {
      return error.code() == ExitCode::kUsage;
    }
    return false;
  };
  EXPECT_FALSE(refusal([](Json&) {}));
  EXPECT_TRUE(refusal([](Json& json) {
    json.Set("normalizer", Json::Object{{"type", "Lowercase"}});
  }));
  EXPECT_TRUE(refusal([](Json& json) {
    json.Set("added_tokens", [&] {
      Json list = *json.Find("added_tokens");
      list.AsArray()[0].Set("lstrip", true);
      return list;
    }());
  }));
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// tokenizer.json: what must be refused, and that no damage to the file does more harm than a clean error.
#include <gtest/gtest.h>

#include <ctime>
#include <functional>

#include "base/error.h"
#include "base/limits.h"
#include "text/tokenizer.h"
#include "text/tokenizer_testing.h"

namespace planish {
namespace {

Json Good() { return Tokenizer::FromGguf(SmallVocabulary("llama-bpe"), "small.gguf")->ToJson(); }

Json& At(Json& json, const std::string& key) {
  for (auto& [name, value] : json.AsObject()) {
    if (name == key) return value;
  }
  return json.Set(key, {});
}

// The message of the refusal, or "" if it loads.
std::string Load(const std::string& text) {
  try {
    const auto tokenizer = Tokenizer::FromJson(text, "tokenizer.json");
    for (const TokenId id : tokenizer->Encode("The <think> 123  don't\n\u00e9\xFF")) {
      EXPECT_LT(static_cast<size_t>(id), tokenizer->vocab_size());
    }
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadFile);
    EXPECT_EQ(std::string(error.what()).rfind("tokenizer.json", 0), 0u) << error.what();
    return error.what();
  }
}

std::string LoadChanged(const std::function<void(Json&)>& change) {
  Json json = Good();
  change(json);
  return Load(DumpJson(json));
}

void AddToken(Json& json, int64_t id, const std::string& content) {
  At(json, "added_tokens")
      .Append(Json::Object{{"id", id}, {"content", content}, {"special", true}});
}

TEST(TokenizerJson, WhatToJsonWritesLoads) {
  EXPECT_EQ(Load(DumpJson(Good())), "");
  EXPECT_EQ(Load(DumpJson(Good(), JsonStyle::kCompact, 2)), "");
}

TEST(TokenizerJson, VocabularyIdsWithGapsDuplicatesOrBeyondTheLimitAreRefused) {
  const int64_t n = static_cast<int64_t>(Tokenizer::FromJson(DumpJson(Good()), "x")->vocab_size());
  const auto with = [&](Json id) {
    return LoadChanged(
        [&](Json& json) { At(At(json, "model"), "vocab").AsObject().emplace_back("zzz", id); });
  };
  EXPECT_NE(with(n + 1).find("no token has id"), std::string::npos);
  EXPECT_NE(with(5).find("same id"), std::string::npos);
  EXPECT_NE(with(n - 1).find("model.vocab"), std::string::npos);  // an added token has it
  for (const Json& id : {Json(-1), Json(static_cast<int64_t>(limits::kVocabSize)),
                         Json(uint64_t{1} << 63), Json(1.5), Json("7"), Json(), Json(1e308)}) {
    EXPECT_NE(with(id), "") << DumpJson(id);
  }
  EXPECT_EQ(with(n), "");
}

TEST(TokenizerJson, MergesOfUnknownEmptyOrBadPartsAreRefused) {
  const auto with = [](Json merge) {
    return LoadChanged([&](Json& json) { At(At(json, "model"), "merges").Append(merge); });
  };
  EXPECT_EQ(with("a a"), "");
  EXPECT_EQ(with(Json::Array{"a", "a"}), "");
  EXPECT_NE(with("zq x").find("not in the vocabulary"), std::string::npos);
  EXPECT_NE(with("a z").find("not in the vocabulary"), std::string::npos);  // "az" is no token
  EXPECT_NE(with(" a").find("empty part"),
            std::string::npos);  // would be a merge into itself: a cycle
  for (const Json& merge : {Json("a"), Json("a a a"), Json(""), Json(1), Json(), Json::MakeArray(),
                            Json(Json::Array{"a"}), Json(Json::Array{"a", 1}),
                            Json(Json::Array{"a", ""}), Json(Json::Array{"a", "a", "a"})}) {
    EXPECT_NE(with(merge), "") << DumpJson(merge);
  }
}

TEST(TokenizerJson, AddedTokensThatAreEmptyHugeTwiceOrInConflictAreRefused) {
  const auto n = static_cast<int64_t>(Tokenizer::FromJson(DumpJson(Good()), "x")->vocab_size());
  const auto with = [&](int64_t id, const std::string& content) {
    return LoadChanged([&](Json& json) { AddToken(json, id, content); });
  };
  EXPECT_EQ(with(n, "<x>"), "");
  EXPECT_EQ(with(n, "<think>\n"), "");  // overlaps another: the longest match wins
  EXPECT_EQ(with(n, std::string(limits::kAddedTokenBytes, 'x')), "");
  EXPECT_NE(with(n, "").find("empty"), std::string::npos);
  EXPECT_NE(with(n, std::string(limits::kAddedTokenBytes + 1, 'x')).find("65536"),
            std::string::npos);
  EXPECT_NE(with(n, std::string(1 << 20, 'x')), "");
  EXPECT_NE(with(n + 1, "<x>").find("no token has id"), std::string::npos);
  EXPECT_NE(with(0, "<x>").find("occurs twice"), std::string::npos);
  EXPECT_NE(with(7, "<x>").find("model.vocab"), std::string::npos);
  EXPECT_NE(with(n, "the").find("model.vocab"), std::string::npos);
  EXPECT_NE(with(n, "<think>").find("same content"), std::string::npos);
  EXPECT_NE(with(-1, "<x>"), "");
  EXPECT_NE(with(int64_t{1} << 40, "<x>"), "");
  EXPECT_NE(LoadChanged([&](Json& json) {
              for (int i = 0; i < 40; ++i)
                AddToken(json, n + i, std::to_string(i) + std::string(60'000, 'x'));
            }).find("together"),
            std::string::npos);
}

TEST(TokenizerJson, UnsupportedPartsAreNamed) {
  const auto refused = [](const char* key, const char* text, const char* named) {
    const std::string message =
        LoadChanged([&](Json& json) { At(json, key) = ParseJson(text, "part"); });
    EXPECT_NE(message.find(named), std::string::npos) << key << ' ' << text << ": " << message;
  };
  refused("pre_tokenizer", "null", "pre_tokenizer");
  refused("pre_tokenizer", R"({"type":"Whitespace"})", "Whitespace");
  refused("pre_tokenizer", R"({"type":"Digits","individual_digits":true})", "ByteLevel");
  refused("pre_tokenizer", R"({"type":"Sequence","pretokenizers":[]})", "ByteLevel");
  refused("pre_tokenizer",
          R"({"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]})",
          "ByteLevel");
  refused("pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated"})",
          "pre_tokenizer");
  refused(
      "pre_tokenizer",
      R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated"},{"type":"ByteLevel"}]})",
      "pattern");
  refused(
      "pre_tokenizer",
      R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"a"},"behavior":"Odd"},{"type":"ByteLevel"}]})",
      "Odd");
  refused("normalizer", R"({"type":"BertNormalizer"})", "BertNormalizer");
  refused("normalizer", R"({"type":"Precompiled","precompiled_charsmap":"!!!"})", "Precompiled");
  refused("normalizer", R"({"type":"Replace","pattern":{"String":""},"content":"x"})", "pattern");
  refused("decoder", "null", "decoder");
  refused("decoder", R"({"type":"Metaspace"})", "Metaspace");
  refused("post_processor", R"({"type":"BertProcessing"})", "BertProcessing");
  refused("post_processor", R"({"type":"TemplateProcessing","single":[],"special_tokens":{}})",
          "single");
  refused(
      "post_processor",
      R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[99999]}}})",
      "ids");
  const auto refused_in_model = [](const char* key, Json value, const char* named) {
    const std::string message =
        LoadChanged([&](Json& json) { At(At(json, "model"), key) = value; });
    EXPECT_NE(message.find(named), std::string::npos) << key << ": " << message;
  };
  refused_in_model("type", "Unigram", "Unigram");
  refused_in_model("type", "WordPiece", "WordPiece");
  refused_in_model("byte_fallback", true, "byte_fallback");
  refused_in_model("dropout", 0.1, "dropout");
  refused_in_model("continuing_subword_prefix", "##", "continuing_subword_prefix");
  refused_in_model("unk_token", "<nothing>", "unk_token");
  refused_in_model("vocab", Json::MakeArray(), "vocab");
  refused_in_model("merges", Json(), "merges");
}

TEST(TokenizerJson, ACatastrophicPatternEndsInAnErrorOfEncode) {
  Json json = Good();
  At(json, "pre_tokenizer") = ParseJson(
      R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(a+)+$"},"behavior":"Isolated"},{"type":"ByteLevel","use_regex":false}]})",
      "part");
  const auto tokenizer = Tokenizer::FromJson(DumpJson(json), "tokenizer.json");
  const clock_t start = clock();
  EXPECT_THROW(tokenizer->Encode(std::string(64 << 10, 'a') + "!"), Error);
  EXPECT_LT(static_cast<double>(clock() - start) / CLOCKS_PER_SEC, 1.0);
  EXPECT_FALSE(tokenizer->Encode("a short text").empty());  // and the tokenizer still works
}

TEST(TokenizerJson, TruncatedFilesAreRefused) {
  const std::string text = DumpJson(Good());
  for (size_t size = 0; size < text.size(); size += 1 + text.size() / 300) {
    EXPECT_NE(Load(text.substr(0, size)), "") << size;
  }
}

TEST(TokenizerJson, MutatedFilesAreRefusedOrLoad) {
  const std::string text = DumpJson(Good());
  const std::string tail = text.substr(text.find("\"vocab\""));
  RandomText random(99);
  int loaded = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string changed = text;
    // Half of the changes go to the part before the vocabulary, where the structure is.
    const size_t range = i % 2 == 0 ? text.size() - tail.size() : text.size();
    for (uint64_t n = 1 + random.Below(3); n > 0; --n) {
      const size_t at = random.Below(std::min(range, changed.size()));
      switch (random.Below(5)) {
        case 0:
          changed[at] = static_cast<char>(random.Below(256));
          break;
        case 1:
          changed.erase(at, 1 + random.Below(8));
          break;
        case 2:
          changed.insert(at, 1, "0123456789-{}[]\",:null"[random.Below(22)]);
          break;
        case 3:
          changed.insert(at, changed.substr(random.Below(range), random.Below(30)));
          break;
        case 4:
          changed[at] = "0123456789"[random.Below(10)];
          break;
      }
    }
    loaded += Load(changed).empty();
  }
  EXPECT_GT(loaded, 20);  // some changes are harmless; if none were, this test would prove little
  EXPECT_LT(loaded, 1900);
}

}  // namespace
}  // namespace planish

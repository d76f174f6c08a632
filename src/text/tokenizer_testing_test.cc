// SPDX-License-Identifier: Apache-2.0
// What tokenizer_testing.h declares; in a test file so that the library does not carry it.
#include "text/tokenizer_testing.h"

#include <algorithm>
#include <cstdlib>

#include "base/file.h"
#include "base/limits.h"
#include "text/byte_level.h"
#include "text/utf8.h"

namespace planish {

GgufVocabulary SmallVocabulary(const std::string& pre) {
  GgufVocabulary vocabulary;
  vocabulary.pre = pre;
  const auto add = [&](const std::string& token, int64_t type) {
    vocabulary.tokens.push_back(token);
    vocabulary.types.push_back(type);
  };
  add("<s>", 3);
  add("</s>", 3);
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    std::string token;
    AppendByteLevel({&c, 1}, &token);
    add(token, 1);
  }
  for (const char* merge :
       {"t h", "th e",  "Ġ the", "Ġ Ġ", "ĠĠ ĠĠ", "i n",    "a n", "an d", "Ġ and",
        "e r", "o n",   "h e",   "l l", "he ll", "hell o", "Ġ w", "1 2",  "12 3",
        "a a", "aa aa", "Ã ©",   "Ċ Ċ", "ð Ł",   "â Ģ",    "âĢ į"}) {
    vocabulary.merges.push_back(merge);
    std::string token = merge;
    token.erase(std::find(token.begin(), token.end(), ' '));
    add(token, 1);
  }
  add("<think>", 4);
  add("</think>", 4);
  vocabulary.bos = 0;
  vocabulary.eos = 1;
  vocabulary.add_bos = true;
  return vocabulary;
}

uint64_t RandomText::Below(uint64_t n) {
  state_ += 0x9E3779B97F4A7C15u;  // splitmix64
  uint64_t x = state_;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return (x ^ x >> 31) % n;
}

std::string RandomText::Valid(size_t parts) {
  static constexpr std::string_view kParts[] = {"the",        " and",
                                                "Hello",      " world",
                                                "don't",      "WE'LL",
                                                "it'S",       "'\u017f",
                                                "CamelCase",  "HTTPServer",
                                                "naïve",      "e\u0301",
                                                "STRASSE",    "Straße",
                                                "中文",       "日本語テキスト",
                                                "한국어",     "\u1112\u1161\u11ab",
                                                "русский",    "हिन्दी",
                                                "ไทย",        "123",
                                                "4567",       "3.14",
                                                "½",          "Ⅷ",
                                                "٣٤",         " ",
                                                "  ",         "\n",
                                                "\r\n",       "\t",
                                                "\n\n",       " \n ",
                                                "\u00a0",     "\u3000",
                                                "\u180e",     "\u200d",
                                                "\u2028",     "\u0085",
                                                "\x0b",       "'",
                                                "/",          "//",
                                                "...",        "(){};",
                                                "$$",         "👨‍👩‍👧",
                                                "🇩🇪",         "👍🏽",
                                                "\u0323",     "\u0327\u0301",
                                                "ǅ",          "ʰ",
                                                "<s>",        "</s>",
                                                "<think>",    "</think>",
                                                "<",          "|>",
                                                "aaaa",       "\U00016130",
                                                "\U00011de0", "\U0002ebf0",
                                                "\u0897"};
  std::string out;
  for (size_t i = 0; i < parts; ++i) {
    switch (Below(10)) {
      case 0: {
        char32_t code = static_cast<char32_t>(Below(3) == 0 ? Below(0x110000) : Below(0x3000));
        if (code >= 0xD800 && code < 0xE000) code = 0xFFFD;
        AppendUtf8(code, &out);
        break;
      }
      case 1: {
        const std::string_view part = kParts[Below(std::size(kParts))];
        for (uint64_t n = 1 + Below(6); n > 0; --n) out += part;
        break;
      }
      default:
        out += kParts[Below(std::size(kParts))];
    }
  }
  return out;
}

std::string RandomText::Bytes(size_t length) {
  std::string out;
  if (Below(2) == 0) {
    while (out.size() < length) out += Valid(4);
    out.resize(length);
    for (uint64_t n = Below(length + 1); n > 0; --n)
      out[Below(length)] = static_cast<char>(Below(256));
  } else {
    while (out.size() < length) out.push_back(static_cast<char>(Below(256)));
  }
  return out;
}

std::vector<std::filesystem::path> GoldenTokenizers(const std::string& source_dir) {
  const char* set = std::getenv("PLANISH_GOLDEN");
  const std::filesystem::path root =
      std::filesystem::path(set != nullptr ? set : source_dir + "/tests/golden") / "tokenizer";
  std::vector<std::filesystem::path> folders;
  if (!std::filesystem::is_directory(root)) return folders;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (std::filesystem::exists(entry.path() / "golden.json")) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

std::string GoldenTokenizerJson(const std::filesystem::path& folder) {
  std::filesystem::path file = folder / "tokenizer.json";
  if (!std::filesystem::exists(file)) file += ".zst";
  return ReadFileMaybeZstd(file.string(), limits::kTokenizerBytes);
}

}  // namespace planish

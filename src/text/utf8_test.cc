// SPDX-License-Identifier: Apache-2.0
#include "text/utf8.h"

#include <gtest/gtest.h>

#include "text/byte_level.h"
#include "text/tokenizer_testing.h"

namespace planish {
namespace {

TEST(Utf8, EveryScalarValueIsEncodedAndDecodedBack) {
  for (char32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string text;
    AppendUtf8(code, &text);
    const Utf8Char c = DecodeUtf8(text);
    ASSERT_EQ(c.code, code);
    ASSERT_EQ(c.size, text.size());
    const char* p = text.data();
    ASSERT_EQ(NextValidUtf8(p), code);
    ASSERT_EQ(p, text.data() + text.size());
    for (size_t cut = 1; cut < text.size(); ++cut)
      ASSERT_EQ(CutUtf8Suffix(text.substr(0, cut)), cut) << text;
    ASSERT_EQ(CutUtf8Suffix(text), 0u);
  }
}

TEST(Utf8, IllFormedStretchesBecomeOneReplacementEach) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(LossyUtf8("a\xFFz"), "a" + r + "z");
  EXPECT_EQ(LossyUtf8("\xC3"), r);
  EXPECT_EQ(LossyUtf8("\xE2\x82"), r);  // cut at the end: one subpart
  EXPECT_EQ(LossyUtf8("\xE2\x82z"), r + "z");
  EXPECT_EQ(LossyUtf8("\xF0\x9F\x98\xF0\x9F\x98\x80"), r + "\xF0\x9F\x98\x80");
  EXPECT_EQ(LossyUtf8("\xED\xA0\x80"), r + r + r);  // a surrogate: its lead byte stands alone
  EXPECT_EQ(LossyUtf8("\xC0\xAF"), r + r);          // overlong
  EXPECT_EQ(LossyUtf8("\xF4\x90\x80\x80"), r + r + r + r);  // above U+10FFFF
  EXPECT_EQ(LossyUtf8(std::string_view("\0\x80", 2)), std::string(1, '\0') + r);
}

TEST(Utf8, ValidPrefixAgreesWithDecodingCharacterByCharacter) {
  RandomText random(1);
  for (int i = 0; i < 5000; ++i) {
    const std::string text = random.Bytes(1 + random.Below(40));
    size_t at = 0;
    while (at < text.size() && DecodeUtf8(std::string_view(text).substr(at)).code != kIllFormed) {
      at += DecodeUtf8(std::string_view(text).substr(at)).size;
    }
    ASSERT_EQ(ValidUtf8Prefix(text), at);
    const std::string lossy = LossyUtf8(text);
    ASSERT_EQ(ValidUtf8Prefix(lossy), lossy.size());
  }
}

TEST(ByteLevel, SpellsEveryByteInPrintableCharactersAndReadsThemBack) {
  std::string bytes, spelled, back;
  for (int byte = 0; byte < 256; ++byte) bytes.push_back(static_cast<char>(byte));
  AppendByteLevel(bytes, &spelled);
  EXPECT_EQ(ValidUtf8Prefix(spelled), spelled.size());
  ASSERT_TRUE(ParseByteLevel(spelled, &back));
  EXPECT_EQ(back, bytes);
  std::string a;
  AppendByteLevel(" a\n\xC3\xA9", &a);
  EXPECT_EQ(a, "ĠaĊÃ©");
  std::string kept = "x";
  EXPECT_FALSE(ParseByteLevel("ab c", &kept));  // a space is not of the alphabet
  EXPECT_FALSE(ParseByteLevel("ab\xFF", &kept));
  EXPECT_EQ(kept, "x");
}

}  // namespace
}  // namespace planish

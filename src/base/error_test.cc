// SPDX-License-Identifier: Apache-2.0
// Text from outside is safe in a message; checks abort with what and where.
#include "base/error.h"

#include <gtest/gtest.h>

namespace planish {
namespace {

TEST(Quoted, KeepsPrintableTextAndEscapesTheRest) {
  EXPECT_EQ(Quoted(""), "''");
  EXPECT_EQ(Quoted("plain text é € 😀"), "'plain text é € 😀'");
  EXPECT_EQ(Quoted("a\nb\tc\rd"), "'a\\nb\\tc\\x0dd'");
  EXPECT_EQ(Quoted(std::string_view("\0\x1b[2J\x7f", 6)), "'\\x00\\x1b[2J\\x7f'");
}

TEST(Quoted, EscapesEveryByteThatIsNotWellFormedUtf8) {
  EXPECT_EQ(Quoted("\x80"), "'\\x80'");
  EXPECT_EQ(Quoted("\xFF\xFE"), "'\\xff\\xfe'");
  EXPECT_EQ(Quoted("\xE2\x82"), "'\\xe2\\x82'");  // cut
  EXPECT_EQ(Quoted("\xE2\x82 x"), "'\\xe2\\x82 x'");
  EXPECT_EQ(Quoted("\xC0\xAF"), "'\\xc0\\xaf'");  // overlong
  EXPECT_EQ(Quoted("\xE0\x80\xAF"), "'\\xe0\\x80\\xaf'");
  EXPECT_EQ(Quoted("\xF0\x80\x80\xAF"), "'\\xf0\\x80\\x80\\xaf'");
  EXPECT_EQ(Quoted("\xED\xA0\x80"), "'\\xed\\xa0\\x80'");           // a surrogate
  EXPECT_EQ(Quoted("\xF4\x90\x80\x80"), "'\\xf4\\x90\\x80\\x80'");  // above U+10FFFF
  EXPECT_EQ(Quoted("\xF4\x8F\xBF\xBF"), "'\xF4\x8F\xBF\xBF'");
}

TEST(Quoted, EscapesWellFormedCharactersThatSteerATerminalOrALine) {
  EXPECT_EQ(Quoted("\u009b2J"), "'\\xc2\\x9b2J'");       // C1: the same as ESC [
  EXPECT_EQ(Quoted("a\u0085b"), "'a\\xc2\\x85b'");       // next line
  EXPECT_EQ(Quoted("a\u2028b"), "'a\\xe2\\x80\\xa8b'");  // line separator
  EXPECT_EQ(Quoted("a\u202eb"), "'a\\xe2\\x80\\xaeb'");  // right-to-left override
  EXPECT_EQ(Quoted("a\u2066b"), "'a\\xe2\\x81\\xa6b'");
  EXPECT_EQ(Quoted("\u00a0\u2014\u202f"), "'\u00a0\u2014\u202f'");
}

TEST(Quoted, CutsLongTextAtItsLimitAndNeverInsideACharacter) {
  EXPECT_EQ(Quoted(std::string(80, 'x')), "'" + std::string(80, 'x') + "'");
  EXPECT_EQ(Quoted(std::string(81, 'x')), "'" + std::string(80, 'x') + "...'");
  EXPECT_EQ(Quoted("abcdef", 3), "'abc...'");
  EXPECT_EQ(Quoted("ab€def", 3), "'ab€...'");
  for (size_t limit = 0; limit < 20; ++limit)
    EXPECT_LE(Quoted(std::string(100, '\x01'), limit).size(), limit + 9);
}

TEST(Error, CarriesCodeMessageAndHint) {
  const Error error(ExitCode::kUsage, "what", "try this");
  EXPECT_EQ(error.code(), ExitCode::kUsage);
  EXPECT_STREQ(error.what(), "what");
  EXPECT_EQ(error.hint(), "try this");
  EXPECT_EQ(BadFile("{} {}", "a", 1).code(), ExitCode::kBadFile);
  EXPECT_STREQ(BadFile("{} {}", "a", 1).what(), "a 1");
  EXPECT_EQ(UsageError("u").code(), ExitCode::kUsage);
  EXPECT_EQ(RuntimeError("r").code(), ExitCode::kFailure);
}

TEST(CheckDeathTest, SaysConditionValuesAndPlace) {
  const int rows = 511;
  PLANISH_CHECK(rows == 511);
  EXPECT_DEATH(PLANISH_CHECK(rows == 512, "({} vs 512)", rows),
               "check failed: rows == 512 \\(511 vs 512\\) at error_test.cc:");
}

}  // namespace
}  // namespace planish

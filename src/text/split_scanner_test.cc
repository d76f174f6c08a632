// SPDX-License-Identifier: Apache-2.0
#include "text/split_scanner.h"

#include <gtest/gtest.h>

#include "text/pretokenize.h"
#include "text/regex.h"
#include "text/tokenizer_testing.h"
#include "text/unicode_class.h"
#include "text/utf8.h"

namespace planish {
namespace {

constexpr SplitPattern kAll[] = {SplitPattern::kGpt2, SplitPattern::kLlama3, SplitPattern::kQwen2,
                                 SplitPattern::kTekken};
using Strings = std::vector<std::string>;

Strings Scan(SplitPattern pattern, std::string_view text) {
  std::vector<std::string_view> pieces;
  ScanSplits(pattern, text, &pieces);
  return Strings(pieces.begin(), pieces.end());
}

TEST(SplitScanner, FindsTheSamePiecesAsTheRegexEngine) {
  RandomText random(7);
  RegexScratch scratch;
  for (const SplitPattern pattern : kAll) {
    const Regex regex(PatternText(pattern), "test");
    EXPECT_EQ(KnownSplitPattern(PatternText(pattern)), pattern);
    for (int i = 0; i < 4000; ++i) {
      const std::string text = random.Valid(1 + random.Below(12));
      std::vector<RegexMatch> matches;
      regex.FindAll(text, &scratch, &matches);
      Strings expected;
      for (const auto& [begin, end] : matches) expected.push_back(text.substr(begin, end - begin));
      ASSERT_EQ(Scan(pattern, text), expected) << static_cast<int>(pattern) << " on " << text;
    }
  }
}

TEST(SplitScanner, CutsAsThePatternsSay) {
  EXPECT_EQ(Scan(SplitPattern::kGpt2, "I'll  don'T 1234"),
            (Strings{"I", "'ll", " ", " don", "'", "T", " 1234"}));
  EXPECT_EQ(Scan(SplitPattern::kLlama3, "I'LL 12345\n\n x\ty"),
            (Strings{"I", "'LL", " ", "123", "45", "\n\n", " x", "\ty"}));
  EXPECT_EQ(Scan(SplitPattern::kQwen2, "a12 !?\n\n"), (Strings{"a", "1", "2", " !?\n\n"}));
  EXPECT_EQ(Scan(SplitPattern::kTekken, "HTTPServer camelCase a//\n"),
            (Strings{"HTTPServer", " camel", "Case", " a", "//\n"}));
  EXPECT_EQ(KnownSplitPattern("a|b"), SplitPattern::kOther);
}

TEST(PreTokenizer, DigitsCutsNumbersSinglyOrInRuns) {
  PreTokenizeStep digits, byte_level;
  digits.kind = PreTokenizeStep::Kind::kDigits;
  byte_level.use_regex = false;
  const auto pieces = [&](bool individual, std::string_view text) {
    digits.individual_digits = individual;
    PreTokenizeScratch scratch;
    Strings out;
    for (const Piece& piece : PreTokenizer({digits, byte_level}, "test").Split(text, &scratch)) {
      EXPECT_EQ(piece.text, text.substr(piece.origin, piece.text.size()));
      out.emplace_back(piece.text);
    }
    return out;
  };
  EXPECT_EQ(pieces(true, "a12½b"), (Strings{"a", "1", "2", "½", "b"}));
  EXPECT_EQ(pieces(false, "12a  34"), (Strings{"12", "a  ", "34"}));
}

TEST(PreTokenizer, SplitBehavioursKeepDropOrJoinTheMatches) {
  const std::string text = "a--b-";
  RegexScratch scratch;
  std::vector<RegexMatch> matches;
  Regex("-", "test").FindAll(text, &scratch, &matches);
  const auto cut = [&](SplitBehavior behavior, bool invert = false) {
    Strings out;
    for (const auto& [begin, end] : CutByMatches(text.size(), matches, behavior, invert)) {
      out.push_back(text.substr(begin, end - begin));
    }
    return out;
  };
  EXPECT_EQ(cut(SplitBehavior::kIsolated), (Strings{"a", "-", "-", "b", "-"}));
  EXPECT_EQ(cut(SplitBehavior::kRemoved), (Strings{"a", "b"}));
  EXPECT_EQ(cut(SplitBehavior::kMergedWithPrevious), (Strings{"a-", "-", "b-"}));
  EXPECT_EQ(cut(SplitBehavior::kMergedWithNext), (Strings{"a", "-", "-b", "-"}));
  EXPECT_EQ(cut(SplitBehavior::kContiguous), (Strings{"a", "--", "b", "-"}));
  EXPECT_EQ(cut(SplitBehavior::kRemoved, /*invert=*/true), (Strings{"-", "-", "-"}));
}

TEST(PreTokenizer, AddedPrefixSpaceComesFromTheFirstByteOfItsPiece) {
  PreTokenizeStep step;
  step.add_prefix_space = true;
  PreTokenizeScratch scratch;
  const std::vector<Piece>& pieces = PreTokenizer({step}, "test").Split("ab cd", &scratch);
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[0].text, " ab");
  EXPECT_EQ(pieces[0].origin, 0u);
  EXPECT_EQ(pieces[1].text, " cd");
  EXPECT_EQ(pieces[1].origin, 2u);
}

TEST(UnicodeClass, EveryCodePointHasAtMostOneClassAndNewScriptsAreKnown) {
  const ClassFlags* classes = UnicodeClasses();
  size_t letters = 0, numbers = 0, marks = 0, spaces = 0;
  for (char32_t code = 0; code < 0x110000; ++code) {
    const ClassFlags flags = classes[code] & (kLetter | kMark | kNumber | kWhiteSpace);
    ASSERT_EQ(flags & (flags - 1), 0) << static_cast<uint32_t>(code);
    letters += (flags & kLetter) != 0;
    numbers += (flags & kNumber) != 0;
    marks += (flags & kMark) != 0;
    spaces += (flags & kWhiteSpace) != 0;
  }
  // Counted by Oniguruma of tokenizers 0.23.3 over all code points.
  EXPECT_EQ(letters, 141028u);
  EXPECT_EQ(numbers, 1911u);
  EXPECT_EQ(marks, 2501u);
  EXPECT_EQ(spaces, 25u);
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "text/regex.h"

#include <gtest/gtest.h>

#include <ctime>

#include "base/error.h"
#include "base/limits.h"

namespace planish {
namespace {

std::vector<std::string> Matches(std::string_view pattern, std::string_view text) {
  RegexScratch scratch;
  std::vector<RegexMatch> found;
  Regex(pattern, "test").FindAll(text, &scratch, &found);
  std::vector<std::string> out;
  for (const auto& [begin, end] : found) out.emplace_back(text.substr(begin, end - begin));
  return out;
}
using Strings = std::vector<std::string>;

std::string FailureOf(std::string_view pattern) {
  try {
    Regex(pattern, "file.json");
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadFile);
    return error.what();
  }
}

TEST(Regex, FindsAllMatchesAndSkipsEmptyOnesRightAfterAMatch) {
  EXPECT_EQ(Matches("a+", "aab a"), (Strings{"aa", "a"}));
  EXPECT_EQ(Matches("a*", "aab"),
            (Strings{"aa", ""}));  // not the empty one after "aa"; the one at the end
  EXPECT_EQ(Matches("(?=é)", "aéé"), (Strings{"", ""}));
  EXPECT_EQ(Matches("x", ""), Strings{});
}

TEST(Regex, ReadsOnigurumaSyntaxWherePcreDiffers) {
  EXPECT_EQ(Matches(R"(\s)", "\u180e \u0085"), (Strings{" ", "\u0085"}));
  EXPECT_EQ(Matches(R"([^\S\n]+)", " \n\t "), (Strings{" ", "\t "}));
  EXPECT_EQ(Matches(R"(\h+)", "xbeef 09"), (Strings{"beef", "09"}));
  EXPECT_EQ(Matches("ab{,2}", "abbb"), Strings{"abb"});
  EXPECT_EQ(Matches("(?m:a.b)", "a\nb"), Strings{"a\nb"});
  EXPECT_EQ(Matches("a.b", "a\nb"), Strings{});
  EXPECT_EQ(Matches("^b$", "a\nb\nc"), Strings{"b"});
  EXPECT_EQ(Matches(R"(\p{Han}+)", "中〫文\U0002ebf0"),
            (Strings{"中", "文\U0002ebf0"}));  // script, not its extensions
  EXPECT_EQ(Matches(R"(\p{L}+)", "a\U00016100\u1c89"), Strings{"a\U00016100\u1c89"});  // Unicode 16
  EXPECT_EQ(Matches(R"(\P{N})", "1a\U00016130"), Strings{"a"});
  EXPECT_EQ(Matches(R"([\p{P}\p{S}]+)", "a!\U0001f6dc\u1b4e"), Strings{"!\U0001f6dc\u1b4e"});
  EXPECT_EQ(Matches(R"(\d+)", "1a\U00016130\U0001d2c0"), (Strings{"1", "\U00016130"}));
  EXPECT_EQ(Matches("(?i:'s)", "'S 'ſ"), (Strings{"'S", "'ſ"}));
  EXPECT_EQ(Matches(EscapeRegex("a.*[\\é"), "xa.*[\\éa"), Strings{"a.*[\\é"});
}

TEST(Regex, RefusesBadAndUnsupportedPatternsByName) {
  for (const char* pattern :
       {"(", "[a", "a{2,1}", "*a", "\\", "(?<n", "\\x{110000}", "\\p{Nonsense}", "[z-a]"}) {
    EXPECT_NE(FailureOf(pattern), "") << pattern;
  }
  for (const char* pattern : {"[a[b]]", "[a&&b]", "a{1,3}+", "\\w", "\\b", "(*UTF)", "(?R)", "(?1)",
                              "(?C1)", "(?s)", "\\K", "\\C", "[[:alpha:]]", "\\p{L"}) {
    EXPECT_NE(FailureOf(pattern).find("not supported"), std::string::npos)
        << pattern << ": " << FailureOf(pattern);
  }
  EXPECT_EQ(FailureOf("(").find("file.json: pattern '('"), 0u) << FailureOf("(");
}

TEST(Regex, HoldsTheLimitsOfPatternSizeAndNesting) {
  const auto class_of = [](size_t n) {
    return "[" + std::string(n - 2, 'a') + "]";
  };  // compiles to little
  EXPECT_EQ(FailureOf(class_of(limits::kRegexPatternBytes)), "");
  EXPECT_NE(FailureOf(class_of(limits::kRegexPatternBytes + 1)), "");
  EXPECT_NE(FailureOf(std::string(limits::kRegexPatternBytes, 'a')),
            "");  // too large for PCRE2 once compiled
  const auto nested = [](size_t n) { return std::string(n, '(') + "a" + std::string(n, ')'); };
  EXPECT_EQ(FailureOf(nested(limits::kRegexParens)), "");
  EXPECT_NE(FailureOf(nested(limits::kRegexParens + 1)), "");
}

TEST(Regex, CatastrophicPatternsEndInAnErrorWithinASecond) {
  const std::string a(64 << 10, 'a');
  for (const char* pattern :
       {"(a+)+$x", "(a+)+$", "(a|aa)+$", "(a|a)*b", "(?:a*)*b", "(.*)(.*)(.*)(.*)[^a]"}) {
    const clock_t start = clock();  // processor time: other work on the machine does not count
    RegexScratch scratch;
    std::vector<RegexMatch> matches;
    const Regex regex(pattern, "file.json");
    bool refused = false;
    try {
      regex.FindAll(a + "b\n", &scratch, &matches);
      regex.FindAll(a + "!", &scratch, &matches);
    } catch (const Error& error) {
      refused = true;
      EXPECT_EQ(error.code(), ExitCode::kBadFile);
    }
    // PCRE2 optimises some of these away; then there is nothing to refuse.
    EXPECT_LT(static_cast<double>(clock() - start) / CLOCKS_PER_SEC, 1.0)
        << pattern << " refused " << refused;
  }
  RegexScratch scratch;
  std::vector<RegexMatch> matches;
  EXPECT_THROW(Regex("(a+)+$", "file.json").FindAll(a + "!", &scratch, &matches), Error);
}

}  // namespace
}  // namespace planish

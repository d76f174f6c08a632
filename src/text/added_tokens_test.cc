// SPDX-License-Identifier: Apache-2.0
#include "text/added_tokens.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>

#include "text/tokenizer_testing.h"

namespace planish {
namespace {

AddedTokenMatcher Matcher(const std::vector<std::string>& contents) {
  std::vector<AddedToken> tokens;
  for (size_t i = 0; i < contents.size(); ++i)
    tokens.push_back({static_cast<TokenId>(i), contents[i]});
  return AddedTokenMatcher(tokens, contents);
}

std::vector<AddedMatch> Find(const AddedTokenMatcher& matcher, std::string_view text) {
  std::vector<AddedMatch> matches;
  matcher.Find(text, 0, text.size(), &matches);
  return matches;
}

TEST(AddedTokens, LeftmostLongestMatchesEqualASearchAtEveryPlace) {
  RandomText random(3);
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::string> contents;
    for (uint64_t n = 1 + random.Below(6); n > 0; --n) {
      std::string content;
      for (uint64_t m = 1 + random.Below(5); m > 0; --m) content.push_back("ab"[random.Below(2)]);
      if (std::find(contents.begin(), contents.end(), content) == contents.end())
        contents.push_back(content);
    }
    std::string text;
    for (uint64_t n = random.Below(30); n > 0; --n) text.push_back("abc"[random.Below(3)]);
    std::vector<AddedMatch> expected;
    for (size_t at = 0; at < text.size();) {
      size_t best = 0;
      TokenId id = kNoToken;
      for (size_t i = 0; i < contents.size(); ++i) {
        if (contents[i].size() > best && text.compare(at, contents[i].size(), contents[i]) == 0) {
          best = contents[i].size();
          id = static_cast<TokenId>(i);
        }
      }
      if (best > 0) expected.push_back({at, at + best, id});
      at += std::max<size_t>(best, 1);
    }
    const std::vector<AddedMatch> found = Find(Matcher(contents), text);
    ASSERT_EQ(found.size(), expected.size()) << text;
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i].begin, expected[i].begin) << text;
      ASSERT_EQ(found[i].end, expected[i].end) << text;
      ASSERT_EQ(found[i].id, expected[i].id) << text;
    }
  }
}

TEST(AddedTokens, StripFlagsTakeWhiteSpaceAndSingleWordRefusesPartsOfWords) {
  AddedToken token{5, "<x>"};
  token.lstrip = token.rstrip = true;
  const AddedTokenMatcher strip({token}, {"<x>"});
  std::vector<AddedMatch> found = Find(strip, "a \n<x>\u3000 b");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].begin, 1u);
  EXPECT_EQ(found[0].end, 10u);
  found = Find(strip, "<x> <x>");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].end, 4u);  // the first one took the space
  EXPECT_EQ(found[1].begin, 4u);

  AddedToken word{6, "the"};
  word.single_word = true;
  const AddedTokenMatcher words({word}, {"the"});
  EXPECT_EQ(Find(words, "the, the").size(), 2u);
  EXPECT_EQ(Find(words, "then lathe éthe the\u0301 _the the9").size(), 0u);
}

TEST(AddedTokens, MatchesStayInsideTheGivenRange) {
  const AddedTokenMatcher matcher = Matcher({"<s>"});
  const std::string text = "<s><s><s>";
  std::vector<AddedMatch> matches;
  matcher.Find(text, 1, 8, &matches);
  ASSERT_EQ(matches.size(), 1u);
  EXPECT_EQ(matches[0].begin, 3u);
}

TEST(AddedTokens, TimeIsLinearForTokensThatShareLongPrefixesAndForRunsOfSpaces) {
  const size_t n = size_t{1} << 20;
  const clock_t start = clock();
  const AddedTokenMatcher prefixes =
      Matcher({"a", std::string(60'000, 'a') + "b", std::string(60'000, 'a') + "c"});
  EXPECT_EQ(Find(prefixes, std::string(n, 'a')).size(), n);
  AddedToken space{1, " "};
  space.lstrip = space.rstrip = true;
  EXPECT_EQ(Find(AddedTokenMatcher({space}, {" "}), std::string(n, ' ')).size(), 1u);
  space.lstrip = false;
  EXPECT_EQ(Find(AddedTokenMatcher({space}, {" "}), std::string(n, ' ')).size(), n);
  EXPECT_LT(static_cast<double>(clock() - start) / CLOCKS_PER_SEC, 8.0);
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "serve/stop_filter.h"

#include <gtest/gtest.h>

namespace planish {
namespace {

std::string Filtered(const std::vector<std::string>& stops, const std::string& text, size_t piece,
                     bool* matched) {
  StopFilter filter(stops);
  std::string out;
  for (size_t i = 0; i < text.size(); i += piece) out += filter.Push(text.substr(i, piece));
  out += filter.Finish();
  *matched = filter.has_matched();
  return out;
}

TEST(StopFilter, CutsBeforeTheFirstStopHoweverTheTextComes) {
  struct Case {
    std::vector<std::string> stops;
    std::string text, expected;
    bool matched;
  };
  const Case cases[] = {
      {{}, "all of it", "all of it", false},
      {{"\n\n"}, "one\ntwo\n\nthree", "one\ntwo", true},
      {{"END"}, "an EN and an E", "an EN and an E", false},
      {{"aab"}, "aaaab", "aa", true},
      {{"abc", "b"}, "xabc", "xa", true},
      {{"abcd", "bc"}, "xabcd", "xa", true},
      {{"</s>", "User:"}, "a User b User: c", "a User b ", true},
      {{"x"}, "x", "", true},
      {{"é"}, "caf\xc3\xa9!", "caf", true},
  };
  for (const Case& test : cases) {
    for (size_t piece = 1; piece <= test.text.size(); ++piece) {
      bool matched = false;
      const std::string found = Filtered(test.stops, test.text, piece, &matched);
      EXPECT_EQ(matched, test.matched) << test.text << " by " << piece;
      EXPECT_EQ(found, test.expected) << piece;
    }
  }
}

TEST(StopFilter, HoldsBackNoMoreThanCouldBecomeAStop) {
  StopFilter filter({"stop"});
  EXPECT_EQ(filter.Push("text st"), "text ");
  EXPECT_TRUE(filter.holds());
  EXPECT_EQ(filter.Push("ar"), "star");
  EXPECT_FALSE(filter.holds());
  EXPECT_EQ(filter.Push("sto"), "");
  EXPECT_EQ(filter.Finish(), "sto");
  EXPECT_EQ(filter.Push("stop now"), "");
  EXPECT_TRUE(filter.has_matched());
  EXPECT_EQ(filter.Push("more"), "");
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "tensor/json_members.h"

#include <gtest/gtest.h>

#include "tensor/format_testing.h"

namespace planish {
namespace {

using Pair = std::pair<std::string, std::string>;

std::vector<Pair> Walk(const std::string& text) {
  JsonMembers members(text, "test", 100);
  std::vector<Pair> pairs;
  while (members.Next()) {
    members.ParseValue(1000);
    pairs.emplace_back(members.key(), members.value());
  }
  return pairs;
}

TEST(JsonMembers, GivesKeysAndTheTextOfValues) {
  EXPECT_TRUE(Walk("{}").empty());
  EXPECT_TRUE(Walk(" \n{ \t} \r\n").empty());
  EXPECT_EQ(Walk(R"({"a":1})"), (std::vector<Pair>{{"a", "1"}}));
  EXPECT_EQ(Walk(R"({ "a" : [1, {"b": "},]"}] , "c\n\u00e9" : "x\"}" })"),
            (std::vector<Pair>{{"a", R"([1, {"b": "},]"}])"}, {"c\n\u00e9", R"("x\"}")"}}));
}

TEST(JsonMembers, RefusesWhatIsNotOneObject) {
  for (const char* text : {"",
                           " ",
                           "[]",
                           "{",
                           "{]",
                           "{\"a\"",
                           "{\"a\"}",
                           "{\"a\":",
                           "{\"a\":}",
                           "{\"a\":1",
                           "{\"a\":1,}",
                           "{,}",
                           "{\"a\":1 \"b\":2}",
                           "{a:1}",
                           "{\"a\":1}}",
                           "{\"a\":1} x",
                           "{\"a\":\"}",
                           "{\"a\\\":1}",
                           "{\"\xff\":1}",
                           "{\"a\nb\":1}",
                           "{\"\\ud800\":1}",
                           "{\"a\":1,,\"b\":2}",
                           "{'a':1}"}) {
    ExpectBadFile([&] { Walk(text); }, {"test"});
  }
}

TEST(JsonMembers, ValuesAreParsedStrictlyAndWithinTheirSize) {
  const std::string text = R"({"a": [1, 2}, "b": 1.2.3, "c": "long", "d": [1, 2]})";
  JsonMembers members(text, "test", 100);
  for (const char* key : {"a", "b"}) {
    ASSERT_TRUE(members.Next());
    ExpectBadFile([&] { members.ParseValue(100); }, {"test", key});
  }
  ASSERT_TRUE(members.Next());
  EXPECT_EQ(members.ParseValue(6).AsString(), "long");
  ExpectBadFile([&] { members.ParseValue(5); }, {"test", "c", "6 bytes"});
  ASSERT_TRUE(members.Next());
  EXPECT_EQ(members.ParseValue(100).AsArray().size(), 2u);
  EXPECT_FALSE(members.Next());
}

TEST(JsonMembers, KeysAreBoundedInLength) {
  EXPECT_EQ(Walk("{\"" + std::string(100, 'k') + "\":1}").size(), 1u);
  ExpectBadFile([&] { Walk("{\"" + std::string(101, 'k') + "\":1}"); }, {"101 bytes"});
}

}  // namespace
}  // namespace planish

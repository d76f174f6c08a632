// SPDX-License-Identifier: Apache-2.0
#include "text/message_list.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace planish {
namespace {

MessageList TwoTurns() {
  MessageList list;
  list.Add("user", "one");
  list.Add("assistant", "1");
  list.Add("user", "two");
  list.Add("assistant", "2");
  return list;
}

TEST(MessageList, UndoDropsTheLastMessageOfTheUserAndWhatFollows) {
  MessageList list = TwoTurns();
  EXPECT_TRUE(list.EndsWithAnswer());
  EXPECT_EQ(list.LastUserText(), "two");
  EXPECT_EQ(list.Undo(), "two");
  EXPECT_EQ(list.size(), 2u);
  EXPECT_EQ(list.Undo(), "one");
  EXPECT_EQ(list.Undo(), "");
  EXPECT_EQ(list.LastUserText(), "");
  EXPECT_FALSE(list.EndsWithAnswer());
}

TEST(MessageList, SystemMessageStandsFirstAndSurvivesClear) {
  MessageList list = TwoTurns();
  list.SetSystem("be brief");
  list.SetSystem("be kind");
  EXPECT_EQ(*list.json().AsArray()[0].Find("content"), Json("be kind"));
  EXPECT_EQ(list.size(), 5u);
  list.Clear();
  EXPECT_EQ(list.size(), 1u);
  list.SetSystem("");
  EXPECT_EQ(list.size(), 0u);
  list.Clear();
  EXPECT_EQ(list.size(), 0u);
}

TEST(MessageList, TakesOnlyWhatAConversationIs) {
  MessageList list = TwoTurns();
  for (const char* bad :
       {"{}", "7", "[7]", "[{}]", "[{\"role\": \"user\"}]",
        "[{\"role\": \"user\", \"content\": null}]", "[{\"role\": 1, \"content\": \"x\"}]"}) {
    EXPECT_THROW(list.Set(ParseJson(bad, "test")), Error) << bad;
    EXPECT_EQ(list.size(), 4u);
  }
  list.Set(ParseJson(R"([{"role": "user", "content": "x"}])", "test"));
  EXPECT_EQ(list.LastUserText(), "x");
}

}  // namespace
}  // namespace planish

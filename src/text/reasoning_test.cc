// SPDX-License-Identifier: Apache-2.0
#include "text/reasoning.h"

#include <gtest/gtest.h>

namespace planish {
namespace {

using Mode = ReasoningSplitter::Mode;

struct Expected {
  std::string reasoning, answer;
};

// The same result however the text is cut.
void ExpectSplit(Mode mode, const std::string& text, const Expected& expected) {
  for (size_t cut = 1; cut <= text.size() + 1; ++cut) {
    ReasoningSplitter splitter(mode);
    std::string reasoning, answer;
    for (size_t i = 0; i < text.size(); i += cut) {
      const auto piece = splitter.Push(std::string_view(text).substr(i, cut));
      reasoning += piece.reasoning;
      answer += piece.answer;
    }
    const auto last = splitter.Finish();
    EXPECT_EQ(reasoning + last.reasoning, expected.reasoning) << "pieces of " << cut;
    EXPECT_EQ(answer + last.answer, expected.answer) << "pieces of " << cut;
  }
}

TEST(ReasoningSplitter, SplitsAtTheClosingTagHoweverItIsCut) {
  ExpectSplit(Mode::kThink, "2+2 is 4.\n</think>\n\nFour.", {"2+2 is 4.\n", "Four."});
  ExpectSplit(Mode::kThink, "a</think>b", {"a", "b"});
  ExpectSplit(Mode::kThink, "a</think>\nb", {"a", "b"});
  ExpectSplit(Mode::kThink, "a</think>\n\n\nb", {"a", "\nb"});
}

TEST(ReasoningSplitter, AlmostTagsStayText) {
  ExpectSplit(Mode::kThink, "a < b </thin k> </th", {"a < b </thin k> </th", ""});
  ExpectSplit(Mode::kThink, "<<//think></think>x", {"<<//think>", "x"});
}

TEST(ReasoningSplitter, ModelMayOpenItsOwnTag) {
  ExpectSplit(Mode::kOpenWait, "<think>\nhm\n</think>\n\nyes", {"\nhm\n", "yes"});
  ExpectSplit(Mode::kOpenWait, " \n<think>hm</think>yes", {"hm", "yes"});
  ExpectSplit(Mode::kOpenWait, "<thing> is text", {"", "<thing> is text"});
  ExpectSplit(Mode::kOpenWait, "plain", {"", "plain"});
}

TEST(ReasoningSplitter, OffModeGivesAnswerAndDropsStrayClosingTags) {
  ExpectSplit(Mode::kOff, "a</think>b <think>c", {"", "ab <think>c"});
}

TEST(ReasoningSplitter, TagsAfterTheFirstCloseAreText) {
  ExpectSplit(Mode::kThink, "a</think>b<think>c</think>d", {"a", "b<think>c</think>d"});
}

}  // namespace
}  // namespace planish

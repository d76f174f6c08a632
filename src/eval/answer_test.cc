// SPDX-License-Identifier: Apache-2.0
#include "eval/answer.h"

#include <gtest/gtest.h>

#include <span>

#include "eval/clock.h"
#include "eval/number.h"

namespace planish {
namespace {

struct Pair {
  const char* type;
  const char* found;
  const char* key;
  bool same;
};

void ExpectAsListed(std::span<const Pair> pairs) {
  for (const Pair& pair : pairs) {
    const auto type = AnswerTypeFromName(pair.type);
    ASSERT_TRUE(type.has_value()) << pair.type;
    EXPECT_EQ(SameAnswer(pair.found, pair.key, *type), pair.same)
        << pair.type << ": \"" << pair.found << "\" against \"" << pair.key << "\"";
  }
}

const Pair kNumbers[] = {
    {"integer", "42", "42", true},
    {"integer", "42.0", "42", true},
    {"integer", "42.50", "42", false},
    {"integer", "1,234", "1234", true},
    {"integer", "1234", "1,234", true},
    {"integer", "1,234,567", "1234567", true},
    {"integer", "12,34", "1234", false},
    {"integer", "$42", "42", true},
    {"integer", "42 apples", "42", true},
    {"integer", "42 apples", "42 pears", true},
    {"integer", "**42**", "42", true},
    {"integer", "\\boxed{42}", "42", true},
    {"integer", "$42$", "42", true},
    {"integer", "\\(42\\)", "42", true},
    {"integer", "042", "42", true},
    {"integer", "-7", "-7", true},
    {"integer",
     "\xE2\x88\x92"
     "7",
     "-7", true},
    {"integer", "7", "-7", false},
    {"integer", "+7", "7", true},
    {"integer", "25%", "25", true},
    {"integer", "25 percent", "25", true},
    {"integer", "5 or 6", "5", false},
    {"integer", "5 or 6", "6", false},
    {"integer", "5 and 6", "5", false},
    {"integer", "3 to 4", "3", false},
    {"integer", "between 3 and 4", "3", false},
    {"integer", "3, 4", "3", false},
    {"integer", "1 2 3", "1", false},
    {"integer", "3 + 4 = 7", "7", true},
    {"integer", "3 + 4 = 7", "3", false},
    {"integer", "3 + 4", "7", false},
    {"integer", "12 - 5 = 7 apples", "7", true},
    {"integer", "12 x 5 = 60", "60", true},
    {"integer", "5 (because 8 - 3 = 5)", "5", true},
    {"integer", "5 apples for 3 children", "5", true},
    {"integer", "", "5", false},
    {"integer", "none", "5", false},
    {"integer", "forty-two", "42", false},
    {"integer", "B12", "12", false},
    {"integer", "12:30", "12", false},
    {"integer", "2024-03-05", "2024", false},
    {"integer", "99999999999999999999", "99999999999999999999", false},
    {"integer", "9223372036854775806", "9223372036854775806", true},
    {"integer", "1e3", "1", false},
    {"decimal", "3.50", "3.5", true},
    {"decimal", ".5", "0.5", true},
    {"decimal", "3.333", "3.33", false},
    {"decimal", "1/2", "0.5", true},
    {"decimal", "0.1", "1/10", true},
    {"decimal", "7.", "7", true},
    {"decimal", "-0", "0", true},
    {"decimal", "1,234.50 km", "1234.5", true},
    {"decimal", "0.30000000000000004", "0.3", false},
    {"fraction", "1/2", "1/2", true},
    {"fraction", "2/4", "1/2", true},
    {"fraction", "0.5", "1/2", true},
    {"fraction", "50%", "1/2", false},
    {"fraction", "1 1/2", "3/2", true},
    {"fraction", "1.5", "1 1/2", true},
    {"fraction", "\\frac{3}{4}", "3/4", true},
    {"fraction", "\\dfrac34", "3/4", true},
    {"fraction", "1\\frac{1}{2}", "3/2", true},
    {"fraction", "3 / 4", "3/4", true},
    {"fraction", "3/4 of the cake", "3/4", true},
    {"fraction", "-3/4", "-3/4", true},
    {"fraction", "3/0", "3", false},
    {"fraction", "3/4/5", "3/4", false},
    {"fraction", "4/3", "3/4", false},
    {"money", "$4.50", "$4.50", true},
    {"money", "$4.5", "$4.50", true},
    {"money", "4.50 dollars", "$4.50", true},
    {"money", "4.50", "$4.50", true},
    {"money", "\\$4.50", "$4.50", true},
    {"money", "\\$4.50$", "$4.50", true},
    {"money", "450 cents", "$4.50", true},
    {"money", "75 cents", "$0.75", true},
    {"money", "75 cents", "$75", false},
    {"money", "75 cents", "75", true},
    {"money", "75 cents", "0.75", true},
    {"money", "75 cents", "7.50", false},
    {"money", "5 dollars and 30 cents", "$5.30", true},
    {"money", "$5 and 30 cents", "5.30", true},
    {"money", "$1,250", "1250", true},
    {"money", "-$3", "-3", true},
    {"money", "$-3", "-3", true},
    {"money", "$3", "-3", false},
    {"money", "$5 or $6", "$5", false},
    {"money",
     "\xE2\x82\xAC"
     "5",
     "5", true},
};
TEST(Answer, NumbersCompareExactly) { ExpectAsListed(kNumbers); }

const Pair kTimes[] = {
    {"time", "2:30 pm", "14:30", true},
    {"time", "2:30 p.m.", "14:30", true},
    {"time", "2:30PM", "14:30", true},
    {"time", "14:30", "2:30 PM", true},
    {"time", "14:30:00", "14:30", true},
    {"time", "2:30", "14:30", false},
    {"time", "2:30 am", "14:30", false},
    {"time", "2:30 am", "02:30", true},
    {"time", "2:30", "2:30", true},
    {"time", "2:30 pm", "2:30", true},
    {"time", "14:30", "2:30", false},
    {"time", "noon", "12:00", true},
    {"time", "12:00 pm", "noon", true},
    {"time", "12 pm", "12:00", true},
    {"time", "midnight", "00:00", true},
    {"time", "12:00 am", "00:00", true},
    {"time", "12:05 am", "00:05", true},
    {"time", "3 pm", "15:00", true},
    {"time", "3 o'clock", "3:00", true},
    {"time", "3 o'clock", "15:00", false},
    {"time", "3", "15:00", false},
    {"time", "15.00", "15:00", false},
    {"time", "25:00", "25:00", false},
    {"time", "14:75", "14:75", false},
    {"time", "at 9:05 in the morning", "09:05", true},
    {"time", "1 hour 45 minutes", "105 minutes", true},
    {"time", "1 hour and 45 minutes", "1 hour 45 minutes", true},
    {"time", "1.5 hours", "90 minutes", true},
    {"time", "45 minutes", "1 hour", false},
    {"time", "45", "45", true},
    {"time", "45 minutes", "45", true},
    {"date", "March 5", "March 5", true},
    {"date", "Mar 5", "March 5", true},
    {"date", "5 March", "March 5", true},
    {"date", "the 5th of March", "March 5", true},
    {"date", "March 5th, 2024", "2024-03-05", true},
    {"date", "3/5/2024", "2024-03-05", true},
    {"date", "March 5", "2024-03-05", true},
    {"date", "March 5, 2023", "2024-03-05", false},
    {"date", "March 6", "March 5", false},
    {"date", "May 5", "March 5", false},
    {"date", "Tuesday, March 5", "March 5", true},
    {"date", "Tuesday", "Tuesday", true},
    {"date", "tuesday", "Tuesday", true},
    {"date", "on Tuesday", "Tuesday", true},
    {"date", "Tue", "Tuesday", true},
    {"date", "Wednesday", "Tuesday", false},
    {"date", "March", "March", true},
    {"date", "March 45", "March 4", false},
};
TEST(Answer, TimesAndDatesCompareByWhatTheyMean) { ExpectAsListed(kTimes); }

const Pair kWords[] = {
    {"word", "Anna", "Anna", true},
    {"word", "anna", "Anna", true},
    {"word", "Anna.", "Anna", true},
    {"word", "\"Anna\"", "Anna", true},
    {"word", "the cat", "cat", true},
    {"word", "Anna or Ben", "Anna", false},
    {"word", "Anna and Ben", "Anna", false},
    {"word", "Annabel", "Anna", false},
    {"word", "Ann", "Anna", false},
    {"word", "Anna, because she has more", "Anna", true},
    {"word", "Anna because she has more", "Anna", true},
    {"word", "not Anna", "Anna", false},
    {"word", "", "Anna", false},
    {"word", "a", "a", true},
    {"word", "A", "a", true},
    {"word", "red car", "red car", true},
    {"word", "red  car", "Red Car", true},
    {"word", "car red", "red car", false},
    {"word", "elppa", "elppa", true},
    {"word", "7 apples", "7", true},
    {"yes_no", "yes", "yes", true},
    {"yes_no", "Yes.", "yes", true},
    {"yes_no", "Yes, because 3 is more than 2", "yes", true},
    {"yes_no", "no", "yes", false},
    {"yes_no", "yes or no", "yes", false},
    {"yes_no", "not yes", "yes", false},
    {"yes_no", "true", "yes", true},
    {"yes_no", "False", "no", true},
    {"yes_no", "nothing", "no", false},
    {"yes_no", "maybe", "no", false},
    {"list", "Anna, Ben, Carl", "Anna, Ben, Carl", true},
    {"list", "Anna, Ben and Carl", "Anna, Ben, Carl", true},
    {"list", "Anna, Ben, and Carl", "Anna, Ben, Carl", true},
    {"list", "[Anna, Ben, Carl]", "Anna, Ben, Carl", true},
    {"list", "anna; ben; carl", "Anna, Ben, Carl", true},
    {"list", "Ben, Anna, Carl", "Anna, Ben, Carl", false},
    {"list", "Anna, Ben", "Anna, Ben, Carl", false},
    {"list", "Anna, Ben, Carl, Carl", "Anna, Ben, Carl", false},
    {"list", "3, 5, 8", "3, 5, 8", true},
    {"list", "3 5 8", "3, 5, 8", true},
    {"list", "3 < 5 < 8", "3, 5, 8", true},
    {"list", "3, 5.0, 8", "3, 5, 8", true},
    {"list", "3, 58", "3, 5, 8", false},
    {"list", "1/2, 3/4", "0.5, 0.75", true},
    {"list", "", "3", false},
    {"list", "Anna -> Ben -> Carl", "Anna, Ben, Carl", true},
};
TEST(Answer, WordsAndListsCompareAsPeopleRead) { ExpectAsListed(kWords); }

struct Case {
  const char* type;
  const char* text;
  const char* extracted;  // null: nothing
};

const Case kCases[] = {
    {"integer", "The answer is 132.", "132"},
    {"integer", "The answer is 132", "132"},
    {"integer", "So the answer is: 132.\n", "132"},
    {"integer", "The answer is:\n\n132", "132"},
    {"integer", "Answer: 132", "132"},
    {"integer", "The ANSWER IS 132!", "132"},
    {"integer", "The answer is 5. No, the answer is 6.", "6"},
    {"integer", "The answer is 6. It took 3 steps.", "6"},
    {"integer", "#### 7\nThe answer is 6.", "6"},
    {"integer", "\\boxed{7} but the answer is 6.", "6"},
    {"integer", "We get \\boxed{7}. That took 3 steps.", "7"},
    {"integer", "We get \\boxed{7} or \\boxed{8}.", "8"},
    {"integer", "The answer is \\boxed{7}.", "7"},
    {"integer", "The answer is $\\boxed{1{,}234}$.", "1,234"},
    {"integer", "**The answer is 9.**", "9"},
    {"integer", "She has 3 + 4 = <<3+4=7>>7\n#### 7", "7"},
    {"integer", "#### 1,234.\n", "1,234"},
    {"integer", "3 plus 4 makes 7.", "7"},
    {"integer", "8-3", "3"},
    {"integer", "no number here", nullptr},
    {"integer", "", nullptr},
    {"integer", "   \n", nullptr},
    {"integer", "The answer is", nullptr},
    {"integer", "The answer is 3.5.", "3.5"},
    {"money", "The answer is $4.50.", "$4.50"},
    {"money", "She pays 75 cents", "75 cents"},
    {"money", "She pays $4.50 in all.", "$4.50"},
    {"fraction", "The answer is 3/4.", "3/4"},
    {"fraction", "It leaves 3/4 of it.", "3/4"},
    {"time", "The answer is 2:30 p.m.", "2:30 p.m."},
    {"time", "The answer is 2:30 p.m. It is late.", "2:30 p.m. It is late"},
    {"time", "From 9:00 he works until 14:35.", "14:35"},
    {"time", "He leaves at 2 pm", "2 pm"},
    {"date", "The answer is Tuesday.", "Tuesday"},
    {"date", "Monday is gone, so it is Tuesday now.", "Tuesday"},
    {"date", "From March 1 we come to March 5, 2024", "March 5, 2024"},
    {"word", "The answer is blue.", "blue"},
    {"word", "It must be Anna.", "Anna"},
    {"yes_no", "Yes, it is more.", "Yes"},
    {"yes_no", "Is it? I think no", "no"},
    {"yes_no", "It is more.", nullptr},
    {"list", "The answer is Anna, Ben, Carl.", "Anna, Ben, Carl"},
    {"list", "In order:\n3, 5, 8", "3, 5, 8"},
};
TEST(Answer, IsFoundWhereTheTextStatesIt) {
  for (const Case& c : kCases) {
    const auto found = ExtractAnswer(c.text, *AnswerTypeFromName(c.type));
    ASSERT_EQ(found.has_value(), c.extracted != nullptr) << c.text << ": " << found.value_or("");
    if (found.has_value()) {
      EXPECT_EQ(*found, c.extracted) << c.text;
    }
  }
}

TEST(Answer, AStatedTimeComparesWhateverFollowsIt) {
  const auto found = ExtractAnswer("The answer is 2:30 p.m. It is late.", AnswerType::kTime);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(SameAnswer(*found, "14:30", AnswerType::kTime));
}

TEST(Answer, TypesAreGuessedFromKeysOfFilesThatDoNotSay) {
  const std::pair<const char*, AnswerType> kKeys[] = {{"42", AnswerType::kInteger},
                                                      {"1,234", AnswerType::kInteger},
                                                      {"4.5", AnswerType::kDecimal},
                                                      {"$4.50", AnswerType::kMoney},
                                                      {"3/4", AnswerType::kFraction},
                                                      {"14:35", AnswerType::kTime},
                                                      {"2 pm", AnswerType::kTime},
                                                      {"90 minutes", AnswerType::kTime},
                                                      {"March 5", AnswerType::kDate},
                                                      {"2024-03-05", AnswerType::kDate},
                                                      {"Tuesday", AnswerType::kDate},
                                                      {"yes", AnswerType::kYesNo},
                                                      {"No", AnswerType::kYesNo},
                                                      {"blue", AnswerType::kWord},
                                                      {"Anna, Ben, Carl", AnswerType::kList},
                                                      {"3, 5, 8", AnswerType::kList}};
  for (const auto& [key, type] : kKeys) {
    EXPECT_STREQ(AnswerTypeName(GuessAnswerType(key)), AnswerTypeName(type)) << key;
    EXPECT_TRUE(SameAnswer(key, key, GuessAnswerType(key))) << key;
  }
}

TEST(Answer, HostileTextEndsQuietly) {
  for (const char* text :
       {"\\boxed{", "\\boxed{{{", "\\text{", "$", "$$$$", "####", "answer is", "-", "1/",
        "\\frac{1}", "\\frac{1}{", "1.", "..", ":", "\xE2\x88", "1:", "12:3", "0/0"}) {
    for (const AnswerType type : {AnswerType::kInteger, AnswerType::kMoney, AnswerType::kTime,
                                  AnswerType::kDate, AnswerType::kList, AnswerType::kWord}) {
      const auto found = ExtractAnswer(text, type);
      EXPECT_FALSE(SameAnswer(found.value_or(""), "17", type)) << text;
    }
  }
}

TEST(Number, RationalsOverflowToNothing) {
  EXPECT_FALSE(Product({INT64_MAX, 1}, {2, 1}).has_value());
  EXPECT_FALSE(Sum({INT64_MAX, 1}, {1, 1}).has_value());
  EXPECT_FALSE(MakeRational(1, 0).has_value());
  EXPECT_EQ(*MakeRational(4, -6), (Rational{-2, 3}));
  EXPECT_EQ(*Sum({1, 2}, {1, 3}), (Rational{5, 6}));
}

}  // namespace
}  // namespace planish

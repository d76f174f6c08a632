// SPDX-License-Identifier: Apache-2.0
#include "text/normalize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>

#include "text/tokenizer_testing.h"

namespace planish {
namespace {

using Kind = NormalizeStep::Kind;

NormalizeStep Step(Kind kind) {
  NormalizeStep step;
  step.kind = kind;
  return step;
}

std::string Normal(const std::vector<NormalizeStep>& steps, const std::string& text) {
  RegexScratch scratch;
  TracedText out;
  return Normalizer(steps, "test").Apply(text, /*trace=*/false, &scratch, &out) ? out.text : text;
}

TEST(Normalize, EachStepDoesWhatItsNameSays) {
  EXPECT_EQ(Normal({Step(Kind::kNfc)}, "e\u0301\u0323 \u212b"), "\u1eb9\u0301 \u00c5");
  EXPECT_EQ(Normal({Step(Kind::kNfd)}, "\u1eb9\u0301\uac01"), "e\u0323\u0301\u1100\u1161\u11a8");
  EXPECT_EQ(Normal({Step(Kind::kNfkc)}, "\ufb01\u00b2"), "fi2");
  EXPECT_EQ(Normal({Step(Kind::kNfkd)}, "\u1e9b\u0323"), "s\u0323\u0307");
  EXPECT_EQ(Normal({Step(Kind::kLowercase)}, "ÀB\u0130\u1c89"), "àbi\u0307\u1c8a");
  NormalizeStep prepend = Step(Kind::kPrepend);
  prepend.content = "_";
  EXPECT_EQ(Normal({prepend}, "a"), "_a");
  EXPECT_EQ(Normal({prepend}, ""), "");
  NormalizeStep replace = Step(Kind::kReplace);
  replace.pattern = "\\s+";
  replace.is_regex = true;
  replace.content = "-";
  EXPECT_EQ(Normal({replace, Step(Kind::kLowercase)}, " A \n b"), "-a-b");
  replace.is_regex = false;
  EXPECT_EQ(Normal({replace}, "a\\s+b"), "a-b");
  NormalizeStep strip = Step(Kind::kStrip);
  EXPECT_EQ(Normal({strip}, " \u3000a b\n"), "a b");
  strip.strip_right = false;
  EXPECT_EQ(Normal({strip}, " a "), "a ");
  EXPECT_EQ(Normal({strip}, "  "), "");
}

TEST(Normalize, CharactersNewerThanUnicode9StayAsTheyAre) {
  EXPECT_EQ(Normal({Step(Kind::kNfkc)}, "\u32ff"), "\u32ff");  // SQUARE ERA NAME REIWA, 12.1
  EXPECT_EQ(Normal({Step(Kind::kNfd)}, "a\u0345\u0898\u0334"),
            "a\u0345\u0898\u0334");  // a mark of 14.0 is a barrier
}

TEST(Normalize, TracedTextEqualsUntracedAndOriginsAreOrdered) {
  RandomText random(5);
  RegexScratch scratch;
  for (const Kind kind :
       {Kind::kNfc, Kind::kNfd, Kind::kNfkc, Kind::kNfkd, Kind::kLowercase, Kind::kStrip}) {
    const Normalizer normalizer({Step(kind)}, "test");
    for (int i = 0; i < 1000; ++i) {
      const std::string text = random.Valid(1 + random.Below(10));
      TracedText plain, traced;
      const bool changes = normalizer.Apply(text, false, &scratch, &plain);
      ASSERT_EQ(normalizer.Apply(text, true, &scratch, &traced), changes);
      if (!changes) continue;
      ASSERT_EQ(traced.text, plain.text) << text;
      ASSERT_EQ(traced.origins.size(), traced.text.size());
      for (size_t j = 0; j < traced.origins.size(); ++j) {
        ASSERT_LT(traced.origins[j], text.size());
      }
      ASSERT_TRUE(std::is_sorted(traced.origins.begin(), traced.origins.end())) << text;
    }
  }
}

TEST(Normalize, AMebibyteOfCombiningMarksTakesLinearTime) {
  std::string marks = "a";
  while (marks.size() < size_t{1} << 20) marks += "\u0301\u0323\u0345\u0334";
  const clock_t start = clock();
  const std::string nfc = Normal({Step(Kind::kNfc)}, marks);
  EXPECT_EQ(Normal({Step(Kind::kNfc)}, nfc), nfc);
  EXPECT_EQ(nfc.substr(0, 3),
            "\u1ea1");  // the first dot below reaches the letter past all overlays
  RegexScratch scratch;
  TracedText traced;
  Normalizer({Step(Kind::kNfc)}, "test").Apply(marks, /*trace=*/true, &scratch, &traced);
  EXPECT_EQ(traced.text, nfc);
  EXPECT_LT(static_cast<double>(clock() - start) / CLOCKS_PER_SEC, 8.0);
}

}  // namespace
}  // namespace planish

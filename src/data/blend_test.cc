// SPDX-License-Identifier: Apache-2.0
#include "data/blend.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"

namespace planish {
namespace {

uint64_t Unlimited(uint32_t, uint64_t) { return kNoLimit; }
std::string Name(uint32_t dataset) { return std::string(1, static_cast<char>('a' + dataset)); }

std::string UsageErrorOf(std::vector<BlendPhase> phases, Exhausted exhausted,
                         const std::function<uint64_t(uint32_t, uint64_t)>& capacity) {
  try {
    Blend(std::move(phases), exhausted, capacity, Name);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
  return "";
}

TEST(Blend, DrawsAreAPureFunctionOfTheSampleAndCountOn) {
  const Blend blend({{1000, 8, {{0, 0.6}, {1, 0.4}}},
                     {500, 8, {{1, 1}, {2, 3}}},
                     {300, 16, {{0, 1}, {2, 1}}},
                     {200, 8, {{2, 1}, {0, 1}}}},
                    Exhausted::kError, Unlimited, Name);
  ASSERT_EQ(blend.samples(), 2000u);
  std::map<std::pair<uint32_t, uint64_t>, uint64_t> counts;  // by dataset and row length
  for (uint64_t n = 0; n < blend.samples(); ++n) {
    const Blend::Draw draw = blend.At(n);
    ASSERT_EQ(draw.phase, blend.PhaseOf(n));
    ASSERT_GE(n, blend.phase_begin(draw.phase));
    const uint64_t row_tokens = blend.phases()[draw.phase].row_tokens;
    for (uint32_t d = 0; d < 3; ++d) {
      for (const uint64_t length : {8u, 16u})
        ASSERT_EQ(blend.RowsBefore(n, d, length), (counts[{d, length}])) << n;
    }
    ASSERT_EQ(draw.nth, (counts[{draw.dataset, row_tokens}]++)) << n;
  }
  EXPECT_EQ((counts[{0, 8}]), 600u + 100u);
  EXPECT_EQ((counts[{1, 8}]), 400u + 125u);
  EXPECT_EQ((counts[{2, 8}]), 375u + 100u);
  EXPECT_EQ((counts[{0, 16}]), 150u);
  EXPECT_EQ((counts[{2, 16}]), 150u);
}

TEST(Blend, SeeksToABillionAtOnce) {
  const Blend blend({{uint64_t{1} << 40, 4096, {{0, 0.6125}, {1, 0.3}, {2, 0.0875}}}},
                    Exhausted::kError, Unlimited, Name);
  const uint64_t n = 1'000'000'000;
  EXPECT_EQ(blend.RowsBefore(n, 0, 4096), 612'500'000u);
  EXPECT_EQ(blend.RowsBefore(n, 1, 4096), 300'000'000u);
  EXPECT_EQ(blend.RowsBefore(n, 2, 4096), 87'500'000u);
  const Blend::Draw draw = blend.At(n);
  EXPECT_EQ(blend.RowsBefore(n, draw.dataset, 4096), draw.nth);
}

TEST(Blend, AnExhaustedDatasetIsAnErrorBeforeTheRun) {
  const auto capacity = [](uint32_t dataset, uint64_t) { return dataset == 1 ? 100u : kNoLimit; };
  EXPECT_EQ(UsageErrorOf({{400, 8, {{0, 3}, {1, 1}}}}, Exhausted::kError, capacity), "");
  EXPECT_EQ(UsageErrorOf({{404, 8, {{0, 3}, {1, 1}}}}, Exhausted::kError, capacity),
            "phase 1: would draw 101 rows of 8 tokens from b, which may give 100");
}

TEST(Blend, AnExhaustedDatasetDropsOutAndTheOthersShareByWeight) {
  const uint64_t limits[] = {kNoLimit, 100, 50};
  const auto capacity = [&](uint32_t dataset, uint64_t) { return limits[dataset]; };
  const Blend blend({{4000, 8, {{0, 2}, {1, 1}, {2, 1}}}, {100, 8, {{0, 1}, {2, 5}}}},
                    Exhausted::kRenormalise, capacity, Name);
  std::vector<uint64_t> counts(3);
  uint64_t last_b = 0, last_c = 0;
  for (uint64_t n = 0; n < blend.samples(); ++n) {
    const Blend::Draw draw = blend.At(n);
    ASSERT_EQ(draw.nth, counts[draw.dataset]++) << n;
    if (draw.dataset == 1) last_b = n;
    if (draw.dataset == 2) last_c = n;
  }
  EXPECT_EQ(counts, (std::vector<uint64_t>{3950, 100, 50}));
  EXPECT_NEAR(static_cast<double>(last_c), 200, 4);        // 1 of 4
  EXPECT_NEAR(static_cast<double>(last_b), 200 + 150, 4);  // the other 50 by 1 of 3
}

TEST(Blend, TokensReadInRowsOfAnotherLengthCountAgainstTheCapacity) {
  // 1000 tokens: 125 rows of 8, 62 of 16; the first phase reads 400 tokens.
  const auto capacity = [](uint32_t, uint64_t row_tokens) { return 1000 / row_tokens; };
  EXPECT_EQ(UsageErrorOf({{50, 8, {{0, 1}}}, {37, 16, {{0, 1}}}}, Exhausted::kError, capacity), "");
  EXPECT_NE(UsageErrorOf({{50, 8, {{0, 1}}}, {38, 16, {{0, 1}}}}, Exhausted::kError, capacity), "");
  EXPECT_EQ(
      UsageErrorOf({{50, 8, {{0, 1}}}, {38, 16, {{0, 1}}}}, Exhausted::kRenormalise, capacity),
      "phase 2: every dataset is exhausted after 37 of 38 samples");
}

TEST(Blend, SenselessPhasesAreRefused) {
  const auto error = [](std::vector<BlendPhase> phases) {
    return UsageErrorOf(std::move(phases), Exhausted::kError, Unlimited);
  };
  EXPECT_NE(error({}), "");
  EXPECT_EQ(error({{5, 8, {}}}), "phase 1: no dataset");
  EXPECT_EQ(error({{5, 8, {{0, 1}, {1, 1}, {0, 2}}}}), "phase 1: a is listed twice");
  EXPECT_EQ(error({{5, 8, {{0, 1}}}, {5, 8, {{1, 0}}}}),
            "phase 2: weight of b is 0, expected a positive number");
  EXPECT_NE(error({{5, 8, {{0, -1}}}}), "");
  EXPECT_NE(error({{0, 8, {{0, 1}}}}), "");
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// The sampler against a plain reference in double: which tokens may be drawn, with which
// probability, and that nothing but (seed, choice, position) decides.
#include "infer/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/random.h"

namespace planish {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

int32_t SampleOnce(const SamplingParams& params, std::vector<float> logits, uint64_t position = 0,
                   const TokenMask* mask = nullptr) {
  Sampler sampler(params);
  return sampler.Sample(logits, position, mask);
}

std::vector<float> RandomLogits(size_t V, uint64_t seed, double spread = 2) {
  Random random(seed);
  std::vector<float> logits(V);
  for (float& logit : logits) logit = static_cast<float>(spread * random.Normal());
  return logits;
}

// Probabilities by the definition: sort, then temperature, top_k, top_p (shortest beginning that
// reaches it), min_p.
std::vector<double> Reference(const SamplingParams& params, const std::vector<float>& logits) {
  const size_t V = logits.size();
  std::vector<size_t> order(V);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  std::vector<double> p(V);
  for (size_t i = 0; i < V; ++i)
    p[i] = std::exp((static_cast<double>(logits[i]) - static_cast<double>(logits[order[0]])) /
                    params.temperature);
  const auto normalise = [&] {
    const double total = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& x : p) x /= total;
  };
  if (params.top_k > 0) {
    for (size_t rank = static_cast<size_t>(params.top_k); rank < V; ++rank) p[order[rank]] = 0;
  }
  normalise();
  double before = 0;
  for (size_t rank = 0; rank < V; ++rank) {
    const double share = p[order[rank]];
    if (rank > 0 && before >= params.top_p) p[order[rank]] = 0;
    before += share;
  }
  normalise();
  for (double& x : p) x = x < params.min_p * p[order[0]] ? 0 : x;
  normalise();
  return p;
}

// Draws at many positions: nothing outside the reference's support, and chi-square (cells of at
// least 5 expected draws) below mean + 5 standard deviations of its distribution. Seeds are fixed:
// it holds for ever or never.
void ExpectDistribution(const SamplingParams& params, const std::vector<float>& logits,
                        size_t draws) {
  const std::vector<double> p = Reference(params, logits);
  std::vector<size_t> counts(logits.size());
  for (size_t i = 0; i < draws; ++i) {
    const int32_t id = SampleOnce(params, logits, i);
    ASSERT_GE(id, 0);
    ++counts[static_cast<size_t>(id)];
  }
  double chi = 0, rest_expected = 0, rest_found = 0;
  size_t cells = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double expected = p[i] * static_cast<double>(draws),
                 found = static_cast<double>(counts[i]);
    if (p[i] == 0) {
      EXPECT_EQ(counts[i], 0u) << "token " << i << " is filtered out";
    } else if (expected < 5) {
      rest_expected += expected, rest_found += found;
    } else {
      chi += (found - expected) * (found - expected) / expected, ++cells;
    }
  }
  if (rest_expected >= 5)
    chi += (rest_found - rest_expected) * (rest_found - rest_expected) / rest_expected, ++cells;
  const double freedom = static_cast<double>(cells) - 1;
  EXPECT_LE(chi, freedom + 5 * std::sqrt(2 * freedom) + 1e-9) << cells << " cells";
}

TEST(Sampler, DrawsFromTheDistributionOfTheReferenceUnderEveryFilter) {
  const std::vector<float> logits = RandomLogits(100, 1);
  const auto check = [&](SamplingParams params) {
    SCOPED_TRACE(testing::Message()
                 << "temperature " << params.temperature << " top_k " << params.top_k << " top_p "
                 << params.top_p << " min_p " << params.min_p);
    params.seed = 7;
    ExpectDistribution(params, logits, 4000);
  };
  for (const double temperature : {0.3, 1.0, 2.5}) {
    check({.temperature = temperature});
    check({.temperature = temperature, .top_k = 5});
    check({.temperature = temperature, .top_p = 0.7});
    check({.temperature = temperature, .min_p = 0.1});
    check({.temperature = temperature, .top_p = 0.8, .min_p = 0.2, .top_k = 20});
  }
}

TEST(Sampler, FiltersActInTheirOrder) {
  // Probabilities .4 .3 .2 .1 at temperature 1.
  const std::vector<float> logits = {std::log(.4f), std::log(.3f), std::log(.2f), std::log(.1f)};
  const auto support = [&](const SamplingParams& params) {
    std::vector<int32_t> ids;
    for (uint64_t position = 0; position < 400; ++position)
      ids.push_back(SampleOnce(params, logits, position));
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    return ids;
  };
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(support({}), (Ids{0, 1, 2, 3}));
  EXPECT_EQ(support({.top_p = 0.65}), (Ids{0, 1}));
  EXPECT_EQ(support({.top_p = 0.75}), (Ids{0, 1, 2}));
  // top_k first: of the two that are left, .57 and .43, the first alone does not reach .65 but
  // reaches .55.
  EXPECT_EQ(support({.top_p = 0.55, .top_k = 2}), (Ids{0}));
  EXPECT_EQ(support({.top_p = 0.55}), (Ids{0, 1}));
  // Temperature first: at 1/2 the shares are .53 .3 .13 .03, so one token reaches .5.
  EXPECT_EQ(support({.temperature = 0.5, .top_p = 0.5}), (Ids{0}));
  EXPECT_EQ(support({.temperature = 1.0, .top_p = 0.5}), (Ids{0, 1}));
  // min_p after temperature: ratios .75 .5 .25 become .56 .25 .06.
  EXPECT_EQ(support({.min_p = 0.45}), (Ids{0, 1, 2}));
  EXPECT_EQ(support({.temperature = 0.5, .min_p = 0.45}), (Ids{0, 1}));
  EXPECT_EQ(support({.top_p = 0.0}), (Ids{0}));
  EXPECT_EQ(support({.min_p = 1.0}), (Ids{0}));
  EXPECT_EQ(support({.top_k = 1}), (Ids{0}));
  EXPECT_EQ(support({.top_k = 100}), (Ids{0, 1, 2, 3}));
}

TEST(Sampler, NucleusIsExactWhenItNeedsMoreThanTheFirstSortedTokens) {
  for (const size_t V : {63, 64, 65, 3000}) {
    const std::vector<float> flat = RandomLogits(V, V, 0.1);
    for (const double top_p : {0.2, 0.6, 0.999}) {
      const std::vector<double> p = Reference({.top_p = top_p}, flat);
      for (uint64_t position = 0; position < 200; ++position) {
        const int32_t id = SampleOnce({.top_p = top_p, .seed = V}, flat, position);
        ASSERT_GE(id, 0);
        ASSERT_GT(p[static_cast<size_t>(id)], 0) << "V " << V << " top_p " << top_p;
      }
    }
  }
}

TEST(Sampler, TiesAtTheEdgeOfTopKAndAtTemperatureZeroGoToTheLowestId) {
  const std::vector<float> logits = {1, 3, 3, 2, 3};
  EXPECT_EQ(SampleOnce({.temperature = 0}, logits), 1);
  EXPECT_EQ(SampleOnce({.temperature = 0}, {-0.0f, 0.0f, -1}), 0);
  for (uint64_t position = 0; position < 100; ++position) {
    const int32_t id = SampleOnce({.top_k = 2}, logits, position);
    EXPECT_TRUE(id == 1 || id == 2) << id;
  }
}

TEST(Sampler, TinyTemperatureIsGreedyAndSplitsTies) {
  for (const double temperature : {1e-9, 1e-300, 5e-324}) {
    std::vector<size_t> counts(4);
    for (uint64_t position = 0; position < 200; ++position) {
      const int32_t id =
          SampleOnce({.temperature = temperature}, {1e30f, 5, 1e30f, -1e30f}, position);
      ASSERT_GE(id, 0);
      ++counts[static_cast<size_t>(id)];
    }
    EXPECT_EQ(counts[1] + counts[3], 0u);
    EXPECT_NEAR(static_cast<double>(counts[0]), 100, 5 * std::sqrt(50));
    for (uint64_t position = 0; position < 50; ++position)
      EXPECT_EQ(SampleOnce({.temperature = temperature}, {1, 1.0000001f, 0}, position), 1);
  }
}

TEST(Sampler, LogitsThatAreNotFiniteAreDefinedAtEveryTemperature) {
  for (const double temperature : {0.0, 1e-9, 1.0, 1e9}) {
    for (const SamplingParams& params :
         {SamplingParams{.temperature = temperature},
          SamplingParams{.temperature = temperature, .top_k = 2},
          SamplingParams{.temperature = temperature, .top_p = 0.9},
          SamplingParams{.temperature = temperature, .min_p = 0.5}}) {
      EXPECT_EQ(SampleOnce(params, {-kInfinity, -kInfinity, -kInfinity}), -1);
      EXPECT_EQ(SampleOnce(params, {kNaN, kNaN}), -1);
      EXPECT_EQ(SampleOnce(params, {-kInfinity, kNaN}), -1);
      EXPECT_EQ(SampleOnce(params, {0.5f}), 0);
      EXPECT_EQ(SampleOnce(params, {-kInfinity}), -1);
      for (uint64_t position = 0; position < 20; ++position) {
        EXPECT_EQ(SampleOnce(params, {kNaN, -kInfinity, -3, kNaN}, position), 2);
        EXPECT_EQ(SampleOnce(params, {0, kInfinity, 5, kInfinity}, position), 1);
        EXPECT_EQ(SampleOnce(params, {-3e38f, 3e38f}, position),
                  1);  // 6e38 apart, which is no float
      }
    }
  }
}

TEST(Sampler, MaskLeavesOnlyWhatItAllowsAndTheRestKeepsItsShares) {
  const size_t V = 130;
  const std::vector<float> logits = RandomLogits(V, 3);
  TokenMask mask(V);
  for (const size_t id : {0, 63, 64, 127, 128, 129}) mask.Allow(id);
  mask.Forbid(127);
  EXPECT_TRUE(mask.Allows(64) && !mask.Allows(127) && !mask.Allows(1));
  for (const double temperature : {0.0, 1.0}) {
    for (uint64_t position = 0; position < 200; ++position) {
      const int32_t id = SampleOnce({.temperature = temperature}, logits, position, &mask);
      ASSERT_GE(id, 0);
      ASSERT_TRUE(mask.Allows(static_cast<size_t>(id)));
    }
    const TokenMask none(V);
    EXPECT_EQ(SampleOnce({.temperature = temperature}, logits, 0, &none), -1);
    const TokenMask all(V, true);
    EXPECT_EQ(SampleOnce({.temperature = temperature}, logits, 5, &all),
              SampleOnce({.temperature = temperature}, logits, 5));
    TokenMask one(V);
    one.Allow(77);
    EXPECT_EQ(SampleOnce({.temperature = temperature, .top_p = 0.01, .min_p = 0.9, .top_k = 1},
                         logits, 0, &one),
              77)
        << "mask before the filters";
  }
}

TEST(Sampler, BiasComesBeforePenaltiesAndPenaltiesCountAsTheySay) {
  // What the sampler leaves in its scratch row is the biased and penalised logits.
  SamplingParams params{.temperature = 0,
                        .repetition_penalty = 2,
                        .frequency_penalty = 0.25,
                        .presence_penalty = 0.5,
                        .logit_bias = {{0, 3.0f}, {1, -3.0f}, {5, -kInfinity}}};
  Sampler sampler(params);
  sampler.SeePrompt(std::vector<int32_t>{0, 1, 1, 2});
  for (const int32_t id : {2, 3, 3, 3}) sampler.SeeToken(id);
  std::vector<float> logits = {1, 1, 4, 4, 4, 9};
  EXPECT_EQ(sampler.Sample(logits, 0, nullptr), 4);
  EXPECT_EQ(logits[0], (1 + 3) / 2.0f);  // prompt: repetition only, once however often
  EXPECT_EQ(logits[1], (1 - 3) * 2.0f);  // below zero it multiplies
  EXPECT_EQ(logits[2],
            4 / 2.0f - 0.25f - 0.5f);  // prompt and answer: one repetition, answer counted
  EXPECT_EQ(logits[3], 4 / 2.0f - 3 * 0.25f - 0.5f);
  EXPECT_EQ(logits[4], 4.0f);
  EXPECT_EQ(logits[5], -kInfinity);

  Sampler plain({.temperature = 0});
  plain.SeePrompt(std::vector<int32_t>{1});
  plain.SeeToken(1);
  std::vector<float> untouched = {1, 2, 0.5f};
  EXPECT_EQ(plain.Sample(untouched, 0, nullptr), 1);
  EXPECT_EQ(untouched, (std::vector<float>{1, 2, 0.5f}));
}

TEST(Sampler, ResultDependsOnSeedChoiceAndPositionOnly) {
  const std::vector<float> logits = RandomLogits(1000, 9, 0.5);
  const auto stream = [&](uint64_t seed, uint64_t choice) {
    Sampler sampler({.seed = seed, .choice = choice});
    std::vector<int32_t> ids;
    for (uint64_t position = 0; position < 50; ++position) {
      std::vector<float> row = logits;
      ids.push_back(sampler.Sample(row, position, nullptr));
    }
    return ids;
  };
  const auto first = stream(1, 0);
  EXPECT_EQ(first, stream(1, 0));
  EXPECT_NE(first, stream(2, 0));
  EXPECT_NE(first, stream(1, 1));
  // In any order, by any sampler object, after any other draws.
  for (size_t position = 50; position-- > 0;)
    EXPECT_EQ(SampleOnce({.seed = 1}, logits, position), first[position]);
}

TEST(Sampler, ParametersOutOfRangeAreNamed) {
  const auto message = [](const SamplingParams& params) -> std::string {
    try {
      CheckSampling(params, 100);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      return error.what();
    }
    return {};
  };
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(message({}), "");
  EXPECT_EQ(message({.temperature = 0,
                     .top_p = 0,
                     .min_p = 1,
                     .top_k = -1,
                     .repetition_penalty = 0.01,
                     .logit_bias = {{99, -kInfinity}}}),
            "");
  EXPECT_EQ(message({.temperature = -1}), "temperature is -1, expected a number of at least 0");
  for (const double bad : {nan, infinity, -0.1})
    EXPECT_TRUE(message({.temperature = bad}).starts_with("temperature"));
  for (const double bad : {nan, infinity, -0.1, 1.1}) {
    EXPECT_TRUE(message({.top_p = bad}).starts_with("top_p"));
    EXPECT_TRUE(message({.min_p = bad}).starts_with("min_p"));
  }
  for (const double bad : {nan, infinity, 0.0, -1.0})
    EXPECT_TRUE(message({.repetition_penalty = bad}).starts_with("repetition_penalty"));
  for (const double bad : {nan, infinity}) {
    EXPECT_TRUE(message({.frequency_penalty = bad}).starts_with("frequency_penalty"));
    EXPECT_TRUE(message({.presence_penalty = bad}).starts_with("presence_penalty"));
  }
  EXPECT_EQ(message({.logit_bias = {{100, 1.0f}}}),
            "logit_bias names token 100, expected an id from 0 to 99");
  EXPECT_TRUE(message({.logit_bias = {{-1, 1.0f}}}).starts_with("logit_bias"));
  EXPECT_TRUE(message({.logit_bias = {{1, kNaN}}}).starts_with("logit_bias"));
  EXPECT_TRUE(message({.logit_bias = {{1, kInfinity}}}).starts_with("logit_bias"));
}

}  // namespace
}  // namespace planish

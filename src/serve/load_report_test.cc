// SPDX-License-Identifier: Apache-2.0
#include "serve/load_report.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace planish {
namespace {

double Number(const Json& report, const char* key) {
  const Json* found = report.Find(key);
  EXPECT_NE(found, nullptr) << key;
  return found == nullptr ? -1 : found->AsDouble();
}

TEST(LoadReport, PercentilesLieBetweenNeighbours) {
  EXPECT_EQ(Percentile({}, 50), 0);
  EXPECT_EQ(Percentile({7}, 99), 7);
  EXPECT_EQ(Percentile({4, 1, 3, 2}, 50), 2.5);
  EXPECT_EQ(Percentile({4, 1, 3, 2}, 100), 4);
  EXPECT_EQ(Percentile({4, 1, 3, 2}, 0), 1);
  EXPECT_NEAR(Percentile({10, 20, 30}, 90), 28, 1e-12);
}

LoadResult TwoChats() {
  LoadResult result;
  result.duration_s = 4;
  const auto add = [&](size_t session, size_t turn, double first, double end, size_t cached) {
    result.samples.push_back({.session = session,
                              .turn = turn,
                              .first_s = first,
                              .end_s = end,
                              .gaps_s = {0.1, 0.3},
                              .prompt_tokens = 100,
                              .cached_tokens = cached,
                              .output_tokens = 5});
  };
  add(0, 0, 0.2, 1.0, 0);
  add(0, 1, 0.1, 0.5, 90);
  add(1, 0, 0.4, 2.0, 0);
  result.samples.push_back({.session = 1, .turn = 1, .error = "the queue is full"});
  return result;
}

TEST(LoadReport, FiguresAreThoseOfTheAnswered) {
  const Json report = LoadToJson(TwoChats(), Goodput{.ttft_ms = 300});
  EXPECT_EQ(Number(report, "completed"), 3);
  EXPECT_EQ(Number(report, "failed"), 1);
  EXPECT_EQ(Number(report, "total_input"), 300);
  EXPECT_EQ(Number(report, "total_output"), 15);
  EXPECT_EQ(Number(report, "request_throughput"), 0.75);
  EXPECT_EQ(Number(report, "request_goodput"), 0.5);
  EXPECT_EQ(Number(report, "output_throughput"), 15 / 4.0);
  EXPECT_EQ(Number(report, "total_token_throughput"), 315 / 4.0);
  EXPECT_NEAR(Number(report, "median_ttft_ms"), 200, 1e-9);
  EXPECT_NEAR(Number(report, "mean_ttft_ms"), 700 / 3.0, 1e-9);
  EXPECT_NEAR(Number(report, "median_tpot_ms"), 200, 1e-9);  // (1.0 - 0.2) / 4
  EXPECT_NEAR(Number(report, "mean_itl_ms"), 200, 1e-9);
  EXPECT_NEAR(Number(report, "std_itl_ms"), 100, 1e-9);
  EXPECT_NEAR(Number(report, "p50_e2el_ms"), 1000, 1e-9);
  const Json::Array& turns = report.Find("turns")->AsArray();
  ASSERT_EQ(turns.size(), 2u);
  EXPECT_EQ(Number(turns[0], "completed"), 2);
  EXPECT_EQ(Number(turns[0], "cached_ratio"), 0);
  EXPECT_EQ(Number(turns[1], "cached_ratio"), 0.9);
  EXPECT_NEAR(Number(turns[1], "median_ttft_ms"), 100, 1e-9);
  EXPECT_EQ(report.Find("errors")->Find("the queue is full")->AsInt(), 1);
  const std::string text = LoadText(report);
  for (const char* part : {"3 requests in 4.00 s, 1 failed", "| ttft |", "| 2 | 1 | 100 | 90.0 % |",
                           "1 x 'the queue is full'"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST(LoadReport, NothingAnsweredIsZeroEverywhere) {
  const Json report = LoadToJson({.samples = {{.error = "no"}}}, std::nullopt);
  EXPECT_EQ(Number(report, "completed"), 0);
  EXPECT_EQ(Number(report, "p99_ttft_ms"), 0);
  EXPECT_TRUE(report.Find("request_goodput")->is_null());
  EXPECT_EQ(report.Find("turns"), nullptr);
}

TEST(LoadReport, BoundsAreReadStrictly) {
  const Goodput goodput = ParseGoodput("ttft:500,e2el:1e3");
  EXPECT_EQ(goodput.ttft_ms, 500);
  EXPECT_EQ(goodput.e2el_ms, 1000);
  EXPECT_FALSE(goodput.tpot_ms.has_value());
  for (const char* bad :
       {"", "ttft", "ttft:", "ttft:x", "ttft:5ms", "ttft:-1", "itl:5", "ttft:5,", "ttft:nan"})
    EXPECT_THROW(ParseGoodput(bad), Error) << bad;
}

}  // namespace
}  // namespace planish

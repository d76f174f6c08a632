// SPDX-License-Identifier: Apache-2.0
#include "train/report.h"

#include <gtest/gtest.h>

#include <cmath>

namespace planish {
namespace {

ReportRun MakeRun(const std::string& name, uint64_t steps) {
  ReportRun run{.name = name, .log = {}};
  run.log.starts.push_back({.time = 1.7e9,
                            .name = name,
                            .command = "planish pretrain tiny.toml",
                            .version = "0.1",
                            .isa = "avx512",
                            .precision = "bf16",
                            .threads = 2,
                            .parameters = 20'000'000,
                            .total_tokens = 8192 * steps,
                            .recipe = "[model]\nname = \"<tiny>\"\n"});
  for (uint64_t i = 1; i <= steps; ++i) {
    const double t = static_cast<double>(i);
    run.log.steps.push_back({.time = 1.7e9 + t,
                             .step = i,
                             .samples = 8 * i,
                             .tokens = 8192 * i,
                             .loss = i == 20 ? std::nan("") : 3 + 6 * std::exp(-t / 50),
                             .grad_norm = 1 / t,
                             .lr = 1e-3,
                             .tokens_per_s = 1000,
                             .mfu = 0.5,
                             .ms = {1, 100, 200, 5, 10},
                             .rss = uint64_t{1} << 31,
                             .skipped = i >= 20 ? 1u : 0u,
                             .datasets = {{"web", 3, 4096}, {"code", 2, 4096}}});
  }
  run.log.evals.push_back(
      {.step = 50, .tokens = 8192 * 50, .name = "held-out", .loss = 3.5, .bits_per_byte = 1.25});
  run.log.events.push_back({.step = 20, .event = "skip", .message = "loss is <not finite>"});
  for (uint64_t i = 1; i <= 5; ++i)
    run.log.samples.push_back({.step = i, .prompt = "Once", .text = " <upon> a time\x1b[2J"});
  return run;
}

TEST(Report, HasAllPlotsTablesAndTextsOfOneRun) {
  const std::string html = ReportHtml({MakeRun("tiny", 100)}, "tiny");
  for (const char* part :
       {"Training loss, nats a token", "Validation, bits per byte", "Gradient norm",
        "Learning rate", "Tokens a second", "Model FLOPs utilisation", "Training loss by dataset",
        "Time of a step", "20M", "1.25", "held-out", "avx512", "&lt;not finite&gt;",
        "&lt;upon&gt; a time", "2 earlier", "name = &quot;&lt;tiny&gt;&quot;", "50.0 %",
        "2.00 GiB"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  EXPECT_EQ(html.find("<upon>"), std::string::npos);
  EXPECT_EQ(html.find('\x1b'), std::string::npos);
  EXPECT_EQ(html.find(">nan<"), std::string::npos);
}

TEST(Report, SmallLossesKeepTheirDigits) {
  ReportRun run = MakeRun("tiny", 30);
  for (StepRecord& step : run.log.steps) step.loss = 3.25e-5;
  EXPECT_NE(ReportHtml({run}, "tiny").find("<b>3.25e-5</b>"), std::string::npos);
}

TEST(Report, FetchesNothing) {
  const std::string html = ReportHtml({MakeRun("tiny", 100)}, "tiny");
  for (const char* part : {"src=", "href=", "@import", "url(", "https:", "fetch(", "XMLHttp"})
    EXPECT_EQ(html.find(part), std::string::npos) << part;
  const size_t name_space = html.find("http:");  // of SVG, in the script
  EXPECT_EQ(html.find("http:", name_space + 1), std::string::npos);
  EXPECT_NE(html.find("default-src 'none'"), std::string::npos);
}

TEST(Report, OverlaysSeveralRuns) {
  const std::string html = ReportHtml({MakeRun("a", 100), MakeRun("b", 30)}, "a and b");
  EXPECT_NE(html.find("a: web"), std::string::npos);
  EXPECT_NE(html.find("b: held-out"), std::string::npos);
  EXPECT_NE(html.find("stroke:var(--c1)"), std::string::npos);
  EXPECT_EQ(html.find("Time of a step"), std::string::npos);
}

TEST(Report, ARunThatHasJustBegunMakesAPage) {
  ReportRun run{.name = "new", .log = {}};
  EXPECT_NE(ReportHtml({run}, "new").find("</html>"), std::string::npos);
  run.log.starts.emplace_back();
  run.log.steps.emplace_back();
  const std::string html = ReportHtml({run}, "new");
  EXPECT_NE(html.find("not yet"), std::string::npos);
  EXPECT_EQ(html.find(">nan"), std::string::npos);
}

}  // namespace
}  // namespace planish

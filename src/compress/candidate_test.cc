// SPDX-License-Identifier: Apache-2.0
#include "compress/candidate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace planish {
namespace {

std::vector<std::optional<MixerConfig>> AllMixers() {
  Mamba2Config mamba{.n_heads = 6, .head_dim = 8, .state_size = 12, .n_groups = 3};
  mamba.time_step_high = std::numeric_limits<double>::infinity();
  Mamba2Config clamped = mamba;
  clamped.time_step_low = 0.25;
  clamped.time_step_high = 2;
  clamped.has_conv_bias = false;
  return {std::nullopt,
          AttentionConfig{.n_heads = 6, .n_kv_heads = 3, .head_dim = 10},
          AttentionConfig{4, 1, 7, /*has_rope=*/false, /*has_qk_norm=*/true},
          mamba,
          clamped,
          FfnConfig{40, FfnKind::kSwiGlu},
          FfnConfig{1, FfnKind::kReluSquared},
          LinearConfig{}};
}

std::string FailureOf(const std::string& text) {
  try {
    CandidateFromJson(ParseJson(text, "file"), "library.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadFile);
    return error.what();
  }
  return "accepted";
}

TEST(Candidate, EveryKindOfMixerSurvivesTextAndBack) {
  for (const auto& mixer : AllMixers()) {
    const std::string text = DumpJson(MixerToJson(mixer));
    EXPECT_EQ(MixerFromJson(ParseJson(text, "text"), "text"), mixer) << text;
  }
}

TEST(Candidate, ScoreLossAndFileSurviveAndAMissingScoreStaysMissing) {
  Candidate candidate{.name = "ffn=50%", .mixer = FfnConfig{20, FfnKind::kSwiGlu}};
  candidate.weights = "library/abc.safetensors";
  candidate.initial_loss = 0.7;
  candidate.bld_loss = 0.1 + 0.2;
  Candidate again =
      CandidateFromJson(ParseJson(DumpJson(CandidateToJson(candidate)), "text"), "text");
  EXPECT_EQ(again.name, candidate.name);
  EXPECT_EQ(again.mixer, candidate.mixer);
  EXPECT_EQ(again.weights, candidate.weights);
  EXPECT_EQ(again.initial_loss, candidate.initial_loss);
  EXPECT_EQ(again.bld_loss, candidate.bld_loss);
  EXPECT_FALSE(again.is_parent);
  EXPECT_TRUE(std::isnan(again.score));
  candidate.score = 1e-17;
  again = CandidateFromJson(CandidateToJson(candidate), "text");
  EXPECT_EQ(again.score, 1e-17);
}

TEST(Candidate, HostileTextIsRefusedWithThePlaceOfTheFault) {
  EXPECT_NE(FailureOf("[]"), "accepted");
  EXPECT_NE(FailureOf(R"({"mixer": null})").find("name"), std::string::npos);
  EXPECT_NE(FailureOf(R"({"name": "a", "mixer": {"kind": "lstm"}})").find("kind"),
            std::string::npos);
  EXPECT_NE(FailureOf(R"({"name": "a", "mixer": {"kind": "ffn", "intermediate_size": -1,
                          "activation": "relu2"}})")
                .find("intermediate_size"),
            std::string::npos);
  EXPECT_NE(FailureOf(R"({"name": "a", "mixer": {"kind": "attention", "n_heads": 4,
                          "n_kv_heads": 3, "head_dim": 8}})")
                .find("n_kv_heads"),
            std::string::npos);
  EXPECT_NE(FailureOf(R"({"name": "a", "mixer": {"kind": "mamba2", "n_heads": 4, "head_dim": 8,
                          "state_size": 8, "n_groups": 3, "conv_kernel": 4, "chunk_size": 8}})")
                .find("n_groups"),
            std::string::npos);
  for (const char* file : {"../secret", "/etc/passwd", "library/../../x"}) {
    EXPECT_NE(FailureOf(fmt::format(R"({{"name": "a", "mixer": null, "weights": "{}"}})", file))
                  .find("weights"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace planish

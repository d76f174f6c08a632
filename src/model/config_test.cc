// SPDX-License-Identifier: Apache-2.0
#include "model/config.h"

#include <gtest/gtest.h>

#include "base/testing.h"
#include "model/planner.h"

namespace planish {
namespace {

Json Parse(const std::string& text) {
  return ParseJson(text, "config.json", {.allow_non_finite = true});
}

// A valid Nemotron-H config with one key replaced by raw JSON; "" removes it.
Json Hybrid(const std::string& key = {}, const std::string& value = {}) {
  Json json = *PublishedConfig("nano-9b-v2");
  if (!key.empty() && value.empty())
    json.Remove(key);
  else if (!key.empty())
    json.Set(key, Parse(value));
  return json;
}
Json Llama(const std::string& key = {}, const std::string& value = {}) {
  Json json = *PublishedConfig("ln-nano-8b");
  if (!key.empty() && value.empty())
    json.Remove(key);
  else if (!key.empty())
    json.Set(key, Parse(value));
  return json;
}

// The message names file, key, what was found.
void ExpectRefused(const Json& json, const std::string& part) {
  try {
    ConfigFromJson(json, "config.json");
    ADD_FAILURE() << "accepted, expected a complaint about " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadFile);
    EXPECT_NE(std::string(error.what()).find("config.json"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Config, PublishedShapesHaveTheirParameterCountsToTheUnit) {
  const std::pair<const char*, uint64_t> expected[] = {{"nano-12b-v2", 12'310'001'152},
                                                       {"nano-9b-v2", 8'888'227'328},
                                                       {"nemotron-h-8b", 8'100'852'736},
                                                       {"nemotron-h-4b", 4'489'223'040},
                                                       {"qwen3-8b", 8'190'735'360},
                                                       {"ln-nano-8b", 8'030'261'248},
                                                       {"llama-3.3-70b", 70'553'706'496},
                                                       {"llama-3.1-405b", 405'853'388'800},
                                                       {"ln-super-49b", 49'867'145'216},
                                                       {"ln-ultra-253b", 253'401'268'224},
                                                       {"nano-9b-candidate-1", 8'923'356'912},
                                                       {"nano-9b-candidate-2", 8'888'227'328},
                                                       {"nano-9b-candidate-3", 8'965'788'600}};
  EXPECT_EQ(PublishedNames().size(), std::size(expected));
  for (const auto& [name, parameters] : expected) {
    EXPECT_EQ(MakePlan(ConfigFromJson(*PublishedConfig(name), name), {}).parameters, parameters)
        << name;
  }
}

TEST(Config, ConfigWrittenBackReadsTheSame) {
  for (const std::string& name : PublishedNames()) {
    ModelConfig config = ConfigFromJson(*PublishedConfig(name), name);
    config.source = Json();
    const ModelConfig again = ConfigFromJson(Parse(DumpJson(ConfigToJson(config))), name);
    EXPECT_EQ(again.blocks, config.blocks) << name;
    EXPECT_EQ(again.eos_ids, config.eos_ids) << name;
    EXPECT_EQ(again.rope_scaling.factor, config.rope_scaling.factor) << name;
    EXPECT_EQ(again.norm_eps, config.norm_eps) << name;
  }
}

TEST(Config, DeciWidthsRoundAsPublished) {
  const std::pair<double, size_t> table[] = {{5.25, 28672},  {2.625, 14336}, {3.28125, 17920},
                                             {1.3125, 7168}, {1.0, 5632},    {0.5, 2816}};
  for (const auto& [mult, width] : table)
    EXPECT_EQ(DeciIntermediateSize(mult, 8192), width) << mult;
}

TEST(Config, TimeStepLimitIsReadInAllItsSpellings) {
  for (const char* spelling :
       {"[0.0, Infinity]", "[0, \"inf\"]", "[0.0, {\"__float__\": \"Infinity\"}]"}) {
    const ModelConfig config = ConfigFromJson(Hybrid("time_step_limit", spelling), "config.json");
    EXPECT_TRUE(std::isinf(std::get<Mamba2Config>(config.blocks[0].mixer).time_step_high))
        << spelling;
  }
  const ModelConfig limited =
      ConfigFromJson(Hybrid("time_step_limit", "[0.01, 0.5]"), "config.json");
  EXPECT_EQ(std::get<Mamba2Config>(limited.blocks[0].mixer).time_step_high, 0.5);
  ExpectRefused(Hybrid("time_step_limit", "[0.5, 0.1]"), "time_step_limit");
  ExpectRefused(Hybrid("time_step_limit", "[0.5]"), "time_step_limit");
  ExpectRefused(Hybrid("time_step_limit", "[NaN, 1]"), "time_step_limit");
}

TEST(Config, SecondNamesAreReadAndMustAgree) {
  Json json = Hybrid("n_groups", "");
  json.Set("mamba_num_groups", 4);
  EXPECT_EQ(std::get<Mamba2Config>(ConfigFromJson(json, "config.json").blocks[0].mixer).n_groups,
            4u);
  json.Set("n_groups", 8);
  ExpectRefused(json, "n_groups");
}

TEST(Config, HybridMistakesAreNamed) {
  Json three = Hybrid("num_hidden_layers", "3");
  three.Set("hybrid_override_pattern", "M-X");
  ExpectRefused(three, "layer 2");
  ExpectRefused(Hybrid("hybrid_override_pattern", "\"M-*\""), "num_hidden_layers = 56");
  ExpectRefused(Hybrid("hybrid_override_pattern", ""), "hybrid_override_pattern");
  ExpectRefused(Hybrid("mamba_num_heads", "127"), "n_groups");
  ExpectRefused(Hybrid("num_key_value_heads", "7"), "num_key_value_heads");
  ExpectRefused(Hybrid("mlp_hidden_act", "\"gelu\""), "mlp_hidden_act");
  ExpectRefused(Hybrid("use_bias", "true"), "use_bias");
  Json experts = Hybrid("num_hidden_layers", "1");
  experts.Set("hybrid_override_pattern", "E");
  ExpectRefused(experts, "mixture of experts");
}

TEST(Config, MixtureKeysOfDenseModelsAreIgnored) {
  EXPECT_NO_THROW(ConfigFromJson(Hybrid("n_routed_experts", "8"), "config.json"));
}

TEST(Config, NumbersOfTheWrongTypeOrRangeAreRefused) {
  for (const char* key : {"hidden_size", "vocab_size", "num_attention_heads", "num_hidden_layers",
                          "intermediate_size"}) {
    for (const char* value : {"null", "\"12\"", "-1", "0", "1.5", "1e308", "[]", "{}", "true",
                              "99999999999999999999"}) {
      ExpectRefused(Llama(key, value), key);
    }
    ExpectRefused(Llama(key, ""), key);
  }
  ExpectRefused(Llama("num_hidden_layers", "1025"), "num_hidden_layers");
  ExpectRefused(Llama("num_attention_heads", "1025"), "num_attention_heads");
  ExpectRefused(Llama("vocab_size", "4194305"), "vocab_size");
  ExpectRefused(Llama("hidden_size", "1048577"), "hidden_size");
  ExpectRefused(Llama("hidden_size", "4097"),
                "hidden_size");  // no multiple of the heads, and no head_dim
  ExpectRefused(Llama("rms_norm_eps", "-1e-5"), "rms_norm_eps");
  ExpectRefused(Llama("rope_theta", "\"NaN\""), "rope_theta");
  ExpectRefused(Llama("eos_token_id", "128256"), "eos_token_id");
  ExpectRefused(Llama("bos_token_id", "-2"), "bos_token_id");
  ExpectRefused(Llama("rope_scaling", "{\"rope_type\": \"yarn\", \"factor\": 4}"), "rope_type");
  ExpectRefused(Llama("rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 4}"),
                "low_freq_factor");
  ExpectRefused(Llama("model_type", "\"gpt2\""), "model_type");
  ExpectRefused(Llama("model_type", ""), "model_type");
  ExpectRefused(Parse("[1, 2]"), "top level");
}

TEST(Config, FactorsThatChangeTheResultAreRefused) {
  ExpectRefused(Llama("partial_rotary_factor", "0.5"), "partial_rotary_factor");
  ExpectRefused(Llama("residual_multiplier", "0.2"), "residual_multiplier");
  EXPECT_NO_THROW(ConfigFromJson(Llama("partial_rotary_factor", "1.0"), "config.json"));
  Json both = Llama();
  both.Set("rope_parameters", Parse("{\"rope_type\": \"default\", \"rope_theta\": 500000.0}"));
  ExpectRefused(both, "rope_scaling");
}

TEST(Config, DeciBlockMistakesAreNamed) {
  const auto with = [](const std::string& attention, const std::string& ffn) {
    Json json = *PublishedConfig("ln-super-49b");
    json.Set("num_hidden_layers", 1);
    json.Set("block_configs", Parse("[{\"attention\": " + attention + ", \"ffn\": " + ffn + "}]"));
    return json;
  };
  const std::string good_attention = "{\"n_heads_in_group\": 8}", good_ffn = "{\"ffn_mult\": 5.25}";
  EXPECT_EQ(ConfigFromJson(with(good_attention, good_ffn), "config.json").blocks.size(), 2u);
  ExpectRefused(with("{\"n_heads_in_group\": 7}", good_ffn), "n_heads_in_group");
  ExpectRefused(with("{\"n_heads_in_group\": 0}", good_ffn), "n_heads_in_group");
  ExpectRefused(with("{\"no_op\": true, \"replace_with_linear\": true}", good_ffn),
                "replace_with_linear");
  ExpectRefused(with("{\"n_heads_in_group\": 8, \"window_length\": 100}", good_ffn),
                "window_length");
  ExpectRefused(with(good_attention, "{\"ffn_mult\": 0}"), "ffn_mult");
  ExpectRefused(with(good_attention, "{\"ffn_mult\": -2}"), "ffn_mult");
  ExpectRefused(with(good_attention, "{\"ffn_mult\": 1e300}"), "ffn_mult");
  ExpectRefused(with(good_attention, "{}"), "intermediate_size");
  ExpectRefused(with("[]", good_ffn), "attention");
  Json wrong_count = with(good_attention, good_ffn);
  wrong_count.Set("num_hidden_layers", 2);
  ExpectRefused(wrong_count, "block_configs");
}

// Newer exports give the numbers directly.
TEST(Config, DeciBlocksMayGiveWidthsAndHeadsDirectly) {
  Json json = *PublishedConfig("ln-super-49b");
  json.Set("num_hidden_layers", 1);
  json.Set("block_configs", Parse("[{\"attention\": {\"num_key_value_heads\": 4}, \"ffn\": "
                                  "{\"intermediate_size\": 100}}]"));
  const ModelConfig config = ConfigFromJson(json, "config.json");
  EXPECT_EQ(std::get<AttentionConfig>(config.blocks[0].mixer).n_kv_heads, 4u);
  EXPECT_EQ(std::get<FfnConfig>(config.blocks[1].mixer).intermediate_size, 100u);
}

TEST(Planner, CachesOfPublishedModelsMatchTheTable) {
  struct Row {
    const char* name;
    uint64_t kv_per_token;
    double kv_gib, ssm_mib, conv_mib;
  };
  const Row table[] = {
      {"nano-12b-v2", 24576, 3.0, 140.0, 1.97},  {"nano-9b-v2", 16384, 2.0, 135.0, 1.90},
      {"nemotron-h-8b", 16384, 2.0, 96.0, 1.41}, {"qwen3-8b", 147456, 18.0, 0, 0},
      {"ln-nano-8b", 131072, 16.0, 0, 0},        {"ln-super-49b", 200704, 24.5, 0, 0},
      {"ln-ultra-253b", 262144, 32.0, 0, 0}};
  for (const Row& row : table) {
    SCOPED_TRACE(row.name);
    const Plan plan =
        MakePlan(ConfigFromJson(*PublishedConfig(row.name), row.name), {.context = 131072});
    EXPECT_EQ(plan.kv_bytes_per_token, row.kv_per_token);
    EXPECT_DOUBLE_EQ(static_cast<double>(plan.kv_bytes_per_token) * 131072 / 0x1p30, row.kv_gib);
    EXPECT_DOUBLE_EQ(static_cast<double>(plan.ssm_state_bytes) / 0x1p20, row.ssm_mib);
    EXPECT_NEAR(static_cast<double>(plan.conv_state_bytes) / 0x1p20, row.conv_mib, 0.005);
  }
}

TEST(Planner, MemoryFiguresOfThePaperFollowFromTheirDefinitions) {
  const Plan plan =
      MakePlan(ConfigFromJson(*PublishedConfig("nano-9b-v2"), "9b"), {.context = 131072});
  EXPECT_EQ(GiB(plan.total_bytes), "18.69 GiB");
  EXPECT_EQ(GiB(MemoryBudget(static_cast<uint64_t>(22.06 * 0x1p30), 0.05,
                             static_cast<uint64_t>(1.3 * 0x1p30))),
            "19.66 GiB");
  EXPECT_EQ(GiB(MakePlan(ConfigFromJson(*PublishedConfig("nano-12b-v2"), "12b"), {}).weight_bytes),
            "22.93 GiB");
}

TEST(Planner, LargestContextAndBatchFitAndOneMoreDoesNot) {
  const ModelConfig config = ConfigFromJson(*PublishedConfig("nano-9b-v2"), "9b");
  const uint64_t memory = static_cast<uint64_t>(17.5 * 0x1p30);
  PlanRequest request;
  request.context = LargestContext(config, request, memory);
  ASSERT_GT(request.context, 0u);
  EXPECT_LE(MakePlan(config, request).total_bytes, memory);
  ++request.context;
  EXPECT_GT(MakePlan(config, request).total_bytes, memory);
  request.context = 1000;
  request.batch = LargestBatch(config, request, memory);
  EXPECT_LE(MakePlan(config, request).total_bytes, memory);
  ++request.batch;
  EXPECT_GT(MakePlan(config, request).total_bytes, memory);
}

TEST(Planner, LargestAllowedNumbersDoNotWrap) {
  Json json = *PublishedConfig("llama-3.1-405b");
  json.Set("num_attention_heads", 1024);
  json.Set("num_key_value_heads", 1024);
  json.Set("head_dim", 4096);
  json.Set("num_hidden_layers", 1024);
  const Plan plan = MakePlan(ConfigFromJson(json, "config.json"),
                             {.context = limits::kContext, .batch = limits::kBatch});
  EXPECT_EQ(plan.cache_bytes, UINT64_MAX);
  EXPECT_EQ(plan.total_bytes, UINT64_MAX);
}

TEST(Planner, ModelThatDoesNotFitSaysWhatWould) {
  const ModelConfig config = ConfigFromJson(*PublishedConfig("nano-9b-v2"), "9b");
  const uint64_t file = MakePlan(config, {}).weight_bytes;
  try {
    CheckMemory(config, "9b", file, 131072, {}, static_cast<uint64_t>(18 * 0x1p30));
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kNoMemory);
    EXPECT_NE(error.hint().find("--ctx"), std::string::npos) << error.hint();
  }
  try {
    CheckMemory(config, "9b", file, 1000, {}, uint64_t{8} << 30);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(error.hint().find("q4_0"), std::string::npos) << error.hint();
  }
  EXPECT_NO_THROW(CheckMemory(config, "9b", file, 1000, {}, uint64_t{18} << 30));
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// `planish plan`: parameter counts of the published models to the unit, by name and by config.json, and its arithmetic.
#include <algorithm>
#include <sstream>

#include "golden_case.h"
#include "run_program.h"

namespace planish::testing {
namespace {

struct Published {
  const char* name;
  int64_t parameters;
};
// Counts computed by hand from the shapes; the models' pages and Hugging Face modules agree.
constexpr Published kPublished[] = {
    {"nano-12b-v2", 12'310'001'152},
    {"nano-9b-v2", 8'888'227'328},
    {"nano-9b-candidate-1", 8'923'356'912},
    {"nano-9b-candidate-2", 8'888'227'328},
    {"nano-9b-candidate-3", 8'965'788'600},
    {"nemotron-h-8b", 8'100'852'736},
    {"nemotron-h-4b", 4'489'223'040},
    {"ln-nano-8b", 8'030'261'248},
    {"ln-super-49b", 49'867'145'216},
    {"ln-ultra-253b", 253'401'268'224},
    {"llama-3.3-70b", 70'553'706'496},
    {"llama-3.1-405b", 405'853'388'800},
    {"qwen3-8b", 8'190'735'360},
};

struct States {
  const char* name;
  int64_t kv_bytes_per_token;  // bf16
  double kv_gib_at_128k, ssm_mib, conv_mib;
};
constexpr States kStates[] = {
    {"nano-12b-v2", 24'576, 3.0, 140.0, 1.97},  {"nano-9b-v2", 16'384, 2.0, 135.0, 1.90},
    {"nemotron-h-8b", 16'384, 2.0, 96.0, 1.41}, {"qwen3-8b", 147'456, 18.0, 0, 0},
    {"ln-nano-8b", 131'072, 16.0, 0, 0},        {"ln-super-49b", 200'704, 24.5, 0, 0},
    {"ln-ultra-253b", 262'144, 32.0, 0, 0},
};

int64_t Number(const Json& json, const std::string& key) { return Member(json, key).AsInt(); }

// Free memory changes between runs; nothing else may.
Json WithoutMachine(Json plan) {
  for (const char* key : {"memory_bytes", "largest_context", "largest_batch"}) plan.Remove(key);
  return plan;
}

TEST(PlanVerb, KnowsThePublishedModelsByNameAndCountsThemToTheUnit) {
  for (const Published& model : kPublished) {
    const Json plan = JsonOf({"plan", model.name, "--json"});
    EXPECT_EQ(Number(plan, "parameters"), model.parameters) << model.name;
    EXPECT_EQ(Number(plan, "weight_bytes"), 2 * model.parameters) << model.name << " in bf16";
    int64_t parts = 0;
    for (const auto& [part, count] : Member(plan, "parameters_by_part").AsObject())
      parts += count.AsInt();
    EXPECT_LE(parts, model.parameters) << model.name;
  }
  // The message for an unknown name ends with the known ones: each of them is in the table above.
  const std::string err = RunProgram({"plan", "no-such-model"}).err;
  std::vector<std::string> known, expected;
  for (const Published& model : kPublished) expected.emplace_back(model.name);
  std::istringstream names(err.substr(err.find("Try: ") + 5));
  for (std::string name; names >> name;) known.push_back(name.substr(0, name.find(',')));
  std::sort(known.begin(), known.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(known, expected);
}

TEST(PlanVerb, StatesAndCacheOf128kContextAreThoseOfTheTable) {
  for (const States& model : kStates) {
    SCOPED_TRACE(model.name);
    const Json plan = JsonOf({"plan", model.name, "--json", "--context", "131072"});
    EXPECT_EQ(Number(plan, "kv_bytes_per_token"), model.kv_bytes_per_token);
    const double kv =
        static_cast<double>(Number(plan, "cache_bytes") - Number(plan, "state_bytes"));
    EXPECT_DOUBLE_EQ(kv / (1 << 30), model.kv_gib_at_128k);
    EXPECT_DOUBLE_EQ(static_cast<double>(Number(plan, "ssm_state_bytes")) / (1 << 20),
                     model.ssm_mib);
    EXPECT_NEAR(static_cast<double>(Number(plan, "conv_state_bytes")) / (1 << 20), model.conv_mib,
                0.005);
  }
}

TEST(PlanVerb, TotalIsWeightsAndTheCacheOfEverySequence) {
  const Json one = JsonOf({"plan", "nano-9b-v2", "--json", "--context", "1000"});
  const Json many = JsonOf(
      {"plan", "nano-9b-v2", "--json", "--context", "1000", "--batch", "7", "--dtype", "q8_0"});
  EXPECT_EQ(Number(many, "cache_bytes"), 7 * Number(one, "cache_bytes"));
  EXPECT_EQ(Number(one, "cache_bytes"),
            1000 * Number(one, "kv_bytes_per_token") + Number(one, "state_bytes"));
  for (const Json& plan : {one, many})
    EXPECT_EQ(Number(plan, "total_bytes"),
              Number(plan, "weight_bytes") + Number(plan, "cache_bytes"));
  EXPECT_EQ(Number(many, "parameters"), Number(one, "parameters"));
  const double bits = 8 * static_cast<double>(Number(many, "weight_bytes")) /
                      static_cast<double>(Number(many, "parameters"));
  EXPECT_NEAR(bits, 8.5, 0.05) << "q8_0 has 34 bytes for 32 weights; vectors stay wider";
}

// Against `planish bench` runs of these shapes with random weights (docs/performance.md).
TEST(PlanVerb, ResidentMemoryIsThatOfMeasuredRunsWithinThreePercent) {
  const struct {
    const char *dtype, *context;
    double measured_gib;
  } kRuns[] = {{"bf16", "131072", 17.76}, {"q4_0", "32784", 5.28}};
  for (const auto& run : kRuns) {
    const Json plan =
        JsonOf({"plan", "nano-9b-v2", "--json", "--dtype", run.dtype, "--context", run.context});
    EXPECT_NEAR(static_cast<double>(Member(plan, "resident_bytes").AsInt()) / 0x1p30,
                run.measured_gib, 0.03 * run.measured_gib)
        << run.dtype;
  }
}

TEST(PlanVerb, LargestContextFitsAndOneTokenMoreDoesNot) {
  const std::vector<std::string> plan{"plan", "nano-9b-v2", "--json", "--batch",
                                      "3",    "--memory",   "18GiB"};
  const int64_t largest = Number(JsonOf(plan), "largest_context");
  ASSERT_GT(largest, 0);
  ASSERT_LT(largest, 131072);
  const auto total = [&](int64_t context) {
    std::vector<std::string> arguments = plan;
    arguments.insert(arguments.end(), {"--context", std::to_string(context)});
    return Number(JsonOf(arguments), "total_bytes");
  };
  EXPECT_LE(total(largest), int64_t{18} << 30);
  EXPECT_GT(total(largest + 1), int64_t{18} << 30);
}

// Every config.json that stands there, whatever its name: by file, by folder, and by name where the program knows it.
TEST(PlanGolden, EveryConfigFileGivesThePlanOfItsName) {
  const char* given = std::getenv("PLANISH_CONFIGS");
  const std::string folder = given != nullptr && *given != 0 ? given : GoldenDir() + "/../configs";
  if (!IsDirectory(folder))
    GTEST_SKIP() << folder << " is missing: set PLANISH_CONFIGS to a folder of NAME/config.json";
  size_t known = 0;
  for (const std::string& name : Listing(folder)) {
    if (!FileExists(folder + "/" + name + "/config.json")) continue;
    const std::vector<std::string> more{"--json", "--context", "4096", "--batch", "2"};
    const auto plan = [&](const std::string& source) {
      std::vector<std::string> arguments{"plan", source};
      arguments.insert(arguments.end(), more.begin(), more.end());
      return WithoutMachine(JsonOf(arguments));
    };
    const Json by_file = plan(folder + "/" + name + "/config.json");
    EXPECT_EQ(plan(folder + "/" + name), by_file) << name;
    for (const Published& model : kPublished) {
      if (name != model.name) continue;
      ++known;
      EXPECT_EQ(plan(name), by_file) << name;
      EXPECT_EQ(Number(by_file, "parameters"), model.parameters) << name;
    }
  }
  RecordProperty("known_configs", static_cast<int>(known));
}

// The count that each golden case carries, against the tiny models' configs.
TEST(PlanGolden, ParametersOfTheTinyModelsAreThoseOfTheirCases) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  for (const std::string& name : GoldenModels()) {
    const Json golden = ReadJson(GoldenDir() + "/cases/" + name + ".json");
    const Json info = JsonOf({"info", "-m", GoldenDir() + "/models/" + name, "--json"});
    const Json plan = JsonOf({"plan", GoldenDir() + "/models/" + name, "--json"});
    EXPECT_EQ(Number(plan, "parameters"), Number(info, "parameters")) << name;
    if (golden.Find("params") != nullptr) {
      EXPECT_EQ(Number(plan, "parameters"), Number(golden, "params")) << name;
    }
  }
}

TEST(PlanVerb, MeasuresBlocksOfSeveralShapes) {
  const std::string nano = PLANISH_SOURCE_DIR "/models/planish-nano/config.json";
  if (!FileExists(nano)) GTEST_SKIP() << nano << " is not here";
  const Json both = JsonOf({"plan", nano, nano, "--measure", "-b", "2", "--context", "64",
                            "--samples", "3", "--copies", "1", "-t", "1", "--json", "-q"});
  const auto& configs = Member(both, "configs").AsArray();
  ASSERT_EQ(configs.size(), 2u);
  for (const Json& config : configs) {
    const double step = Member(Member(config, "step_s"), "median").AsDouble();
    EXPECT_GT(step, 0);
    EXPECT_NEAR(Member(config, "tokens_per_s").AsDouble() * step, 2, 1e-9);
  }
  const Outcome none = RunProgram({"plan", "--measure"});
  EXPECT_EQ(none.status, 2) << none.err;
  EXPECT_NE(none.err.find("--measure needs a config"), std::string::npos) << none.err;
}

}  // namespace
}  // namespace planish::testing

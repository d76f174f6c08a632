// SPDX-License-Identifier: Apache-2.0
// The fast modes through the engine, on a random hybrid with quantised weights: a request keeps its bits whatever runs beside
// it, at every instruction-set level, and stays near the exact mode. Distances on real text are tests of the program
// (tests/smollm2_test.cc).
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/parallel.h"
#include "base/random.h"
#include "infer/engine_testing.h"
#include "kernels/isa.h"
#include "kernels/sample.h"

namespace planish {
namespace {

struct Answer {
  std::vector<int32_t> ids;
  std::vector<double> logprobs;
  bool operator==(const Answer& other) const {
    return ids == other.ids && logprobs.size() == other.logprobs.size() &&
           std::memcmp(logprobs.data(), other.logprobs.data(), logprobs.size() * 8) == 0;
  }
};

std::vector<Request> Requests(const Model& model) {
  static constexpr size_t kLengths[] = {1, 33, 2, 75, 31, 32, 64, 130};
  std::vector<Request> requests;
  Random random(3);
  for (const size_t length : kLengths) {
    Request request;
    for (size_t i = 0; i < length; ++i)
      request.prompt.push_back(static_cast<int32_t>(random.Below(model.config().vocab_size)));
    request.max_new_tokens = 5 + length % 4;
    request.sampling.temperature = 0;
    requests.push_back(std::move(request));
  }
  return requests;
}

std::vector<Answer> RunAll(const Model& model, const EngineOptions& options, size_t join_after) {
  Engine engine(&model, options);
  std::vector<Request> requests = Requests(model);
  std::vector<Answer> answers(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].on_token = [&answers, i](const TokenEvent& event) {
      answers[i].ids.push_back(event.id);
      answers[i].logprobs.push_back(event.logprob);
    };
    engine.Submit(std::move(requests[i]), nullptr);
    for (size_t step = 0; step < join_after; ++step) engine.Step();
  }
  engine.RunUntilIdle();
  return answers;
}

struct Mode {
  const char* name;
  DType weights;
  RunMode run;
};
const Mode kModes[] = {
    {"q4_0", DType::kQ4_0, {.act = ActMode::kInt8, .kv = {}, .ssm = {}}},
    {"q8_0_kv8", DType::kQ8_0, {.act = ActMode::kInt8, .kv = DType::kQ8_0, .ssm = DType::kBF16}},
    {"q4_1_kvf16", DType::kQ4_1, {.act = ActMode::kInt8, .kv = DType::kF16, .ssm = {}}},
    {"bf16", DType::kBF16, {.act = ActMode::kBf16, .kv = {}, .ssm = {}}},
    {"f32_as_bf16", DType::kF32, {.act = ActMode::kBf16, .kv = DType::kF32, .ssm = DType::kBF16}},
};

class FastMode : public ::testing::TestWithParam<Mode> {
 protected:
  void TearDown() override {
    SetThreadCount(0);
    LimitIsa("");
  }
};

TEST_P(FastMode, NeighboursStepSizeAndThreadsDoNotChangeABitAtAnyLevel) {
  for (const std::string& level : IsaLevels()) {
    SCOPED_TRACE(level);
    LimitIsa(level);
    Model model = RandomModel(GetParam().weights);
    ApplyRunMode(GetParam().run, &model);
    SetThreadCount(1);
    const std::vector<Answer> expected = RunAll(model, {.slots = 1}, 0);
    struct {
      int threads;
      EngineOptions options;
      size_t join_after;
    } const kCases[] = {{2, {.slots = 1}, 0},
                        {1, {.slots = 8, .step_tokens = 32}, 0},
                        {2, {.slots = 3, .step_tokens = 64}, 1},
                        {3, {.slots = 8, .step_tokens = 512}, 2}};
    for (const auto& run : kCases) {
      SetThreadCount(run.threads);
      const std::vector<Answer> found = RunAll(model, run.options, run.join_after);
      for (size_t i = 0; i < found.size(); ++i)
        EXPECT_EQ(found[i], expected[i]) << "request " << i << ", " << run.threads << " threads, "
                                         << run.options.slots << " slots";
    }
  }
}

TEST_P(FastMode, DistributionsStayNearTheExactModeForPromptsAndAnswers) {
  const Model exact = RandomModel(GetParam().weights);
  Model fast = RandomModel(GetParam().weights);
  ApplyRunMode(GetParam().run, &fast);
  const size_t T = 90, D = exact.config().hidden_size, V = exact.config().vocab_size;
  Random random(11);
  std::vector<int32_t> ids(T);
  for (int32_t& id : ids) id = static_cast<int32_t>(random.Below(V));
  Workspace workspace;
  std::vector<float> want(T * D), want_logits(T * V);
  exact.Forward(ids, SeqLayout(T), want.data(), &workspace);
  exact.Head(want.data(), T, want_logits.data());
  for (const bool is_decode : {false, true}) {
    std::vector<float> hidden(T * D), logits(T * V);
    SequenceState sequence = fast.NewSequence();
    const size_t slice = is_decode ? 1 : T;
    for (size_t t = 0; t < T; t += slice) {
      const StepRun run{0, slice, &sequence, is_decode};
      fast.Step(std::span(ids).subspan(t, slice), {&run, 1}, hidden.data() + t * D, &workspace);
    }
    fast.Head(hidden.data(), T, logits.data());
    double kl = 0;
    for (size_t t = 0; t < T; ++t) {
      const double log_q = LogSumExp(&want_logits[t * V], V), log_p = LogSumExp(&logits[t * V], V);
      for (size_t v = t * V; v < (t + 1) * V; ++v)
        kl += std::exp(want_logits[v] - log_q) * ((want_logits[v] - log_q) - (logits[v] - log_p));
    }
    // Random weights give nearly flat distributions over 150 tokens; a wrong scale or a lost row is off by 0.1 and more.
    EXPECT_LT(kl / T, 0.004) << (is_decode ? "decode" : "prefill");
    if (!is_decode) {
      EXPECT_NE(logits, want_logits) << "the fast mode is not in use";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, FastMode, ::testing::ValuesIn(kModes),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

}  // namespace
}  // namespace planish

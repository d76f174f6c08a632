// SPDX-License-Identifier: Apache-2.0
// The engine on tiny models: golden greedy decoding, and that a request's tokens and
// log-probabilities keep their bits whatever else runs: batch neighbours, step size, threads,
// cancellations. Caches, preemption and groups: engine_cache_test.cc, engine_schedule_test.cc.
#include "infer/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/parallel.h"
#include "infer/engine_testing.h"
#include "kernels/sample.h"
#include "model/golden_case.h"
#include "model/pretrained.h"

namespace planish {
namespace {

using testing::GoldenDir;
using testing::Listing;

class EngineTest : public ::testing::TestWithParam<const char*> {
 protected:
  void TearDown() override { SetThreadCount(0); }
  const Model* model_ = TinyModel(GetParam());

  // Requests of many lengths, greedy and drawn, with and without penalties.
  std::vector<Request> Mixed(size_t count) const {
    static constexpr size_t kLengths[] = {1, 2, 31, 32, 33, 64, 75, 130};
    std::vector<Request> requests;
    for (size_t i = 0; i < count; ++i) {
      Request request = Greedy(RandomIds(*model_, kLengths[i % 8], i), 6 + i % 5);
      if (i % 2 == 1)
        request.sampling = {.temperature = 0.8, .top_p = 0.9, .repetition_penalty = 1.1, .seed = i};
      requests.push_back(std::move(request));
    }
    return requests;
  }
};

TEST_P(EngineTest, BatchesGiveTheBitsOfRunningAloneWhoeverJoinsWhen) {
  const std::vector<Request> requests = Mixed(10);
  std::vector<Outcome> alone;
  for (const Request& request : requests) {
    alone.push_back(RunAlone(model_, request));
    ASSERT_EQ(alone.back().ids.size(), request.max_new_tokens);
  }
  for (const size_t slots : {2, 3, 8}) {
    for (const size_t join_after : {0, 1, 3}) {
      Engine engine(model_, {.slots = slots});
      std::vector<Outcome> found(requests.size());
      for (size_t i = 0; i < requests.size(); ++i) {
        Start(&engine, requests[i], &found[i]);
        for (size_t step = 0; step < join_after; ++step) engine.Step();
      }
      engine.RunUntilIdle();
      for (size_t i = 0; i < requests.size(); ++i)
        EXPECT_EQ(found[i], alone[i])
            << "request " << i << ", " << slots << " slots, joined after " << join_after;
    }
  }
}

TEST_P(EngineTest, StepSizeAndThreadsDoNotChangeABit) {
  const std::vector<Request> requests = Mixed(8);
  std::vector<Outcome> first;
  for (const auto& [step_tokens, threads] : {std::pair<size_t, int>{512, 1},
                                             {512, 2},
                                             {512, 3},
                                             {64, 1},
                                             {32, 1},
                                             {32, 3},
                                             {1, 1},
                                             {100, 2}}) {
    SetThreadCount(threads);
    Engine engine(model_, {.slots = 4, .step_tokens = step_tokens});
    std::vector<Outcome> found(requests.size());
    for (size_t i = 0; i < requests.size(); ++i) Start(&engine, requests[i], &found[i]);
    engine.RunUntilIdle();
    if (first.empty()) first = found;
    for (size_t i = 0; i < requests.size(); ++i)
      EXPECT_EQ(found[i], first[i])
          << "request " << i << ", steps of " << step_tokens << ", " << threads << " threads";
  }
}

TEST_P(EngineTest, PromptLogprobsAreCompleteAndEqualTheForwardPass) {
  for (const size_t length : {1, 2, 33, 64, 65, 150}) {
    const std::vector<int32_t> ids = RandomIds(*model_, length, length);
    const size_t V = model_->config().vocab_size;
    std::vector<float> hidden(length * model_->config().hidden_size), logits(length * V);
    Workspace workspace;
    model_->Forward(ids, SeqLayout(length), hidden.data(), &workspace);
    model_->Head(hidden.data(), length, logits.data());
    for (const size_t step_tokens : {32, 512}) {
      for (const size_t max_new_tokens : {0, 2}) {
        Request request = Greedy(ids, max_new_tokens);
        request.prompt_logprobs = true;
        RequestResult result;
        const Outcome outcome = RunAlone(model_, request, {.step_tokens = step_tokens}, &result);
        EXPECT_EQ(outcome.ids.size(), max_new_tokens);
        EXPECT_EQ(outcome.finish, FinishReason::kLength);
        ASSERT_EQ(result.prompt_logprobs.size(), length - 1);
        for (size_t t = 0; t + 1 < length; ++t) {
          double expected;
          LogSoftmaxAt(logits.data() + t * V, V, {&ids[t + 1], 1}, &expected);
          EXPECT_NEAR(result.prompt_logprobs[t], expected, 1e-4) << t << " of " << length;
        }
      }
    }
  }
}

TEST_P(EngineTest, LogprobsAreOfTheRawDistributionAndTopOnesComeInOrder) {
  Request request = Greedy(RandomIds(*model_, 20, 1), 10);
  request.top_logprobs = 5;
  const Outcome plain = RunAlone(model_, request);
  request.sampling = {.temperature = 0.5,
                      .top_k = 3,
                      .frequency_penalty = 0.5,
                      .seed = 3,
                      .logit_bias = {{plain.ids[0], -100.0f}}};
  Engine engine(model_);
  std::vector<TokenEvent> events;
  request.on_token = [&](const TokenEvent& event) { events.push_back(event); };
  engine.Run(request);
  ASSERT_EQ(events.size(), 10u);
  EXPECT_EQ(events[0].top[0].first, plain.ids[0]) << "bias does not touch what is reported";
  EXPECT_EQ(Bits(events[0].top[0].second), plain.logprob_bits[0]);
  EXPECT_NE(events[0].id, plain.ids[0]);
  for (const TokenEvent& event : events) {
    ASSERT_EQ(event.top.size(), 5u);
    EXPECT_LE(event.logprob, event.top[0].second);
    EXPECT_LT(event.logprob, 0.0);
    for (size_t k = 0; k < 5; ++k) {
      EXPECT_GE(event.top[k > 0 ? k - 1 : 0].second, event.top[k].second);
      if (event.top[k].first == event.id) {
        EXPECT_EQ(event.top[k].second, event.logprob);
      }
    }
  }
}

TEST_P(EngineTest, CancellingOneAtAnyStepLeavesTheOthersBits) {
  const std::vector<Request> requests = Mixed(5);
  std::vector<Outcome> alone;
  for (const Request& request : requests) alone.push_back(RunAlone(model_, request));
  for (const size_t victim : {0, 2, 4}) {
    for (const size_t at_step : {0, 1, 3, 6}) {
      Engine engine(model_, {.slots = 4, .step_tokens = 64});
      std::vector<Outcome> found(requests.size());
      std::vector<Engine::Id> ids;
      for (size_t i = 0; i < requests.size(); ++i)
        ids.push_back(Start(&engine, requests[i], &found[i]));
      for (size_t step = 0; step < at_step; ++step) engine.Step();
      const size_t before = found[victim].ids.size();
      const bool was_done = found[victim].finish != FinishReason::kError;
      engine.Cancel(ids[victim]);
      engine.RunUntilIdle();
      EXPECT_EQ(engine.state_bytes(), 0u);
      for (size_t i = 0; i < requests.size(); ++i) {
        if (i == victim && !was_done) continue;
        EXPECT_EQ(found[i], alone[i]) << "request " << i << " after cancelling " << victim;
      }
      if (!was_done) {
        EXPECT_EQ(found[victim].finish, FinishReason::kCancelled);
        EXPECT_EQ(found[victim].ids.size(), before);
      }
    }
  }
}

TEST_P(EngineTest, ACallbackMayCancelAndSubmitOthers) {
  const std::vector<Request> requests = Mixed(3);
  const Outcome last_alone = RunAlone(model_, requests[2]);
  Engine engine(model_, {.slots = 2});
  Outcome victim, late;
  Request first = requests[0];
  Engine::Id victim_id = 0;
  int dones = 0;
  first.on_token = [&](const TokenEvent&) { engine.Cancel(victim_id); };
  engine.Submit(first, [&](const RequestResult&) { ++dones, Start(&engine, requests[2], &late); });
  victim_id = Start(&engine, requests[1], &victim);
  engine.RunUntilIdle();
  EXPECT_EQ(dones, 1);
  EXPECT_EQ(victim.finish, FinishReason::kCancelled);
  EXPECT_TRUE(victim.ids.empty())
      << "no token after the cancellation, though it was in the same step";
  EXPECT_EQ(late, last_alone);
}

TEST_P(EngineTest, IsCancelledStopsWaitingAndRunningRequests) {
  Engine engine(model_, {.slots = 1});
  bool stop = false;
  Outcome running, waiting;
  Request request = Greedy(RandomIds(*model_, 5, 1), 50);
  request.is_cancelled = [&] { return stop; };
  Start(&engine, request, &running);
  Start(&engine, request, &waiting);
  for (int i = 0; i < 4; ++i) engine.Step();
  stop = true;
  engine.RunUntilIdle();
  EXPECT_EQ(running.finish, FinishReason::kCancelled);
  EXPECT_EQ(running.ids.size(), 4u);
  EXPECT_EQ(waiting.finish, FinishReason::kCancelled);
  EXPECT_TRUE(waiting.ids.empty());
}

// After `after` tokens forces `ids`, then allows only `only` (if >= 0), then stops after
// `stop_after` tokens.
class ScriptedHook : public TokenHook {
 public:
  ScriptedHook(size_t vocab_size, size_t after, std::vector<int32_t> ids, int32_t only = -1,
               size_t stop_after = ~size_t{0})
      : after_(after), ids_(std::move(ids)), stop_after_(stop_after), mask_(vocab_size) {
    if (only >= 0) mask_.Allow(static_cast<size_t>(only)), has_mask_ = true;
  }
  Action Begin() override { return Next(); }
  Action OnToken(int32_t id) override {
    seen_.push_back(id);
    return Next();
  }
  const std::vector<int32_t>& seen() const { return seen_; }

 private:
  Action Next() {
    Action action;
    if (seen_.size() == after_) action.forced = ids_;
    if (has_mask_ && seen_.size() >= after_ + ids_.size()) action.mask = &mask_;
    action.stop = seen_.size() >= stop_after_;
    return action;
  }
  size_t after_;
  std::vector<int32_t> ids_;
  size_t stop_after_;
  TokenMask mask_;
  bool has_mask_ = false;
  std::vector<int32_t> seen_;
};

TEST_P(EngineTest, ForcedTokensGoInWhereTheHookSaysAndTheModelGoesOnFromThem) {
  const size_t V = model_->config().vocab_size;
  const std::vector<int32_t> prompt = RandomIds(*model_, 40, 2), forced = {7, 8, 9, 10, 11};
  const Outcome free_run = RunAlone(model_, Greedy(prompt, 12));
  for (const size_t after : {0, 1, 3}) {
    Request request = Greedy(prompt, 12);
    const auto hook = std::make_shared<ScriptedHook>(V, after, forced);
    request.hooks = {hook};
    std::vector<bool> was_forced;
    Engine engine(model_);
    request.on_token = [&](const TokenEvent& event) {
      was_forced.push_back(event.forced);
      EXPECT_EQ(std::isnan(event.logprob), event.forced);
    };
    const RequestResult result = engine.Run(request);
    ASSERT_EQ(result.ids.size(), 12u) << "forced tokens count";
    EXPECT_EQ(hook->seen(), result.ids);
    std::vector<int32_t> expected(free_run.ids.begin(),
                                  free_run.ids.begin() + static_cast<ptrdiff_t>(after));
    expected.insert(expected.end(), forced.begin(), forced.end());
    EXPECT_EQ(std::vector<int32_t>(result.ids.begin(),
                                   result.ids.begin() + static_cast<ptrdiff_t>(expected.size())),
              expected);
    for (size_t i = 0; i < 12; ++i)
      EXPECT_EQ(was_forced[i], i >= after && i < after + forced.size());
    // The rest is what the model says after a prompt that ends in them.
    std::vector<int32_t> longer = prompt;
    longer.insert(longer.end(), expected.begin(), expected.end());
    const Outcome rest = RunAlone(model_, Greedy(longer, 12 - expected.size()));
    EXPECT_EQ(std::vector<int32_t>(result.ids.begin() + static_cast<ptrdiff_t>(expected.size()),
                                   result.ids.end()),
              rest.ids);
  }
}

TEST_P(EngineTest, MaxNewTokensAndStopEndForcedRunsToo) {
  const size_t V = model_->config().vocab_size;
  Request request = Greedy(RandomIds(*model_, 4, 2), 3);
  request.hooks = {std::make_shared<ScriptedHook>(V, 1, std::vector<int32_t>{1, 2, 3, 4, 5})};
  RequestResult result = Engine(model_).Run(request);
  EXPECT_EQ(result.ids.size(), 3u);
  EXPECT_EQ(result.finish, FinishReason::kLength);
  request = Greedy(RandomIds(*model_, 4, 2), 30);
  request.hooks = {
      std::make_shared<ScriptedHook>(V, 1, std::vector<int32_t>{1, 2, 3, 4, 5}, -1, 4)};
  result = Engine(model_).Run(request);
  EXPECT_EQ(result.ids.size(), 4u);
  EXPECT_EQ(result.finish, FinishReason::kStop);
  request.hooks = {std::make_shared<ScriptedHook>(V, 9, std::vector<int32_t>{}, -1, 0)};
  result = Engine(model_).Run(request);
  EXPECT_TRUE(result.ids.empty()) << "a hook may stop before the first token";
  EXPECT_EQ(result.finish, FinishReason::kStop);
}

TEST_P(EngineTest, MasksAllowOnlyTheirTokensAndAnEmptyOneIsAnError) {
  const size_t V = model_->config().vocab_size;
  for (const double temperature : {0.0, 1.5}) {
    Request request = Greedy(RandomIds(*model_, 4, 2), 6);
    request.sampling.temperature = temperature;
    request.hooks = {std::make_shared<ScriptedHook>(V, 0, std::vector<int32_t>{}, 123)};
    EXPECT_EQ(Engine(model_).Run(request).ids, std::vector<int32_t>(6, 123));
    class Nothing : public TokenHook {
     public:
      explicit Nothing(size_t size) : mask_(size) {}
      Action Begin() override { return {.forced = {}, .mask = &mask_, .stop = false}; }
      Action OnToken(int32_t) override { return {}; }
      TokenMask mask_;
    };
    request.hooks = {std::make_shared<Nothing>(V)};
    const RequestResult result = Engine(model_).Run(request);
    EXPECT_EQ(result.finish, FinishReason::kError);
    EXPECT_EQ(result.error, "no token is allowed here");
  }
}

TEST_P(EngineTest, EndIdsStopUnlessIgnored) {
  const Request request = Greedy(RandomIds(*model_, 10, 4), 12);
  const Outcome free_run = RunAlone(model_, request);
  Request ending = request;
  ending.end_ids = {free_run.ids[5]};
  const auto first = static_cast<size_t>(
      std::find(free_run.ids.begin(), free_run.ids.end(), free_run.ids[5]) - free_run.ids.begin());
  bool saw_end = false;
  ending.on_token = [&](const TokenEvent& event) { saw_end = event.is_end; };
  const RequestResult result = Engine(model_).Run(ending);
  EXPECT_EQ(result.finish, FinishReason::kStop);
  EXPECT_EQ(result.ids,
            std::vector<int32_t>(free_run.ids.begin(),
                                 free_run.ids.begin() + static_cast<ptrdiff_t>(first + 1)));
  EXPECT_TRUE(saw_end);
  ending.ignore_end = true;
  const RequestResult on = Engine(model_).Run(ending);
  EXPECT_EQ(on.finish, FinishReason::kLength);
  EXPECT_EQ(on.ids, free_run.ids);
}

TEST_P(EngineTest, ContextAndTokenLimitsHoldAndSlotsAreNeverZero) {
  const std::vector<int32_t> prompt = RandomIds(*model_, 30, 1);
  for (const size_t wanted :
       {size_t{1}, size_t{10}, size_t{11}, std::numeric_limits<size_t>::max()}) {
    Engine engine(model_, {.slots = 0, .context = 40});
    const RequestResult result = engine.Run(Greedy(prompt, wanted));
    EXPECT_EQ(result.ids.size(), std::min<size_t>(wanted, 10));
    EXPECT_EQ(result.finish, FinishReason::kLength);
  }
  EXPECT_EQ(Engine(model_, {.context = 30}).Run(Greedy(prompt, 0)).finish, FinishReason::kLength)
      << "scoring alone needs no room";
}

TEST_P(EngineTest, BadRequestsAreUsageErrors) {
  Engine engine(model_, {.context = 40});
  const auto message = [&](const Request& request) -> std::string {
    try {
      engine.Submit(request, nullptr);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      return error.what();
    }
    return {};
  };
  const auto V = static_cast<int32_t>(model_->config().vocab_size);
  EXPECT_EQ(message(Greedy({}, 1)), "the prompt is empty, expected at least one token");
  EXPECT_EQ(message(Greedy({0, V}, 1)),
            fmt::format("token id {} is outside the vocabulary, expected 0 to {}", V, V - 1));
  EXPECT_NE(message(Greedy({0, -1}, 1)), "");
  EXPECT_EQ(message(Greedy(std::vector<int32_t>(40, 1), 1)),
            "the prompt has 40 tokens, but the context is 40");
  EXPECT_NE(message(Greedy(std::vector<int32_t>(41, 1), 0)), "");
  Request biased = Greedy({1}, 1);
  biased.sampling.logit_bias = {{V, 1.0f}};
  EXPECT_NE(message(biased), "");
  biased.sampling.logit_bias = {};
  biased.sampling.temperature = std::numeric_limits<double>::quiet_NaN();
  EXPECT_NE(message(biased), "");
  EXPECT_FALSE(engine.Step()) << "nothing was queued";
}

TEST_P(EngineTest, AnExceptionFromACallbackLeavesTheEngineUsable) {
  Engine engine(model_);
  Request request = Greedy(RandomIds(*model_, 5, 1), 20);
  const Outcome expected = RunAlone(model_, request);
  Request throwing = request;
  throwing.on_token = [](const TokenEvent&) { throw RuntimeError("the reader is gone"); };
  EXPECT_THROW(engine.Run(throwing), Error);
  EXPECT_EQ(engine.state_bytes(), 0u);
  EXPECT_EQ(engine.Run(request).ids, expected.ids);
}

INSTANTIATE_TEST_SUITE_P(Models, EngineTest, ::testing::Values("nemotron_h_a", "llama_a"),
                         [](const auto& param_info) { return std::string(param_info.param); });

TEST(Engine, LogitsThatAreNotFiniteEndTheRequestNamingTheLayer) {
  const std::string path = PLANISH_SOURCE_DIR "/tests/golden/models/nemotron_h_a";
  const std::pair<const char*, const char*> cases[] = {
      {"layers.0.norm.weight", ", from layer 0 on"},
      {"layers.3.norm.weight", ", from layer 3 on"},
      {"norm_f.weight", ""}};
  for (const auto& [poisoned, where] : cases) {
    Pretrained opened = OpenPretrained(path, {.needs_tokenizer = false});
    size_t found = 0;
    opened.model->VisitParams([&, suffix = std::string(poisoned)](const Param& param) {
      if (!param.name.ends_with(suffix)) return;
      param.vector->f32()[0] = std::numeric_limits<float>::quiet_NaN();
      ++found;
    });
    ASSERT_EQ(found, 1u) << poisoned;
    opened.model->ParamsChanged();
    for (const double temperature : {0.0, 1.0}) {
      for (const size_t length : {3, 300}) {
        Request request = Greedy(RandomIds(*opened.model, length, 1), 10);
        request.sampling.temperature = temperature;
        const RequestResult result = Engine(opened.model.get()).Run(request);
        EXPECT_EQ(result.finish, FinishReason::kError);
        EXPECT_TRUE(result.ids.empty());
        EXPECT_EQ(result.error, std::string("the model's logits are not finite") + where);
      }
    }
  }
}

void ExpectGoldenGreedy(const Model& model, const testing::GoldenCase& expected) {
  const auto& ids = expected.ids.at("greedy_ids");
  const Tensor& logits = expected.tensors.at("greedy_logits");
  const size_t V = model.config().vocab_size;
  Request request = Greedy(expected.ids.at("greedy_prompt"), ids.size());
  request.ignore_end = true;
  request.top_logprobs = V;
  size_t step = 0;
  request.on_token = [&](const TokenEvent& event) {
    if (step * V + V > logits.elements()) return;
    const float* row = logits.f32() + step++ * V;
    const double log_sum = LogSumExp(row, V);
    double worst = 0;
    for (const auto& [id, logprob] : event.top)
      worst = std::max(worst, std::abs(logprob - (static_cast<double>(row[id]) - log_sum)));
    EXPECT_LE(worst, 2e-4) << "log-probabilities of step "
                           << step - 1;  // twice that of logits: the normaliser moves too
  };
  Engine engine(&model);
  EXPECT_EQ(engine.Run(request).ids, ids);
  EXPECT_EQ(step, logits.elements() / V);
}

TEST(EngineGolden, GreedyDecodingOfHuggingFaceFoldersGivesTheReferenceIds) {
  size_t checked = 0;
  for (const std::string& name : Listing(GoldenDir() + "/models")) {
    if (!testing::HasGoldenCase(name)) continue;
    SCOPED_TRACE(name);
    ExpectGoldenGreedy(
        *OpenPretrained(GoldenDir() + "/models/" + name, {.needs_tokenizer = false}).model,
        testing::ReadGoldenCase(name));
    ++checked;
  }
  if (checked == 0)
    GTEST_SKIP() << "no models under " << GoldenDir() << "/models: set PLANISH_GOLDEN";
}

TEST(EngineGolden, GreedyDecodingOfGgufFilesInF32GivesTheReferenceIds) {
  size_t checked = 0;
  for (const std::string& file : Listing(GoldenDir() + "/gguf", ".f32.gguf")) {
    const std::string name = file.substr(0, file.size() - 9);
    if (!testing::HasGoldenCase(name)) continue;
    SCOPED_TRACE(file);
    ExpectGoldenGreedy(
        *OpenPretrained(GoldenDir() + "/gguf/" + file, {.needs_tokenizer = false}).model,
        testing::ReadGoldenCase(name));
    ++checked;
  }
  if (checked == 0)
    GTEST_SKIP() << "no *.f32.gguf under " << GoldenDir()
                 << "/gguf: set PLANISH_GOLDEN to the full set";
}

}  // namespace
}  // namespace planish

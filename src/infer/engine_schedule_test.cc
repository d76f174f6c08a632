// SPDX-License-Identifier: Apache-2.0
// Who runs when, and that it does not show in what comes out: preemption, groups, pauses, cancellations and failures of others
// leave every request the bits of running alone; memory and order are as asked for.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "infer/engine_testing.h"

namespace planish {
namespace {

constexpr size_t kCache = size_t{64} << 20;

class EngineScheduleTest : public ::testing::TestWithParam<TestModel> {
 protected:
  const Model& model_ = ModelFor(GetParam());
  const StateSize size_ = StateSizeOf(model_);

  Request RandomRequest(Random* random) const {
    Request request = Greedy(RandomIds(model_, 1 + random->Below(100), random->Below(1 << 20)),
                             1 + random->Below(12));
    if (random->Below(2) == 0)
      request.sampling = {.temperature = 0.9, .top_p = 0.95, .seed = random->Below(100)};
    return request;
  }
};

// Puts in `forced` before the first token, and another piece later.
class ForcingHook : public TokenHook {
 public:
  Action Begin() override { return {.forced = {1, 2, 3}}; }
  Action OnToken(int32_t) override {
    return ++seen_ == 20 ? Action{.forced = {7, 8, 9, 10}} : Action{};
  }

 private:
  size_t seen_ = 0;
};

TEST_P(EngineScheduleTest, PreemptedRequestsGiveTheBitsOfUndisturbedOnes) {
  std::vector<Request> requests;
  for (size_t i = 0; i < 3; ++i) {
    requests.push_back(Greedy(RandomIds(model_, 70 + 10 * i, i), 160));
    requests.back().ignore_end = true;
    requests.back().hooks = {std::make_shared<ForcingHook>()};
  }
  std::vector<Outcome> alone(3);
  for (size_t i = 0; i < 3; ++i) {
    Request request = requests[i];
    request.hooks = {std::make_shared<ForcingHook>()};
    alone[i] = RunAlone(&model_, request, {.cache_bytes = kCache});
    ASSERT_EQ(alone[i].ids.size(), 160u);
  }
  // Room for three at admission (32 tokens of an answer each) but not at their ends; with the preempted state kept in the
  // cache, without a cache, and with one that soon forgets it.
  size_t preempted = 0;
  for (const size_t cache : {kCache, size_t{0}, size_.Bytes(200)}) {
    std::vector<Request> again = requests;
    size_t memory = 0;
    for (const Request& request : requests) memory += size_.Bytes(request.prompt.size() + 64);
    Engine engine(&model_,
                  {.slots = 3, .cache_bytes = cache, .context_memory = memory, .answer_room = 32});
    std::vector<Outcome> found(3);
    for (size_t i = 0; i < 3; ++i) {
      again[i].hooks = {std::make_shared<ForcingHook>()};
      Start(&engine, again[i], &found[i]);
    }
    while (engine.Step()) {
      ASSERT_LE(engine.stats().state_bytes, memory);
    }
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(found[i], alone[i]) << i << ", cache " << cache;
    preempted += engine.stats().totals.preemptions;
    EXPECT_GT(engine.stats().totals.preemptions, 0u);
    EXPECT_EQ(engine.state_bytes(), 0u);
    if (engine.cache() != nullptr) engine.cache()->CheckInvariants();
  }
  if (size_.column_bytes > 0) {
    EXPECT_GE(preempted, 3u);
  }
}

TEST_P(EngineScheduleTest, AGroupGivesWhatSeparateRequestsGiveAndComputesThePromptOnce) {
  for (const size_t length : {1, 2, 33, 120}) {
    for (const size_t cache : {size_t{0}, kCache}) {
      std::vector<Request> requests;
      std::vector<Outcome> alone, found(5);
      for (size_t i = 0; i < 5; ++i) {
        Request request = Greedy(RandomIds(model_, length, length), 4 + i);
        request.sampling = {.temperature = 1.2, .seed = 5, .choice = i};
        requests.push_back(request);
        alone.push_back(RunAlone(&model_, request, {.cache_bytes = kCache}));
      }
      // With fewer slots than choices the later ones start when others have ended.
      Engine engine(&model_, {.slots = 3, .step_tokens = 64, .cache_bytes = cache});
      std::vector<Engine::DoneCallback> done;
      for (size_t i = 0; i < 5; ++i) {
        requests[i].on_token = [&found, i](const TokenEvent& event) {
          found[i].ids.push_back(event.id);
          found[i].logprob_bits.push_back(Bits(event.logprob));
        };
        done.push_back(
            [&found, i](const RequestResult& result) { found[i].finish = result.finish; });
      }
      EXPECT_EQ(engine.SubmitGroup(requests, done).size(), 5u);
      engine.RunUntilIdle();
      for (size_t i = 0; i < 5; ++i) {
        if (cache > 0 || GetParam().golden != nullptr) {
          EXPECT_EQ(found[i], alone[i]) << "choice " << i << ", " << length << " tokens";
        } else {
          // In fast arithmetic a prompt is cut elsewhere without a cache: the same for all choices.
          EXPECT_EQ(found[i].ids.size(), alone[i].ids.size());
        }
      }
      EXPECT_NE(found[0].ids, found[1].ids);
      size_t answers = 0;
      for (const Outcome& outcome : found) answers += outcome.ids.size();
      // All rows: the prompt, for each further choice at most a slice of it, the answers but for their last tokens.
      EXPECT_LE(engine.stats().totals.computed_tokens, length + 4 * 32 + answers - 5);
    }
  }
}

TEST_P(EngineScheduleTest, AGroupSurvivesTheEndOfItsFirstRequest) {
  Request request = Greedy(RandomIds(model_, 200, 1), 4);
  const Outcome alone = RunAlone(&model_, request, {.cache_bytes = kCache});
  for (const size_t steps : {0, 1, 3}) {
    Engine engine(&model_, {.slots = 2, .step_tokens = 32, .cache_bytes = kCache});
    std::vector<RequestResult> results(3);
    std::vector<Engine::DoneCallback> done;
    for (size_t i = 0; i < 3; ++i)
      done.push_back([&results, i](const RequestResult& result) { results[i] = result; });
    const auto ids = engine.SubmitGroup({request, request, request}, done);
    for (size_t step = 0; step < steps; ++step) engine.Step();
    engine.Cancel(ids[0]);
    engine.RunUntilIdle();
    EXPECT_EQ(results[0].finish, FinishReason::kCancelled);
    EXPECT_EQ(results[1].ids, alone.ids);
    EXPECT_EQ(results[2].ids, alone.ids);
  }
}

TEST_P(EngineScheduleTest, RandomCancellationsPausesAndFailuresLeaveTheOthersBits) {
  Random random(11);
  std::vector<Request> requests;
  std::vector<Outcome> alone;
  for (size_t i = 0; i < 24; ++i) {
    requests.push_back(RandomRequest(&random));
    alone.push_back(RunAlone(&model_, requests.back(), {.cache_bytes = kCache}));
  }
  Engine engine(&model_, {.slots = 4,
                          .step_tokens = 64,
                          .cache_bytes = 4 * size_.Bytes(100),
                          .context_memory = 3 * size_.Bytes(100)});
  std::vector<Outcome> found(requests.size());
  std::vector<Engine::Id> ids;
  std::vector<bool> disturbed(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    Request request = requests[i];
    if (random.Below(3) == 0) request.is_paused = [&random] { return random.Below(3) == 0; };
    if (random.Below(5) == 0) {
      disturbed[i] = true;
      request.on_progress = [](size_t, size_t, size_t) { throw RuntimeError("no reader"); };
    } else if (random.Below(5) == 0) {
      disturbed[i] = true;
      class Thrower : public TokenHook {
        Action OnToken(int32_t) override { throw std::runtime_error("hook"); }
      };
      request.hooks = {std::make_shared<Thrower>()};
    }
    ids.push_back(Start(&engine, request, &found[i]));
    for (size_t step = random.Below(4); step > 0; --step) engine.Step();
    if (random.Below(3) == 0) {
      const size_t victim = random.Below(i + 1);
      engine.Cancel(ids[victim]);
      disturbed[victim] = true;
    }
  }
  engine.RunUntilIdle();
  engine.cache()->CheckInvariants();
  EXPECT_EQ(engine.state_bytes(), 0u);
  EXPECT_EQ(engine.stats().running + engine.stats().waiting, 0u);
  size_t failed = 0, undisturbed = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    failed += found[i].finish == FinishReason::kError ? 1 : 0;
    if (disturbed[i]) continue;
    ++undisturbed;
    EXPECT_EQ(found[i], alone[i]) << "request " << i;
  }
  EXPECT_GT(failed, 1u);
  EXPECT_GT(undisturbed, 4u);
  EXPECT_EQ(engine.stats().totals.failed, failed);
}

INSTANTIATE_TEST_SUITE_P(Models, EngineScheduleTest, ::testing::ValuesIn(kTestModels),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

class EngineOrderTest : public ::testing::Test {
 protected:
  const Model& model_ = ModelFor(kTestModels[0]);
};

TEST_F(EngineOrderTest, LowerPriorityNumbersFirstThenArrival) {
  Engine engine(&model_, {.slots = 1});
  std::vector<int> order;
  const int priorities[] = {0, 1, -1, 0, 1, -1};
  for (int i = 0; i < 6; ++i) {
    Request request = Greedy({1, 2}, 2);
    request.priority = priorities[i];
    engine.Submit(request, [&order, i](const RequestResult&) { order.push_back(i); });
  }
  EXPECT_EQ(engine.stats().waiting, 6u);
  EXPECT_EQ(engine.stats().waiting_tokens, 12u);
  engine.RunUntilIdle();
  EXPECT_EQ(order, (std::vector<int>{2, 5, 0, 3, 1, 4}));
}

TEST_F(EngineOrderTest, MemoryBoundsWhoRunsTogetherAndWhatIsAccepted) {
  const StateSize size = StateSizeOf(model_);
  const size_t memory = 2 * size.Bytes(128);
  Engine engine(&model_, {.slots = 8, .context = 4000, .context_memory = memory});
  for (int i = 0; i < 6; ++i) engine.Submit(Greedy(RandomIds(model_, 100, 1), 28), nullptr);
  engine.Step();
  EXPECT_EQ(engine.stats().running, 2u);
  EXPECT_EQ(engine.stats().waiting, 4u);
  EXPECT_LE(engine.stats().reserved_bytes, memory);
  engine.RunUntilIdle();
  EXPECT_EQ(engine.stats().totals.finished, 6u);
  EXPECT_EQ(engine.stats().totals.preemptions, 0u);
  const size_t most = size.PositionsWithin(memory, 4000);
  ASSERT_LT(most, 3000u);
  EXPECT_EQ(engine.Run(Greedy(RandomIds(model_, most - 5, 1), 100)).ids.size(), 5u);
  try {
    engine.Submit(Greedy(RandomIds(model_, most, 1), 1), nullptr);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kNoMemory);
  }
}

TEST_F(EngineOrderTest, APausedSequenceTakesNoRowsAndOthersGoOn) {
  Engine engine(&model_, {.slots = 2});
  bool is_paused = false;
  Outcome paused, other;
  Request request = Greedy(RandomIds(model_, 10, 1), 8);
  const Outcome alone = RunAlone(&model_, request);
  request.is_paused = [&] { return is_paused; };
  Start(&engine, request, &paused);
  engine.Step();
  is_paused = true;
  Start(&engine, Greedy(RandomIds(model_, 20, 2), 3), &other);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(engine.Step());
  EXPECT_EQ(other.ids.size(), 3u);
  EXPECT_EQ(paused.ids.size(), 1u);
  EXPECT_EQ(engine.last_step().rows(), 0u);
  EXPECT_TRUE(engine.slots().at(0).is_paused);
  is_paused = false;
  engine.RunUntilIdle();
  EXPECT_EQ(paused, alone);
}

TEST_F(EngineOrderTest, SlotsAndProgressTellWhereARequestIs) {
  Engine engine(&model_, {.slots = 1, .step_tokens = 32, .cache_bytes = kCache});
  std::vector<size_t> progress;
  Request request = Greedy(RandomIds(model_, 80, 1), 3);
  request.on_progress = [&](size_t done, size_t total, size_t cached) {
    EXPECT_EQ(total, 80u);
    EXPECT_EQ(cached, 0u);
    progress.push_back(done);
  };
  engine.Submit(request, nullptr);
  engine.Submit(request, nullptr);
  engine.Step();
  const std::vector<SlotInfo> slots = engine.slots();
  ASSERT_EQ(slots.size(), 2u);
  EXPECT_EQ(slots[0].phase, SlotInfo::Phase::kPrefill);
  EXPECT_EQ(slots[0].prompt_done, 32u);
  EXPECT_EQ(slots[0].prompt_tokens, 80u);
  EXPECT_EQ(slots[1].phase, SlotInfo::Phase::kWaiting);
  EXPECT_STREQ(Name(slots[1].phase), "waiting");
  for (int i = 0; i < 3; ++i) engine.Step();
  EXPECT_EQ(progress, (std::vector<size_t>{32, 64, 79, 80}));
  EXPECT_EQ(engine.slots()[0].phase, SlotInfo::Phase::kDecode);
  EXPECT_EQ(engine.slots()[0].generated, 1u);
}

TEST(Pace, SlicesShrinkWhileAnswersRunAndGrowWhenAlone) {
  Pace free(0), pace(100);
  EXPECT_EQ(free.PrefillRows(3, 32, 500), 500u);
  EXPECT_EQ(pace.PrefillRows(0, 32, 500), 500u) << "alone: all";
  EXPECT_EQ(pace.PrefillRows(1, 32, 500), 64u) << "nothing is known";
  for (int i = 0; i < 50; ++i) {
    pace.Record({.decode_rows = 1, .seconds = 0.020});
    pace.Record({.decode_rows = 1, .prefill_rows = 100, .seconds = 0.060});
  }
  EXPECT_NEAR(pace.decode_ms(), 20, 1e-6);
  EXPECT_NEAR(pace.prefill_token_ms(), 0.4, 1e-6);
  EXPECT_NEAR(static_cast<double>(pace.PrefillRows(1, 32, 500)), (100 / 1.05 - 20) / 0.4, 1)
      << "five percent stay in reserve";
  EXPECT_EQ(pace.PrefillRows(1, 32, 150), 150u);
  for (int i = 0; i < 50; ++i) pace.Record({.decode_rows = 1, .prefill_rows = 32, .seconds = 1.0});
  EXPECT_EQ(pace.PrefillRows(1, 32, 500), 32u) << "never less than a slice";
}

TEST(Pace, KeepsNinetyNineStepsOfAHundredUnderTheBound) {
  Pace pace(100);
  for (int i = 0; i < 20; ++i) pace.Record({4, 0, 0.010});
  Random random(3);
  int late = 0, steps = 0;
  size_t rows_in_all = 0;
  for (size_t depth = 0; steps < 2000; ++steps) {
    const size_t rows = pace.PrefillRows(4, 32, 4096);
    // Deeper tokens cost more; one step in fifty takes up to half as long again.
    const double slow = random.Below(50) == 0 ? 1 + 0.5 * random.Uniform() : 1;
    const double seconds =
        slow * (0.010 + static_cast<double>(rows) * (1e-4 + 5e-8 * static_cast<double>(depth)));
    pace.Record({4, rows, seconds});
    depth = depth > 4000 ? 0 : depth + rows;
    rows_in_all += rows;
    late += steps > 50 && seconds > 0.1;
  }
  EXPECT_LE(late, steps / 100);
  EXPECT_GT(rows_in_all, 2000u * 250) << "and uses most of the time it has";
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// The engine with a prefix cache: a warm run gives the bits of a cold one over random trees of prompts, in exact and in fast
// arithmetic, and computes only what is new.
#include <gtest/gtest.h>

#include "infer/engine_testing.h"
#include "infer/sequence.h"

namespace planish {
namespace {

constexpr size_t kCache = size_t{64} << 20;

class EngineCacheTest : public ::testing::TestWithParam<TestModel> {
 protected:
  const Model& model_ = ModelFor(GetParam());
  bool cuts_matter() const { return GetParam().golden == nullptr; }
  bool is_recurrent() const { return StateSizeOf(model_).is_recurrent(); }
};

// Prompts of a tree: each goes on from a place in an earlier one, or starts anew. Cuts are functions of the beginning.
std::vector<Request> PromptTree(const Model& model, size_t count, uint64_t seed) {
  Random random(seed);
  std::vector<Request> requests;
  for (size_t i = 0; i < count; ++i) {
    Request request;
    request.sampling.temperature = 0;
    request.max_new_tokens = 4;
    if (i > 0 && random.Below(8) != 0) {
      const Request& parent = requests[random.Below(i)];
      const size_t whole = parent.prompt.size();
      const size_t kept = random.Below(3) != 0 ? whole : 1 + random.Below(whole);
      request.prompt.assign(parent.prompt.begin(),
                            parent.prompt.begin() + static_cast<ptrdiff_t>(kept));
      for (const size_t at : parent.snapshot_at) {
        if (at < kept) request.snapshot_at.push_back(at);
      }
    }
    const size_t added = 1 + random.Below(random.Below(3) == 0 ? 90 : 12);
    for (size_t n = 0; n < added && request.prompt.size() < 400; ++n)
      request.prompt.push_back(static_cast<int32_t>(random.Below(model.config().vocab_size)));
    if (random.Below(2) == 0)
      request.snapshot_at.push_back(request.prompt.size() - random.Below(added));
    requests.push_back(std::move(request));
  }
  return requests;
}

// One engine that sees all prompts, some of them at the same time, against a new one for each.
void ExpectWarmEqualsCold(const Model& model, size_t count, uint64_t seed, size_t budget,
                          uint64_t* cached_tokens) {
  const std::vector<Request> requests = PromptTree(model, count, seed);
  Engine warm(&model, {.slots = 3, .step_tokens = 64, .cache_bytes = budget});
  std::vector<Outcome> found(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    Start(&warm, requests[i], &found[i]);
    if (i % 3 == 2) warm.RunUntilIdle();
  }
  warm.RunUntilIdle();
  warm.cache()->CheckInvariants();
  *cached_tokens += warm.stats().totals.cached_tokens;
  for (size_t i = 0; i < requests.size(); ++i) {
    Engine cold(&model, {.cache_bytes = kCache});
    Outcome expected;
    Start(&cold, requests[i], &expected);
    cold.RunUntilIdle();
    EXPECT_EQ(found[i], expected) << "request " << i << " of tree " << seed;
  }
}

TEST_P(EngineCacheTest, WarmEqualsColdOverRandomTreesOfPrompts) {
  uint64_t cached = 0;
  ExpectWarmEqualsCold(model_, 40, 1, kCache, &cached);
  EXPECT_GT(cached, 1000u);
  ExpectWarmEqualsCold(model_, 30, 2, 4 * StateSizeOf(model_).Bytes(300), &cached);
}

TEST(EngineCache, WarmEqualsColdOverTwoHundredTreesSlow) {
  for (const TestModel& test : kTestModels) {
    SCOPED_TRACE(test.name);
    const Model& model = ModelFor(test);
    uint64_t cached = 0;
    for (uint64_t seed = 0; seed < 200; ++seed) {
      ExpectWarmEqualsCold(model, 12, seed,
                           seed % 3 == 0 ? 3 * StateSizeOf(model).Bytes(200) : kCache, &cached);
    }
    EXPECT_GT(cached, 20'000u);
  }
}

TEST_P(EngineCacheTest, TheSamePromptAgainComputesOneTokenOrOneSlice) {
  for (const size_t length : {2, 20, 64, 65, 200}) {
    Engine engine(&model_, {.cache_bytes = kCache});
    Request request = Greedy(RandomIds(model_, length, length), 5);
    Outcome first, again;
    RequestResult result;
    Start(&engine, request, &first, &result);
    engine.RunUntilIdle();
    EXPECT_EQ(result.resumed_tokens, 0u);
    Start(&engine, request, &again, &result);
    engine.RunUntilIdle();
    // Where cuts matter the state must be of use to longer prompts too: at the last multiple of 32.
    const size_t expected_state =
        cuts_matter() && length > 32 ? (length - 1) / 32 * 32 : length - 1;
    EXPECT_EQ(result.resumed_tokens, expected_state);
    EXPECT_EQ(again, first);
    // A cut near the end takes the place of the one before the last token.
    if (length < 64) continue;
    request.cache_salt = "other";
    request.snapshot_at = {length - 20};
    for (const size_t expected : {size_t{0}, is_recurrent() ? length - 20 : length - 1}) {
      Start(&engine, request, &again, &result);
      engine.RunUntilIdle();
      EXPECT_EQ(result.resumed_tokens, expected) << "nothing of another salt is seen";
    }
  }
}

TEST_P(EngineCacheTest, WhereTwoPromptsPartAStateIsLeftForTheThird) {
  Engine engine(&model_, {.cache_bytes = kCache});
  const Ids shared = RandomIds(model_, 150, 1);
  const auto run = [&](uint64_t seed) {
    Ids prompt = shared;
    const Ids own = RandomIds(model_, 60, seed);
    prompt.insert(prompt.end(), own.begin(), own.end());
    Outcome outcome;
    RequestResult result;
    Start(&engine, Greedy(prompt, 2), &outcome, &result);
    engine.RunUntilIdle();
    EXPECT_GE(result.matched_tokens, result.resumed_tokens);
    return result.resumed_tokens;
  };
  EXPECT_EQ(run(2), 0u);
  EXPECT_EQ(run(3), is_recurrent() ? 0u : 150u);
  EXPECT_EQ(run(4), is_recurrent() ? 128u : 150u);
  EXPECT_EQ(run(5), is_recurrent() ? 128u : 150u);
}

TEST_P(EngineCacheTest, AnAnswerIsResumedFromWhenItsEndIsKept) {
  const Ids prompt = RandomIds(model_, 50, 3);
  for (const bool keeps_end : {false, true}) {
    Engine engine(&model_, {.cache_bytes = kCache});
    Request request = Greedy(prompt, 10);
    request.keeps_end = keeps_end;
    Outcome outcome;
    RequestResult result;
    Start(&engine, request, &outcome, &result);
    engine.RunUntilIdle();
    Request next = Greedy(prompt, 3);
    next.prompt.insert(next.prompt.end(), outcome.ids.begin(), outcome.ids.end());
    next.prompt.insert(next.prompt.end(), {5, 6, 7});
    Start(&engine, next, &outcome, &result);
    const size_t held = 59;  // the last id was sampled and never fed
    engine.RunUntilIdle();
    EXPECT_EQ(result.resumed_tokens, keeps_end || !is_recurrent() ? held
                                     : cuts_matter()              ? 32u
                                                                  : 49u);
  }
}

TEST_P(EngineCacheTest, PromptLogprobsSkipOnlyPositionsThatAreNotWanted) {
  const Ids prompt = RandomIds(model_, 100, 5);
  Request request = Greedy(prompt, 1);
  request.prompt_logprobs = true;
  request.prompt_top_logprobs = 3;
  Engine engine(&model_, {.cache_bytes = kCache});
  const RequestResult all = engine.Run(request);
  ASSERT_EQ(all.prompt_logprobs.size(), 99u);
  ASSERT_EQ(all.prompt_tops.size(), 99u);
  for (size_t t = 0; t < 99; ++t) {
    ASSERT_EQ(all.prompt_tops[t].size(), 3u);
    EXPECT_GE(all.prompt_tops[t][0].second, all.prompt_tops[t][1].second);
    EXPECT_LE(all.prompt_logprobs[t], all.prompt_tops[t][0].second);
    for (const auto& [id, logprob] : all.prompt_tops[t]) {
      if (id == prompt[t + 1]) {
        EXPECT_EQ(logprob, all.prompt_logprobs[t]);
      }
    }
  }
  const RequestResult again = engine.Run(request);
  EXPECT_EQ(again.resumed_tokens, 0u) << "all positions are wanted";
  EXPECT_EQ(again.prompt_logprobs, all.prompt_logprobs);
  request.prompt_logprobs_from = 100;
  EXPECT_TRUE(engine.Run(request).prompt_logprobs.empty());
  request.prompt = RandomIds(model_, 130, 5);  // begins with the other one
  request.prompt_logprobs_from = 110;
  const RequestResult end = engine.Run(request);
  EXPECT_EQ(end.resumed_tokens, cuts_matter() ? 96u : is_recurrent() ? 99u : 100u);
  EXPECT_EQ(end.prompt_logprobs.size(), 20u);
  request.prompt_logprobs_from = 1;
  const RequestResult whole = engine.Run(request);
  EXPECT_TRUE(std::equal(end.prompt_logprobs.begin(), end.prompt_logprobs.end(),
                         whole.prompt_logprobs.begin() + 109));
}

TEST_P(EngineCacheTest, BackgroundWorkRunsWhenIdleAndIsDroppedForARequest) {
  Engine engine(&model_, {.slots = 2, .cache_bytes = kCache});
  Request ahead = Greedy(RandomIds(model_, 400, 7), 0);
  ahead.is_background = true;
  Outcome done, cut, request_outcome;
  Start(&engine, ahead, &cut);
  engine.Step();
  EXPECT_EQ(engine.stats().background, 1u);
  Request request = Greedy(RandomIds(model_, 100, 8), 3);
  Start(&engine, request, &request_outcome);
  engine.Step();
  EXPECT_EQ(cut.finish, FinishReason::kCancelled);
  engine.RunUntilIdle();
  EXPECT_EQ(request_outcome.finish, FinishReason::kLength);
  // What was computed is not lost; idle, it goes to its end.
  RequestResult result;
  Start(&engine, ahead, &done, &result);
  engine.RunUntilIdle();
  EXPECT_EQ(result.resumed_tokens, 128u);
  EXPECT_EQ(done.finish, FinishReason::kLength);
  Request next = Greedy(ahead.prompt, 2);
  next.prompt.insert(next.prompt.end(), {1, 2, 3});
  Outcome outcome;
  Start(&engine, next, &outcome, &result);
  engine.RunUntilIdle();
  EXPECT_EQ(result.resumed_tokens, is_recurrent() ? 384u : 400u);
  Engine cold(&model_, {.cache_bytes = kCache});
  Outcome expected;
  Start(&cold, next, &expected);
  cold.RunUntilIdle();
  EXPECT_EQ(outcome, expected);
}

TEST_P(EngineCacheTest, ARequestMayStayOutOfTheCache) {
  Engine engine(&model_, {.cache_bytes = kCache});
  Request request = Greedy(RandomIds(model_, 100, 9), 3);
  const RequestResult first = engine.Run(request);
  request.cache_prompt = false;
  const RequestResult out = engine.Run(request);
  EXPECT_EQ(out.resumed_tokens, 0u);
  EXPECT_EQ(out.ids, first.ids);
  request.cache_salt = "s";
  engine.Run(request);
  request.cache_prompt = true;
  EXPECT_EQ(engine.Run(request).resumed_tokens, 0u) << "it left nothing either";
}

TEST(EngineCuts, LongPromptsGetPeriodicOnesAndShortOnesTheirLastToken) {
  const auto cuts_of = [](size_t length, std::vector<size_t> asked, bool is_background,
                          bool cuts_matter = false) {
    Request request;
    request.prompt.assign(length, 1);
    request.snapshot_at = std::move(asked);
    request.is_background = is_background;
    Sequence sequence(1, request, nullptr);
    sequence.PlanCuts(/*is_recurrent=*/true, /*has_cache=*/true, cuts_matter);
    return sequence.cuts;
  };
  using Cuts = std::vector<size_t>;
  EXPECT_EQ(cuts_of(1, {}, false), Cuts{});
  EXPECT_EQ(cuts_of(2, {}, false), Cuts{1});
  EXPECT_EQ(cuts_of(5000, {7, 0, 5001}, false), (Cuts{7, 2048, 4096, 4999}));
  EXPECT_EQ(cuts_of(100, {67}, false), (Cuts{67, 99}));
  EXPECT_EQ(cuts_of(100, {68}, false), Cuts{68});
  EXPECT_EQ(cuts_of(100, {100}, false), (Cuts{99, 100}));
  EXPECT_EQ(cuts_of(100, {50}, true), (Cuts{50, 96}));
  EXPECT_EQ(cuts_of(100, {50}, false, true), (Cuts{50, 96}));
  EXPECT_EQ(cuts_of(32, {}, false, true), Cuts{31});
  EXPECT_EQ(cuts_of(33, {}, false, true), Cuts{32});
}

INSTANTIATE_TEST_SUITE_P(Models, EngineCacheTest, ::testing::ValuesIn(kTestModels),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

}  // namespace
}  // namespace planish

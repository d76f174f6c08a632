// SPDX-License-Identifier: Apache-2.0
// The tree of states against a plain list of what was put in: what it finds, that a state found is the state of those tokens to
// the bit, and that counters, pages and locks hold under random insertion, lookup and eviction.
#include "infer/prefix_cache.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/random.h"
#include "model/pretrained.h"

namespace planish {
namespace {

using Ids = std::vector<int32_t>;

class PrefixCacheTest : public ::testing::TestWithParam<const char*> {
 protected:
  static const Model* Opened(const std::string& name) {
    static std::map<std::string, Pretrained> opened;
    const std::string folder = PLANISH_SOURCE_DIR "/tests/golden/models/" + name;
    if (!opened.contains(name)) opened[name] = OpenPretrained(folder, {.needs_tokenizer = false});
    return opened[name].model.get();
  }

  // Hidden rows of `ids` from where `state` stands; advances it.
  std::vector<float> Continue(std::span<const int32_t> ids, SequenceState* state) {
    std::vector<float> hidden(ids.size() * model_->config().hidden_size);
    const StepRun run{0, ids.size(), state, false};
    if (!ids.empty()) model_->Step(ids, {&run, 1}, hidden.data(), &workspace_);
    return hidden;
  }
  SequenceState StateOf(std::span<const int32_t> ids) {
    SequenceState state = model_->NewSequence();
    Continue(ids, &state);
    return state;
  }
  void ExpectStateOf(std::span<const int32_t> ids, const SequenceState& found) {
    ASSERT_EQ(found.length(), ids.size());
    const Ids next = {3, 1, 4};
    SequenceState expected = StateOf(ids), copy = found.Snapshot();
    EXPECT_EQ(Continue(next, &copy), Continue(next, &expected));
  }
  // Few different ids, so that they share beginnings.
  static Ids RandomIds(size_t longest, Random* random) {
    Ids ids(1 + random->Below(longest));
    for (int32_t& id : ids) id = random->Below(8) == 0 ? 1 : 2;
    return ids;
  }
  bool is_recurrent() const { return StateSizeOf(*model_).is_recurrent(); }

  const Model* model_ = Opened(GetParam());
  Workspace workspace_;
};

TEST_P(PrefixCacheTest, FindsTheDeepestStateThatABruteForceSearchFinds) {
  PrefixCache cache(model_, size_t{1} << 30);
  Random random(1);
  std::map<std::string, std::vector<Ids>> inserted;
  for (int round = 0; round < 80; ++round) {
    const std::string salt = random.Below(4) == 0 ? "other" : "";
    const Ids ids = RandomIds(90, &random);
    size_t matched = 0, resumable = 0;
    const size_t longest = ids.size() - 1 - random.Below(2) * random.Below(ids.size());
    for (const Ids& known : inserted[salt]) {
      const auto common = static_cast<size_t>(
          std::mismatch(ids.begin(), ids.end(), known.begin(), known.end()).first - ids.begin());
      matched = std::max(matched, common);
      if (is_recurrent() && (common < known.size() || known.size() > longest)) continue;
      resumable = std::max(resumable, std::min(common, longest));
    }
    const PrefixCache::Hit hit = cache.Find({.salt = salt, .ids = ids, .longest = longest});
    EXPECT_EQ(hit.matched, matched);
    EXPECT_EQ(hit.state.has_value() ? hit.state->length() : 0, resumable);
    if (hit.state) ExpectStateOf(std::span(ids).first(resumable), *hit.state);
    if (random.Below(3) > 0) {
      inserted[salt].push_back(ids);
      EXPECT_NE(cache.Insert(salt, ids, StateOf(ids), {}, PrefixCache::Kind::kCut), nullptr);
    }
    cache.CheckInvariants();
  }
  EXPECT_GT(cache.stats().hits, 25u);
  EXPECT_EQ(cache.stats().evicted, 0u);
  cache.Drop("other");
  cache.CheckInvariants();
  EXPECT_EQ(cache.Find({.salt = "other", .ids = inserted["other"][0], .longest = 99}).matched, 0u);
  EXPECT_GT(cache.stats().entries, 0u);
}

TEST_P(PrefixCacheTest, CountersPagesAndLocksHoldUnderRandomUseWithinASmallBudget) {
  const StateSize size = StateSizeOf(*model_);
  for (const size_t budget : {4 * size.Bytes(180), 6 * size.Bytes(180) + 5, 15 * size.Bytes(180)}) {
    PrefixCache cache(model_, budget);
    Random random(budget);
    std::vector<std::pair<Ids, PrefixCache::Lease>> leased;
    for (int round = 0; round < 80; ++round) {
      const Ids ids = RandomIds(180, &random);
      PrefixCache::Hit hit = cache.Find({.ids = ids, .longest = ids.size()});
      SequenceState state = hit.state ? std::move(*hit.state) : model_->NewSequence();
      const size_t resumed = state.length();
      if (round % 10 == 0) ExpectStateOf(std::span(ids).first(resumed), state);
      Continue(std::span(ids).subspan(resumed), &state);
      PrefixCache::Lease lease = cache.Insert(
          "", ids, std::move(state), {},
          random.Below(5) == 0 ? PrefixCache::Kind::kPeriodic : PrefixCache::Kind::kCut);
      cache.CheckInvariants();
      if (lease != nullptr && random.Below(4) == 0) leased.emplace_back(ids, lease);
      if (leased.size() > 2) leased.erase(leased.begin());
      for (const auto& [kept, token] : leased) {
        const PrefixCache::Hit found = cache.Find({.ids = kept, .longest = kept.size()});
        ASSERT_TRUE(found.state.has_value()) << "what is leased stays";
        if (size.Bytes(kept.size()) <= budget) {
          EXPECT_EQ(found.state->length(), kept.size());
        }
      }
    }
    EXPECT_GT(cache.stats().evicted, 10u);
    EXPECT_GT(cache.stats().hits, 10u);
    leased.clear();
    cache.Drop("");
    cache.CheckInvariants();
    EXPECT_EQ(cache.stats().bytes, 0u);
    EXPECT_EQ(cache.stats().entries, 0u);
  }
}

TEST_P(PrefixCacheTest, PagesOfASharedBeginningAreCountedOnce) {
  const StateSize size = StateSizeOf(*model_);
  PrefixCache cache(model_, size_t{1} << 30);
  Ids ids(256, 2);
  SequenceState state = StateOf(std::span(ids).first(128));
  cache.Insert("", std::span(ids).first(128), state.Snapshot(), {}, PrefixCache::Kind::kCut);
  Continue(std::span(ids).subspan(128), &state);
  cache.Insert("", ids, std::move(state), {}, PrefixCache::Kind::kCut);
  const size_t states = is_recurrent() ? 2 : 1;  // the longer one stands for both
  EXPECT_EQ(cache.stats().entries, states);
  EXPECT_EQ(cache.stats().bytes, states * size.recurrent_bytes + 4 * size.column_bytes);
}

TEST_P(PrefixCacheTest, WithoutRoomItRefusesOrKeepsTheBeginning) {
  const StateSize size = StateSizeOf(*model_);
  PrefixCache small(model_, size.Bytes(64));
  const Ids ids(200, 2);
  const PrefixCache::Lease lease = small.Insert("", ids, StateOf(ids), {}, PrefixCache::Kind::kCut);
  EXPECT_EQ(lease == nullptr, is_recurrent());
  const PrefixCache::Hit hit = small.Find({.ids = ids, .longest = 199});
  EXPECT_EQ(hit.matched, is_recurrent() ? 0u : 64u);
  EXPECT_EQ(hit.state.has_value(), !is_recurrent());
  small.CheckInvariants();
  PrefixCache none(model_, 100);  // warns
  EXPECT_EQ(none.Insert("", ids, StateOf(ids), {}, PrefixCache::Kind::kCut), nullptr);
  none.CheckInvariants();
  EXPECT_EQ(none.stats().refused, 1u);
}

TEST_P(PrefixCacheTest, AStateOfOtherCutsOrOfDecodeStepsIsFoundOnlyWhereItIsAllowed) {
  PrefixCache cache(model_, size_t{1} << 30);
  const Ids ids(100, 2);
  const auto length_found = [&](std::vector<size_t> cuts, bool takes_answers) {
    const PrefixCache::Hit hit =
        cache.Find({.ids = ids, .longest = 99, .cuts = cuts, .takes_answers = takes_answers});
    return hit.state ? hit.state->length() : 0;
  };
  cache.Insert("", std::span(ids).first(50), StateOf(std::span(ids).first(50)), {.cuts = {40, 50}},
               PrefixCache::Kind::kCut);
  EXPECT_EQ(length_found({40, 50, 77}, false), 50u);
  if (is_recurrent()) {
    EXPECT_EQ(length_found({50}, true), 0u);
    EXPECT_EQ(length_found({40}, true), 0u);
    EXPECT_EQ(length_found({40, 45, 50}, true), 0u);
  }
  cache.Insert("", std::span(ids).first(80), StateOf(std::span(ids).first(80)),
               {.cuts = {40, 50, 60}, .exact_length = 60}, PrefixCache::Kind::kAnswer);
  EXPECT_EQ(length_found({40, 50}, true), 80u);
  EXPECT_EQ(length_found({40, 50}, false), is_recurrent() ? 50u : 60u);
  // An exact one takes the place of one of decode steps, not the other way round.
  cache.Insert("", std::span(ids).first(80), StateOf(std::span(ids).first(80)),
               {.cuts = {40, 50, 80}}, PrefixCache::Kind::kCut);
  EXPECT_EQ(length_found({40, 50, 80}, false), 80u);
  cache.Insert("", std::span(ids).first(80), StateOf(std::span(ids).first(80)),
               {.cuts = {40, 50, 60}, .exact_length = 60}, PrefixCache::Kind::kAnswer);
  EXPECT_EQ(length_found({40, 50, 80}, false), 80u);
  cache.CheckInvariants();
}

TEST(PrefixCache, PeriodicStatesGetSparseBehindTheNewest) {
  const Pretrained opened = OpenPretrained(PLANISH_SOURCE_DIR "/tests/golden/models/nemotron_h_a",
                                           {.needs_tokenizer = false});
  PrefixCache cache(opened.model.get(), size_t{1} << 30);
  const Ids ids(50 * 2048, 2);
  for (size_t at = 2048; at <= ids.size(); at += 2048) {
    SequenceState state = opened.model->NewSequence();  // no tokens: only its length counts here
    state.Advance(at);
    cache.Insert("", std::span(ids).first(at), std::move(state), {}, PrefixCache::Kind::kPeriodic);
  }
  cache.CheckInvariants();
  EXPECT_LT(cache.stats().entries, 26u);
  EXPECT_GT(cache.stats().entries, 10u);
  for (const size_t back : {0, 1, 2, 3}) {
    const size_t at = ids.size() - back * 2048;
    const auto hit = cache.Find({.ids = ids, .longest = at});
    EXPECT_EQ(hit.state->length(), at);
  }
}

TEST_P(PrefixCacheTest, PackedStatesAreTheExactOnesRoundedOnce) {
  PrefixCache cache(model_, size_t{1} << 30);
  cache.PackSsm('r');
  const Ids ids(100, 2), next = {3, 1, 4};
  cache.Insert("r", ids, StateOf(ids), {}, PrefixCache::Kind::kCut);
  cache.Insert("p", ids, StateOf(ids), {}, PrefixCache::Kind::kCut);
  cache.CheckInvariants();
  const StateSize full = StateSizeOf(*model_), packed = StateSizeOf(*model_, DType::kBF16);
  EXPECT_EQ(cache.stats().state_bytes, packed.recurrent_bytes + full.recurrent_bytes);
  EXPECT_EQ(packed.recurrent_bytes < full.recurrent_bytes, is_recurrent());
  EXPECT_EQ(packed.column_bytes, full.column_bytes);
  PrefixCache::Hit hit = cache.Find({.salt = "r", .ids = ids, .longest = ids.size()});
  ASSERT_TRUE(hit.state.has_value());
  EXPECT_EQ(hit.origin.exact_length < ids.size(), is_recurrent());
  SequenceState rounded = StateOf(ids), exact = StateOf(ids);
  SetSsmType(*model_, DType::kBF16, &rounded);
  EXPECT_EQ(rounded.bytes() < exact.bytes(), is_recurrent());
  SetSsmType(*model_, DType::kF32, &rounded);
  const std::vector<float> found = Continue(next, &*hit.state);
  EXPECT_EQ(found, Continue(next, &rounded));
  EXPECT_EQ(found == Continue(next, &exact), !is_recurrent()) << "rounding is seen";
  // Other salts stay exact; who wants exact states does not find packed ones.
  hit = cache.Find({.salt = "p", .ids = ids, .longest = ids.size()});
  ASSERT_TRUE(hit.state.has_value());
  ExpectStateOf(ids, *hit.state);
  const PrefixCache::Query strict{
      .salt = "r", .ids = ids, .longest = ids.size(), .takes_answers = false};
  EXPECT_EQ(cache.Find(strict).state.has_value(), !is_recurrent());
}

INSTANTIATE_TEST_SUITE_P(Models, PrefixCacheTest, ::testing::Values("nemotron_h_a", "llama_a"),
                         [](const auto& param_info) { return std::string(param_info.param); });

}  // namespace
}  // namespace planish

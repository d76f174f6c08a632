// SPDX-License-Identifier: Apache-2.0
// What must hold for every registered mixer, whatever its formula: steps equal the full forward, packed documents equal
// separate runs bit for bit, keeping equals not keeping, any cut of a sequence gives the same bits, snapshots and
// truncation restore exactly, declared cost equals counted parameters.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/parallel.h"
#include "model/mixer_testing.h"

namespace planish {
namespace {

std::vector<float> Forward(const Mixer& mixer, const SeqLayout& layout, const float* x,
                           std::unique_ptr<Saved>* saved = nullptr) {
  Workspace workspace;
  std::vector<float> y(layout.tokens() * kMixerTestHidden);
  mixer.Forward({.layout = layout, .workspace = &workspace}, x, y.data(), saved);
  return y;
}

// One sequence through Step in slices of the given lengths (the last length repeats).
std::vector<float> Steps(const Mixer& mixer, const std::vector<float>& x,
                         const std::vector<size_t>& cuts, MixerState* state, size_t position = 0,
                         ActMode act = ActMode::kF32) {
  Workspace workspace;
  const size_t T = x.size() / kMixerTestHidden;
  std::vector<float> y(x.size());
  for (size_t begin = 0, i = 0; begin < T; ++i) {
    const size_t count = std::min(cuts[std::min(i, cuts.size() - 1)], T - begin);
    const StepRows rows{0, count, position + begin, state, count == 1};
    mixer.Step({{&rows, 1}, {count, count == 1, act}}, x.data() + begin * kMixerTestHidden,
               y.data() + begin * kMixerTestHidden, &workspace);
    begin += count;
  }
  return y;
}

void ExpectNear(const std::vector<float>& found, const std::vector<float>& expected,
                const std::string& what) {
  ASSERT_EQ(found.size(), expected.size());
  double scale = 0;
  for (const float value : expected) scale = std::max(scale, static_cast<double>(std::abs(value)));
  for (size_t i = 0; i < found.size(); ++i) {
    // Two float evaluations of sums of a few hundred terms: some tens of roundings relative to the largest value.
    ASSERT_NEAR(found[i], expected[i], 64 * std::numeric_limits<float>::epsilon() * (scale + 1))
        << what << " at " << i;
  }
}

const size_t kLengths[] = {1, 2, 3, 4, 7, 8, 9, 16, 17, 63, 64, 65, 131};

TEST(MixerProperty, StepByStepEqualsForward) {
  for (const MixerKind& kind : MixerKinds()) {
    SCOPED_TRACE(kind.name);
    if (kind.types.kv != DType::kF32) continue;  // Forward keeps floats
    const auto mixer = RandomMixer(kind.config, 1);
    for (const size_t T : kLengths) {
      const std::vector<float> x = RandomRows(T, T);
      const auto state = mixer->NewState(kind.types);
      ExpectNear(Steps(*mixer, x, {1}, state.get()), Forward(*mixer, SeqLayout(T), x.data()),
                 "T = " + std::to_string(T));
    }
  }
}

TEST(MixerProperty, AnyCutOfASequenceIntoStepsGivesTheSameBits) {
  for (const MixerKind& kind : MixerKinds()) {
    SCOPED_TRACE(kind.name);
    const auto mixer = RandomMixer(kind.config, 2);
    const std::vector<float> x = RandomRows(131, 5);
    const auto whole = mixer->NewState(kind.types);
    const std::vector<float> expected = Steps(*mixer, x, {131}, whole.get());
    for (const std::vector<size_t>& cuts :
         {std::vector<size_t>{1}, {32}, {2, 1, 5, 64, 3}, {130, 1}, {1, 130}, {63, 1, 1, 66}}) {
      const auto state = mixer->NewState(kind.types);
      EXPECT_EQ(Steps(*mixer, x, cuts, state.get()), expected) << "first cut " << cuts[0];
    }
  }
}

TEST(MixerProperty, PackedDocumentsEqualSeparateOnesBitForBit) {
  const std::vector<std::vector<size_t>> packings = {
      {1, 1, 1}, {2, 3, 1, 17}, {8, 8}, {7, 9, 64}, {65, 1, 66}};
  for (const MixerKind& kind : MixerKinds()) {
    SCOPED_TRACE(kind.name);
    const auto mixer = RandomMixer(kind.config, 3);
    for (const auto& lengths : packings) {
      const SeqLayout layout = SeqLayout::Packed(lengths);
      const std::vector<float> x = RandomRows(layout.tokens(), 7);
      const std::vector<float> packed = Forward(*mixer, layout, x.data());
      for (size_t s = 0; s < layout.sequences(); ++s) {
        const size_t begin = layout.begin(s) * kMixerTestHidden,
                     size = layout.length(s) * kMixerTestHidden;
        const std::vector<float> alone =
            Forward(*mixer, SeqLayout(layout.length(s)), x.data() + begin);
        EXPECT_TRUE(
            std::equal(alone.begin(), alone.end(), packed.begin() + static_cast<ptrdiff_t>(begin)))
            << "document " << s << " of " << size / kMixerTestHidden;
      }
    }
  }
}

TEST(MixerProperty, RowsOfSeveralSequencesInOneStepEqualSeparateSteps) {
  for (const MixerKind& kind : MixerKinds()) {
    SCOPED_TRACE(kind.name);
    const auto mixer = RandomMixer(kind.config, 4);
    // Three sequences: a prefill slice, a decode row after 5 tokens, a slice after 3.
    const std::vector<float> history = RandomRows(5, 11), x = RandomRows(9 + 1 + 4, 12);
    const size_t counts[] = {1, 9, 4}, before[] = {5, 0, 3};
    Workspace workspace;
    std::vector<std::unique_ptr<MixerState>> together, alone;
    std::vector<StepRows> rows;
    std::vector<float> expected, y(x.size());
    for (size_t s = 0, begin = 0; s < 3; begin += counts[s], ++s) {
      for (auto* states : {&together, &alone}) {
        states->push_back(mixer->NewState(kind.types));
        Steps(*mixer,
              std::vector<float>(
                  history.begin(),
                  history.begin() + static_cast<ptrdiff_t>(before[s] * kMixerTestHidden)),
              {8}, states->back().get());
      }
      rows.push_back({begin, counts[s], before[s], together.back().get(), counts[s] == 1});
      const std::vector<float> part(
          x.begin() + static_cast<ptrdiff_t>(begin * kMixerTestHidden),
          x.begin() + static_cast<ptrdiff_t>((begin + counts[s]) * kMixerTestHidden));
      const std::vector<float> result =
          Steps(*mixer, part, {counts[s]}, alone.back().get(), before[s]);
      expected.insert(expected.end(), result.begin(), result.end());
    }
    mixer->Step({rows, {14, 1}}, x.data(), y.data(), &workspace);
    EXPECT_EQ(y, expected);
  }
}

TEST(MixerProperty, FastAttentionRowsDependOnTheirKindOnly) {
  for (const MixerKind& kind : MixerKinds()) {
    SCOPED_TRACE(kind.name);
    if (!std::holds_alternative<AttentionConfig>(kind.config)) continue;
    const auto mixer = RandomMixer(kind.config, 10);
    const std::vector<float> x = RandomRows(300, 20);
    for (const ActMode act : {ActMode::kBf16, ActMode::kInt8}) {
      // Slices of several rows: any cut. Then two decode rows, alone and beside others, at any thread count.
      std::vector<std::vector<float>> results;
      for (const std::vector<size_t>& cuts :
           {std::vector<size_t>{298, 1}, {64, 100, 134, 1}, {2, 3, 7, 286, 1}}) {
        for (const int threads : {1, 2, 3}) {
          SetThreadCount(threads);
          const auto state = mixer->NewState(kind.types);
          results.push_back(Steps(*mixer, x, cuts, state.get(), 0, act));
        }
      }
      SetThreadCount(0);
      for (const auto& result : results) EXPECT_EQ(result, results[0]);

      const auto state = mixer->NewState(kind.types), slice = mixer->NewState(kind.types);
      Steps(*mixer, std::vector<float>(x.begin(), x.begin() + 298 * kMixerTestHidden), {298},
            state.get(), 0, act);
      std::vector<float> both(x.begin() + 298 * kMixerTestHidden,
                              x.begin() + 299 * kMixerTestHidden);
      both.insert(both.end(), x.begin(), x.begin() + 70 * kMixerTestHidden);
      std::vector<float> y(both.size());
      const StepRows rows[] = {{0, 1, 298, state.get(), true}, {1, 70, 0, slice.get()}};
      Workspace workspace;
      mixer->Step({rows, {71, 1, act}}, both.data(), y.data(), &workspace);
      EXPECT_TRUE(std::equal(y.begin(), y.begin() + kMixerTestHidden,
                             results[0].begin() + 298 * kMixerTestHidden));
      EXPECT_TRUE(std::equal(y.begin() + kMixerTestHidden, y.end(), results[0].begin()));
    }
  }
}

TEST(MixerProperty, KeepingForBackwardDoesNotChangeTheResult) {
  for (const MixerKind& kind : MixerKinds()) {
    SCOPED_TRACE(kind.name);
    const auto mixer = RandomMixer(kind.config, 5);
    const std::vector<float> x = RandomRows(23, 13);
    std::unique_ptr<Saved> saved;
    const std::vector<float> kept = Forward(*mixer, SeqLayout(23), x.data(), &saved);
    EXPECT_NE(saved, nullptr);
    EXPECT_EQ(kept, Forward(*mixer, SeqLayout(23), x.data()));
  }
}

TEST(MixerProperty, SnapshotContinuesExactlyAndIsIndependent) {
  for (const MixerKind& kind : MixerKinds()) {
    SCOPED_TRACE(kind.name);
    const auto mixer = RandomMixer(kind.config, 6);
    const std::vector<float> x = RandomRows(70, 14), more = RandomRows(9, 15),
                             other = RandomRows(9, 16);
    const auto state = mixer->NewState(kind.types);
    Steps(*mixer, x, {70}, state.get());
    if (state == nullptr) continue;
    const auto snapshot = state->Snapshot();
    const std::vector<float> expected = Steps(*mixer, more, {4}, state.get(), 70);
    const auto second = snapshot->Snapshot();
    Steps(*mixer, other, {9}, second.get(),
          70);  // must not disturb the snapshot it shares pages with
    EXPECT_EQ(Steps(*mixer, more, {4}, snapshot.get(), 70), expected);
  }
}

TEST(MixerProperty, TruncationIsExactWhereItIsPossible) {
  for (const MixerKind& kind : MixerKinds()) {
    SCOPED_TRACE(kind.name);
    const auto mixer = RandomMixer(kind.config, 7);
    const std::vector<float> x = RandomRows(80, 17), more = RandomRows(5, 18);
    const auto state = mixer->NewState(kind.types), fresh = mixer->NewState(kind.types);
    Steps(*mixer, x, {80}, state.get());
    if (state == nullptr) continue;
    const bool is_recurrent = std::holds_alternative<Mamba2Config>(kind.config);
    ASSERT_EQ(state->CanTruncate(), !is_recurrent);
    if (is_recurrent) continue;
    state->Truncate(66);
    Steps(*mixer, std::vector<float>(x.begin(), x.begin() + 66 * kMixerTestHidden), {66},
          fresh.get());
    EXPECT_EQ(Steps(*mixer, more, {5}, state.get(), 66), Steps(*mixer, more, {5}, fresh.get(), 66));
  }
}

TEST(MixerProperty, DeclaredCostEqualsCountedParametersAndStates) {
  for (const MixerKind& kind : MixerKinds()) {
    SCOPED_TRACE(kind.name);
    const auto mixer = RandomMixer(kind.config, 8);
    size_t counted = 0;
    mixer->VisitParams([&](const Param& param) { counted += param.shape.elements(); });
    const MixerCost cost = mixer->Cost();
    EXPECT_EQ(cost.parameters, counted);
    const auto state = mixer->NewState(kind.types);
    Steps(*mixer, RandomRows(64, 1), {64}, state.get());
    const size_t declared = BytesOf(kind.types.kv, 64 * cost.kv_elements_per_token) +
                            sizeof(float) * (cost.ssm_elements + cost.conv_elements);
    EXPECT_EQ(state == nullptr ? 0 : state->bytes(), declared);
  }
}

TEST(MixerProperty, ThreadCountDoesNotChangeABit) {
  for (const MixerKind& kind : MixerKinds()) {
    SCOPED_TRACE(kind.name);
    const auto mixer = RandomMixer(kind.config, 9);
    const std::vector<float> x = RandomRows(100, 19);
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 2, 3}) {
      SetThreadCount(threads);
      const auto state = mixer->NewState(kind.types);
      results.push_back(Forward(*mixer, SeqLayout(100), x.data()));
      const std::vector<float> steps = Steps(*mixer, x, {64, 1, 35}, state.get());
      results.back().insert(results.back().end(), steps.begin(), steps.end());
    }
    SetThreadCount(0);
    EXPECT_EQ(results[0], results[1]);
    EXPECT_EQ(results[0], results[2]);
  }
}

}  // namespace
}  // namespace planish

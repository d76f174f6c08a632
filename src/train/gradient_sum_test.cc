// SPDX-License-Identifier: Apache-2.0
#include "train/gradient_sum.h"

#include <gtest/gtest.h>

#include "base/parallel.h"
#include "train/comm_testing.h"
#include "train/params_testing.h"

namespace planish {
namespace {

using testing::HybridParams;
using testing::ParamStore;

// Gradient of entry e, element i, micro-batch m.
float LeafValue(size_t leaf, size_t entry, size_t i) {
  return static_cast<float>(Random(leaf, entry * 1000003 + i).Normal());
}

void AddLeaf(const FlatParams& params, size_t leaf) {
  for (size_t e = 0; e < params.entries().size(); ++e)
    for (size_t i = 0; i < params.entries()[e].elements; ++i)
      (*params.entries()[e].grad)[i] += LeafValue(leaf, e, i);
}

// The tree as its definition says: pairs of equal size, leftovers from the smallest up.
std::vector<float> TreeSum(const std::vector<std::vector<float>>& leaves) {
  std::vector<std::pair<size_t, std::vector<float>>> sums;  // (leaves in it, sum)
  const auto merge_last_two = [&] {
    auto right = std::move(sums.back());
    sums.pop_back();
    for (size_t i = 0; i < right.second.size(); ++i) sums.back().second[i] += right.second[i];
    sums.back().first += right.first;
  };
  for (const auto& leaf : leaves) {
    sums.emplace_back(1, leaf);
    while (sums.size() > 1 && sums[sums.size() - 2].first == sums.back().first) merge_last_two();
  }
  while (sums.size() > 1) merge_last_two();
  return sums.front().second;
}

// One parameter of 3 and one of 70000 floats (two chunks).
ParamStore SmallParams() {
  ParamStore store;
  store.Add("a", {3}, ParamRole::kNorm);
  store.Add("b", {70, 1000}, ParamRole::kInput);
  store.Add("c", {65}, ParamRole::kSsmD);
  return store;
}

TEST(GradientSum, EveryRankCountGivesTheBitsOfTheTree) {
  for (const size_t leaves : {1, 2, 3, 4, 8, 12}) {
    ParamStore reference = SmallParams();
    FlatParams flat(reference.params());
    std::vector<std::vector<float>> parts;
    for (size_t leaf = 0; leaf < leaves; ++leaf) {
      parts.emplace_back(flat.size());
      flat.BindGradients(parts.back().data());
      AddLeaf(flat, leaf);
    }
    const std::vector<float> want = TreeSum(parts);
    for (const size_t ranks : {1, 2, 3, 4}) {
      if (!WhyLeavesDoNotDivide(leaves, ranks).empty()) continue;
      SCOPED_TRACE(std::to_string(leaves) + " leaves, " + std::to_string(ranks) + " ranks");
      std::vector<float> got(want.size(), NAN);
      SetThreadCount(1);
      RunRanks(ranks, [&](Comm& comm) {
        ParamStore store = SmallParams();
        FlatParams params(store.params());
        const size_t own = leaves / ranks;
        GradientSum sum(&params, &comm, own);
        for (int step = 0; step < 2; ++step) {  // the second finds used buffers
          for (size_t i = 0; i < own; ++i) {
            sum.BeginLeaf();
            AddLeaf(params, comm.rank() * own + i);
            if (i + 1 == own && step == 1) {  // some of it travels early, from the back
              sum.RangeDone({params.entries()[2].offset, params.size()});
              sum.RangeDone({64, 6400});
            }
            sum.EndLeaf();
          }
          const float* result = sum.Finish();
          std::copy_n(result, sum.own_range().size(), got.data() + sum.own_range().begin);
        }
      });
      SetThreadCount(0);
      EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0);
    }
  }
}

TEST(GradientSum, SaysWhichRankCountsArePossible) {
  EXPECT_EQ(WhyLeavesDoNotDivide(3, 1), "");
  EXPECT_EQ(WhyLeavesDoNotDivide(8, 2), "");
  EXPECT_EQ(WhyLeavesDoNotDivide(12, 3), "");
  const std::string why = WhyLeavesDoNotDivide(12, 2);
  EXPECT_NE(why.find("12 micro-batches"), std::string::npos) << why;
  EXPECT_NE(why.find("possible: 1, 3, 6, 12"), std::string::npos) << why;
  EXPECT_NE(WhyLeavesDoNotDivide(2, 4), "");
}

TEST(GradientSum, ValuesOfAllPartsReachEveryRank) {
  SetThreadCount(1);
  for (const size_t ranks : {1, 2, 3}) {
    RunRanks(ranks, [&](Comm& comm) {
      ParamStore store = SmallParams();
      FlatParams params(store.params());
      const FlatRange own = params.RangeOf(comm.rank(), ranks);
      std::vector<float> values(params.size());
      params.ReadValues(own, values.data());
      for (float& value : values) value += static_cast<float>(comm.rank() + 1);
      params.WriteValues(own, values.data());
      AllGatherValues(&params, &comm);
      ParamStore original = SmallParams();
      FlatParams before(original.params());
      for (size_t r = 0; r < ranks; ++r) {
        const FlatRange range = params.RangeOf(r, ranks);
        for (const FlatParams::Chunk& chunk : params.chunks()) {
          if (chunk.begin < range.begin || chunk.begin >= range.end) continue;
          for (size_t i = 0; i < chunk.elements; ++i) {
            const float was = before.ValueOf(before.chunks()[&chunk - params.chunks().data()])[i];
            ASSERT_EQ(params.ValueOf(chunk)[i], was + static_cast<float>(r + 1));
          }
        }
      }
    });
  }
  SetThreadCount(0);
}

TEST(Comm, GathersDataOfDifferentLengths) {
  RunRanks(3, [](Comm& comm) {
    const auto texts = comm.AllGather(std::string(comm.rank() * 3, 'x'));
    ASSERT_EQ(texts.size(), 3u);
    for (size_t r = 0; r < 3; ++r) EXPECT_EQ(texts[r], std::string(r * 3, 'x'));
    const std::vector<double> own{0.5 + static_cast<double>(comm.rank())};
    const auto numbers = comm.AllGather(std::span<const double>(own));
    EXPECT_EQ(numbers[2], std::vector<double>{2.5});
    comm.Barrier();
  });
  EXPECT_EQ(MakeLocalComm()->AllGather(std::string("a")), std::vector<std::string>{"a"});
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "train/flat_params.h"

#include <gtest/gtest.h>

#include "train/params_testing.h"

namespace planish {
namespace {

using testing::HybridParams;
using testing::ParamStore;

TEST(FlatParams, EntriesFollowTheVisitingOrderAlignedAndWithoutOverlap) {
  const ParamStore store = HybridParams();
  const FlatParams flat(store.params());
  ASSERT_EQ(flat.entries().size(), store.params().size());
  size_t end = 0, elements = 0;
  for (size_t i = 0; i < flat.entries().size(); ++i) {
    const FlatParams::Entry& entry = flat.entries()[i];
    EXPECT_EQ(entry.name, store.params()[i].name);
    EXPECT_EQ(entry.offset, (end + 63) / 64 * 64) << entry.name;
    EXPECT_EQ(entry.value, store.ValuesOf(i));
    end = entry.end();
    elements += entry.elements;
  }
  EXPECT_EQ(flat.size(), (end + 63) / 64 * 64);
  EXPECT_EQ(flat.elements(), elements);
}

TEST(FlatParams, ChunksCoverEveryEntryOnce) {
  const ParamStore store = HybridParams();
  const FlatParams flat(store.params());
  size_t i = 0;
  for (size_t e = 0; e < flat.entries().size(); ++e) {
    const FlatParams::Entry& entry = flat.entries()[e];
    for (size_t at = entry.offset; at < entry.end(); ++i) {
      const FlatParams::Chunk& chunk = flat.chunks().at(i);
      EXPECT_EQ(chunk.entry, e);
      EXPECT_EQ(chunk.begin, at);
      EXPECT_EQ(flat.ValueOf(chunk), entry.value + (at - entry.offset));
      ASSERT_GT(chunk.elements, 0u);
      EXPECT_LE(chunk.elements, FlatParams::kChunkFloats);
      at += chunk.elements;
      EXPECT_LE(at, entry.end());
    }
  }
  EXPECT_EQ(i, flat.chunks().size());
  EXPECT_GE(flat.chunks().size(), store.params().size() + 2);  // one is cut into three
}

TEST(FlatParams, RangesOfRanksCoverAllInOrderAndCutNoChunk) {
  const ParamStore store = HybridParams();
  const FlatParams flat(store.params());
  for (const size_t ranks : {1, 2, 3, 4, 7, 64}) {
    size_t end = 0, chunks = 0;
    for (size_t rank = 0; rank < ranks; ++rank) {
      const FlatRange range = flat.RangeOf(rank, ranks);
      EXPECT_EQ(range.begin, end);
      end = range.end;
      const auto [first, last] = flat.ChunksOf(range);
      EXPECT_EQ(first, chunks);
      chunks = last;
      if (first == last) continue;
      EXPECT_EQ(flat.chunks()[first].begin, range.begin);
      EXPECT_LE(flat.chunks()[last - 1].begin + flat.chunks()[last - 1].elements, range.end);
      EXPECT_LE(range.size(), flat.size() / ranks + FlatParams::kChunkFloats + 64);
    }
    EXPECT_EQ(end, flat.size());
    EXPECT_EQ(chunks, flat.chunks().size());
  }
}

TEST(FlatParams, FrozenParametersTakeNoPlaceAndGetNoGradient) {
  ParamStore store = HybridParams();
  float somewhere = 0;
  *store.params()[0].grad = &somewhere;  // from an earlier life
  FlatParams flat(store.params(),
                  [](const Param& param) { return param.role != ParamRole::kEmbedding; });
  EXPECT_EQ(flat.entries().size(), store.params().size() - 1);
  EXPECT_EQ(flat.entries()[0].offset, 0u);
  std::vector<float> gradients(flat.size());
  flat.BindGradients(gradients.data());
  EXPECT_EQ(*store.params()[0].grad, nullptr);
  for (const FlatParams::Entry& entry : flat.entries())
    EXPECT_EQ(*entry.grad, gradients.data() + entry.offset);
  flat.BindGradients(nullptr);
  for (const Param& param : store.params()) EXPECT_EQ(*param.grad, nullptr);
}

TEST(FlatParams, ValuesOfAnyRangeComeBackAndHolesAreZero) {
  ParamStore store = HybridParams();
  FlatParams flat(store.params());
  std::vector<float> whole(flat.size(), 9);
  flat.ReadValues(flat.all(), whole.data());
  std::vector<bool> is_hole(flat.size(), true);
  for (const FlatParams::Entry& entry : flat.entries()) {
    for (size_t i = 0; i < entry.elements; ++i) {
      EXPECT_EQ(whole[entry.offset + i], entry.value[i]);
      is_hole[entry.offset + i] = false;
    }
  }
  for (size_t i = 0; i < whole.size(); ++i) {
    if (is_hole[i]) {
      EXPECT_EQ(whole[i], 0.0f) << i;
    }
  }
  // A range that begins and ends inside tensors.
  const FlatRange range{100, flat.size() - 1000};
  std::vector<float> part(range.size());
  flat.ReadValues(range, part.data());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 100));
  const uint64_t version = store.params()[0].weight->version();
  for (float& value : part) value += 1;
  flat.WriteValues(range, part.data());
  flat.ValuesChanged();
  EXPECT_GT(store.params()[0].weight->version(), version);
  EXPECT_EQ(flat.entries()[0].value[99], whole[99]);
  EXPECT_EQ(flat.entries()[0].value[100], whole[100] + 1);
  EXPECT_EQ(flat.entries().back().value[0], whole[flat.entries().back().offset] + 1);
}

TEST(FlatParamsDeathTest, RefusesParametersThatAreNotFloatInMemory) {
  Weight weight("w", 2, 4, DType::kBF16);
  float* grad = nullptr;
  const Param param{
      .name = "w", .shape = {2, 4}, .role = ParamRole::kInput, .weight = &weight, .grad = &grad};
  EXPECT_DEATH(FlatParams({param}), "w is bf16, training needs f32");
  EXPECT_EQ(FlatParams({param}, [](const Param&) { return false; }).size(), 0u);
}

}  // namespace
}  // namespace planish

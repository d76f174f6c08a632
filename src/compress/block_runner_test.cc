// SPDX-License-Identifier: Apache-2.0
#include "compress/block_runner.h"

#include <gtest/gtest.h>

#include <cstring>

#include "compress/compress_testing.h"

namespace planish {
namespace {

using namespace testing;  // the helpers of tests

TEST(BlockRunner, GivesTheBitsOfTheWholeForwardPassFromAnyBlockOn) {
  for (const char* config : {kTinyHybrid, kTinyLlama, kTinyQwen}) {
    const Pretrained parent = TinyModel(config, 3);
    const std::vector<int32_t> ids = RandomIds(parent, 1, 37, 5)[0];
    const size_t T = ids.size(), D = parent.config.hidden_size;
    const SeqLayout layout = SeqLayout::Packed({20, 17});
    Workspace workspace;
    std::vector<float> expected(T * D);
    std::vector<std::vector<float>> streams;  // before each block
    parent.model->Forward(ids, layout, expected.data(), &workspace,
                          [&](int, const float* h) { streams.emplace_back(h, h + T * D); });
    const BlockRunner runner(parent.model.get());
    ASSERT_EQ(streams.size(), runner.blocks() + 1);
    const Pass pass{.layout = layout, .workspace = &workspace};
    std::vector<float> h(T * D), hidden(T * D);
    runner.Embed(ids, h.data());
    EXPECT_EQ(h, streams[0]);
    for (size_t first = 0; first <= runner.blocks(); ++first) {
      h = streams[first];
      runner.Run(pass, first, runner.blocks(), h.data());
      runner.Norm(runner.blocks(), h.data(), T, hidden.data());
      EXPECT_EQ(std::memcmp(hidden.data(), expected.data(), T * D * sizeof(float)), 0) << first;
    }
  }
}

TEST(BlockRunner, AnEmptyRangeLeavesTheStreamAsItIs) {
  const Pretrained parent = TinyModel(kTinyHybrid, 4);
  const SeqLayout layout(3);
  Workspace workspace;
  std::vector<float> h(3 * parent.config.hidden_size, 0.5f);
  const std::vector<float> before = h;
  BlockRunner(parent.model.get()).Run({.layout = layout, .workspace = &workspace}, 2, 2, h.data());
  EXPECT_EQ(h, before);
}

}  // namespace
}  // namespace planish

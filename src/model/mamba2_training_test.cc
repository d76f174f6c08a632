// SPDX-License-Identifier: Apache-2.0
// Documents that do not fit into one slice of tokens; the rest of the mixer's properties are in mixer_gradient_test.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "model/mamba2_slices.h"
#include "model/mixer_testing.h"

namespace planish {
namespace {

TEST(Mamba2Slices, CoverEveryTokenOnceAndCutDocumentsAtChunksOnly) {
  Random random(71);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<size_t> lengths;
    for (size_t s = 0; s < 1 + random.Below(6); ++s) lengths.push_back(1 + random.Below(60));
    const size_t chunk = 1 + random.Below(9), tokens = 1 + random.Below(30);
    const SeqLayout layout = SeqLayout::Packed(lengths);
    size_t row = 0, document = 0, offset = 0, cuts = 0;
    for (const Mamba2Slice& slice : CutSlices(layout, chunk, tokens)) {
      ASSERT_EQ(slice.begin, row);
      ASSERT_LE(slice.count, std::max(tokens, chunk));
      ASSERT_EQ(slice.continues(), offset > 0);
      ASSERT_EQ(slice.cut, slice.continues() ? cuts - 1 : cuts);
      size_t count = 0;
      for (const Mamba2Piece& piece : slice.pieces) {
        ASSERT_GT(piece.count, 0u);
        ASSERT_EQ(piece.begin, count);
        ASSERT_EQ(piece.offset, offset);
        count += piece.count;
        offset += piece.count;
        ASSERT_EQ(piece.is_last, offset == lengths[document]);
        if (piece.is_last) {
          ++document;
          offset = 0;
        } else {
          ASSERT_EQ(offset % chunk, 0u);
        }
      }
      ASSERT_EQ(count, slice.count);
      cuts += slice.is_continued() ? 1 : 0;
      row += count;
    }
    ASSERT_EQ(row, layout.tokens());
  }
}

struct PassResult {
  std::vector<float> y, dx;
  std::map<std::string, std::vector<float>> gradients;
};

PassResult ForwardAndBackward(Mixer& mixer, const SeqLayout& layout, const std::vector<float>& x,
                              const std::vector<float>& dy, Precision precision, bool selective) {
  PassResult run;
  mixer.VisitParams([&](const Param& param) {
    std::vector<float>& buffer = run.gradients[param.name];
    buffer.assign(param.shape.elements(), 0.0f);
    *param.grad = buffer.data();
  });
  Workspace workspace;
  const Pass pass{
      .layout = layout, .workspace = &workspace, .precision = precision, .selective = selective};
  run.y.assign(x.size(), NAN);
  run.dx.assign(x.size(), NAN);
  std::vector<float> unkept(x.size(), NAN);
  mixer.Forward(pass, x.data(), unkept.data(), nullptr);
  std::unique_ptr<Saved> saved;
  mixer.Forward(pass, x.data(), run.y.data(), &saved);
  EXPECT_EQ(run.y, unkept);
  mixer.Backward(pass, x.data(), *saved, dy.data(), run.dx.data());
  return run;
}

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double square = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    square += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(square / size);
}

TEST(Mamba2Training, DocumentsOverSeveralSlicesPackedEqualSeparateOnes) {
  Mamba2Config mamba{.n_heads = 2,
                     .head_dim = 4,
                     .state_size = 5,
                     .n_groups = 1,
                     .conv_kernel = 4,
                     .chunk_size = 64};
  mamba.time_step_high = std::numeric_limits<double>::infinity();
  const auto mixer = RandomMixer(mamba, 72);
  // Slices of 4096: the first document ends in the first one, the second fills two more and goes on, the third follows there.
  const SeqLayout layout = SeqLayout::Packed({77, 8300, 130});
  const std::vector<float> x = RandomRows(layout.tokens(), 73),
                           dy = RandomRows(layout.tokens(), 74);
  const auto rows = [](const std::vector<float>& all, size_t begin, size_t count) {
    const auto first = all.begin() + static_cast<ptrdiff_t>(begin * kMixerTestHidden);
    return std::vector<float>(first, first + static_cast<ptrdiff_t>(count * kMixerTestHidden));
  };
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    const PassResult packed =
        ForwardAndBackward(*mixer, layout, x, dy, precision, /*selective=*/true);
    const PassResult kept =
        ForwardAndBackward(*mixer, layout, x, dy, precision, /*selective=*/false);
    EXPECT_EQ(packed.y, kept.y);
    EXPECT_EQ(packed.dx, kept.dx);
    EXPECT_EQ(packed.gradients, kept.gradients);
    std::map<std::string, std::vector<float>> sums;
    for (size_t s = 0; s < layout.sequences(); ++s) {
      const size_t begin = layout.begin(s), count = layout.length(s);
      const PassResult alone = ForwardAndBackward(*mixer, SeqLayout(count), rows(x, begin, count),
                                                  rows(dy, begin, count), precision, true);
      EXPECT_EQ(alone.y, rows(packed.y, begin, count)) << s;
      EXPECT_EQ(alone.dx, rows(packed.dx, begin, count)) << s;
      for (const auto& [name, gradient] : alone.gradients) {
        sums[name].resize(gradient.size());
        for (size_t i = 0; i < gradient.size(); ++i) sums[name][i] += gradient[i];
      }
    }
    for (const auto& [name, gradient] : packed.gradients)
      EXPECT_LT(Distance(gradient, sums.at(name)), 1e-5) << name;
  }
}

}  // namespace
}  // namespace planish

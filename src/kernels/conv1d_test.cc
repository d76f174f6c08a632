// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv1d.h"

#include "kernels/kernel_testing.h"
#include "kernels/reference.h"

namespace planish {
namespace {

TEST(Conv1d, MatchesReferenceForAllChannelsWidthsAndHistories) {
  ForEachSimdLevel([] {
    Random random(9);
    for (size_t C : kTestSizes) {
      for (size_t W : {1u, 2u, 4u, 5u}) {
        for (size_t T : {1u, 2u, 3u, 9u}) {
          const size_t x_stride = C + 3, out_stride = C + 1;
          const auto x = RandomFloats(random, T * C), w = RandomFloats(random, W * C);
          const auto bias = RandomFloats(random, C), history = RandomFloats(random, (W - 1) * C);
          std::vector<float> rows((T - 1) * x_stride + C), out((T - 1) * out_stride + C);
          for (size_t t = 0; t < T; ++t) std::copy_n(&x[t * C], C, &rows[t * x_stride]);
          for (bool has_history : {true, false}) {
            for (bool has_bias : {true, false}) {
              std::vector<double> want(T * C);
              reference::CausalConv1d(
                  Widen(x).data(), has_history ? Widen(history).data() : nullptr, Widen(w).data(),
                  has_bias ? Widen(bias).data() : nullptr, T, C, W, want.data());
              CausalConv1d(rows.data(), x_stride, has_history ? history.data() : nullptr, w.data(),
                           has_bias ? bias.data() : nullptr, T, C, W, out.data(), out_stride);
              std::vector<float> got(T * C);
              for (size_t t = 0; t < T; ++t) std::copy_n(&out[t * out_stride], C, &got[t * C]);
              // Products below 25 in sum; silu's slope is below 1.1.
              const auto bound = [&](size_t i) {
                double sum = has_bias ? std::abs(bias[i % C]) : 0;
                for (size_t k = 0; k < W; ++k) {
                  const size_t row = i / C + k;
                  double in = 0;
                  if (row >= W - 1) {
                    in = x[(row - (W - 1)) * C + i % C];
                  } else if (has_history) {
                    in = history[row * C + i % C];
                  }
                  sum += std::abs(w[k * C + i % C] * in);
                }
                return (1.1 * static_cast<double>(W + 1) * sum + 8 * std::abs(want[i])) * kRoundoff;
              };
              ExpectWithin(got.data(), want, bound, "out");
            }
          }
        }
      }
    }
  });
}

TEST(Conv1d, RowsInFrontAreTheHistoryInEitherType) {
  ForEachSimdLevel([] {
    Random random(12);
    const size_t T = 13, C = 21, W = 4, stride = C + 3;
    auto x = RandomFloats(random, T * stride);
    std::vector<uint16_t> halves;
    for (float& v : x) {
      halves.push_back(BF16FromFloat(v));
      v = FloatFromBF16(halves.back());
    }
    const auto w = RandomFloats(random, W * C), bias = RandomFloats(random, C);
    std::vector<float> whole(T * C);
    CausalConv1d(x.data(), stride, nullptr, w.data(), bias.data(), T, C, W, whole.data(), C);
    for (size_t begin = 0; begin < T; ++begin) {
      const size_t count = T - begin;
      std::vector<float> part(count * C);
      std::vector<uint16_t> part_halves(count * C);
      const ConvJob jobs[] = {{.x = x.data() + begin * stride,
                               .x_stride = stride,
                               .before = begin,
                               .T = count,
                               .out = part.data(),
                               .out_stride = C},
                              {.type = DType::kBF16,
                               .x = halves.data() + begin * stride,
                               .x_stride = stride,
                               .before = begin,
                               .T = count,
                               .out = part_halves.data(),
                               .out_stride = C}};
      CausalConv1d({C, W}, w.data(), bias.data(), jobs);
      for (size_t i = 0; i < part.size(); ++i) {
        ASSERT_EQ(part[i], whole[begin * C + i]);
        ASSERT_EQ(part_halves[i], BF16FromFloat(whole[begin * C + i]));
      }
    }
  });
}

TEST(Conv1d, AnyCutOfTheTokensGivesTheSameBits) {
  ForEachSimdLevel([] {
    Random random(10);
    const size_t T = 41, C = 67, W = 4;
    const auto x = RandomFloats(random, T * C), w = RandomFloats(random, W * C),
               bias = RandomFloats(random, C);
    std::vector<float> whole(T * C), cut(T * C);
    CausalConv1d(x.data(), C, nullptr, w.data(), bias.data(), T, C, W, whole.data(), C);
    for (int trial = 0; trial < 20; ++trial) {
      std::vector<float> history((W - 1) * C, 0.0f);
      for (size_t t = 0; t < T;) {
        const size_t n = trial == 0 ? 1 : std::min<size_t>(T - t, 1 + random.Below(7));
        CausalConv1d(&x[t * C], C, history.data(), w.data(), bias.data(), n, C, W, &cut[t * C], C);
        history.insert(history.end(), &x[t * C], &x[t * C] + n * C);
        history.erase(history.begin(), history.end() - static_cast<ptrdiff_t>((W - 1) * C));
        t += n;
      }
      ExpectSameBits(whole, cut, "out");
    }
  });
}

TEST(Conv1d, JobsOfOneCallDoNotTouchEachOther) {
  Random random(11);
  const size_t C = 2100, W = 4;  // more than one channel task
  const auto w = RandomFloats(random, W * C), bias = RandomFloats(random, C);
  const std::vector<size_t> lengths = {1, 70, 0, 3, 33};
  std::vector<std::vector<float>> x, history, alone, together;
  for (size_t T : lengths) {
    x.push_back(RandomFloats(random, T * C));
    history.push_back(RandomFloats(random, (W - 1) * C));
    alone.emplace_back(T * C);
    together.emplace_back(T * C);
  }
  for (size_t i = 0; i < lengths.size(); ++i) {
    CausalConv1d(x[i].data(), C, history[i].data(), w.data(), bias.data(), lengths[i], C, W,
                 alone[i].data(), C);
  }
  for (int threads : {1, 2, 3}) {
    const ThreadCountScope scope(threads);
    std::vector<ConvJob> jobs;
    for (size_t i = 0; i < lengths.size(); ++i) {
      std::fill(together[i].begin(), together[i].end(), -1.0f);
      jobs.push_back({.x = x[i].data(),
                      .x_stride = C,
                      .history = history[i].data(),
                      .T = lengths[i],
                      .out = together[i].data(),
                      .out_stride = C});
    }
    CausalConv1d({C, W}, w.data(), bias.data(), jobs);
    for (size_t i = 0; i < lengths.size(); ++i) ExpectSameBits(alone[i], together[i], "out");
  }
}

TEST(Conv1d, WeightTransposeMovesTapsOutside) {
  const std::vector<float> w = {1, 2, 3, 4, 5, 6};  // [C = 2, W = 3]
  std::vector<float> out(6);
  TransposeConvWeight(w.data(), 2, 3, out.data());
  EXPECT_EQ(out, (std::vector<float>{1, 4, 2, 5, 3, 6}));
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv1d_backward.h"

#include "kernels/gradient_testing.h"
#include "kernels/kernel_testing.h"
#include "kernels/reference.h"
#include "kernels/reference_training.h"

namespace planish {
namespace {

// T tokens of one sequence; with bf16, x is rounded.
struct ConvCase {
  size_t T, C, W;
  bool is_half;
  std::vector<float> x, w, bias, dout;
  std::vector<uint16_t> halves;  // of x
  ConvCase(size_t tokens, size_t channels, size_t width, uint64_t seed, bool half = false)
      : T(tokens), C(channels), W(width), is_half(half) {
    Random random(seed);
    x = RandomFloats(random, T * C);
    w = RandomFloats(random, W * C);
    bias = RandomFloats(random, C);
    dout = RandomFloats(random, T * C);
    if (!is_half) return;
    for (float& v : x) {
      halves.push_back(BF16FromFloat(v));
      v = FloatFromBF16(halves.back());
    }
  }
};

struct ConvGradients {
  std::vector<float> dx, dw, db;
};

// The tokens in parts of `part`, from the last to the first, each seeing the rows in front of it and g from behind.
ConvGradients Backward(const ConvCase& c, size_t part, bool has_bias = true) {
  ConvGradients g{std::vector<float>(c.T * c.C), std::vector<float>(c.W * c.C, 0.0f),
                  std::vector<float>(c.C, 0.0f)};
  const size_t dx_stride = c.C + 2;
  std::vector<float> dx(c.T * dx_stride), behind((c.W - 1) * c.C), front(behind.size());
  std::vector<uint16_t> dx_halves(dx.size());
  bool is_last = true;
  for (size_t begin = (c.T - 1) / part * part;; begin -= part) {
    const size_t at = begin * c.C, to = begin * dx_stride;
    const ConvBackwardJob job{
        .type = c.is_half ? DType::kBF16 : DType::kF32,
        .x = c.is_half ? static_cast<const void*>(c.halves.data() + at) : c.x.data() + at,
        .x_stride = c.C,
        .before = begin,
        .T = std::min(part, c.T - begin),
        .dout = c.dout.data() + at,
        .dout_stride = c.C,
        .g_behind = is_last ? nullptr : behind.data(),
        .g_front = front.data(),
        .dx = c.is_half ? static_cast<void*>(dx_halves.data() + to) : dx.data() + to,
        .dx_stride = dx_stride};
    CausalConv1dBackward({c.C, c.W}, c.w.data(), has_bias ? c.bias.data() : nullptr, {&job, 1},
                         g.dw.data(), g.db.data());
    std::swap(front, behind);
    is_last = false;
    if (begin == 0) break;
  }
  for (size_t i = 0; i < g.dx.size(); ++i) {
    const size_t from = i / c.C * dx_stride + i % c.C;
    g.dx[i] = c.is_half ? FloatFromBF16(dx_halves[from]) : dx[from];
  }
  return g;
}

void ExpectMatches(const ConvCase& c, const ConvGradients& found, bool has_bias) {
  const std::vector<double> zeros(c.C);
  const double* bias = has_bias ? nullptr : zeros.data();
  const std::vector<double> wide_bias = Widen(c.bias);
  if (has_bias) bias = wide_bias.data();
  const auto want = reference::CausalConv1dBackward(Widen(c.x).data(), nullptr, Widen(c.w).data(),
                                                    bias, c.T, c.C, c.W, Widen(c.dout).data());
  // g is off by its slope's error, of which |silu''| <= 1/2 times the error of pre and eight roundings of 1 + |pre|.
  std::vector<double> dx(c.T * c.C), dw(c.W * c.C), db(c.C);
  const auto width = static_cast<double>(c.W), tokens = static_cast<double>(c.T);
  for (size_t t = 0; t < c.T; ++t) {
    for (size_t i = 0; i < c.C; ++i) {
      double size = std::abs(bias[i]);
      const auto in = [&](size_t k) {
        return t + k + 1 >= c.W ? static_cast<double>(c.x[(t + k + 1 - c.W) * c.C + i]) : 0.0;
      };
      for (size_t k = 0; k < c.W; ++k) size += std::abs(c.w[k * c.C + i] * in(k));
      const double dout = std::abs(c.dout[t * c.C + i]);
      const double error = dout * kRoundoff * (0.5 * (width + 1) * size + 8 * (1 + size));
      const double g = 1.1 * dout * kRoundoff;
      db[i] += error + tokens * g;
      for (size_t k = 0; k < c.W; ++k) {
        dw[k * c.C + i] += std::abs(in(k)) * (error + tokens * g);
        if (t + k + 1 >= c.W)
          dx[(t + k + 1 - c.W) * c.C + i] += std::abs(c.w[k * c.C + i]) * (error + width * g);
      }
    }
  }
  const double storage = c.is_half ? 1.01 * kHalfRoundoff : 0;
  ExpectWithin(
      found.dx.data(), want.dx, [&](size_t i) { return dx[i] + storage * std::abs(want.dx[i]); },
      "dx");
  ExpectWithin(
      found.dw.data(), want.dw, [&](size_t i) { return dw[i]; }, "dw");
  ExpectWithin(
      found.db.data(), want.db, [&](size_t i) { return db[i]; }, "db");
}

TEST(Conv1dBackward, ReferenceMatchesCentralDifferences) {
  const ConvCase c(7, 3, 4, 41);
  Random random(40);
  std::vector<double> x = Widen(c.x), w = Widen(c.w), bias = Widen(c.bias),
                      history = Widen(RandomFloats(random, (c.W - 1) * c.C));
  const auto loss = [&] {
    std::vector<double> out(c.T * c.C);
    reference::CausalConv1d(x.data(), history.data(), w.data(), bias.data(), c.T, c.C, c.W,
                            out.data());
    double sum = 0;
    for (size_t i = 0; i < out.size(); ++i) sum += c.dout[i] * out[i];
    return sum;
  };
  const auto g = reference::CausalConv1dBackward(x.data(), history.data(), w.data(), bias.data(),
                                                 c.T, c.C, c.W, Widen(c.dout).data());
  EXPECT_LT(WorstSlope(x, loss, g.dx), 1e-8);
  EXPECT_LT(WorstSlope(history, loss, g.dhistory), 1e-8);
  EXPECT_LT(WorstSlope(w, loss, g.dw), 1e-8);
  EXPECT_LT(WorstSlope(bias, loss, g.db), 1e-8);
}

TEST(Conv1dBackward, MatchesReferenceForAllChannelsWidthsAndLengths) {
  ForEachSimdLevel([] {
    for (size_t C : {1u, 3u, 8u, 15u, 16u, 17u, 67u}) {
      for (size_t W : {1u, 2u, 4u, 5u}) {
        for (size_t T : {1u, 2u, 3u, 9u, 64u, 67u, 130u}) {
          for (const bool is_half : {false, true}) {
            const ConvCase c(T, C, W, 42 + T, is_half);
            ExpectMatches(c, Backward(c, T), true);
            ExpectMatches(c, Backward(c, T, false), false);
            if (::testing::Test::HasFailure()) {
              ADD_FAILURE() << "C " << C << " W " << W << " T " << T << " half " << is_half;
              return;
            }
          }
        }
      }
    }
  });
}

TEST(Conv1dBackward, PartsGiveTheInputGradientsOfTheWhole) {
  for (const bool is_half : {false, true}) {
    const ConvCase c(71, 33, 4, 43, is_half);
    const ConvGradients whole = Backward(c, c.T);
    for (size_t part : {1u, 2u, 3u, 16u, 64u}) {
      const ConvGradients parts = Backward(c, part);
      ExpectSameBits(whole.dx, parts.dx, "dx");
      ExpectMatches(c, parts, true);
    }
  }
}

TEST(Conv1dBackward, RunsOnAnyThreadsGiveTheBitsOfOneThread) {
  std::vector<ConvCase> cases;
  for (size_t T : {300u, 1u, 0u, 2u, 90u}) cases.emplace_back(T, 600, 4, 44 + T);
  std::vector<std::vector<float>> dx, dw, db;
  for (int threads : {1, 2, 3}) {
    const ThreadCountScope scope(threads);
    std::vector<ConvBackwardJob> jobs;
    std::vector<std::vector<float>> out;
    for (const ConvCase& c : cases) {
      out.emplace_back(c.T * c.C);
      jobs.push_back({.x = c.x.data(),
                      .x_stride = c.C,
                      .T = c.T,
                      .dout = c.dout.data(),
                      .dout_stride = c.C,
                      .dx = out.back().data(),
                      .dx_stride = c.C});
    }
    dw.emplace_back(4 * 600, 1.0f);
    db.emplace_back(600, 1.0f);
    CausalConv1dBackward({600, 4}, cases[0].w.data(), cases[0].bias.data(), jobs, dw.back().data(),
                         db.back().data());
    dx.emplace_back();
    for (const auto& values : out) dx.back().insert(dx.back().end(), values.begin(), values.end());
    ExpectSameBits(dx[0], dx.back(), "dx");
    ExpectSameBits(dw[0], dw.back(), "dw");
    ExpectSameBits(db[0], db.back(), "db");
  }
}

}  // namespace
}  // namespace planish

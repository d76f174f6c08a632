// SPDX-License-Identifier: Apache-2.0
#include "kernels/ssd.h"

#include <limits>

#include "kernels/isa.h"
#include "kernels/ssd_testing.h"

namespace planish {
namespace {

// A term passes up to `steps` of four roundings (decay, two products, sum), then the sum over N.
void ExpectMatches(const SsdCase& c, const SsdExpected& e, size_t steps,
                   const std::vector<float>& y, const std::vector<float>& state) {
  const double roundings = static_cast<double>(4 * steps + c.dims.state) + 8;
  ExpectWithin(
      y.data(), e.y, [&](size_t i) { return roundings * kRoundoff * e.y_magnitude[i]; }, "y");
  ExpectWithin(
      state.data(), e.state, [&](size_t i) { return roundings * kRoundoff * e.state_magnitude[i]; },
      "state");
}

const std::vector<SsmDims> kShapes = {
    {1, 1, 1, 1},  {2, 3, 5, 1},   {4, 5, 8, 2},    {4, 8, 16, 2},  {2, 7, 17, 2},
    {3, 4, 31, 1}, {2, 16, 32, 1}, {2, 17, 64, 1},  {2, 5, 128, 2}, {1, 3, 136, 1},
    {2, 4, 4, 1},  {6, 9, 2, 3},   {1, 33, 144, 1}, {1, 2, 256, 1},
};

TEST(Ssm, ScanMatchesReferenceForAllShapesAndLengths) {
  ForEachSimdLevel([] {
    for (const SsmDims& dims : kShapes) {
      for (size_t T : {1u, 2u, 3u, 17u, 32u, 33u, 71u}) {
        const SsdCase c(dims, T, 14 + T);
        std::vector<float> state = c.state, y(c.y_size());
        SsmScan(dims, c.ScanInput(), T, state.data(), y.data(), dims.heads * dims.head_dim);
        ExpectMatches(c, Reference(c, c.state), T, y, state);
      }
    }
  });
}

TEST(Ssm, AnyCutOfTheTokensGivesTheSameBits) {
  ForEachSimdLevel([] {
    for (const SsmDims& dims : kShapes) {
      const SsdCase c(dims, 75, 15);
      const size_t row = dims.heads * dims.head_dim;
      std::vector<float> whole_state = c.state, whole(c.y_size());
      SsmScan(dims, c.ScanInput(), c.T, whole_state.data(), whole.data(), row);
      Random random(16);
      for (int trial = 0; trial < 4; ++trial) {
        std::vector<float> state = c.state, y(c.y_size());
        for (size_t t = 0; t < c.T;) {
          const size_t n = trial == 0 ? 1 : std::min<size_t>(c.T - t, 1 + random.Below(40));
          SsmScan(dims, c.ScanInput(t), n, state.data(), y.data() + t * row, row);
          t += n;
        }
        ExpectSameBits(whole, y, "y");
        ExpectSameBits(whole_state, state, "state");
      }
    }
  });
}

TEST(Ssm, ThreadCountDoesNotChangeABit) {
  const SsmDims dims{6, 10, 20, 3};
  const SsdCase c(dims, 700, 17);
  std::vector<std::vector<float>> y, state;
  for (int threads : {1, 2, 3}) {
    const ThreadCountScope scope(threads);
    y.emplace_back(c.y_size());
    state.push_back(c.state);
    SsmScan(dims, c.ScanInput(), c.T, state.back().data(), y.back().data(), 60);
    ExpectSameBits(y[0], y.back(), "y");
    ExpectSameBits(state[0], state.back(), "state");
  }
}

TEST(Ssm, StridedInputAndOutputOfAWiderMatrixAreRead) {
  const SsmDims dims{4, 6, 10, 2};
  const SsdCase c(dims, 37, 18);
  // One row: x | B | C as the convolution writes them; y inside wider rows.
  const size_t row = 24 + 20 + 20, y_stride = 29;
  std::vector<float> xbc(c.T * row);
  for (size_t t = 0; t < c.T; ++t) {
    std::copy_n(&c.x[t * 24], 24, &xbc[t * row]);
    std::copy_n(&c.B[t * 20], 20, &xbc[t * row + 24]);
    std::copy_n(&c.C[t * 20], 20, &xbc[t * row + 44]);
  }
  SsmInput strided = c.ScanInput();
  strided.x = &xbc[0];
  strided.B = &xbc[24];
  strided.C = &xbc[44];
  strided.x_stride = strided.b_stride = strided.c_stride = row;
  std::vector<float> state = c.state, y(c.y_size()), strided_state = c.state;
  std::vector<float> wide((c.T - 1) * y_stride + 24), gathered(c.y_size());
  const auto gather = [&] {
    for (size_t t = 0; t < c.T; ++t) std::copy_n(&wide[t * y_stride], 24, &gathered[t * 24]);
  };
  SsmScan(dims, c.ScanInput(), c.T, state.data(), y.data(), 24);
  SsmScan(dims, strided, c.T, strided_state.data(), wide.data(), y_stride);
  gather();
  ExpectSameBits(y, gathered, "y");
  ExpectSameBits(state, strided_state, "state");
  y = c.Forward(16, c.state.data(), state.data());
  const size_t wide_row = row + 7;
  std::vector<float> wide_xbc(c.T * wide_row), steps(c.T * 6);
  for (size_t t = 0; t < c.T; ++t) {
    std::copy_n(&xbc[t * row], row, &wide_xbc[t * wide_row + 3]);
    std::copy_n(&c.dt[t * 4], 4, &steps[t * 6]);
  }
  SsdInput input = c.Input();
  input.xbc = &wide_xbc[3];
  input.stride = wide_row;
  input.dt = steps.data();
  input.dt_stride = 6;
  const SsdJob job{input,       c.T,      c.state.data(), strided_state.data(),
                   wide.data(), y_stride, nullptr};
  SsdChunkScan(dims, 16, {&job, 1});
  gather();
  ExpectSameBits(y, gathered, "chunked y");
  ExpectSameBits(state, strided_state, "chunked state");
}

TEST(Ssd, ChunkedScanMatchesRecurrenceAroundChunkBorders) {
  ForEachSimdLevel([] {
    const std::vector<SsmDims> shapes = {
        {4, 5, 7, 2}, {2, 16, 16, 1}, {2, 19, 33, 2}, {4, 1, 1, 4}};
    for (const SsmDims& dims : shapes) {
      for (size_t Q : {1u, 16u, 64u, 128u, 256u}) {
        for (size_t T : {size_t{1}, Q - 1, Q, Q + 1, 2 * Q + 3}) {
          if (T == 0) continue;
          const SsdCase c(dims, T, 19 + T + Q);
          const auto expected = Reference(c, c.state);
          std::vector<float> state(c.state.size());
          const std::vector<float> y = c.Forward(Q, c.state.data(), state.data());
          ExpectMatches(c, expected, T, y, state);
          if (::testing::Test::HasFailure()) {
            ADD_FAILURE() << "Q " << Q << " T " << T;
            return;
          }
          std::vector<float> in_place = c.state;
          const std::vector<float> y_again = c.Forward(Q, in_place.data(), in_place.data());
          ExpectSameBits(state, in_place, "state in place");
          ExpectSameBits(y, y_again, "y in place");
        }
      }
    }
  });
}

TEST(Ssd, ChunkStatesAreTheRecurrenceAtChunkStarts) {
  const SsmDims dims{4, 6, 9, 2};
  const size_t Q = 16, T = 3 * Q + 5;
  const SsdCase c(dims, T, 20);
  std::vector<float> states(4 * dims.StateSize());
  c.Forward(Q, nullptr, nullptr, states.data());
  for (size_t k = 0; k < 4; ++k) {
    SsdCase prefix = c;
    prefix.T = k * Q;
    const auto expected = Reference(prefix, std::vector<float>(dims.StateSize(), 0.0f));
    const double roundings = 4.0 * static_cast<double>(prefix.T) + 8;
    ExpectWithin(
        &states[k * dims.StateSize()], expected.state,
        [&](size_t i) { return roundings * kRoundoff * expected.state_magnitude[i]; }, "state");
  }
}

TEST(Ssd, ManyDocumentsGiveTheBitsOfSeparateCalls) {
  const SsmDims dims{8, 3, 4, 8};
  const size_t Q = 256;
  const std::vector<size_t> lengths = {700, 1, 0, 2500, 256, 3000};
  std::vector<SsdCase> cases;
  for (size_t T : lengths) cases.emplace_back(dims, T, 21 + T);
  for (bool wants_state : {true, false}) {
    std::vector<std::vector<float>> y_alone, state_alone;
    for (const SsdCase& c : cases) {
      state_alone.push_back(c.state);
      y_alone.push_back(
          c.Forward(Q, c.state.data(), wants_state ? state_alone.back().data() : nullptr));
    }
    for (int threads : {1, 2, 3}) {
      const ThreadCountScope scope(threads);
      std::vector<std::vector<float>> y, state;
      std::vector<SsdJob> jobs;
      for (const SsdCase& c : cases) {
        y.emplace_back(c.y_size());
        state.push_back(c.state);
      }
      for (size_t i = 0; i < cases.size(); ++i) {
        const SsdCase& c = cases[i];
        jobs.push_back({c.Input(), c.T, c.state.data(), wants_state ? state[i].data() : nullptr,
                        y[i].data(), dims.XSize(), nullptr});
      }
      SsdChunkScan(dims, Q, jobs);
      for (size_t i = 0; i < cases.size(); ++i) {
        ExpectSameBits(y_alone[i], y[i], "y");
        if (wants_state) ExpectSameBits(state_alone[i], state[i], "state");
      }
      const auto expected = Reference(cases[5], cases[5].state);
      ExpectWithin(
          y[5].data(), expected.y,
          [&](size_t i) { return (4.0 * Q + 40) * kRoundoff * expected.y_magnitude[i]; }, "y");
    }
  }
}

TEST(Ssd, StrongAndVanishingDecaysNeitherOverflowNorLosePrecision) {
  ForEachSimdLevel([] {
    for (double decay_scale : {1e-6, 30.0, 1e4, 1e30}) {
      const SsmDims dims{4, 8, 16, 2};
      const SsdCase c(dims, 300, 22, decay_scale);
      const auto expected = Reference(c, c.state);
      std::vector<float> state = c.state, y(c.y_size());
      SsmScan(dims, c.ScanInput(), c.T, state.data(), y.data(), 32);
      ExpectMatches(c, expected, c.T, y, state);
      for (size_t Q : {16u, 256u}) {
        y = c.Forward(Q, c.state.data(), state.data());
        ExpectMatches(c, expected, c.T, y, state);
      }
    }
  });
}

class SsdHalf : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { LimitIsa(GetParam()); }
  void TearDown() override { LimitIsa(""); }
};

TEST_P(SsdHalf, ChunkedScanWithHalfOperandsMatchesRecurrenceAroundChunkBorders) {
  const ThreadCountScope scope(1);
  for (const SsmDims& dims : {SsmDims{4, 5, 7, 2}, SsmDims{2, 16, 32, 1}, SsmDims{2, 19, 33, 2}}) {
    for (size_t Q : {1u, 16u, 48u, 128u}) {
      for (size_t T : {size_t{1}, Q + 1, 2 * Q + 3}) {
        SsdCase c(dims, T, 25 + T + Q);
        c.RoundToBf16();
        const auto expected = Reference(c, c.state);
        std::vector<float> state(c.state.size());
        const std::vector<float> y = c.Forward(Q, c.state.data(), state.data());
        // Rounded once each: M or S, the decayed x that made S, and y when it is stored.
        const double exact = static_cast<double>(4 * T + dims.state) * kRoundoff;
        ExpectWithin(
            y.data(), expected.y,
            [&](size_t i) { return (3.1 * kHalfRoundoff + exact) * expected.y_magnitude[i]; }, "y");
        ExpectWithin(
            state.data(), expected.state,
            [&](size_t i) { return (1.1 * kHalfRoundoff + exact) * expected.state_magnitude[i]; },
            "state");
        if (HasFailure()) {
          ADD_FAILURE() << "Q " << Q << " T " << T << " N " << dims.state;
          return;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, SsdHalf, testing::ValuesIn(IsaLevels()),
                         [](const auto& param) { return param.param; });

TEST(Ssd, NoTokensLeaveTheStateAsItWas) {
  const SsmDims dims{2, 3, 4, 1};
  const SsdCase c(dims, 0, 23);
  std::vector<float> state = c.state, final_state(c.state.size(), 7.0f);
  SsmScan(dims, c.ScanInput(), 0, state.data(), nullptr, 6);
  ExpectSameBits(c.state, state, "state");
  c.Forward(16, c.state.data(), final_state.data());
  ExpectSameBits(c.state, final_state, "final state");
  c.Forward(16, nullptr, final_state.data());
  ExpectSameBits(std::vector<float>(c.state.size(), 0.0f), final_state, "zero state");
}

TEST(Ssm, PrepareDtIsSoftplusThenClamp) {
  ForEachSimdLevel([] {
    Random random(24);
    const float inf = std::numeric_limits<float>::infinity();
    for (size_t H : kTestSizes) {
      const size_t T = 3, stride = H + 2;
      const auto raw = RandomFloats(random, (T - 1) * stride + H, 12.0);
      const auto bias = RandomFloats(random, H, 3.0);
      for (auto [lo, hi] : {std::pair{0.0f, inf}, std::pair{0.001f, 0.1f}}) {
        std::vector<float> dt(T * H);
        PrepareDt(raw.data(), stride, bias.data(), T, H, lo, hi, dt.data());
        std::vector<double> want(T * H), slack(T * H);
        for (size_t i = 0; i < T * H; ++i) {
          const double r = raw[i / H * stride + i % H], b = bias[i % H];
          want[i] = std::clamp<double>(reference::Softplus(r + b), lo, hi);
          // The sum is rounded; softplus turns that into a relative error of at most |r + b|.
          slack[i] = want[i] * (10 + std::abs(r + b)) * kRoundoff;
        }
        ExpectWithin(
            dt.data(), want, [&](size_t i) { return slack[i]; }, "dt");
      }
    }
    float dt = 0;
    const float nan = std::numeric_limits<float>::quiet_NaN(), zero = 0;
    PrepareDt(&nan, 1, &zero, 1, 1, 0.001f, 0.1f, &dt);
    EXPECT_TRUE(std::isnan(dt));
  });
}

}  // namespace
}  // namespace planish

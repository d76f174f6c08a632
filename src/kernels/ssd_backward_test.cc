// SPDX-License-Identifier: Apache-2.0
// The chunked gradient against the token-by-token one in double, which is checked against central differences here.
#include "kernels/ssd_backward.h"

#include "kernels/isa.h"
#include "kernels/reference_training.h"
#include "kernels/ssd_testing.h"

namespace planish {
namespace {

// A case with the gradients that come from behind.
struct BackwardCase : SsdCase {
  std::vector<float> dy, dfinal;
  BackwardCase(const SsmDims& shape, size_t tokens, uint64_t seed, double decay_scale = 1)
      : SsdCase(shape, tokens, seed, decay_scale) {
    Random random(seed + 1000);
    dy = RandomFloats(random, y_size());
    dfinal = RandomFloats(random, dims.StateSize());
  }
};

struct Gradient {
  std::vector<float> dxbc, ddt, dA, dD, dinitial;
};

struct Call {
  bool has_initial = true, has_final = true, wants_initial = true;
  size_t begin = 0, count = SIZE_MAX;
  const float* initial = nullptr;  // of a part, instead of the case's
  const float* dfinal = nullptr;
};

SsdBackwardJob Job(const BackwardCase& c, const Call& call, const float* chunk_states,
                   Gradient* g) {
  const size_t T = std::min(call.count, c.T - call.begin);
  g->dxbc.assign(T * c.dims.RowSize(), NAN);
  g->ddt.assign(T * c.dims.heads, NAN);
  g->dinitial.assign(c.dims.StateSize(), NAN);
  const float* initial = call.initial != nullptr ? call.initial : c.state.data();
  const float* dfinal = call.dfinal != nullptr ? call.dfinal : c.dfinal.data();
  return {.input = c.Input(call.begin),
          .T = T,
          .initial_state = call.has_initial ? initial : nullptr,
          .chunk_states = chunk_states,
          .dy = c.dy.data() + call.begin * c.dims.XSize(),
          .dy_stride = c.dims.XSize(),
          .dfinal = call.has_final ? dfinal : nullptr,
          .dinitial = call.wants_initial ? g->dinitial.data() : nullptr,
          .dxbc = g->dxbc.data(),
          .dxbc_stride = c.dims.RowSize(),
          .ddt = g->ddt.data(),
          .ddt_stride = c.dims.heads};
}

Gradient Backward(const BackwardCase& c, size_t Q, const Call& call = {},
                  const float* chunk_states = nullptr) {
  Gradient g;
  g.dA.assign(c.dims.heads, 0);
  g.dD.assign(c.dims.heads, 0);
  const SsdBackwardJob job = Job(c, call, chunk_states, &g);
  SsdChunkScanBackward(c.dims, Q, {&job, 1}, g.dA.data(), g.dD.data());
  return g;
}

struct Expected {
  std::vector<double> dxbc, ddt, dA, dD, dinitial;
};

// The same sums of absolute values if `of_magnitudes`.
Expected Reference(const BackwardCase& c, const Call& call, bool of_magnitudes) {
  const auto values = [&](const std::vector<float>& x) {
    return of_magnitudes ? Magnitudes(x) : Widen(x);
  };
  const std::vector<double> A = of_magnitudes ? HalfDecay(c) : Widen(c.A),
                            zeros(c.dims.StateSize());
  const auto g = reference::SsmScanBackward(
      c.dims, values(c.x).data(), values(c.B).data(), values(c.C).data(), values(c.dt).data(),
      A.data(), values(c.D).data(), c.T, call.has_initial ? values(c.state).data() : zeros.data(),
      values(c.dy).data(), call.has_final ? values(c.dfinal).data() : zeros.data());
  const size_t H = c.dims.heads, X = c.dims.XSize(), GN = c.dims.groups * c.dims.state;
  Expected e;
  e.dD = g.dD;
  e.dinitial = g.dinitial;
  e.dA.assign(H, 0);
  for (size_t t = 0; t < c.T; ++t) {
    const auto append = [&](const std::vector<double>& from, size_t n) {
      for (size_t i = 0; i < n; ++i) e.dxbc.push_back(from[t * n + i]);
    };
    append(g.dx, X);
    append(g.dB, GN);
    append(g.dC, GN);
    for (size_t h = 0; h < H; ++h) {
      const double a = of_magnitudes ? std::abs(c.A[h]) : c.A[h];
      e.ddt.push_back(g.direct[t * H + h] + a * g.da[t * H + h]);
      e.dA[h] += static_cast<double>(c.dt[t * H + h]) * g.da[t * H + h];
    }
  }
  return e;
}

// relative: roundings of operands, beside those of float sums of T steps.
void ExpectMatches(const BackwardCase& c, const Call& call, const Gradient& g, double relative) {
  const Expected want = Reference(c, call, false), size = Reference(c, call, true);
  // A term passes four roundings per step of either state, a sum over N or P and one over the heads of a group.
  const double bound =
      relative + kRoundoff * static_cast<double>(8 * c.T + c.dims.state + c.dims.head_dim +
                                                 c.dims.heads / c.dims.groups + 16);
  const auto expect = [&](const std::vector<float>& found, const std::vector<double>& wanted,
                          const std::vector<double>& sizes, const char* what) {
    ASSERT_EQ(found.size(), wanted.size());
    ExpectWithin(
        found.data(), wanted, [&](size_t i) { return bound * sizes[i]; }, what);
  };
  expect(g.dxbc, want.dxbc, size.dxbc, "dxbc");
  expect(g.ddt, want.ddt, size.ddt, "ddt");
  expect(g.dA, want.dA, size.dA, "dA");
  expect(g.dD, want.dD, size.dD, "dD");
  if (call.wants_initial) expect(g.dinitial, want.dinitial, size.dinitial, "dinitial");
}

TEST(SsdBackward, ReferenceMatchesCentralDifferences) {
  const BackwardCase c(SsmDims{4, 3, 5, 2}, 9, 31);
  const Expected analytic = Reference(c, {}, false);
  std::vector<double> x = Widen(c.x), B = Widen(c.B), C = Widen(c.C), dt = Widen(c.dt),
                      A = Widen(c.A), D = Widen(c.D), initial = Widen(c.state);
  const auto loss = [&] {
    std::vector<double> y(c.y_size()), state = initial;
    reference::SsmScan(c.dims, x.data(), B.data(), C.data(), dt.data(), A.data(), D.data(), c.T,
                       state.data(), y.data());
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += c.dy[i] * y[i];
    for (size_t i = 0; i < state.size(); ++i) sum += c.dfinal[i] * state[i];
    return sum;
  };
  double worst = 0;
  const auto check = [&](std::vector<double>& values, const auto& gradient_of) {
    worst = std::max(worst, WorstSlope(values, loss, gradient_of));
  };
  const size_t X = c.dims.XSize(), GN = c.dims.groups * c.dims.state, row = c.dims.RowSize();
  const auto of_rows = [&](size_t width, size_t column) {
    return [&, width, column](size_t i) {
      return analytic.dxbc[i / width * row + column + i % width];
    };
  };
  check(x, of_rows(X, 0));
  check(B, of_rows(GN, X));
  check(C, of_rows(GN, X + GN));
  check(dt, [&](size_t i) { return analytic.ddt[i]; });
  check(A, [&](size_t i) { return analytic.dA[i]; });
  check(D, [&](size_t i) { return analytic.dD[i]; });
  check(initial, [&](size_t i) { return analytic.dinitial[i]; });
  EXPECT_LT(worst, 1e-8);
}

const std::vector<SsmDims> kShapes = {{1, 1, 1, 1},   {4, 5, 7, 2},  {2, 16, 16, 1},
                                      {3, 17, 33, 1}, {12, 3, 4, 1}, {26, 2, 5, 2}};

TEST(SsdBackward, MatchesReferenceAroundChunkBorders) {
  ForEachSimdLevel([] {
    for (const SsmDims& dims : kShapes) {
      for (size_t Q : {1u, 7u, 16u, 48u}) {
        for (size_t T : {size_t{1}, Q, Q + 1, 2 * Q + 3}) {
          const BackwardCase c(dims, T, 32 + T + Q);
          for (const Call& call : {Call{}, Call{.has_initial = false, .has_final = false},
                                   Call{.has_final = false, .wants_initial = false}}) {
            ExpectMatches(c, call, Backward(c, Q, call), 0);
            if (::testing::Test::HasFailure()) {
              ADD_FAILURE() << "H " << dims.heads << " Q " << Q << " T " << T;
              return;
            }
          }
        }
      }
    }
  });
}

TEST(SsdBackward, LongChunksMatchReference) {
  ForEachSimdLevel([] {
    for (size_t Q : {128u, 256u}) {
      const BackwardCase c(SsmDims{2, 20, 24, 1}, 300, 33);
      ExpectMatches(c, {}, Backward(c, Q), 0);
    }
  });
}

TEST(SsdBackward, StrongAndVanishingDecaysNeitherOverflowNorLosePrecision) {
  ForEachSimdLevel([] {
    for (double decay_scale : {1e-6, 30.0, 1e4, 1e30}) {
      const BackwardCase c(SsmDims{4, 8, 16, 2}, 150, 34, decay_scale);
      for (size_t Q : {16u, 128u}) ExpectMatches(c, {}, Backward(c, Q), 0);
    }
  });
}

TEST(SsdBackward, KeptChunkStatesGiveTheBitsOfRecomputedOnes) {
  for (const bool is_half : {false, true}) {
    BackwardCase c(SsmDims{12, 9, 17, 2}, 85, 35);
    if (is_half) c.RoundToBf16();
    std::vector<float> states(6 * c.dims.StateSize());
    c.Forward(16, c.state.data(), nullptr, states.data());
    const Gradient recomputed = Backward(c, 16), kept = Backward(c, 16, {}, states.data());
    ExpectSameBits(recomputed.dxbc, kept.dxbc, "dxbc");
    ExpectSameBits(recomputed.ddt, kept.ddt, "ddt");
    ExpectSameBits(recomputed.dA, kept.dA, "dA");
    ExpectSameBits(recomputed.dinitial, kept.dinitial, "dinitial");
  }
}

TEST(SsdBackward, PartsThatPassStateAndGradientGiveTheBitsOfTheWhole) {
  for (const bool is_half : {false, true}) {
    BackwardCase c(SsmDims{4, 9, 17, 2}, 100, 36);
    if (is_half) c.RoundToBf16();
    const size_t Q = 16, cut = 3 * Q;
    const Gradient whole = Backward(c, Q);
    std::vector<float> state(c.dims.StateSize());
    c.Forward(Q, c.state.data(), state.data(), nullptr, 0, cut);
    const Gradient second = Backward(c, Q, {.begin = cut, .initial = state.data()});
    const Gradient first = Backward(c, Q, {.count = cut, .dfinal = second.dinitial.data()});
    std::vector<float> dxbc = first.dxbc, ddt = first.ddt;
    dxbc.insert(dxbc.end(), second.dxbc.begin(), second.dxbc.end());
    ddt.insert(ddt.end(), second.ddt.begin(), second.ddt.end());
    ExpectSameBits(whole.dxbc, dxbc, "dxbc");
    ExpectSameBits(whole.ddt, ddt, "ddt");
    ExpectSameBits(whole.dinitial, first.dinitial, "dinitial");
  }
}

TEST(SsdBackward, ManyDocumentsOnAnyThreadsGiveTheBitsOfSeparateCalls) {
  const SsmDims dims{16, 6, 10, 1};
  for (const bool is_half : {false, true}) {
    std::vector<BackwardCase> cases;
    for (size_t T : {70u, 1u, 0u, 2u, 130u, 32u}) {
      cases.emplace_back(dims, T, 37 + T);
      if (is_half) cases.back().RoundToBf16();
      cases.back().A = cases[0].A;
      cases.back().D = cases[0].D;
    }
    std::vector<float> dA(dims.heads, 0.0f);
    std::vector<Gradient> alone;
    for (const BackwardCase& c : cases) {
      alone.push_back(Backward(c, 32));
      for (size_t h = 0; h < dims.heads; ++h) dA[h] += alone.back().dA[h];
    }
    std::vector<Gradient> first_sums;
    for (int threads : {1, 2, 3}) {
      const ThreadCountScope scope(threads);
      std::vector<Gradient> together(cases.size());
      std::vector<SsdBackwardJob> jobs;
      for (size_t i = 0; i < cases.size(); ++i)
        jobs.push_back(Job(cases[i], {}, nullptr, &together[i]));
      Gradient sums;
      sums.dA.assign(dims.heads, 0);
      sums.dD.assign(dims.heads, 0);
      SsdChunkScanBackward(dims, 32, jobs, sums.dA.data(), sums.dD.data());
      for (size_t i = 0; i < cases.size(); ++i) {
        ExpectSameBits(alone[i].dxbc, together[i].dxbc, "dxbc");
        ExpectSameBits(alone[i].ddt, together[i].ddt, "ddt");
        ExpectSameBits(alone[i].dinitial, together[i].dinitial, "dinitial");
      }
      first_sums.push_back(sums);
      ExpectSameBits(first_sums[0].dA, sums.dA, "dA");
      ExpectSameBits(first_sums[0].dD, sums.dD, "dD");
      double size = 0;
      for (const Gradient& g : alone)
        for (const float v : g.dA) size = std::max<double>(size, std::abs(v));
      for (size_t h = 0; h < dims.heads; ++h)
        EXPECT_NEAR(dA[h], sums.dA[h], 8 * kRoundoff * size * static_cast<double>(cases.size()));
    }
  }
}

class SsdBackwardHalf : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { LimitIsa(GetParam()); }
  void TearDown() override { LimitIsa(""); }
};

// At most three operands of any term are rounded to bf16: dB by way of Gamma, which is rounded for the product and was made of
// rounded dY, times rounded x; dC likewise by way of S.
TEST_P(SsdBackwardHalf, MatchesReferenceAroundChunkBorders) {
  const ThreadCountScope scope(1);
  for (const SsmDims& dims :
       {SsmDims{1, 1, 1, 1}, SsmDims{4, 5, 7, 2}, SsmDims{3, 17, 33, 1}, SsmDims{12, 16, 32, 1}}) {
    for (size_t Q : {7u, 48u, 128u}) {
      for (size_t T : {size_t{1}, Q + 1, 2 * Q + 3}) {
        BackwardCase c(dims, T, 38 + T + Q);
        c.RoundToBf16();
        ExpectMatches(c, {}, Backward(c, Q), 3.1 * kHalfRoundoff);
        if (HasFailure()) {
          ADD_FAILURE() << "H " << dims.heads << " Q " << Q << " T " << T;
          return;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, SsdBackwardHalf, testing::ValuesIn(IsaLevels()),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace planish

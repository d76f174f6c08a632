// SPDX-License-Identifier: Apache-2.0
#include "kernels/gated_norm.h"

#include "kernels/gradient_testing.h"
#include "kernels/kernel_testing.h"
#include "kernels/reference.h"
#include "kernels/reference_training.h"

namespace planish {
namespace {

constexpr double kEps = 1e-5;

// y and z stand inside wider rows; with bf16 they are rounded.
struct NormCase {
  size_t T, d_in, groups;
  bool is_half;
  std::vector<float> y, z, w, dn;
  NormCase(size_t tokens, size_t width, size_t n_groups, uint64_t seed, bool half = false)
      : T(tokens), d_in(width), groups(n_groups), is_half(half) {
    Random random(seed);
    y = RandomFloats(random, T * d_in);
    z = RandomFloats(random, T * d_in, 2.0);
    w = RandomFloats(random, d_in);
    dn = RandomFloats(random, T * d_in);
    for (std::vector<float>* values : {&y, &z}) {
      for (float& v : *values)
        if (is_half) v = FloatFromBF16(BF16FromFloat(v));
    }
  }
  GatedNorm Norm() const { return {d_in, groups, w.data(), static_cast<float>(kEps)}; }
};

// [T, d_in] in the case's type with rows `stride` apart, and back.
struct TypedRows {
  size_t T, d_in, stride;
  bool is_half;
  std::vector<float> floats;
  std::vector<uint16_t> halves;
  TypedRows(const NormCase& c, size_t row_stride, const std::vector<float>& values = {})
      : T(c.T), d_in(c.d_in), stride(row_stride), is_half(c.is_half) {
    floats.resize(T * stride + 1);
    halves.resize(T * stride + 1);
    for (size_t i = 0; i < values.size(); ++i) {
      floats[i / d_in * stride + i % d_in + 1] = values[i];
      halves[i / d_in * stride + i % d_in + 1] = BF16FromFloat(values[i]);
    }
  }
  void* data() { return is_half ? static_cast<void*>(halves.data() + 1) : floats.data() + 1; }
  std::vector<float> Values() const {
    std::vector<float> values;
    for (size_t i = 0; i < T * d_in; ++i) {
      const size_t at = i / d_in * stride + i % d_in + 1;
      values.push_back(is_half ? FloatFromBF16(halves[at]) : floats[at]);
    }
    return values;
  }
};

struct NormGradient {
  std::vector<float> n_forward, n, dy, dz, dw;
};

NormGradient RunBoth(const NormCase& c) {
  TypedRows y(c, c.d_in + 3, c.y), z(c, c.d_in + 5, c.z), forward(c, c.d_in), n(c, c.d_in),
      dz(c, c.d_in + 7);
  const DType type = c.is_half ? DType::kBF16 : DType::kF32;
  NormGradient g;
  g.dy = c.dn;
  g.dw.assign(c.d_in, 0.0f);
  const NormRows y_rows{y.data(), y.stride}, z_rows{z.data(), z.stride};
  GatedNormForward(c.Norm(), type, y_rows, z_rows, c.T, forward.data());
  GatedNormBackward(c.Norm(), type, y_rows, z_rows, c.T, g.dy.data(), n.data(), dz.data(),
                    dz.stride, g.dw.data());
  g.n_forward = forward.Values();
  g.n = n.Values();
  g.dz = dz.Values();
  return g;
}

void ExpectMatches(const NormCase& c) {
  const NormGradient found = RunBoth(c);
  const std::vector<double> y = Widen(c.y), z = Widen(c.z), w = Widen(c.w), dn = Widen(c.dn);
  const auto want = reference::GatedGroupRmsNormBackward(y.data(), z.data(), w.data(), c.T, c.d_in,
                                                         c.groups, kEps, dn.data());
  std::vector<double> n(c.T * c.d_in);
  reference::GatedGroupRmsNorm(y.data(), z.data(), w.data(), c.T, c.d_in, c.groups, kEps, n.data());
  const size_t m = c.d_in / c.groups;
  // Sums of m terms and some twenty roundings of one element.
  const double roundings = kRoundoff * (static_cast<double>(m) + 20);
  std::vector<double> dy(n.size()), dz(n.size()), dw(c.d_in);
  for (size_t first = 0; first < n.size(); first += m) {
    double squares = 0, product = 0;
    std::vector<double> u(m);
    for (size_t j = 0; j < m; ++j) {
      u[j] = std::abs(y[first + j] * reference::Silu(z[first + j]));
      squares += u[j] * u[j];
    }
    const double r = std::sqrt(squares / static_cast<double>(m) + kEps);
    for (size_t j = 0; j < m; ++j)
      product += std::abs(dn[first + j] * w[(first + j) % c.d_in]) * u[j] / r;
    product /= static_cast<double>(m);
    for (size_t j = 0; j < m; ++j) {
      const size_t i = first + j;
      const double du = (std::abs(dn[i] * w[i % c.d_in]) + 3 * u[j] / r * product) / r * roundings;
      dy[i] = du * std::abs(reference::Silu(z[i]));
      dz[i] = du * std::abs(y[i]) * reference::Sigmoid(z[i]) * (1 + std::abs(z[i]));
      dw[i % c.d_in] +=
          std::abs(dn[i]) * u[j] / r * (roundings + static_cast<double>(c.T) * kRoundoff);
    }
  }
  const double storage = c.is_half ? 1.01 * kHalfRoundoff : 0;
  ExpectSameBits(found.n_forward, found.n, "n again");
  ExpectWithin(
      found.n.data(), n, [&](size_t i) { return (roundings + storage) * std::abs(n[i]); }, "n");
  ExpectWithin(
      found.dy.data(), want.dy, [&](size_t i) { return dy[i]; }, "dy");
  ExpectWithin(
      found.dz.data(), want.dz, [&](size_t i) { return dz[i] + storage * std::abs(want.dz[i]); },
      "dz");
  ExpectWithin(
      found.dw.data(), want.dw, [&](size_t i) { return dw[i]; }, "dw");
}

TEST(GatedNorm, ReferenceGradientMatchesCentralDifferences) {
  const NormCase c(3, 10, 2, 51);
  std::vector<double> y = Widen(c.y), z = Widen(c.z), w = Widen(c.w);
  const auto loss = [&] {
    std::vector<double> n(c.T * c.d_in);
    reference::GatedGroupRmsNorm(y.data(), z.data(), w.data(), c.T, c.d_in, c.groups, kEps,
                                 n.data());
    double sum = 0;
    for (size_t i = 0; i < n.size(); ++i) sum += c.dn[i] * n[i];
    return sum;
  };
  const auto g = reference::GatedGroupRmsNormBackward(y.data(), z.data(), w.data(), c.T, c.d_in,
                                                      c.groups, kEps, Widen(c.dn).data());
  EXPECT_LT(WorstSlope(y, loss, g.dy), 1e-8);
  EXPECT_LT(WorstSlope(z, loss, g.dz), 1e-8);
  EXPECT_LT(WorstSlope(w, loss, g.dw), 1e-8);
}

TEST(GatedNorm, ForwardAndGradientMatchReferenceForAllWidths) {
  ForEachSimdLevel([] {
    for (size_t m : kTestSizes) {
      for (size_t groups : {1u, 3u}) {
        for (size_t T : {1u, 2u, 33u}) {
          for (const bool is_half : {false, true}) {
            ExpectMatches(NormCase(T, m * groups, groups, 52 + T, is_half));
            if (::testing::Test::HasFailure()) {
              ADD_FAILURE() << "m " << m << " groups " << groups << " T " << T << " half "
                            << is_half;
              return;
            }
          }
        }
      }
    }
  });
}

TEST(GatedNorm, ThreadCountDoesNotChangeABit) {
  const NormCase c(200, 300, 2, 53);
  std::vector<NormGradient> runs;
  for (int threads : {1, 2, 3}) {
    const ThreadCountScope scope(threads);
    runs.push_back(RunBoth(c));
    ExpectSameBits(runs[0].dy, runs.back().dy, "dy");
    ExpectSameBits(runs[0].dz, runs.back().dz, "dz");
    ExpectSameBits(runs[0].dw, runs.back().dw, "dw");
  }
}

}  // namespace
}  // namespace planish

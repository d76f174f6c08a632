// SPDX-License-Identifier: Apache-2.0
#include "kernels/flash_attention.h"

#include "kernels/isa.h"
#include "kernels/kernel_testing.h"
#include "kernels/reference.h"
#include "kernels/reference_attention.h"
#include "tensor/dtype.h"

namespace planish {
namespace {

// Calls body() at every level of the CPU, the bf16 and tile units included.
template <class Body>
void ForEachIsaLevel(const Body& body) {
  const ThreadCountScope scope(1);
  for (const std::string& level : IsaLevels()) {
    SCOPED_TRACE(level);
    LimitIsa(level);
    body();
    LimitIsa("");
    if (::testing::Test::HasFailure()) return;
  }
}

std::vector<float> RoundedToBf16(std::vector<float> values) {
  for (float& value : values) value = FloatFromBF16(BF16FromFloat(value));
  return values;
}
std::vector<uint16_t> ToBf16(const std::vector<float>& values) {
  std::vector<uint16_t> result;
  for (const float value : values) result.push_back(BF16FromFloat(value));
  return result;
}

// Inputs that bf16 holds exactly, so that only roundings inside the kernels differ from the reference.
struct Case {
  FlashShape shape;
  std::vector<size_t> bounds;
  std::vector<float> q, k, v, dout;

  Case(Random& random, size_t heads, size_t kv_heads, size_t head_dim,
       const std::vector<size_t>& lengths, double q_scale = 1)
      : shape{heads, kv_heads, head_dim, 1 / std::sqrt(static_cast<float>(head_dim))}, bounds{0} {
    for (const size_t length : lengths) bounds.push_back(bounds.back() + length);
    q = RoundedToBf16(RandomFloats(random, T() * heads * head_dim, q_scale));
    k = RoundedToBf16(RandomFloats(random, T() * kv_heads * head_dim));
    v = RoundedToBf16(RandomFloats(random, T() * kv_heads * head_dim));
    dout = RoundedToBf16(RandomFloats(random, T() * heads * head_dim));
  }
  size_t T() const { return bounds.back(); }
  FlashInput input() const { return {{q.data()}, {k.data()}, {v.data()}, bounds}; }
};

struct Results {
  std::vector<float> out, lse, dq, dk, dv;
};

// Gradients from the forward's own out and lse.
Results RunKernels(const Case& c, ActMode act, const FlashInput& input) {
  Results r;
  r.out.resize(c.q.size());
  r.lse.resize(c.T() * c.shape.heads);
  r.dq.assign(c.q.size(), 7.0f);  // assigned, not added to
  r.dk.assign(c.k.size(), 7.0f);
  r.dv.assign(c.v.size(), 7.0f);
  FlashAttentionForward(c.shape, input, act, r.out.data(), r.lse.data());
  FlashAttentionBackward(c.shape, input, act, {r.out.data()}, r.lse.data(), c.dout.data(),
                         r.dq.data(), r.dk.data(), r.dv.data());
  return r;
}

void ExpectSameResults(const Results& a, const Results& b) {
  ExpectSameBits(a.out, b.out, "out");
  ExpectSameBits(a.lse, b.lse, "lse");
  ExpectSameBits(a.dq, b.dq, "dq");
  ExpectSameBits(a.dk, b.dk, "dk");
  ExpectSameBits(a.dv, b.dv, "dv");
}

// One document (row_begin and length) of a case against the reference.
void CheckDocument(const Case& c, ActMode act, const Results& got, size_t row_begin,
                   size_t length) {
  const auto [H, K, P, float_scale] = c.shape;
  const size_t group = H / K;
  const double scale = float_scale, p_size = static_cast<double>(P);
  // What the kernel rounds p and ds to, and how exact its exponential is.
  const bool is_bf16 = act != ActMode::kF32 && Has(Isa::kBf16);
  const double rounding = is_bf16 ? 0x1p-8 : 0, exp_error = is_bf16 ? 3e-6 : 4 * kRoundoff;
  const auto part = [&](const std::vector<float>& all, size_t width) {
    return std::vector<double>(all.begin() + static_cast<ptrdiff_t>(row_begin * width),
                               all.begin() + static_cast<ptrdiff_t>((row_begin + length) * width));
  };
  const auto q = part(c.q, H * P), k = part(c.k, K * P), v = part(c.v, K * P);
  const auto dout = part(c.dout, H * P);
  std::vector<double> out(q.size()), lse(length * H), dq(q.size()), dk(k.size()), dv(v.size());
  reference::CausalAttention(q.data(), k.data(), v.data(), length, 0, H, K, P, scale, out.data());
  reference::AttentionLogSumExp(q.data(), k.data(), length, H, K, P, scale, lse.data());
  reference::CausalAttentionBackward(q.data(), k.data(), v.data(), dout.data(), length, H, K, P,
                                     scale, dq.data(), dk.data(), dv.data());
  std::vector<double> out_bound(q.size()), lse_bound(lse.size()), dq_bound(q.size()),
      dk_bound(k.size()), dv_bound(v.size());
  constexpr double kUnderflow = 0x1p-125;  // p below it is taken for zero
  const double n = static_cast<double>(length), terms = (n * static_cast<double>(group) + 8);
  for (size_t i = 0; i < length; ++i) {
    for (size_t h = 0; h < H; ++h) {
      const size_t row = (i * H + h) * P;
      const auto key = [&](size_t j) { return (j * K + h / group) * P; };
      std::vector<double> score(i + 1), product(i + 1), product_magnitude(i + 1);
      double score_error = 0, score_scale = 0;
      for (size_t j = 0; j <= i; ++j) {
        double magnitude = 0;
        for (size_t x = 0; x < P; ++x) {
          score[j] += scale * q[row + x] * k[key(j) + x];
          magnitude += scale * std::abs(q[row + x] * k[key(j) + x]);
          product[j] += dout[row + x] * v[key(j) + x];
          product_magnitude[j] += std::abs(dout[row + x] * v[key(j) + x]);
        }
        score_scale = std::max(score_scale, magnitude);
      }
      // A sum of P products, then its scale, the maximum and the lse in turn subtracted from it.
      score_error = (p_size + 12) * score_scale * kRoundoff;
      // Exponentials in numerator and denominator, and the sums of both.
      const double p_error = 2 * (score_error + exp_error) + (n + 20) * kRoundoff + rounding;
      lse_bound[i * H + h] =
          score_error + exp_error + (n + 20) * kRoundoff + 4 * std::abs(lse[i * H + h]) * kRoundoff;
      const double backward_p_error =
          score_error + lse_bound[i * H + h] + exp_error + 8 * kRoundoff;
      double delta = 0, delta_error = 0;
      for (size_t x = 0; x < P; ++x) {
        double magnitude = 0;
        for (size_t j = 0; j <= i; ++j)
          magnitude += std::exp(score[j] - lse[i * H + h]) * std::abs(v[key(j) + x]);
        out_bound[row + x] = p_error * magnitude;
        delta += dout[row + x] * out[row + x];
        delta_error +=
            std::abs(dout[row + x]) * (out_bound[row + x] + (p_size + 4) * kRoundoff * magnitude);
      }
      for (size_t j = 0; j <= i; ++j) {
        const double p = std::exp(score[j] - lse[i * H + h]), ds = p * (product[j] - delta);
        const double product_error =
            (p_size + 8) * kRoundoff * (product_magnitude[j] + std::abs(delta));
        const double ds_error =
            p * (1 + backward_p_error) *
                (backward_p_error * std::abs(product[j] - delta) + product_error + delta_error) +
            (rounding + terms * kRoundoff) * std::abs(ds) +
            kUnderflow * (1 + product_magnitude[j] + std::abs(delta));
        for (size_t x = 0; x < P; ++x) {
          dq_bound[row + x] += 1.01 * scale * ds_error * std::abs(k[key(j) + x]);
          dk_bound[key(j) + x] += 1.01 * scale * ds_error * std::abs(q[row + x]);
          dv_bound[key(j) + x] +=
              1.01 * std::abs(dout[row + x]) *
              (p * (backward_p_error + rounding + terms * kRoundoff) + kUnderflow);
        }
      }
    }
  }
  const auto check = [&](const std::vector<float>& values, size_t width,
                         const std::vector<double>& want, const std::vector<double>& bound,
                         const char* name) {
    ExpectWithin(
        values.data() + row_begin * width, want, [&](size_t i) { return bound[i]; }, name);
  };
  check(got.out, H * P, out, out_bound, "out");
  check(got.lse, H, lse, lse_bound, "lse");
  check(got.dq, H * P, dq, dq_bound, "dq");
  check(got.dk, K * P, dk, dk_bound, "dk");
  check(got.dv, K * P, dv, dv_bound, "dv");
}

void CheckCase(const Case& c, ActMode act) {
  const Results got = RunKernels(c, act, c.input());
  for (size_t s = 0; s + 1 < c.bounds.size(); ++s) {
    SCOPED_TRACE(fmt::format("{} heads {}/{} of {}, rows {} to {}",
                             act == ActMode::kF32 ? "f32" : "bf16", c.shape.heads, c.shape.kv_heads,
                             c.shape.head_dim, c.bounds[s], c.bounds[s + 1]));
    CheckDocument(c, act, got, c.bounds[s], c.bounds[s + 1] - c.bounds[s]);
  }
}

TEST(ReferenceAttention, BackwardMatchesCentralDifferences) {
  Random random(40);
  constexpr size_t T = 5, H = 4, K = 2, P = 3;
  constexpr double kScale = 0.6, kStep = 1e-4;
  std::vector<double> x[3] = {Widen(RandomFloats(random, T * H * P)),
                              Widen(RandomFloats(random, T * K * P)),
                              Widen(RandomFloats(random, T * K * P))};
  const auto dout = Widen(RandomFloats(random, T * H * P));
  const auto loss = [&] {
    std::vector<double> out(T * H * P);
    reference::CausalAttention(x[0].data(), x[1].data(), x[2].data(), T, 0, H, K, P, kScale,
                               out.data());
    double sum = 0;
    for (size_t i = 0; i < out.size(); ++i) sum += out[i] * dout[i];
    return sum;
  };
  std::vector<double> gradient[3] = {x[0], x[1], x[2]};
  reference::CausalAttentionBackward(x[0].data(), x[1].data(), x[2].data(), dout.data(), T, H, K, P,
                                     kScale, gradient[0].data(), gradient[1].data(),
                                     gradient[2].data());
  for (size_t input = 0; input < 3; ++input) {
    for (size_t i = 0; i < x[input].size(); ++i) {
      const double before = x[input][i];
      x[input][i] = before + kStep;
      const double above = loss();
      x[input][i] = before - kStep;
      const double below = loss();
      x[input][i] = before;
      // The third derivative of a loss of this size is some tens.
      EXPECT_NEAR(gradient[input][i], (above - below) / (2 * kStep), 100 * kStep * kStep)
          << "input " << input << " element " << i;
    }
  }
}

TEST(FlashAttention, MatchesReferenceForAllHeadWidthsAndGroups) {
  ForEachIsaLevel([] {
    Random random(41);
    for (const ActMode act : {ActMode::kF32, ActMode::kBf16}) {
      for (const size_t head_dim : {1, 2, 3, 15, 16, 17, 24, 31, 32, 33, 64, 80, 128}) {
        CheckCase(Case(random, 2, 1, head_dim, {9, 1, 37}), act);
      }
      for (const size_t group : {1, 2, 3, 4, 5})
        CheckCase(Case(random, 2 * group, 2, 16, {33, 1, 1, 70}), act);
    }
  });
}

TEST(FlashAttention, MatchesReferenceAroundTileBorders) {
  ForEachIsaLevel([] {
    Random random(42);
    for (const ActMode act : {ActMode::kF32, ActMode::kBf16}) {
      for (const size_t length : {2, 15, 16, 31, 32, 63, 64, 65, 127, 128, 129, 161, 255, 257})
        CheckCase(Case(random, 3, 1, 8, {length, 1}), act);
    }
  });
}

// Several stripes in one document: 512 rows, 256 at widths above 128.
TEST(FlashAttention, MatchesReferenceAcrossStripes) {
  Random random(43);
  for (const ActMode act : {ActMode::kF32, ActMode::kBf16}) {
    CheckCase(Case(random, 2, 1, 8, {3, 1057, 513}), act);
    CheckCase(Case(random, 1, 1, 130, {300}), act);
    CheckCase(Case(random, 2, 2, 65, {600}), act);
  }
}

// Scores of some hundreds: probabilities underflow, maxima move by more than the slack of the bf16 kernel.
TEST(FlashAttention, MatchesReferenceForLargeScores) {
  ForEachIsaLevel([] {
    Random random(44);
    for (const ActMode act : {ActMode::kF32, ActMode::kBf16})
      CheckCase(Case(random, 2, 1, 16, {200}, /*q_scale=*/60), act);
  });
}

TEST(FlashAttention, PackedDocumentsEqualSeparateOnesBitForBit) {
  Random random(45);
  const Case packed(random, 4, 2, 24, {1, 130, 40, 1, 600, 17});
  for (const ActMode act : {ActMode::kF32, ActMode::kBf16}) {
    const Results all = RunKernels(packed, act, packed.input());
    Results joined;
    for (size_t s = 0; s + 1 < packed.bounds.size(); ++s) {
      const size_t begin = packed.bounds[s], length = packed.bounds[s + 1] - begin;
      Case one = packed;
      one.bounds = {0, length};
      for (auto [values, width] :
           {std::pair{&one.q, 4 * 24}, {&one.k, 2 * 24}, {&one.v, 2 * 24}, {&one.dout, 4 * 24}}) {
        values->erase(values->begin(), values->begin() + static_cast<ptrdiff_t>(begin) * width);
        values->resize(length * static_cast<size_t>(width));
      }
      const Results alone = RunKernels(one, act, one.input());
      for (const auto member :
           {&Results::out, &Results::lse, &Results::dq, &Results::dk, &Results::dv}) {
        (joined.*member)
            .insert((joined.*member).end(), (alone.*member).begin(), (alone.*member).end());
      }
    }
    ExpectSameResults(all, joined);
  }
}

TEST(FlashAttention, ThreadCountDoesNotChangeABit) {
  Random random(46);
  const Case c(random, 6, 2, 72, {700, 3, 150});
  for (const ActMode act : {ActMode::kF32, ActMode::kBf16}) {
    std::vector<Results> results;
    for (const int threads : {1, 2, 3}) {
      const ThreadCountScope scope(threads);
      results.push_back(RunKernels(c, act, c.input()));
    }
    ExpectSameResults(results[0], results[1]);
    ExpectSameResults(results[0], results[2]);
  }
}

TEST(FlashAttention, Bf16InputsGiveTheBitsOfFloatsThatHoldThem) {
  ForEachIsaLevel([] {
    Random random(47);
    const Case c(random, 4, 2, 20, {50, 140});
    const auto q = ToBf16(c.q), k = ToBf16(c.k), v = ToBf16(c.v);
    const FlashInput narrow{
        {q.data(), DType::kBF16}, {k.data(), DType::kBF16}, {v.data(), DType::kBF16}, c.bounds};
    for (const ActMode act : {ActMode::kF32, ActMode::kBf16})
      ExpectSameResults(RunKernels(c, act, c.input()), RunKernels(c, act, narrow));
  });
}

TEST(FlashAttention, NothingToDoIsFine) {
  Random random(48);
  const Case c(random, 2, 1, 8, {});
  RunKernels(c, ActMode::kF32, c.input());
  RunKernels(c, ActMode::kBf16, c.input());
}

TEST(FlashAttention, ANotANumberShows) {
  Random random(49);
  for (const ActMode act : {ActMode::kF32, ActMode::kBf16}) {
    Case c(random, 2, 1, 8, {40, 40});
    c.k[50 * 8] = std::numeric_limits<float>::quiet_NaN();
    const Results r = RunKernels(c, act, c.input());
    for (size_t t = 50; t < 80; ++t) EXPECT_TRUE(std::isnan(r.out[t * 16])) << t;
    for (size_t t = 0; t < 40; ++t) EXPECT_FALSE(std::isnan(r.out[t * 16])) << t;
    EXPECT_TRUE(std::isnan(r.dq[60 * 16]));
  }
}

}  // namespace
}  // namespace planish

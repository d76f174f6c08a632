// SPDX-License-Identifier: Apache-2.0
#include "kernels/ssm_block.h"

#include <limits>

#include "kernels/bf16_panels.h"
#include "kernels/conv1d.h"
#include "kernels/isa.h"
#include "kernels/kernel_testing.h"
#include "kernels/norm.h"
#include "kernels/ssm_scan.h"

namespace planish {
namespace {

struct Layer {
  SsmDims dims;
  size_t W;
  std::vector<float> taps, bias, dt_bias, A, D, norm;
  Layer(const SsmDims& shape, size_t width, uint64_t seed) : dims(shape), W(width) {
    Random random(seed);
    const SsmLayer sizes = View();
    taps = RandomFloats(random, W * sizes.conv_dim());
    bias = RandomFloats(random, sizes.conv_dim());
    dt_bias = UniformFloats(random, dims.heads, -5, -1);
    A = UniformFloats(random, dims.heads, -16, -0.1);
    D = RandomFloats(random, dims.heads);
    norm = RandomFloats(random, sizes.d_in());
  }
  SsmLayer View() const {
    return {dims,     W,        taps.data(), bias.data(), dt_bias.data(),
            A.data(), D.data(), norm.data(), 0.0f,        std::numeric_limits<float>::infinity(),
            1e-5f};
  }
};

// One sequence: its rows and what it carries.
struct Sequence {
  size_t T;
  std::vector<float> in, conv, state, out;
  std::vector<uint16_t> half_state;
  Sequence(const Layer& layer, size_t tokens, uint64_t seed) : T(tokens) {
    Random random(seed);
    const SsmLayer view = layer.View();
    in = RandomFloats(random, T * view.in_width());
    conv = RandomFloats(random, (layer.W - 1) * view.conv_dim());
    state = RandomFloats(random, layer.dims.StateSize());
    out.resize(T * view.d_in());
  }
  void RoundState() {
    for (float& v : state) {
      uint32_t bits;
      std::memcpy(&bits, &v, 4);
      half_state.push_back(static_cast<uint16_t>(bits >> 16));
      bits &= 0xFFFF0000u;
      std::memcpy(&v, &bits, 4);
    }
  }
  SsmRun Run(const Layer& layer, size_t begin, size_t count, size_t position) {
    const SsmLayer view = layer.View();
    const bool is_half = !half_state.empty();
    return {in.data() + begin * view.in_width(),
            count,
            position,
            conv.data(),
            is_half ? static_cast<void*>(half_state.data()) : state.data(),
            is_half ? DType::kBF16 : DType::kF32,
            out.data() + begin * view.d_in()};
  }
  void Advance(const Layer& layer, const std::vector<size_t>& cuts, SsmArithmetic arithmetic,
               size_t position = 0) {
    for (size_t begin = 0, i = 0; begin < T; ++i) {
      const size_t count = std::min(cuts[std::min(i, cuts.size() - 1)], T - begin);
      const SsmRun run = Run(layer, begin, count, position + begin);
      SsmBlock(layer.View(), {&run, 1}, arithmetic);
      begin += count;
    }
  }
};

void ExpectSame(const Sequence& a, const Sequence& b) {
  ExpectSameBits(a.out, b.out, "out");
  ExpectSameBits(a.conv, b.conv, "conv");
  ExpectSameBits(a.state, b.state, "state");
  EXPECT_EQ(a.half_state, b.half_state);
}

// The same by the kernels that are tested against the formulas one by one.
void AdvanceByParts(const Layer& layer, Sequence* s) {
  const SsmLayer v = layer.View();
  const size_t T = s->T, H = v.dims.heads, d_in = v.d_in(), width = v.in_width(),
               conv_dim = v.conv_dim(), GN = v.dims.groups * v.dims.state;
  std::vector<float> xbc(T * conv_dim), dt(T * H), y(T * d_in);
  CausalConv1d(s->in.data() + d_in, width, s->conv.data(), v.conv_taps, v.conv_bias, T, conv_dim,
               v.conv_width, xbc.data(), conv_dim);
  PrepareDt(s->in.data() + d_in + conv_dim, width, v.dt_bias, T, H, v.dt_low, v.dt_high, dt.data());
  const SsmInput input{xbc.data(),
                       conv_dim,
                       xbc.data() + d_in,
                       conv_dim,
                       xbc.data() + d_in + GN,
                       conv_dim,
                       dt.data(),
                       H,
                       v.A,
                       v.D};
  SsmScan(v.dims, input, T, s->state.data(), y.data(), d_in);
  GatedGroupRmsNorm(y.data(), d_in, s->in.data(), width, v.norm, T, d_in, v.dims.groups, v.norm_eps,
                    s->out.data());
  std::vector<float> window = s->conv;
  for (size_t t = 0; t < T; ++t) {
    const float* x = s->in.data() + t * width + d_in;
    window.insert(window.end(), x, x + conv_dim);
  }
  s->conv.assign(window.end() - static_cast<ptrdiff_t>(s->conv.size()), window.end());
}

const std::vector<SsmDims> kShapes = {{1, 1, 1, 1},   {4, 5, 7, 2},   {6, 16, 17, 3},
                                      {2, 17, 32, 1}, {4, 80, 33, 2}, {2, 64, 128, 1},
                                      {2, 96, 64, 2}, {2, 80, 64, 1}};

TEST(SsmBlock, ExactBlockHasTheBitsOfItsPartsForAllShapesLengthsAndWidths) {
  ForEachSimdLevel([] {
    for (const SsmDims& dims : kShapes) {
      for (size_t W : {1u, 2u, 4u, 5u}) {
        const Layer layer(dims, W, 1);
        for (size_t T : {1u, 2u, 3u, 5u, 31u, 32u, 33u, 67u}) {
          Sequence block(layer, T, 2 + T), parts(layer, T, 2 + T);
          block.Advance(layer, {T}, SsmArithmetic::kExact, /*position=*/T % 7);
          AdvanceByParts(layer, &parts);
          ExpectSame(block, parts);
        }
      }
    }
  });
}

TEST(SsmBlock, ExactBlockGivesTheSameBitsForAnyCut) {
  ForEachSimdLevel([] {
    for (const SsmDims& dims : kShapes) {
      const Layer layer(dims, 4, 3);
      Sequence whole(layer, 75, 4);
      whole.Advance(layer, {75}, SsmArithmetic::kExact);
      for (const auto& cuts : {std::vector<size_t>{1}, {32}, {2, 1, 5, 40, 3}, {74, 1}}) {
        Sequence cut(layer, 75, 4);
        cut.Advance(layer, cuts, SsmArithmetic::kExact);
        ExpectSame(whole, cut);
      }
    }
  });
}

double RelativeRms(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(error / size);
}

TEST(SsmBlock, FastBlockIsExactWithinBf16AndDoesNotDependOnCutsOfTheGrid) {
  const ThreadCountScope scope(1);
  for (const std::string& level : IsaLevels()) {
    SCOPED_TRACE(level);
    LimitIsa(level);
    for (const SsmDims& dims : kShapes) {
      const Layer layer(dims, 4, 5);
      for (size_t position : {0u, 7u, 31u}) {
        Sequence exact(layer, 150, 6), whole(layer, 150, 6), cut(layer, 150, 6), odd(layer, 150, 6);
        exact.Advance(layer, {150}, SsmArithmetic::kExact, position);
        whole.Advance(layer, {150}, SsmArithmetic::kFast, position);
        cut.Advance(layer, {64 - position, 32, 40}, SsmArithmetic::kFast, position);
        odd.Advance(layer, {13, 1, 50, 2}, SsmArithmetic::kFast, position);
        Sequence grid(layer, 150, 6);
        grid.Advance(layer, {32 - position, 32}, SsmArithmetic::kFast, position);
        ExpectSame(whole, grid);
        for (const Sequence* s : {&whole, &cut, &odd}) {
          // Of a product's two operands each is off by up to 2^-9, in random directions; three products follow each other.
          const double bound = HasBf16Units() ? 0x1p-7 : 0;
          EXPECT_LE(RelativeRms(s->out, exact.out), bound);
          EXPECT_LE(RelativeRms(s->state, exact.state), bound);
          ExpectSameBits(s->conv, exact.conv, "conv");
        }
      }
    }
  }
  LimitIsa("");
}

// Long runs write their output past the caches.
TEST(SsmBlock, LongRunsGiveTheBitsOfShortOnes) {
  const Layer layer({8, 32, 32, 2}, 4, 9);
  const size_t T = (size_t{2} << 20) / (layer.View().d_in() * sizeof(float)) + 45;
  for (const SsmArithmetic arithmetic : {SsmArithmetic::kExact, SsmArithmetic::kFast}) {
    Sequence long_run(layer, T, 10), short_runs(layer, T, 10);
    long_run.Advance(layer, {T}, arithmetic);
    short_runs.Advance(layer, {kSsmGrid}, arithmetic);
    ExpectSame(long_run, short_runs);
  }
}

TEST(SsmBlock, RunsOfOneCallGiveTheBitsOfSeparateCallsForAnyThreadCount) {
  const Layer layer({6, 16, 32, 3}, 4, 7);
  const size_t lengths[] = {1, 1, 0, 40, 7, 70}, positions[] = {5, 100, 0, 30, 64, 0};
  for (const SsmArithmetic arithmetic : {SsmArithmetic::kExact, SsmArithmetic::kFast}) {
    for (const bool is_half : {false, true}) {
      std::vector<Sequence> alone;
      for (size_t i = 0; i < 6; ++i) {
        alone.emplace_back(layer, lengths[i], 8 + i);
        if (is_half) alone[i].RoundState();
        if (lengths[i] > 0) alone[i].Advance(layer, {lengths[i]}, arithmetic, positions[i]);
      }
      for (int threads : {1, 2, 3}) {
        const ThreadCountScope scope(threads);
        std::vector<Sequence> together;
        std::vector<SsmRun> runs;
        for (size_t i = 0; i < 6; ++i) {
          together.emplace_back(layer, lengths[i], 8 + i);
          if (is_half) together[i].RoundState();
        }
        for (size_t i = 0; i < 6; ++i)
          runs.push_back(together[i].Run(layer, 0, lengths[i], positions[i]));
        SsmBlock(layer.View(), runs, arithmetic);
        for (size_t i = 0; i < 6; ++i) ExpectSame(alone[i], together[i]);
      }
    }
  }
}

// A bf16 state that is advanced like a float one from the same values, then rounded to a neighbour without bias.
TEST(SsmBlock, Bf16StateIsTheFloatStateRoundedWithoutBias) {
  ForEachSimdLevel([] {
    for (const SsmDims& dims : kShapes) {
      const Layer layer(dims, 4, 9);
      for (size_t T : {1u, 3u, 20u}) {
        double bias = 0, variance = 0;
        for (size_t trial = 0; trial < 20; ++trial) {
          Sequence half(layer, T, 10 + trial), full(layer, T, 10 + trial);
          half.RoundState();
          full.RoundState();
          full.half_state.clear();
          // One chunk, so that the state is rounded once.
          half.Advance(layer, {T}, SsmArithmetic::kExact, kSsmGrid * trial);
          full.Advance(layer, {T}, SsmArithmetic::kExact, kSsmGrid * trial);
          ExpectSameBits(half.out, full.out, "out");
          for (size_t i = 0; i < full.state.size(); ++i) {
            const uint32_t bits = static_cast<uint32_t>(half.half_state[i]) << 16;
            float got;
            std::memcpy(&got, &bits, 4);
            const double want = full.state[i];
            const double step = std::ldexp(1.0, std::ilogb(want) - 7);
            ASSERT_LT(std::abs(got - want), step) << i;
            bias += (got - want) / step;
            variance += 0.25;  // at most
          }
        }
        EXPECT_LT(std::abs(bias), 5 * std::sqrt(variance)) << T;
      }
    }
  });
}

}  // namespace
}  // namespace planish

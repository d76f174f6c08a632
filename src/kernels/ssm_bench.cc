// SPDX-License-Identifier: Apache-2.0
// Speed of what lies between the projections of a Mamba-2 layer of the 9B shape (128 heads x 80, N 128, 8 groups), beside the
// machine's own limits in the same run: decode steps over the states of 27 layers (cold: far more than the caches) as GB/s of
// state read and written, prompt slices as microseconds per token and layer, and the same work in the access pattern of
// llama.cpp's ssm_conv + ssm_scan (tokens outside, heads inside, the whole state read and written for every token): an
// imitation of the pattern in our own loops at the same instruction set, not its code and not a measurement of it. Best of several repetitions. Usage: ssm_bench
// [decode|prefill|prefill_fast|drift]...; PLANISH_ISA chooses the level.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "kernels/bench_rows.h"
#include "kernels/bench_timing.h"
#include "kernels/isa.h"
#include "kernels/machine_peaks.h"
#include "kernels/simd_targets.h"
#include "kernels/ssm_block.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssm_bench.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"

#ifndef PLANISH_KERNELS_SSM_BENCH_ONCE_
#define PLANISH_KERNELS_SSM_BENCH_ONCE_
namespace planish {
namespace {

constexpr SsmDims kDims{128, 80, 128, 8};
constexpr size_t kPeerChannels = kDims.heads * kDims.head_dim + 2 * kDims.groups * kDims.state;

struct PeerBuffers {
  float* state;   // [H, P, N]
  float* x;       // [T, C]
  float* window;  // [C, T + 3]
  float* taps;    // [C, 4]
  float* dt;      // [T, H]
  float* y;       // [T, H, P]
};

}  // namespace
}  // namespace planish
#endif

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

void PeerConv(const PeerBuffers& b, size_t T, size_t begin, size_t end) {
  for (size_t t = 0; t < T; ++t) {
    float* out = b.x + t * kPeerChannels;
    for (size_t c = begin; c < end; ++c) {
      float sum = 0;
      for (size_t k = 0; k < 4; ++k) sum += b.window[c * (T + 3) + t + k] * b.taps[c * 4 + k];
      out[c] = sum;
    }
    const FloatTag d;
    ForEachVector(end - begin, [=](size_t i, auto load, auto store) HWY_ATTR {
      store(SiluOf(d, load(out + begin + i)), out + begin + i);
    });
  }
}

void PeerScan(const PeerBuffers& b, size_t T, size_t begin, size_t end) {
  const FloatTag d;
  constexpr size_t H = kDims.heads, P = kDims.head_dim, N = kDims.state, G = kDims.groups;
  for (size_t t = 0; t < T; ++t) {
    for (size_t h = begin; h < end; ++h) {
      const float dt = b.dt[t * H + h];
      const FloatVec decay = hn::Set(d, std::exp(-dt));
      const float* B = b.x + t * kPeerChannels + H * P + h / (H / G) * N;
      const float* C = B + G * N;
      for (size_t p = 0; p < P; ++p) {
        float* s = b.state + (h * P + p) * N;
        const FloatVec input = hn::Set(d, b.x[t * kPeerChannels + h * P + p] * dt);
        FloatVec sum = hn::Zero(d);
        for (size_t n = 0; n < N; n += kLanes) {
          const FloatVec next =
              hn::Add(hn::Mul(hn::LoadU(d, s + n), decay), hn::Mul(hn::LoadU(d, B + n), input));
          sum = hn::MulAdd(next, hn::LoadU(d, C + n), sum);
          hn::StoreU(next, d, s + n);
        }
        b.y[(t * H + h) * P + p] = hn::GetLane(hn::SumOfLanes(d, sum));
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {
HWY_EXPORT(PeerConv);
HWY_EXPORT(PeerScan);
namespace {

constexpr size_t kLayers = 27;

struct Parameters {
  UniformFloats taps{4 * 12288, -0.5f, 0.5f}, conv_bias{12288, -0.1f, 0.1f}, dt_bias{128, -6, -2},
      A{128, -16, -1}, D{128, 0.5f, 1.5f}, norm{10240, 0.5f, 1.5f};
  SsmLayer Layer() {
    return {kDims,          4,        taps.data(), conv_bias.data(),
            dt_bias.data(), A.data(), D.data(),    norm.data(),
            0.0f,           1e30f,    1e-5f};
  }
};

// The limit of a decode step: floats read, scaled and written back in place.
double InPlaceGBs(int threads) {
  SetThreadCount(threads);
  constexpr size_t kFloats = size_t{192} << 20 >> 2, kBlock = 1 << 15;
  UniformFloats floats(kFloats, 0, 1);
  const double seconds = BestSeconds(0, 5, [&] {
    ParallelFor(kFloats / kBlock, [&](size_t block, int) {
      float* p = floats.data() + block * kBlock;
      for (size_t i = 0; i < kBlock; i += 16) {
        __builtin_prefetch(p + i + 1024, 1);
        for (size_t k = 0; k < 16; ++k) p[i + k] *= 0.999f;
      }
    });
  });
  return 2.0 * kFloats * sizeof(float) / seconds * 1e-9;
}

// Bytes a second that this machine reads with so many threads.
double ReadPeak(int threads) {
  static const MachinePeaks peaks = LoadOrMeasurePeaks(10);
  return threads == 1 ? peaks.read.one_thread : peaks.read.team;
}

// The name of a guarded row (bench_rows.h).
std::string RowName(std::string_view what, DType type, int threads) {
  return "ssm_block " + std::string(what) + " state " + std::string(Name(type)) + " " +
         std::to_string(threads) + "t";
}

void Decode(Parameters& parameters, size_t batch, DType type, int threads, double limit) {
  SetThreadCount(threads);
  const SsmLayer layer = parameters.Layer();
  const size_t layers = batch == 1 ? kLayers : std::max<size_t>(2, 32 / batch);
  const size_t state_floats = kDims.StateSize() / (type == DType::kBF16 ? 2 : 1);
  UniformFloats states(layers * batch * state_floats, 0, 1e-3f);
  UniformFloats windows(layers * batch * 3 * layer.conv_dim(), -1, 1),
      in(batch * layer.in_width(), -1, 1), out(batch * layer.d_in(), 0, 0);
  size_t position = 0;
  const double seconds = BestSeconds(0, 5, [&] {
    for (size_t l = 0; l < layers; ++l) {
      SsmRun runs[64];
      for (size_t s = 0; s < batch; ++s) {
        const size_t i = l * batch + s;
        runs[s] = {in.data() + s * layer.in_width(),
                   1,
                   position,
                   windows.data() + i * 3 * layer.conv_dim(),
                   states.data() + i * state_floats,
                   type,
                   out.data() + s * layer.d_in()};
      }
      SsmBlock(layer, {runs, batch}, SsmArithmetic::kFast);
    }
    ++position;
  });
  const double bytes = 2.0 * static_cast<double>(states.size()) * sizeof(float);
  std::printf(
      "decode  batch %2zu  %-4s  %d threads  %7.1f us a layer and sequence  %5.1f GB/s = %3.0f %% "
      "of %.1f\n",
      batch, std::string(Name(type)).c_str(), threads,
      seconds / static_cast<double>(layers * batch) * 1e6, bytes / seconds * 1e-9,
      bytes / seconds * 1e-7 / limit, limit);
  if (batch != 16)
    ReportBenchRow(RowName("decode b" + std::to_string(batch), type, threads),
                   bytes / seconds * 1e-9 / limit);
}

void Prefill(Parameters& parameters, size_t slice, SsmArithmetic arithmetic, DType type,
             int threads) {
  SetThreadCount(threads);
  const SsmLayer layer = parameters.Layer();
  // As many layers as 1024 rows need, so that a slice's rows and state come from memory, as after a matrix product.
  const size_t layers = std::max<size_t>(2, 1024 / slice);
  const size_t state_floats = kDims.StateSize() / (type == DType::kBF16 ? 2 : 1);
  UniformFloats states(layers * state_floats, 0, 1e-3f),
      windows(layers * 3 * layer.conv_dim(), -1, 1), in(layers * slice * layer.in_width(), -1, 1),
      out(slice * layer.d_in(), 0, 0);
  const double seconds = BestSeconds(0, 5, [&] {
    for (size_t l = 0; l < layers; ++l) {
      const SsmRun run{in.data() + l * slice * layer.in_width(),
                       slice,
                       0,
                       windows.data() + l * 3 * layer.conv_dim(),
                       states.data() + l * state_floats,
                       type,
                       out.data()};
      SsmBlock(layer, {&run, 1}, arithmetic);
    }
  });
  std::printf("prefill slice %3zu  %-5s  state %-4s  %d threads  %6.2f us a token and layer\n",
              slice, arithmetic == SsmArithmetic::kExact ? "exact" : "fast",
              std::string(Name(type)).c_str(), threads,
              seconds / static_cast<double>(layers * slice) * 1e6);
  if (arithmetic != SsmArithmetic::kFast || slice != 512) return;
  // The limit: a token's row in and out of memory once.
  const auto bytes = static_cast<double>((layer.in_width() + layer.d_in()) * sizeof(float));
  ReportBenchRow(RowName("prefill 512", type, threads),
                 bytes * static_cast<double>(layers * slice) / seconds / ReadPeak(threads));
}

// The access pattern described at the top of the file: conv with one channel's four taps gathered over a channel-major
// window, then for every token all heads, P rows of N, the state read, updated and written.
void PeerPattern(int threads) {
  SetThreadCount(threads);
  constexpr size_t T = 32, C = kPeerChannels;
  UniformFloats state(kDims.StateSize(), 0, 1e-3f), x(T * C, -1, 1), window(C * (T + 3), -1, 1),
      taps(C * 4, -1, 1), dt(T * kDims.heads, 0.001f, 0.1f),
      y(T * kDims.heads * kDims.head_dim, 0, 0);
  const PeerBuffers buffers{state.data(), x.data(),  window.data(),
                            taps.data(),  dt.data(), y.data()};
  const auto parts = static_cast<size_t>(threads);
  const double seconds = BestSeconds(0, 5, [&] {
    ParallelFor(parts, [&](size_t part, int) {
      HWY_DYNAMIC_DISPATCH(PeerConv)(buffers, T, part * C / parts, (part + 1) * C / parts);
    });
    ParallelFor(parts, [&](size_t part, int) {
      HWY_DYNAMIC_DISPATCH(PeerScan)
      (buffers, T, part * kDims.heads / parts, (part + 1) * kDims.heads / parts);
    });
  });
  std::printf(
      "prefill by an imitation of the peer's access pattern (conv + scan only)  %d threads  "
      "%6.2f us a token and layer\n",
      threads, seconds / T * 1e6);
}

// Decode steps of one small layer with a float and a bf16 state on the same inputs, decays as Mamba-2 draws them at the start
// of training: A in [-16, -1], dt log-uniform in [0.001, 0.1]. Prints |y_bf16 - y_f32| / |y_f32| over the last 256 steps.
void Drift() {
  SetThreadCount(1);
  constexpr SsmDims kSmall{64, 16, 64, 2};
  SsmLayer layer{.dims = kSmall, .conv_width = 4, .dt_low = 0, .dt_high = 1e30f, .norm_eps = 1e-5f};
  Random random(1);
  std::vector<float> dt_bias(kSmall.heads), A(kSmall.heads);
  UniformFloats taps(4 * layer.conv_dim(), -0.5f, 0.5f), D(kSmall.heads, 0.5f, 1.5f),
      norm(layer.d_in(), 1, 1);
  for (size_t h = 0; h < kSmall.heads; ++h) {
    const double dt = 0.001 * std::pow(100.0, random.Uniform());
    dt_bias[h] = static_cast<float>(std::log(std::expm1(dt)));  // softplus undone
    A[h] = static_cast<float>(-1 - 15 * random.Uniform());
  }
  layer.conv_taps = taps.data();
  layer.dt_bias = dt_bias.data();
  layer.A = A.data();
  layer.D = D.data();
  layer.norm = norm.data();
  const size_t window = 3 * layer.conv_dim();
  std::vector<float> windows[2] = {std::vector<float>(window), std::vector<float>(window)};
  std::vector<float> state(kSmall.StateSize()), in(layer.in_width());
  std::vector<uint16_t> half(kSmall.StateSize());
  std::vector<float> out[2] = {std::vector<float>(layer.d_in()), std::vector<float>(layer.d_in())};
  double error = 0, size = 0;
  for (size_t t = 0; t < 16384; ++t) {
    for (float& v : in) v = static_cast<float>(random.Normal());
    // The time step stays near its bias, as a trained layer's does not have to.
    for (size_t i = in.size() - kSmall.heads; i < in.size(); ++i) in[i] *= 0.1f;
    const SsmRun runs[2] = {
        {in.data(), 1, t, windows[0].data(), state.data(), DType::kF32, out[0].data()},
        {in.data(), 1, t, windows[1].data(), half.data(), DType::kBF16, out[1].data()}};
    SsmBlock(layer, runs, SsmArithmetic::kExact);
    for (size_t i = 0; i < layer.d_in(); ++i) {
      error += std::pow(static_cast<double>(out[1][i]) - out[0][i], 2);
      size += std::pow(static_cast<double>(out[0][i]), 2);
    }
    if ((t + 1) % 256 != 0) continue;
    if (t + 1 == 1024 || t + 1 == 4096 || t + 1 == 16384)
      std::printf("drift  bf16 state, stochastic rounding, step %5zu: relative error of y %.2e\n",
                  t + 1, std::sqrt(error / size));
    error = size = 0;
  }
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) {
  using namespace planish;
  LimitSpinning(argv);
  ApplyIsaOverride();
  const auto wants = [&](std::string_view what) {
    return argc == 1 ||
           std::any_of(argv + 1, argv + argc, [&](const char* a) { return a == what; });
  };
  std::printf("isa %s\n", IsaName().c_str());
  Parameters parameters;
  if (wants("drift")) Drift();
  for (int threads : {1, 2}) {
    if (wants("decode")) {
      const double limit = InPlaceGBs(threads);
      for (DType type : {DType::kF32, DType::kBF16})
        for (size_t batch : {size_t{1}, size_t{4}, size_t{16}})
          Decode(parameters, batch, type, threads, limit);
    }
    if (wants("prefill_fast")) Prefill(parameters, 512, SsmArithmetic::kFast, DType::kF32, threads);
    if (wants("prefill")) {
      for (SsmArithmetic arithmetic : {SsmArithmetic::kExact, SsmArithmetic::kFast})
        for (size_t slice : {size_t{32}, size_t{512}})
          Prefill(parameters, slice, arithmetic, DType::kF32, threads);
      Prefill(parameters, 512, SsmArithmetic::kFast, DType::kBF16, threads);
      PeerPattern(threads);
    }
  }
  return 0;
}
#endif  // HWY_ONCE

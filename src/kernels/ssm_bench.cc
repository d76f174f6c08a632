// SPDX-License-Identifier: Apache-2.0
// Speed of what lies between the projections of a Mamba-2 layer of the 9B shape (128 heads x 80, N 128, 8 groups), beside the
// machine's own limits in the same run: decode steps over the states of 27 layers (cold: far more than the caches) as GB/s of
// state read and written, prompt slices as microseconds per token and layer, and the same work in the access pattern of
// llama.cpp's ssm_conv + ssm_scan (tokens outside, heads inside, the whole state read and written for every token; our own
// loops, not its code). Best of several repetitions. Usage: ssm_bench [decode|prefill|prefill_fast]...; PLANISH_ISA chooses the level.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string_view>
#include <vector>

#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "kernels/isa.h"
#include "kernels/ssm_block.h"

namespace planish {
namespace {

constexpr SsmDims kDims{128, 80, 128, 8};
constexpr size_t kLayers = 27;

double BestSeconds(int repetitions, const std::function<void()>& run) {
  double best = 1e30;
  for (int i = 0; i < repetitions; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best = std::min(best, time.count());
  }
  return best;
}

// Large and touched once; uniform in [low, high].
class Floats {
 public:
  Floats(size_t n, float low, float high) : n_(n), buffer_(n * sizeof(float)) {
    uint32_t bits = 12345;
    for (size_t i = 0; i < n; ++i) {
      bits = bits * 1664525u + 1013904223u;
      data()[i] = low + (high - low) * static_cast<float>(bits >> 8) * 0x1p-24f;
    }
  }
  float* data() { return reinterpret_cast<float*>(buffer_.data()); }
  size_t size() const { return n_; }

 private:
  size_t n_;
  AlignedBuffer buffer_;
};

struct Parameters {
  Floats taps{4 * 12288, -0.5f, 0.5f}, conv_bias{12288, -0.1f, 0.1f}, dt_bias{128, -6, -2},
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
  Floats floats(kFloats, 0, 1);
  const double seconds = BestSeconds(5, [&] {
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

void Decode(Parameters& parameters, size_t batch, DType type, int threads, double limit) {
  SetThreadCount(threads);
  const SsmLayer layer = parameters.Layer();
  const size_t layers = batch == 1 ? kLayers : std::max<size_t>(2, 32 / batch);
  const size_t state_floats = kDims.StateSize() / (type == DType::kBF16 ? 2 : 1);
  Floats states(layers * batch * state_floats, 0, 1e-3f);
  Floats windows(layers * batch * 3 * layer.conv_dim(), -1, 1), in(batch * layer.in_width(), -1, 1),
      out(batch * layer.d_in(), 0, 0);
  size_t position = 0;
  const double seconds = BestSeconds(5, [&] {
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
}

void Prefill(Parameters& parameters, size_t slice, SsmArithmetic arithmetic, DType type,
             int threads) {
  SetThreadCount(threads);
  const SsmLayer layer = parameters.Layer();
  // As many layers as 1024 rows need, so that a slice's rows and state come from memory, as after a matrix product.
  const size_t layers = std::max<size_t>(2, 1024 / slice);
  const size_t state_floats = kDims.StateSize() / (type == DType::kBF16 ? 2 : 1);
  Floats states(layers * state_floats, 0, 1e-3f), windows(layers * 3 * layer.conv_dim(), -1, 1),
      in(layers * slice * layer.in_width(), -1, 1), out(slice * layer.d_in(), 0, 0);
  const double seconds = BestSeconds(5, [&] {
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
}

// The access pattern described at the top of the file: conv with one channel's four taps gathered over a channel-major
// window, then for every token all heads, P rows of N, the state read, updated and written.
void PeerPattern(int threads) {
  SetThreadCount(threads);
  constexpr size_t T = 32, H = 128, P = 80, N = 128, G = 8, C = 12288;
  Floats state(H * P * N, 0, 1e-3f), x(T * C, -1, 1), window(C * (T + 3), -1, 1),
      taps(C * 4, -1, 1), dt(T * H, 0.001f, 0.1f), y(T * H * P, 0, 0);
  const double seconds = BestSeconds(3, [&] {
    ParallelFor(static_cast<size_t>(threads), [&](size_t part, int) {
      const size_t parts = static_cast<size_t>(threads);
      for (size_t t = 0; t < T; ++t) {
        for (size_t c = part * C / parts; c < (part + 1) * C / parts; ++c) {
          float sum = 0;
          for (size_t k = 0; k < 4; ++k)
            sum += window.data()[c * (T + 3) + t + k] * taps.data()[c * 4 + k];
          x.data()[t * C + c] = sum / (1 + std::exp(-sum));
        }
      }
    });
    ParallelFor(static_cast<size_t>(threads), [&](size_t part, int) {
      const size_t parts = static_cast<size_t>(threads);
      for (size_t t = 0; t < T; ++t) {
        for (size_t h = part * H / parts; h < (part + 1) * H / parts; ++h) {
          const float step = dt.data()[t * H + h], decay = std::exp(-step);
          const float* B = x.data() + t * C + H * P + h / (H / G) * N;
          const float* c = B + G * N;
          for (size_t p = 0; p < P; ++p) {
            float* s = state.data() + (h * P + p) * N;
            const float input = x.data()[t * C + h * P + p] * step;
            float sums[16] = {};
            for (size_t n = 0; n < N; n += 16) {
              for (size_t k = 0; k < 16; ++k) {
                s[n + k] = s[n + k] * decay + B[n + k] * input;
                sums[k] += s[n + k] * c[n + k];
              }
            }
            float sum = 0;
            for (float v : sums) sum += v;
            y.data()[(t * H + h) * P + p] = sum;
          }
        }
      }
    });
  });
  std::printf(
      "prefill by the peer's access pattern (conv + scan only; loops without AVX, so slower than "
      "the peer)  %d threads  %6.2f us a token and "
      "layer\n",
      threads, seconds / T * 1e6);
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

// SPDX-License-Identifier: Apache-2.0
// adamw_bench [MILLIONS]: one AdamW update and one sum of squares over that many parameters (32), on the whole team: milliseconds,
// GB/s, and the share of the machine's measured read bandwidth. An update moves 28 bytes a parameter (reads gradient, value, m,
// v; writes the last three), 24 with m in bf16.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/memory.h"
#include "base/parallel.h"
#include "kernels/adamw.h"
#include "kernels/bench_timing.h"
#include "kernels/machine_peaks.h"
#include "kernels/sum_squares.h"

namespace planish {
namespace {

constexpr size_t kChunk = size_t{1} << 16;  // FlatParams::kChunkFloats

void Print(const char* name, double seconds, double bytes, double peak) {
  std::printf("%-28s %8.2f ms %8.2f GB/s %6.1f %%\n", name, 1e3 * seconds, bytes / seconds * 1e-9,
              100 * bytes / seconds / peak);
}

int Main(int argc, char** argv) {
  const size_t n =
      static_cast<size_t>(argc > 1 ? std::atof(argv[1]) * 1e6 : 32e6) / kChunk * kChunk;
  std::vector<AlignedBuffer> buffers;
  for (int i = 0; i < 5; ++i) {
    buffers.emplace_back(n * sizeof(float));
    ParallelFor(n / kChunk, [&](size_t c, int) {
      float* values = reinterpret_cast<float*>(buffers.back().data()) + c * kChunk;
      for (size_t j = 0; j < kChunk; ++j) values[j] = 1e-3f * static_cast<float>(1 + (c + j) % 97);
    });
  }
  const auto floats = [&](size_t i) { return reinterpret_cast<float*>(buffers[i].data()); };
  auto* half = reinterpret_cast<uint16_t*>(buffers[4].data());
  std::memset(half, 0, n * sizeof(uint16_t));
  const double peak = LoadOrMeasurePeaks(8).read.team;
  const AdamWStep step = MakeAdamWStep({}, 10, 1e-3, 0.1, 1.0);
  std::printf("%zu parameters, %d threads, read peak %.1f GB/s\n", n, ThreadCount(), peak * 1e-9);
  const auto over_chunks = [&](const auto& body) {
    return MedianSeconds(
        0, 9, [&] { ParallelFor(n / kChunk, [&](size_t c, int) { body(c * kChunk); }); });
  };
  Print("AdamW, m in f32", over_chunks([&](size_t at) {
          AdamW(step, floats(0) + at, kChunk, floats(1) + at, floats(2) + at, floats(3) + at);
        }),
        28.0 * static_cast<double>(n), peak);
  Print("AdamW, m in bf16", over_chunks([&](size_t at) {
          AdamW(step, floats(0) + at, kChunk, floats(1) + at, half + at, floats(3) + at);
        }),
        24.0 * static_cast<double>(n), peak);
  std::vector<double> sums(n / kChunk);
  Print("sum of squares",
        over_chunks([&](size_t at) { sums[at / kChunk] = SumOfSquares(floats(0) + at, kChunk); }),
        4.0 * static_cast<double>(n), peak);
  return sums[0] > 0 ? 0 : 1;
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) { return planish::Main(argc, argv); }

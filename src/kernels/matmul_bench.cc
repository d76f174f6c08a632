// SPDX-License-Identifier: Apache-2.0
// Speed of MatMul in f32 beside the machine's peaks: read bandwidth at T = 1, which is bound by the bytes of the weights, and
// f32 FMA at T >= 8. Best of many repetitions, since other programs share the machine. Usage: matmul_bench [seconds per
// figure, default 0.3]; PLANISH_ISA chooses the level.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/parallel.h"
#include "base/random.h"
#include "kernels/bench_rows.h"
#include "kernels/bench_timing.h"
#include "kernels/isa.h"
#include "kernels/machine_peaks.h"
#include "kernels/matmul.h"
#include "tensor/blocks.h"

namespace planish {
namespace {

double g_seconds = 0.3;

Weight RandomWeight(DType dtype, size_t out, size_t in) {
  Weight w("w", out, in, dtype);
  std::vector<float> row(in);
  Random random(1);
  for (float& value : row) value = static_cast<float>(random.Normal());
  std::vector<std::byte> block(w.row_bytes());
  if (CanQuantize(dtype)) {
    QuantizeRow(dtype, row.data(), block.data(), in);
  } else {
    // K-quants: any bits are a valid block; only the F16 scales (first four bytes of q4_k) must be
    // tame.
    for (std::byte& byte : block) byte = static_cast<std::byte>(random.Bits());
    const uint16_t scale = F16FromFloat(0.001f);
    for (size_t b = 0; b < block.size(); b += Traits(dtype).block_bytes) {
      std::memcpy(block.data() + b, &scale, 2);
      std::memcpy(block.data() + b + 2, &scale, 2);
    }
  }
  for (size_t r = 0; r < out; ++r)
    std::memcpy(w.mutable_data() + r * w.row_bytes(), block.data(), block.size());
  return w;
}

void Run() {
  std::printf("isa %s\n", IsaName().c_str());
  SetThreadCount(2);
  const MachinePeaks peaks = LoadOrMeasurePeaks(10);
  const double peak[3] = {0, peaks.f32().one_thread / 1e9, peaks.f32().team / 1e9};
  const double read[3] = {0, peaks.read.one_thread / 1e9, peaks.read.team / 1e9};
  for (const int threads : {1, 2})
    std::printf("%d thread(s): f32 FMA %.0f GFLOP/s, read %.1f GB/s\n", threads, peak[threads],
                read[threads]);
  struct Shape {
    size_t N, K;
  };
  std::printf("%-6s %-12s %7s %9s %6s | %9s %6s %9s %6s %9s %6s\n", "type", "shape", "threads",
              "T=1 GB/s", "%read", "T=8 GF/s", "%peak", "T=64 GF/s", "%peak", "T=512", "%peak");
  for (const DType dtype :
       {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ4_K}) {
    for (const Shape& shape : {Shape{4096, 4096}, Shape{49152, 576}, Shape{576, 1536}}) {
      const auto [N, K] = shape;
      if (K % Traits(dtype).block_elems != 0) continue;
      const Weight original = RandomWeight(dtype, N, K);
      // Copies, so that T = 1 does not find the weights in a cache (this host's L3 is far larger
      // than a matrix).
      std::vector<Weight> copies;
      const size_t count = std::clamp<size_t>((size_t{1} << 30) / original.bytes(), 1, 200);
      for (size_t i = 0; i < count; ++i) {
        copies.emplace_back("copy", N, K, dtype);
        std::memcpy(copies.back().mutable_data(), original.data(), original.bytes());
      }
      std::vector<float> x(512 * K, 0.5f), y(512 * N);
      for (const int threads : {1, 2}) {
        SetThreadCount(threads);
        const double bytes = static_cast<double>(original.bytes());
        size_t turn = 0;
        const double one = BestSeconds(
            g_seconds, 5, [&] { MatMul(copies[turn++ % count], x.data(), 1, y.data()); });
        const double gbps = bytes / one / 1e9;
        char name[32];
        std::snprintf(name, sizeof name, "%zux%zu", N, K);
        std::printf("%-6s %-12s %7d %9.1f %5.0f%% |", std::string(Name(dtype)).c_str(), name,
                    threads, gbps, 100 * gbps / read[threads]);
        const auto report = [&](size_t T, double share) {
          ReportBenchRow(fmt::format("matmul f32 {} {} T={} {}t", Name(dtype), name, T, threads),
                         share);
        };
        report(1, gbps / read[threads]);
        for (const size_t T : {size_t{8}, size_t{64}, size_t{512}}) {
          const double seconds =
              BestSeconds(g_seconds, 5, [&] { MatMul(copies[0], x.data(), T, y.data()); });
          const double gflops = 2.0 * static_cast<double>(N * K * T) / seconds / 1e9;
          std::printf(" %9.0f %5.0f%%", gflops, 100 * gflops / peak[threads]);
          report(T, gflops / peak[threads]);
        }
        std::printf("\n");
        std::fflush(stdout);
      }
    }
  }
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) {
  if (argc > 1) planish::g_seconds = std::atof(argv[1]);
  planish::ApplyIsaOverride();
  planish::Run();
}

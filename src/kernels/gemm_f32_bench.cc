// SPDX-License-Identifier: Apache-2.0
// gemm_f32_bench [SECONDS]: GFLOP/s of the float products of training and their share of this machine's f32 peak: forward
// (Y = X W^T), dX = dY W and dW += dY^T X of layers of 30-150 M models, 1 and 2 threads. Best of many runs.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "kernels/bench_rows.h"
#include "kernels/bench_timing.h"
#include "kernels/gemm_f32.h"
#include "kernels/isa.h"
#include "kernels/machine_peaks.h"

namespace planish {
namespace {

double g_seconds = 0.3;

struct Matrix {
  explicit Matrix(size_t count) : memory(count * sizeof(float)) {
    Random random(count);
    for (size_t i = 0; i < count; ++i) data()[i] = static_cast<float>(random.Normal());
  }
  float* data() { return reinterpret_cast<float*>(memory.data()); }
  AlignedBuffer memory;
};

void Run() {
  SetThreadCount(2);
  const MachinePeaks peaks = LoadOrMeasurePeaks(10);
  const double peak[3] = {0, peaks.f32().one_thread / 1e9, peaks.f32().team / 1e9};
  std::printf("%s, f32 peak %.0f / %.0f GFLOP/s\n", IsaName().c_str(), peak[1], peak[2]);
  std::printf("%-20s t | forward     dX          dW\n", "T x in x out");
  constexpr size_t kShapes[][3] = {{2048, 512, 2048},
                                   {2048, 2048, 512},
                                   {2048, 1024, 1024},
                                   {512, 512, 8192},
                                   {8192, 768, 3072}};
  for (const auto& [T, in, out] : kShapes) {
    Matrix x(T * in), w(out * in), y(T * out);
    for (const int threads : {1, 2}) {
      SetThreadCount(threads);
      const double flops = 2.0 * static_cast<double>(T * in * out);
      const double seconds[] = {
          BestSeconds(g_seconds, 3,
                      [&, T = T, in = in, out = out] {
                        GemmF32({x.data(), in}, {w.data(), in}, T, out, in, false, y.data(), out);
                      }),
          BestSeconds(g_seconds, 3,
                      [&, T = T, in = in, out = out] {
                        GemmF32({y.data(), out}, {w.data(), in, DType::kF32, true}, T, in, out,
                                false, x.data(), in);
                      }),
          BestSeconds(g_seconds, 3, [&, T = T, in = in, out = out] {
            GemmF32({y.data(), out, DType::kF32, true}, {x.data(), in, DType::kF32, true}, out, in,
                    T, true, w.data(), in);
          })};
      const std::string name =
          std::to_string(T) + "x" + std::to_string(in) + "x" + std::to_string(out);
      std::printf("%-20s %d |", name.c_str(), threads);
      const char* kinds[] = {"fprop", "dgrad", "wgrad"};
      for (size_t i = 0; i < 3; ++i) {
        const double rate = flops / seconds[i] / 1e9;
        std::printf(" %6.0f %3.0f%%", rate, 100 * rate / peak[threads]);
        ReportBenchRow(
            "gemm f32 " + std::string(kinds[i]) + " " + name + " " + std::to_string(threads) + "t",
            rate / peak[threads]);
      }
      std::printf("\n");
      std::fflush(stdout);
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

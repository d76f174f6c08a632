// SPDX-License-Identifier: Apache-2.0
// Speed of MatMulInt8 and of packing. Few tokens are bound by the bytes of the weights, so they are measured on many matrices
// in turn (over 1 GB, so that no cache holds them) and given as a share of the machine's read bandwidth; many tokens as a
// share of its vector int8 peak (tiles can exceed it). Best of the rounds that fit the time, since other programs share the machine.
// Usage: matmul_int8_bench [decode|small|prefill|pack ...] [TYPE ...] [seconds per figure]; PLANISH_ISA chooses the level.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "kernels/bench_rows.h"
#include "kernels/bench_timing.h"
#include "kernels/isa.h"
#include "kernels/machine_peaks.h"
#include "kernels/matmul_int8.h"
#include "kernels/packed_testing.h"
#include "kernels/packed_weight.h"

namespace planish {
namespace {

double g_seconds = 0.1;

struct Shape {
  size_t N, K;
};
constexpr Shape kLarge[] = {{22656, 4480}, {4480, 10240}, {15680, 4480}, {4480, 15680}};
constexpr Shape kSmall[] = {{576, 576}, {1536, 576}, {576, 1536}, {49152, 576}};
std::vector<DType> g_types = {DType::kQ4_0, DType::kQ4_1, DType::kQ8_0, DType::kQ4_K};

std::string RowName(DType dtype, const Shape& shape, size_t T, int threads) {
  return "matmul_int8 " + std::string(Name(dtype)) + " " + std::to_string(shape.N) + "x" +
         std::to_string(shape.K) + " T=" + std::to_string(T) + " " + std::to_string(threads) + "t";
}

// Packed copies of one weight, of over `total` bytes.
std::vector<Weight> Copies(const Weight& original, size_t total) {
  std::vector<Weight> copies;
  for (size_t bytes = 0; bytes < total; bytes += copies.back().packed(kPackedLayout)->data.size()) {
    copies.emplace_back("copy", original.out(), original.in(), original.dtype(), original.data(),
                        nullptr);
    PackWeight(&copies.back());
  }
  return copies;
}

void Multiply(const Weight& w, const std::vector<float>& x, size_t T, std::vector<float>* y) {
  const Weight* ws[] = {&w};
  float* ys[] = {y->data()};
  MatMulInt8(ws, x.data(), T, ys);
}

void MeasureDecode(std::span<const Shape> shapes, size_t total, const double* read,
                   const double* peak) {
  constexpr size_t kTokens[] = {1, 2, 4, 8, 16, 32};
  std::printf("\n%-6s %-12s %3s", "type", "shape", "thr");
  for (const size_t T : kTokens) std::printf("  M=%-2zu GB/s %%read %%peak", T);
  std::printf("\n");
  for (const DType dtype : g_types) {
    for (const Shape& shape : shapes) {
      if (shape.K % Traits(dtype).block_elems != 0) continue;
      const Weight original = RandomPackable(dtype, shape.N, shape.K, 1);
      const std::vector<Weight> ws = Copies(original, total);
      std::vector<float> x(32 * shape.K), y(32 * shape.N);
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17) - 8;
      const double bytes = static_cast<double>(ws[0].packed(kPackedLayout)->data.size());
      for (const int threads : {1, 2}) {
        SetThreadCount(threads);
        std::printf("%-6s %5zux%-6zu %3d", std::string(Name(dtype)).c_str(), shape.N, shape.K,
                    threads);
        for (const size_t T : kTokens) {
          const double seconds = BestSeconds(g_seconds, 3, [&] {
            for (const Weight& w : ws) Multiply(w, x, T, &y);
          });
          const double count = static_cast<double>(ws.size());
          const double gbps = bytes * count / seconds / 1e9;
          const double gops =
              2.0 * static_cast<double>(shape.N * shape.K * T) * count / seconds / 1e9;
          if (T == 1) ReportBenchRow(RowName(dtype, shape, T, threads), gbps / read[threads]);
          std::printf("  %9.1f %4.0f%% %4.0f%%", gbps, 100 * gbps / read[threads],
                      100 * gops / peak[threads]);
        }
        std::printf("\n");
        std::fflush(stdout);
      }
    }
  }
}

void MeasurePrefill(std::span<const Shape> shapes, const double* peak) {
  constexpr size_t kTokens[] = {16, 32, 128, 512};
  std::printf("\n%-6s %-12s %3s", "type", "shape", "thr");
  for (const size_t T : kTokens) std::printf("  T=%-3zu GOP/s %%peak", T);
  std::printf("\n");
  for (const DType dtype : g_types) {
    for (const Shape& shape : shapes) {
      if (shape.K % Traits(dtype).block_elems != 0) continue;
      const Weight original = RandomPackable(dtype, shape.N, shape.K, 1);
      const std::vector<Weight> ws = Copies(original, 1);
      std::vector<float> x(512 * shape.K), y(512 * shape.N);
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17) - 8;
      for (const int threads : {1, 2}) {
        SetThreadCount(threads);
        std::printf("%-6s %5zux%-6zu %3d", std::string(Name(dtype)).c_str(), shape.N, shape.K,
                    threads);
        for (const size_t T : kTokens) {
          const double seconds = BestSeconds(g_seconds, 3, [&] { Multiply(ws[0], x, T, &y); });
          const double gops = 2.0 * static_cast<double>(shape.N * shape.K * T) / seconds / 1e9;
          if (T == 512) ReportBenchRow(RowName(dtype, shape, T, threads), gops / peak[threads]);
          std::printf("  %11.0f %4.0f%%", gops, 100 * gops / peak[threads]);
        }
        std::printf("\n");
        std::fflush(stdout);
      }
    }
  }
}

void MeasurePacking() {
  std::printf(
      "\npacking 8192x8192, GB/s of the canonical bytes (with the first touch of the view)\n");
  for (const DType dtype : kPackedTypes) {
    std::printf("%-7s", std::string(Name(dtype)).c_str());
    Weight w = RandomPackable(dtype, 8192, 8192, 1);
    for (const int threads : {1, 2}) {
      SetThreadCount(threads);
      const double seconds = BestSeconds(g_seconds, 3, [&] {
        w.Touch();
        w.SetPacked(kPackedLayout, {});  // frees the old view
        w.Touch();
        PackWeight(&w);
      });
      std::printf("  %d thr %5.2f", threads, static_cast<double>(w.bytes()) / seconds / 1e9);
    }
    std::printf("\n");
    std::fflush(stdout);
  }
}

void Run(const std::vector<std::string>& what) {
  const auto has = [&](const char* name) {
    return what.empty() || std::find(what.begin(), what.end(), name) != what.end();
  };
  std::printf("isa %s\n", IsaName().c_str());
  double read[3] = {}, peak[3] = {};
  SetThreadCount(2);
  const MachinePeaks peaks = LoadOrMeasurePeaks(10);
  const Rate& int8 = peaks.of(ArithmeticUnit::kInt8);
  for (const int threads : {1, 2}) {
    peak[threads] = (threads == 1 ? int8.one_thread : int8.team) / 1e9;
    read[threads] = (threads == 1 ? peaks.read.one_thread : peaks.read.team) / 1e9;
    std::printf("%d thread(s): int8 %.0f GOP/s, read %.1f GB/s\n", threads, peak[threads],
                read[threads]);
  }
  if (has("pack")) MeasurePacking();
  if (has("decode")) MeasureDecode(kLarge, size_t{1} << 30, read, peak);
  if (has("small")) MeasureDecode(kSmall, size_t{1} << 27, read, peak);
  if (has("prefill")) MeasurePrefill(kLarge, peak);
  if (has("prefill")) MeasurePrefill(kSmall, peak);
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) {
  planish::LimitSpinning(argv);
  planish::ApplyIsaOverride();
  std::vector<std::string> what;
  std::vector<planish::DType> types;
  for (int i = 1; i < argc; ++i) {
    if (std::atof(argv[i]) > 0)
      planish::g_seconds = std::atof(argv[i]);
    else if (const auto type = planish::DTypeFromName(argv[i]))
      types.push_back(*type);
    else
      what.emplace_back(argv[i]);
  }
  if (!types.empty()) planish::g_types = types;
  planish::Run(what);
}

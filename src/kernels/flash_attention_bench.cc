// SPDX-License-Identifier: Apache-2.0
// Speed of training attention: GFLOP/s of forward and of backward and their share of the machine's peak in the same arithmetic,
// measured in the same run (operations: 4 and 10 times P for every pair of a query and a key that it sees, the usual count). Best of
// several repetitions. Usage: flash_attention_bench [seconds per figure] [bf16|f32] [number of a shape]; PLANISH_ISA chooses the level.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/random.h"
#include "kernels/bench_timing.h"
#include "kernels/flash_attention.h"
#include "kernels/isa.h"
#include "kernels/machine_peaks.h"

namespace planish {
namespace {

struct Shape {
  size_t documents, length, heads, kv_heads, head_dim;
};
constexpr Shape kShapes[] = {{8, 1024, 8, 2, 64}, {1, 8192, 8, 2, 64}, {8, 1024, 9, 3, 64},
                             {1, 8192, 9, 3, 64}, {8, 1024, 8, 8, 64}, {1, 8192, 8, 2, 128},
                             {8, 1024, 4, 4, 32}, {64, 128, 8, 2, 64}};

void Measure(const Shape& s, ActMode act, double seconds, double peak) {
  const FlashShape shape{s.heads, s.kv_heads, s.head_dim,
                         1 / std::sqrt(static_cast<float>(s.head_dim))};
  std::vector<size_t> bounds;
  for (size_t d = 0; d <= s.documents; ++d) bounds.push_back(d * s.length);
  const size_t T = bounds.back(), wide = T * s.heads * s.head_dim,
               narrow = T * s.kv_heads * s.head_dim;
  Random random(1);
  const auto fill = [&](size_t n) {
    std::vector<float> x(n);
    for (float& value : x) value = static_cast<float>(random.Normal());
    return x;
  };
  const std::vector<float> q = fill(wide), k = fill(narrow), v = fill(narrow), dout = fill(wide);
  std::vector<float> out(wide), lse(T * s.heads), dq(wide), dk(narrow), dv(narrow);
  const auto bf16 = [](const std::vector<float>& x) {
    std::vector<uint16_t> y;
    for (const float value : x) y.push_back(BF16FromFloat(value));
    return y;
  };
  const auto q16 = bf16(q), k16 = bf16(k), v16 = bf16(v);
  // As training calls it: floats forward, kept bf16 backward.
  const FlashInput input{{q.data()}, {k.data()}, {v.data()}, bounds};
  const FlashInput kept = act == ActMode::kF32 ? input
                                               : FlashInput{{q16.data(), DType::kBF16},
                                                            {k16.data(), DType::kBF16},
                                                            {v16.data(), DType::kBF16},
                                                            bounds};
  const double forward = BestSeconds(
      seconds, 2, [&] { FlashAttentionForward(shape, input, act, out.data(), lse.data()); });
  const double backward = BestSeconds(seconds, 2, [&] {
    FlashAttentionBackward(shape, kept, act, {out.data()}, lse.data(), dout.data(), dq.data(),
                           dk.data(), dv.data());
  });
  const double length = static_cast<double>(s.length);
  const double operations = 2 * static_cast<double>(s.documents * s.heads * s.head_dim) * length *
                            (length + 1) / 2;  // of one product
  std::printf(
      "%2zu x %5zu  H %2zu K %2zu P %3zu | %8.2f ms %6.0f GF/s %4.0f%% | %8.2f ms %6.0f GF/s "
      "%4.0f%% | %4.0f%%\n",
      s.documents, s.length, s.heads, s.kv_heads, s.head_dim, forward * 1e3,
      2 * operations / forward / 1e9, 200 * operations / forward / peak, backward * 1e3,
      5 * operations / backward / 1e9, 500 * operations / backward / peak,
      700 * operations / (forward + backward) / peak);
  std::fflush(stdout);
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) {
  using namespace planish;
  LimitSpinning(argv);
  ApplyIsaOverride();
  const double seconds = argc > 1 ? std::atof(argv[1]) : 0.5;
  const std::string only = argc > 2 ? argv[2] : "";
  const MachinePeaks peaks = LoadOrMeasurePeaks(8);
  std::printf("isa %s, %d threads\n", IsaName().c_str(), ThreadCount());
  for (const ActMode act : {ActMode::kBf16, ActMode::kF32}) {
    const bool is_f32 = act == ActMode::kF32;
    if (!only.empty() && only != (is_f32 ? "f32" : "bf16")) continue;
    const double peak = is_f32 ? peaks.f32().team : peaks.bf16().team;
    std::printf("%s, peak %.0f GFLOP/s; share of it forward, backward, both\n",
                is_f32 ? "f32" : "bf16", peak / 1e9);
    for (size_t i = 0; i < std::size(kShapes); ++i)
      if (argc <= 3 || std::strtoull(argv[3], nullptr, 10) == i)
        Measure(kShapes[i], act, seconds, peak);
  }
}

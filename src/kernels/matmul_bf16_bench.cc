// SPDX-License-Identifier: Apache-2.0
// matmul_bf16_bench [SECONDS [SHAPE [TYPE]]]: GFLOP/s of the bf16 product and its share of this machine's measured peak, by
// number of tokens, for the layers of the 9B hybrid and of SmolLM2; beside it oneDNN's bf16 matmul (weights reordered
// beforehand into the form of its choice, activations bf16 already) when it was found. SHAPE ("4480x10240") and TYPE ("q4_0")
// limit the table. Weights change from call to call, so that short calls read them from memory.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "kernels/bench_rows.h"
#include "kernels/bench_timing.h"
#include "kernels/isa.h"
#include "kernels/machine_peaks.h"
#include "kernels/matmul_bf16.h"
#include "kernels/packed_weight.h"
#include "tensor/blocks.h"

#if defined(PLANISH_HAVE_ONEDNN)
#include <dnnl.hpp>
#include <unordered_map>
#endif

namespace planish {
namespace {

double g_seconds = 0.15;

#if defined(PLANISH_HAVE_ONEDNN)
class OneDnn {
 public:
  OneDnn(size_t T, size_t N, size_t K) : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    using Desc = dnnl::memory::desc;
    using Type = dnnl::memory::data_type;
    using Tag = dnnl::memory::format_tag;
    const auto dim = [](size_t n) { return static_cast<dnnl::memory::dim>(n); };
    const Desc x({dim(T), dim(K)}, Type::bf16, Tag::ab), w({dim(K), dim(N)}, Type::bf16, Tag::any),
        y({dim(T), dim(N)}, Type::f32, Tag::ab);
    const dnnl::matmul::primitive_desc desc(dnnl::matmul::desc(x, w, y), engine_);
    matmul_ = dnnl::matmul(desc);
    const dnnl::memory x_memory(x, engine_), w_memory(desc.weights_desc(), engine_),
        y_memory(y, engine_);
    std::memset(x_memory.get_data_handle(), 0, x.get_size());
    std::memset(w_memory.get_data_handle(), 0, desc.weights_desc().get_size());
    arguments_ = {{DNNL_ARG_SRC, x_memory}, {DNNL_ARG_WEIGHTS, w_memory}, {DNNL_ARG_DST, y_memory}};
  }
  void Run() {
    matmul_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul matmul_;
  std::unordered_map<int, dnnl::memory> arguments_;
};
double OneDnnSeconds(size_t T, size_t N, size_t K) {
  OneDnn peer(T, N, K);
  return MedianSeconds(g_seconds, 5, [&] { peer.Run(); });
}
#endif

constexpr size_t kTokens[] = {1, 16, 32, 64, 256, 512, 2048};

Weight RandomWeight(DType dtype, size_t N, size_t K) {
  Weight w("w", N, K, dtype);
  std::vector<float> row(K);
  Random random(1);
  for (float& value : row) value = static_cast<float>(random.Normal());
  QuantizeRow(dtype, row.data(), w.mutable_data(), K);
  for (size_t r = 1; r < N; ++r)
    std::memcpy(w.mutable_data() + r * w.row_bytes(), w.data(), w.row_bytes());
  return w;
}

AlignedBuffer RandomActivations(size_t count) {
  AlignedBuffer memory(count * sizeof(float));
  Random random(2);
  for (size_t i = 0; i < count; ++i)
    reinterpret_cast<float*>(memory.data())[i] = static_cast<float>(random.Normal());
  return memory;
}

// One line of the table for what `seconds(T)` measures.
template <typename Seconds>
void PrintRow(const std::string& name, const std::string& shape, int threads, double flops,
              double peak, const Seconds& seconds) {
  std::printf("%-12s %-12s %d |", name.c_str(), shape.c_str(), threads);
  for (const size_t T : kTokens) {
    const double gflops = flops * static_cast<double>(T) / seconds(T) / 1e9;
    std::printf(" %6.0f %3.0f%%", gflops, peak > 0 ? 100 * gflops / peak : 0);
    if (T == 512 && peak > 0)
      ReportBenchRow(
          "matmul_bf16 " + name + " " + shape + " T=512 " + std::to_string(threads) + "t",
          gflops / peak);
  }
  std::printf("\n");
  std::fflush(stdout);
}

void Run(const std::string& only_shape, const std::string& only_type) {
  SetThreadCount(2);
  const MachinePeaks peaks = LoadOrMeasurePeaks(10);
  const double peak[3] = {0, peaks.bf16().one_thread / 1e9, peaks.bf16().team / 1e9};
  std::printf("%s, bf16 peak %.0f / %.0f GFLOP/s\n", IsaName().c_str(), peak[1], peak[2]);
  std::printf("%-12s %-12s t |", "weights", "shape NxK");
  for (const size_t T : kTokens) std::printf(" T=%-4zu  %% ", T);
  std::printf("\n");
  constexpr size_t kShapes[][2] = {{22656, 4480}, {4480, 10240}, {15680, 4480},
                                   {4480, 15680}, {576, 1536},   {1536, 576}};
  for (const auto& [N, K] : kShapes) {
    const std::string shape = std::to_string(N) + "x" + std::to_string(K);
    if (!only_shape.empty() && only_shape != shape) continue;
    const double flops = 2.0 * static_cast<double>(N * K);
    const std::pair<DType, bool> types[] = {
        {DType::kBF16, false}, {DType::kQ4_0, true}, {DType::kQ8_0, true}, {DType::kQ4_0, false}};
    for (const auto& [dtype, is_packed] : types) {
      if (!only_type.empty() && only_type != Name(dtype)) continue;
      std::vector<Weight> copies;
      const size_t bytes = BytesOf(dtype, N * K);
      const size_t count = std::clamp<size_t>((size_t{600} << 20) / bytes, 1, 100);
      for (size_t i = 0; i < count; ++i) {
        copies.push_back(RandomWeight(dtype, N, K));
        if (is_packed) PackWeight(&copies.back());
      }
      // Large pages and random values, as activations of a model have (products of constants run faster).
      const AlignedBuffer x_memory = RandomActivations(2048 * K);
      AlignedBuffer y_memory(2048 * N * sizeof(float));
      const auto* x = reinterpret_cast<const float*>(x_memory.data());
      auto* y = reinterpret_cast<float*>(y_memory.data());
      size_t turn = 0;
      for (const int threads : {1, 2}) {
        SetThreadCount(threads);
        PrintRow(std::string(Name(dtype)) + (is_packed ? " packed" : ""), shape, threads, flops,
                 peak[threads], [&](size_t T) {
                   return MedianSeconds(g_seconds, 5, [&] {
                     const Weight* const weights[] = {&copies[turn++ % count]};
                     float* const outputs[] = {y};
                     MatMulBf16(weights, x, T, outputs);
                   });
                 });
      }
    }
#if defined(PLANISH_HAVE_ONEDNN)
    if (!only_type.empty() && only_type != "onednn") continue;
    for (const int threads : {1, 2}) {
      PrintRow("onednn bf16", shape, threads, flops, peak[threads],
               [&](size_t T) { return OneDnnSeconds(T, N, K); });
    }
#endif
  }
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) {
#if defined(PLANISH_HAVE_ONEDNN)
  dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_amx);  // its default stops below AMX
#endif
  if (argc > 1) planish::g_seconds = std::atof(argv[1]);
  planish::ApplyIsaOverride();
  planish::Run(argc > 2 ? argv[2] : "", argc > 3 ? argv[3] : "");
}

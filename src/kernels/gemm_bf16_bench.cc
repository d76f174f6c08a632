// SPDX-License-Identifier: Apache-2.0
// gemm_bf16_bench [SECONDS [SHAPE]]: GFLOP/s of the bf16 products of training and their share of this machine's peak: forward
// (Y = X W^T), dX = dY W and dW += dY^T X of layers of 30-150 M models, 1 and 2 threads, operands float and bf16 (as the trainer
// has them: x and dy bf16, W float), beside oneDNN's bf16 matmul where it was found (all operands bf16 already, W reordered
// beforehand into the form of its choice), and the FP8 products with the quantisation of their rows. Median of many runs. SHAPE ("2048x512x2048": T x in x out) limits the table.
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
#include "kernels/gemm_bf16.h"
#include "kernels/gemm_fp8.h"
#include "kernels/isa.h"
#include "kernels/machine_peaks.h"
#include "kernels/rounding.h"

#if defined(PLANISH_HAVE_ONEDNN)
#include <dnnl.hpp>
#include <unordered_map>
#endif

namespace planish {
namespace {

double g_seconds = 0.2;

struct Matrix {
  explicit Matrix(size_t count) : memory(count * sizeof(float)), halves(count * 2) {
    Random random(count);
    for (size_t i = 0; i < count; ++i) f32()[i] = static_cast<float>(random.Normal());
    RoundRows(f32(), count, DType::kBF16, halves.data());
  }
  float* f32() { return reinterpret_cast<float*>(memory.data()); }
  const void* Data(DType type) const { return type == DType::kF32 ? memory.data() : halves.data(); }
  AlignedBuffer memory, halves;
};

enum Product { kForward, kInputGradient, kWeightGradient };
constexpr const char* kNames[] = {"fprop", "dgrad", "wgrad"};

struct Layer {
  Layer(size_t rows, size_t inputs, size_t outputs)
      : T(rows),
        in(inputs),
        out(outputs),
        x(T * in),
        w(out * in),
        y(T * out),
        result(std::max({T * in, T * out, in * out}) * 4) {}
  void Run(Product product, DType rows, DType weights) {
    auto* c = reinterpret_cast<float*>(result.data());
    if (product == kForward)
      GemmBf16({x.Data(rows), in, rows}, {w.Data(weights), in, weights}, T, out, in, false, c, out);
    if (product == kInputGradient)
      GemmBf16({y.Data(rows), out, rows}, {w.Data(weights), in, weights, true}, T, in, out, false,
               c, in);
    if (product == kWeightGradient)
      GemmBf16({y.Data(rows), out, rows, true}, {x.Data(rows), in, rows, true}, out, in, T, true, c,
               in);
  }
  // With the quantisation of rows as training does it; weights are codes already.
  void RunFp8(Product product) {
    auto* c = reinterpret_cast<float*>(result.data());
    const auto quantise = [](const Matrix& from, size_t R, size_t C, Fp8Tiles tiles,
                             std::vector<uint16_t>* values, std::vector<float>* scales) {
      values->resize(R * C);
      scales->resize(Fp8ScaleRows(tiles, R) * Fp8ScaleColumns(tiles, C));
      QuantizeFp8({from.Data(DType::kBF16), C, DType::kBF16}, R, C, {.tiles = tiles},
                  values->data(), scales->data(), nullptr);
      return tiles == Fp8Tiles::kRows
                 ? Fp8Operand::AsStored(values->data(), scales->data(), C, tiles)
                 : Fp8Operand::Transposed(values->data(), scales->data(), C, tiles);
    };
    if (codes.empty()) quantise(w, out, in, Fp8Tiles::kBlocks, &codes, &code_scales);
    const auto weight = [&](bool is_transposed) {
      return is_transposed
                 ? Fp8Operand::Transposed(codes.data(), code_scales.data(), in, Fp8Tiles::kBlocks)
                 : Fp8Operand::AsStored(codes.data(), code_scales.data(), in, Fp8Tiles::kBlocks);
    };
    if (product == kForward)
      GemmFp8(quantise(x, T, in, Fp8Tiles::kRows, &row_codes, &row_scales), weight(false), T, out,
              in, false, c, out);
    if (product == kInputGradient)
      GemmFp8(quantise(y, T, out, Fp8Tiles::kRows, &row_codes, &row_scales), weight(true), T, in,
              out, false, c, in);
    if (product == kWeightGradient)
      GemmFp8(quantise(y, T, out, Fp8Tiles::kColumns, &row_codes, &row_scales),
              quantise(x, T, in, Fp8Tiles::kColumns, &column_codes, &column_scales), out, in, T,
              true, c, in);
  }
  double flops() const { return 2.0 * static_cast<double>(T * in * out); }
  size_t T, in, out;
  Matrix x, w, y;
  AlignedBuffer result;
  std::vector<uint16_t> codes, row_codes, column_codes;
  std::vector<float> code_scales, row_scales, column_scales;
};

#if defined(PLANISH_HAVE_ONEDNN)
double OneDnnSeconds(const Layer& layer, Product product) {
  using Desc = dnnl::memory::desc;
  using Type = dnnl::memory::data_type;
  using Tag = dnnl::memory::format_tag;
  const auto dim = [](size_t n) { return static_cast<dnnl::memory::dim>(n); };
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const bool is_gradient = product == kWeightGradient;
  const size_t M = is_gradient ? layer.out : layer.T;
  const size_t K = is_gradient ? layer.T : product == kForward ? layer.in : layer.out;
  const size_t N = product == kForward ? layer.out : layer.in;
  const Desc a({dim(M), dim(K)}, Type::bf16, is_gradient ? Tag::ba : Tag::ab),
      b({dim(K), dim(N)}, Type::bf16, is_gradient ? Tag::ab : Tag::any),
      c({dim(M), dim(N)}, Type::f32, Tag::ab);
  dnnl::primitive_attr attributes;
  if (is_gradient) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const dnnl::matmul::primitive_desc desc(dnnl::matmul::desc(a, b, c), attributes, engine);
  const dnnl::matmul matmul(desc);
  const dnnl::memory a_memory(a, engine), b_memory(desc.weights_desc(), engine),
      c_memory(c, engine);
  const auto fill = [](const dnnl::memory& memory, size_t bytes) {
    Random random(1);
    auto* values = static_cast<uint16_t*>(memory.get_data_handle());
    for (size_t i = 0; i < bytes / 2; ++i)
      values[i] = BF16FromFloat(static_cast<float>(random.Normal()));
  };
  fill(a_memory, a.get_size());
  fill(b_memory, desc.weights_desc().get_size());
  std::unordered_map<int, dnnl::memory> arguments = {
      {DNNL_ARG_SRC, a_memory}, {DNNL_ARG_WEIGHTS, b_memory}, {DNNL_ARG_DST, c_memory}};
  return MedianSeconds(g_seconds, 5, [&] {
    matmul.execute(stream, arguments);
    stream.wait();
  });
}
#endif

void Run(const std::string& only_shape) {
  SetThreadCount(2);
  const MachinePeaks peaks = LoadOrMeasurePeaks(10);
  const double peak[3] = {0, peaks.bf16().one_thread / 1e9, peaks.bf16().team / 1e9};
  std::printf("%s, bf16 peak %.0f / %.0f GFLOP/s\n", IsaName().c_str(), peak[1], peak[2]);
  std::printf("%-18s %-12s t |", "T x in x out", "operands");
  for (const char* name : kNames) std::printf(" %-13s", name);
  std::printf("\n");
  constexpr size_t kShapes[][3] = {{2048, 512, 2048},  {2048, 2048, 512}, {2048, 1024, 1024},
                                   {8192, 768, 3072},  {512, 512, 8192},  {512, 1024, 32768},
                                   {16384, 1024, 4096}};
  for (const auto& [T, in, out] : kShapes) {
    const std::string shape =
        std::to_string(T) + "x" + std::to_string(in) + "x" + std::to_string(out);
    if (!only_shape.empty() && only_shape != shape) continue;
    Layer layer(T, in, out);
    const auto print = [&](const char* operands, const auto& seconds) {
      for (const int threads : {1, 2}) {
        SetThreadCount(threads);
        std::printf("%-18s %-12s %d |", shape.c_str(), operands, threads);
        for (const Product product : {kForward, kInputGradient, kWeightGradient}) {
          const double rate = layer.flops() / seconds(product) / 1e9;
          std::printf("  %6.0f %4.0f%%", rate, 100 * rate / peak[threads]);
          ReportBenchRow(std::string("gemm bf16 ") + operands + " " + kNames[product] + " " +
                             shape + " " + std::to_string(threads) + "t",
                         rate / peak[threads]);
          std::fflush(stdout);
        }
        std::printf("\n");
      }
    };
    print("float", [&](Product product) {
      return MedianSeconds(g_seconds, 5, [&] { layer.Run(product, DType::kF32, DType::kF32); });
    });
    print("bf16, W float", [&](Product product) {
      return MedianSeconds(g_seconds, 5, [&] { layer.Run(product, DType::kBF16, DType::kF32); });
    });
    print("fp8", [&](Product product) {
      return MedianSeconds(g_seconds, 5, [&] { layer.RunFp8(product); });
    });
#if defined(PLANISH_HAVE_ONEDNN)
    print("oneDNN bf16", [&](Product product) { return OneDnnSeconds(layer, product); });
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
  planish::Run(argc > 2 ? argv[2] : "");
}

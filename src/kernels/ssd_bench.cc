// SPDX-License-Identifier: Apache-2.0
// Speed of what lies between the projections of a Mamba-2 mixer in training, forward and backward, in microseconds a token and
// layer, with the products of the chunked scan as a share of the machine's peak (machine_peaks.h) for their type. One document.
// Usage: ssd_bench [f32|bf16|9b|chunks]...; PLANISH_ISA chooses the level.
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/memory.h"
#include "base/parallel.h"
#include "kernels/bench_rows.h"
#include "kernels/bench_timing.h"
#include "kernels/conv1d.h"
#include "kernels/conv1d_backward.h"
#include "kernels/gated_norm.h"
#include "kernels/isa.h"
#include "kernels/machine_peaks.h"
#include "kernels/rounding.h"
#include "kernels/ssd.h"
#include "kernels/ssd_backward.h"
#include "kernels/ssm_scan.h"
#include "kernels/time_step_backward.h"

namespace planish {
namespace {

constexpr size_t kWidth = 4;

struct Shape {
  const char* name;
  SsmDims dims;
  size_t T;
};
constexpr Shape kSmall[] = {{"H16 P64 N128 G1", {16, 64, 128, 1}, 4096},
                            {"H16 P64 N64 G1", {16, 64, 64, 1}, 4096},
                            {"H16 P64 N128 G8", {16, 64, 128, 8}, 4096}};
constexpr Shape k9B = {"H128 P80 N128 G8 (9B)", {128, 80, 128, 8}, 1024};

// Operations a token: all products, with causal ones as half.
double ForwardOps(const SsmDims& d, size_t chunk) {
  const auto q = static_cast<double>(chunk);
  return static_cast<double>(d.groups * d.state) * q + static_cast<double>(d.XSize()) * q +
         4.0 * static_cast<double>(d.StateSize());
}
// With C B^T and the states computed again.
double BackwardOps(const SsmDims& d, size_t chunk) {
  const auto q = static_cast<double>(chunk);
  return 3.0 * static_cast<double>(d.groups * d.state) * q +
         2.0 * static_cast<double>(d.XSize()) * q + 10.0 * static_cast<double>(d.StateSize());
}

void Run(const Shape& shape, DType type, size_t chunk, int threads, const MachinePeaks& peaks) {
  const SsmDims& dims = shape.dims;
  const size_t T = shape.T, H = dims.heads, d_in = dims.XSize(), conv_dim = dims.RowSize(),
               width = d_in + conv_dim;
  UniformFloats values(T * width, -1, 1), grads(T * conv_dim, -1, 1), dy(T * d_in, -1, 1),
      raw(T * H, -4, -1), bias(H, -1, 0), A(H, -8, -1), D(H, 0.5, 1.5),
      taps(kWidth * conv_dim, -0.5, 0.5), conv_bias(conv_dim, -0.1f, 0.1f), w(d_in, 0.5, 1.5),
      dt(T * H, 0, 0), ddt(T * H, 0, 0), sums(8 * conv_dim, 0, 0);
  UniformFloats zxbc(T * width, 0, 0), xbc(T * conv_dim, 0, 0), y(T * d_in, 0, 0),
      n(T * d_in, 0, 0), dzxbc(T * width, 0, 0);  // of `type`
  const auto at = [&](UniformFloats& rows, size_t elements) {
    return static_cast<void*>(reinterpret_cast<std::byte*>(rows.data()) + BytesOf(type, elements));
  };
  SetThreadCount(threads);
  struct Timed {
    const char* name;
    double seconds;
  };
  std::vector<Timed> times;
  const auto time = [&](const char* name, const std::function<void()>& run) {
    times.push_back({name, BestSeconds(0, 5, run)});
  };
  time("round", [&] { RoundColumns(values.data(), width, T, width, type, zxbc.data(), width); });
  const ConvJob conv{.type = type,
                     .x = at(zxbc, d_in),
                     .x_stride = width,
                     .T = T,
                     .out = xbc.data(),
                     .out_stride = conv_dim};
  time("conv", [&] {
    CausalConv1d({conv_dim, kWidth}, taps.data(), conv_bias.data(), {&conv, 1});
  });
  time("dt", [&] { PrepareDt(raw.data(), H, bias.data(), T, H, 0, INFINITY, dt.data()); });
  const SsdInput input{type, xbc.data(), conv_dim, dt.data(), H, A.data(), D.data()};
  const SsdJob scan{input, T, nullptr, nullptr, y.data(), d_in, nullptr};
  time("scan", [&] { SsdChunkScan(dims, chunk, {&scan, 1}); });
  const GatedNorm norm{d_in, dims.groups, w.data(), 1e-5f};
  time("norm", [&] {
    GatedNormForward(norm, type, {y.data(), d_in}, {zxbc.data(), width}, T, n.data());
  });
  const size_t forward_count = times.size();
  time("norm", [&] {
    GatedNormBackward(norm, type, {y.data(), d_in}, {zxbc.data(), width}, T, dy.data(), n.data(),
                      dzxbc.data(), width, sums.data());
  });
  UniformFloats dcore(T * d_in, -1, 1);
  const SsdBackwardJob back{.input = input,
                            .T = T,
                            .initial_state = nullptr,
                            .chunk_states = nullptr,
                            .dy = dcore.data(),
                            .dy_stride = d_in,
                            .dfinal = nullptr,
                            .dinitial = nullptr,
                            .dxbc = grads.data(),
                            .dxbc_stride = conv_dim,
                            .ddt = ddt.data(),
                            .ddt_stride = H};
  time("scan", [&] {
    SsdChunkScanBackward(dims, chunk, {&back, 1}, sums.data(), sums.data() + conv_dim);
  });
  const ConvBackwardJob conv_back{.type = type,
                                  .x = at(zxbc, d_in),
                                  .x_stride = width,
                                  .T = T,
                                  .dout = grads.data(),
                                  .dout_stride = conv_dim,
                                  .dx = at(dzxbc, d_in),
                                  .dx_stride = width};
  time("conv", [&] {
    CausalConv1dBackward({conv_dim, kWidth}, taps.data(), conv_bias.data(), {&conv_back, 1},
                         sums.data(), sums.data() + kWidth * conv_dim);
  });
  time("dt", [&] {
    PrepareDtBackward({.raw = raw.data(),
                       .raw_stride = H,
                       .bias = bias.data(),
                       .dt = dt.data(),
                       .lo = 0,
                       .hi = INFINITY,
                       .ddt = ddt.data(),
                       .type = type,
                       .draw = n.data(),
                       .draw_stride = H},
                      T, H, sums.data());
  });

  const Rate peak = type == DType::kF32 ? peaks.f32() : peaks.bf16();
  const double limit = threads == 1 ? peak.one_thread : peak.team;
  std::printf("%-22s %s Q%-3zu %d |", shape.name, type == DType::kF32 ? "f32 " : "bf16", chunk,
              threads);
  double total = 0;
  for (size_t i = 0; i < times.size(); ++i) {
    const double us = times[i].seconds / static_cast<double>(T) * 1e6;
    total += us;
    std::printf(" %s %.3f", times[i].name, us);
    if (std::string_view(times[i].name) == "scan") {
      const bool is_forward = i < forward_count;
      const double share =
          (is_forward ? ForwardOps(dims, chunk) : BackwardOps(dims, chunk)) / (us * 1e-6) / limit;
      std::printf(" (%.0f%%)", 100 * share);
      ReportBenchRow(std::string("ssd ") + (is_forward ? "forward " : "backward ") + shape.name +
                         (type == DType::kF32 ? " f32 " : " bf16 ") + std::to_string(threads) + "t",
                     share);
    }
    if (i + 1 == forward_count || i + 1 == times.size()) {
      std::printf(" = %.3f us |", total);
      total = 0;
    }
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) {
  using namespace planish;
  ApplyIsaOverride();
  const auto wants = [&](std::string_view name) {
    return argc == 1 ||
           std::any_of(argv + 1, argv + argc, [&](const char* a) { return a == name; });
  };
  SetThreadCount(2);
  const MachinePeaks peaks = LoadOrMeasurePeaks(10);
  std::printf(
      "%s; f32 %.0f / %.0f, bf16 %.0f / %.0f GFLOP/s; us a token and layer, forward | backward\n",
      IsaName().c_str(), peaks.f32().one_thread / 1e9, peaks.f32().team / 1e9,
      peaks.bf16().one_thread / 1e9, peaks.bf16().team / 1e9);
  for (const int threads : {1, 2}) {
    for (const Shape& shape : kSmall) {
      if (wants("bf16")) Run(shape, DType::kBF16, 128, threads, peaks);
      if (wants("f32")) Run(shape, DType::kF32, 128, threads, peaks);
    }
    if (wants("9b")) Run(k9B, DType::kBF16, 128, threads, peaks);
    for (const size_t chunk : {32, 64, 128, 256}) {
      if (wants("chunks")) Run(kSmall[0], DType::kBF16, chunk, threads, peaks);
    }
  }
}

// SPDX-License-Identifier: Apache-2.0
// A whole Mamba-2 mixer in training: microseconds a token of forward and backward over documents of 1k to 64k tokens, by phase, as
// a share of the machine's bf16 peak, with the memory kept for backward and the scratch. Usage: mamba2_bench [D H P N G]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/phases.h"
#include "base/random.h"
#include "kernels/bench_rows.h"
#include "kernels/isa.h"
#include "kernels/machine_peaks.h"
#include "model/mamba2.h"

namespace planish {
namespace {

struct MixerShape {
  size_t D, H, P, N, G;
};

double Seconds(const std::chrono::steady_clock::time_point& start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void Run(const MixerShape& shape, const MachinePeaks& peaks) {
  ModelConfig model;
  model.hidden_size = shape.D;
  Mamba2Config mamba{
      .n_heads = shape.H, .head_dim = shape.P, .state_size = shape.N, .n_groups = shape.G};
  mamba.time_step_high = std::numeric_limits<double>::infinity();
  Mamba2 mixer(model, mamba);
  Random random(1);
  std::vector<std::vector<float>> gradients;
  mixer.VisitParams([&](const Param& param) {
    float* values;
    if (param.weight != nullptr) {
      *param.weight = Weight(param.name, param.shape[0], param.shape[1]);
      values = reinterpret_cast<float*>(param.weight->mutable_data());
    } else {
      *param.vector = Tensor::F32(param.shape);
      values = param.vector->f32();
    }
    for (size_t i = 0; i < param.shape.elements(); ++i)
      values[i] = static_cast<float>(0.02 * random.Normal()) +
                  (param.role == ParamRole::kSsmDtBias ? -4.0f : 0.0f) +
                  (param.role == ParamRole::kNorm ? 1.0f : 0.0f);
    gradients.emplace_back(param.shape.elements());
    *param.grad = gradients.back().data();
  });
  mixer.ParamsChanged();
  const double flops = 3 * mixer.Cost().flops_per_token;
  std::printf("D %zu H %zu P %zu N %zu G %zu\n", shape.D, shape.H, shape.P, shape.N, shape.G);
  for (const bool selective : {true, false}) {
    for (size_t T = 1024; T <= 65536; T *= 4) {
      std::vector<float> x(T * shape.D), y(x.size()), dy(x.size()), dx(x.size());
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] = static_cast<float>((i * 2654435761u >> 8) % 2048) / 1024.0f - 1;
        dy[i] = 0.01f * x[(i * 7 + 3) % x.size()];
      }
      const SeqLayout layout(T);
      Workspace workspace;
      const Pass pass{.layout = layout,
                      .workspace = &workspace,
                      .precision = Precision::kBf16,
                      .selective = selective};
      double best[2] = {1e30, 1e30};
      size_t kept = 0;
      PhaseReport reports[2];
      for (int i = 0; i < (T <= 16384 ? 4 : 2); ++i) {
        std::unique_ptr<Saved> saved;
        for (const int side : {0, 1}) {
          PhaseClock clock;
          const auto start = std::chrono::steady_clock::now();
          if (side == 0) {
            mixer.Forward(pass, x.data(), y.data(), &saved);
          } else {
            mixer.Backward(pass, x.data(), *saved, dy.data(), dx.data());
          }
          const double seconds = Seconds(start);
          if (seconds < best[side]) {
            best[side] = seconds;
            reports[side] = clock.Report();
          }
        }
        kept = saved->bytes();
      }
      const double us = 1e6 / static_cast<double>(T), total = (best[0] + best[1]) * us;
      std::printf(
          "%-9s T %6zu | %.2f + %.2f = %.2f us/token, %.0f%% of peak, kept %.1f KiB/token |",
          selective ? "selective" : "all", T, best[0] * us, best[1] * us, total,
          100 * flops / (total * 1e-6) / peaks.bf16().team,
          static_cast<double>(kept) / 1024 / static_cast<double>(T));
      for (const int side : {0, 1}) {
        std::printf(side == 0 ? " forward" : " | backward");
        for (const Phase phase :
             {Phase::kMatMulMamba, Phase::kConv, Phase::kScan, Phase::kNorm, Phase::kOther}) {
          std::printf(" %s %.2f", Name(phase),
                      reports[side].phases[static_cast<size_t>(phase)].seconds * us);
        }
      }
      std::printf("\n");
      std::fflush(stdout);
      if (T == 4096)
        ReportBenchRow(std::string("mamba2 training ") + (selective ? "selective" : "all") + " D" +
                           std::to_string(shape.D),
                       flops / (total * 1e-6) / peaks.bf16().team);
    }
  }
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) {
  using namespace planish;
  ApplyIsaOverride();
  MixerShape shape{512, 16, 64, 128, 1};
  size_t* const members[] = {&shape.D, &shape.H, &shape.P, &shape.N, &shape.G};
  for (int i = 1; i < argc && i <= 5; ++i)
    *members[i - 1] = static_cast<size_t>(std::strtoul(argv[i], nullptr, 10));
  SetThreadCount(2);
  Run(shape, LoadOrMeasurePeaks(10));
}

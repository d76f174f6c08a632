// SPDX-License-Identifier: Apache-2.0
#include "kernels/ffn_activation.h"

#include "kernels/kernel_testing.h"
#include "kernels/reference.h"
#include "kernels/rounding.h"

namespace planish {
namespace {

// Rows stored in `type`, seen as floats.
struct Rows {
  Rows(size_t n, DType type) : n_(n), type_(type), bytes_(n * sizeof(float)) {}
  Rows(const std::vector<float>& values, DType type) : Rows(values.size(), type) {
    RoundRows(values.data(), n_, type, data());
  }
  void* data() { return bytes_.data(); }
  std::vector<float> floats() {
    std::vector<float> out(n_);
    WidenRows(data(), type_, n_, out.data());
    return out;
  }
  size_t n_;
  DType type_;
  std::vector<std::byte> bytes_;
};

// A few float roundings, and that of the storage.
double Bound(double value, double terms, DType type) {
  return 16 * kRoundoff * terms + (type == DType::kBF16 ? 0x1p-8 * std::abs(value) : 0.0);
}

TEST(FfnActivation, ForwardAndBackwardAreTheFormulasOfTheRoundedInputs) {
  ForEachSimdLevel([] {
    Random random(5);
    for (const DType type : {DType::kF32, DType::kBF16}) {
      for (const size_t n : kTestSizes) {
        const auto gate_in = RandomFloats(random, n, 3), up_in = RandomFloats(random, n),
                   dact = RandomFloats(random, n);
        Rows gate(n, type), up(n, type), act(n, type), again(n, type), dgate(n, type), dup(n, type),
            lone(n, type);
        SiluMulForward(gate_in.data(), up_in.data(), n, type, gate.data(), up.data(), act.data());
        SiluMulForward(gate_in.data(), up_in.data(), n, type, nullptr, nullptr, lone.data());
        ExpectSameBits(gate.floats(), Rows(gate_in, type).floats(), "gate");
        ExpectSameBits(up.floats(), Rows(up_in, type).floats(), "up");
        ExpectSameBits(lone.floats(), act.floats(), "not kept");
        SiluMulBackward(gate.data(), up.data(), dact.data(), n, type, again.data(), dgate.data(),
                        dup.data());
        const auto g = gate.floats(), u = up.floats();
        std::vector<double> want_act(n), want_dgate(n), want_dup(n);
        for (size_t i = 0; i < n; ++i) {
          const double s = reference::Sigmoid(g[i]);
          want_act[i] = reference::Silu(g[i]) * u[i];
          want_dgate[i] = static_cast<double>(dact[i]) * u[i] * s * (1 + g[i] * (1 - s));
          want_dup[i] = dact[i] * reference::Silu(g[i]);
        }
        const auto size = [&](size_t i) {
          return (1 + std::abs(g[i])) * (std::abs(u[i]) + std::abs(dact[i]) +
                                         std::abs(static_cast<double>(u[i]) * dact[i]));
        };
        const auto bound = [&](const std::vector<double>& want) {
          return [&](size_t i) { return Bound(want[i], size(i), type); };
        };
        ExpectWithin(act.floats().data(), want_act, bound(want_act), "act");
        ExpectWithin(again.floats().data(), want_act, bound(want_act), "act again");
        ExpectWithin(dgate.floats().data(), want_dgate, bound(want_dgate), "dgate");
        ExpectWithin(dup.floats().data(), want_dup, bound(want_dup), "dup");

        ReluSquaredForward(up_in.data(), n, type, up.data(), act.data());
        ReluSquaredForward(up_in.data(), n, type, nullptr, lone.data());
        ExpectSameBits(lone.floats(), act.floats(), "relu2 not kept");
        ReluSquaredBackward(up.data(), dact.data(), n, type, again.data(), dup.data());
        const auto v = up.floats();
        for (size_t i = 0; i < n; ++i) {
          want_act[i] = reference::ReluSquared(v[i]);
          want_dup[i] = 2 * std::max(static_cast<double>(v[i]), 0.0) * dact[i];
        }
        const auto relu_bound = [&](const std::vector<double>& want) {
          return [&](size_t i) { return Bound(want[i], std::abs(want[i]), type); };
        };
        ExpectWithin(act.floats().data(), want_act, relu_bound(want_act), "relu2");
        ExpectWithin(again.floats().data(), want_act, relu_bound(want_act), "relu2 again");
        ExpectWithin(dup.floats().data(), want_dup, relu_bound(want_dup), "relu2 dup");
      }
    }
  });
}

}  // namespace
}  // namespace planish

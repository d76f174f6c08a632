// SPDX-License-Identifier: Apache-2.0
// Random inputs of the state-space layer and what the reference makes of them. Included by ssd*_test.cc only.
#pragma once

#include <vector>

#include "kernels/gradient_testing.h"
#include "kernels/kernel_testing.h"
#include "kernels/reference.h"
#include "kernels/ssd.h"
#include "kernels/ssm_scan.h"

namespace planish {

struct SsdCase {
  SsmDims dims;
  size_t T;
  std::vector<float> x, B, C, dt, A, D, state;
  std::vector<float> rows;       // x | B | C
  std::vector<uint16_t> halves;  // the same in bf16; empty: the case is of floats

  // Decays exp(dt A) from strong to nearly none; `decay_scale` 1 is ordinary.
  SsdCase(const SsmDims& shape, size_t tokens, uint64_t seed, double decay_scale = 1)
      : dims(shape), T(tokens) {
    Random random(seed);
    x = RandomFloats(random, T * dims.heads * dims.head_dim);
    B = RandomFloats(random, T * dims.groups * dims.state);
    C = RandomFloats(random, T * dims.groups * dims.state);
    dt = UniformFloats(random, T * dims.heads, 0.001, 0.3);
    A = UniformFloats(random, dims.heads, -16 * decay_scale, -0.1 * decay_scale);
    D = RandomFloats(random, dims.heads);
    state = RandomFloats(random, dims.StateSize());
    GatherRows();
  }
  // From now on x, B and C are bf16 values.
  void RoundToBf16() {
    for (std::vector<float>* values : {&x, &B, &C}) {
      for (float& v : *values) v = FloatFromBF16(BF16FromFloat(v));
    }
    GatherRows();
    halves.resize(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) halves[i] = BF16FromFloat(rows[i]);
  }
  size_t y_size() const { return T * dims.XSize(); }
  SsmInput ScanInput(size_t t = 0) const {
    const size_t row = dims.XSize(), group_row = dims.groups * dims.state;
    return {x.data() + t * row,
            row,
            B.data() + t * group_row,
            group_row,
            C.data() + t * group_row,
            group_row,
            dt.data() + t * dims.heads,
            dims.heads,
            A.data(),
            D.data()};
  }
  SsdInput Input(size_t t = 0) const {
    const bool is_half = !halves.empty();
    const size_t at = t * dims.RowSize();
    return {is_half ? DType::kBF16 : DType::kF32,
            is_half ? static_cast<const void*>(halves.data() + at) : rows.data() + at,
            dims.RowSize(),
            dt.data() + t * dims.heads,
            dims.heads,
            A.data(),
            D.data()};
  }
  // One call over tokens [begin, begin + count); y: [count, H*P] as floats.
  std::vector<float> Forward(size_t Q, const float* initial, float* final_state,
                             float* chunk_states = nullptr, size_t begin = 0,
                             size_t count = SIZE_MAX) const {
    count = std::min(count, T - begin);
    std::vector<float> y(count * dims.XSize());
    std::vector<uint16_t> y_halves(y.size());
    void* out = halves.empty() ? static_cast<void*>(y.data()) : y_halves.data();
    const SsdJob job{Input(begin), count, initial, final_state, out, dims.XSize(), chunk_states};
    SsdChunkScan(dims, Q, {&job, 1});
    for (size_t i = 0; i < y.size() && !halves.empty(); ++i) y[i] = FloatFromBF16(y_halves[i]);
    return y;
  }

 private:
  void GatherRows() {
    rows.clear();
    const auto append = [&](const std::vector<float>& from, size_t t, size_t n) {
      for (size_t i = 0; i < n; ++i) rows.push_back(from[t * n + i]);
    };
    for (size_t t = 0; t < T; ++t) {
      append(x, t, dims.XSize());
      append(B, t, dims.groups * dims.state);
      append(C, t, dims.groups * dims.state);
    }
  }
};

struct SsdExpected {
  std::vector<double> y, state;
  std::vector<double> y_magnitude, state_magnitude;  // the same sums of absolute values
};

// A decay e^-a is off by (a + 3) roundings, relatively; a e^-a <= e^(-a/2), hence half the decay in bounds of errors.
inline std::vector<double> HalfDecay(const SsdCase& c) {
  std::vector<double> half = Widen(c.A);
  for (double& a : half) a /= 2;
  return half;
}

inline SsdExpected Reference(const SsdCase& c, const std::vector<float>& initial) {
  SsdExpected e;
  e.state = Widen(initial);
  e.y.resize(c.y_size());
  reference::SsmScan(c.dims, Widen(c.x).data(), Widen(c.B).data(), Widen(c.C).data(),
                     Widen(c.dt).data(), Widen(c.A).data(), Widen(c.D).data(), c.T, e.state.data(),
                     e.y.data());
  e.state_magnitude = Magnitudes(initial);
  e.y_magnitude.resize(c.y_size());
  reference::SsmScan(c.dims, Magnitudes(c.x).data(), Magnitudes(c.B).data(), Magnitudes(c.C).data(),
                     Widen(c.dt).data(), HalfDecay(c).data(), Magnitudes(c.D).data(), c.T,
                     e.state_magnitude.data(), e.y_magnitude.data());
  return e;
}

}  // namespace planish

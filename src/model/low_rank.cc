// SPDX-License-Identifier: Apache-2.0
#include "model/low_rank.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/hash.h"
#include "base/random.h"
#include "kernels/gemm_bf16.h"
#include "kernels/gemm_f32.h"

namespace planish {
namespace {

// C (+)= A B^T in the pass's arithmetic.
void Multiply(const Pass& pass, const PanelSource& a, const PanelSource& b, size_t M, size_t N,
              size_t K, bool accumulate, float* c) {
  if (pass.precision == Precision::kF32)
    GemmF32(a, b, M, N, K, accumulate, c, N);
  else
    GemmBf16(a, b, M, N, K, accumulate, c, N);
}

PanelSource Source(const Weight& weight, bool is_transposed = false) {
  return {weight.data(), weight.in(), DType::kF32, is_transposed};
}

void Scale(float factor, size_t n, float* values) {
  for (size_t i = 0; i < n; ++i) values[i] *= factor;
}

}  // namespace

LowRank::LowRank(size_t out, size_t in, size_t rank, double alpha, bool rank_stabilised)
    : a("lora_A", rank, in), b("lora_B", out, rank) {
  const auto r = static_cast<double>(rank);
  scale = static_cast<float>(alpha / (rank_stabilised ? std::sqrt(r) : r));
}

void LowRank::Initialise(uint64_t seed, const std::string& name) {
  const uint64_t stream = Fnv1a(name);
  auto* values = reinterpret_cast<float*>(a.mutable_data());
  const double reach = 1 / std::sqrt(static_cast<double>(a.in()));
  for (size_t i = 0; i < a.out() * a.in(); ++i)
    values[i] = static_cast<float>(reach * (2 * UniformAt(seed, stream, i) - 1));
  std::fill_n(reinterpret_cast<float*>(b.mutable_data()), b.out() * b.in(), 0.0f);
}

void LowRank::Down(const Pass& pass, size_t T, const RowsView& x, float* low) const {
  Multiply(pass, x.Source(a.in()), Source(a), T, rank(), a.in(), false, low);
  Scale(scale, T * rank(), low);
}

void LowRank::DownGradient(const Pass& pass, size_t T, const RowsView& dy, float* d_low) const {
  Multiply(pass, dy.Source(b.out()), Source(b, true), T, rank(), b.out(), false, d_low);
  Scale(scale, T * rank(), d_low);
}

void LowRank::Forward(const Pass& pass, size_t T, const RowsView& x, float* y) const {
  const Workspace::Scope scope(*pass.workspace);
  float* low = pass.workspace->Take(T * rank());
  Down(pass, T, x, low);
  Multiply(pass, {low, rank()}, Source(b), T, b.out(), rank(), true, y);
}

void LowRank::BackwardInput(const Pass& pass, size_t T, const RowsView& dy, float* dx) const {
  const Workspace::Scope scope(*pass.workspace);
  float* d_low = pass.workspace->Take(T * rank());
  DownGradient(pass, T, dy, d_low);
  Multiply(pass, {d_low, rank()}, Source(a, true), T, a.in(), rank(), true, dx);
}

void LowRank::BackwardWeight(const Pass& pass, size_t T, const RowsView& x,
                             const RowsView& dy) const {
  const Workspace::Scope scope(*pass.workspace);
  float* low = pass.workspace->Take(T * rank());
  if (d_b != nullptr) {
    Down(pass, T, x, low);
    Multiply(pass, dy.Source(b.out(), true), {low, rank(), DType::kF32, true}, b.out(), rank(), T,
             true, d_b);
  }
  if (d_a != nullptr) {
    DownGradient(pass, T, dy, low);
    Multiply(pass, {low, rank(), DType::kF32, true}, x.Source(a.in(), true), rank(), a.in(), T,
             true, d_a);
  }
}

void LowRank::Step(size_t T, const float* x, float* y) const {
  std::vector<float> low(T * rank());
  GemmF32({x, a.in()}, Source(a), T, rank(), a.in(), false, low.data(), rank());
  Scale(scale, low.size(), low.data());
  GemmF32({low.data(), rank()}, Source(b), T, b.out(), rank(), true, y, b.out());
}

void LowRank::Visit(const std::string& projection, const ParamVisitor& visit) {
  const std::string base = projection.substr(0, projection.size() - std::string("weight").size());
  visit({.name = base + "lora_A.weight",
         .shape = {a.out(), a.in()},
         .role = ParamRole::kAdapter,
         .weight = &a,
         .grad = &d_a});
  visit({.name = base + "lora_B.weight",
         .shape = {b.out(), b.in()},
         .role = ParamRole::kAdapter,
         .weight = &b,
         .grad = &d_b});
}

void LowRank::AddTo(float* weight) const {
  std::vector<float> scaled(b.out() * rank());
  const auto* values = reinterpret_cast<const float*>(b.data());
  for (size_t i = 0; i < scaled.size(); ++i) scaled[i] = scale * values[i];
  GemmF32({scaled.data(), rank()}, Source(a, true), b.out(), a.in(), rank(), true, weight, a.in());
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// The kernels as their formulas say: plain loops, every sum and product in double, no cleverness. They are the
// specification and the test oracle of the fast kernels (same names and argument meanings, all arrays contiguous) and
// the text to read first. Real is the type of the arrays only: float for comparisons, double for gradient checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/rope.h"  // RopeScaling
#include "kernels/ssd.h"   // SsmDims

namespace planish::reference {

double Sigmoid(double a);
double Silu(double a);
double Softplus(double a);  // a itself above 20
double ReluSquared(double a);

// x, y: [T, D]; w: [D].
template <typename Real>
void RmsNorm(const Real* x, const Real* w, size_t T, size_t D, double eps, Real* y);

// y, z, out: [T, d_in]; w: [d_in].
template <typename Real>
void GatedGroupRmsNorm(const Real* y, const Real* z, const Real* w, size_t T, size_t d_in,
                       size_t groups, double eps, Real* out);

// The formula in double throughout (the kernel rounds to float as its oracle does).
std::vector<double> RopeInverseFrequencies(size_t rotary_dim, double theta,
                                           const RopeScaling& scaling);
// x: [T, heads, head_dim], in place; angles: [T, half] in radians.
template <typename Real>
void ApplyRope(Real* x, size_t T, size_t heads, size_t head_dim, size_t half, const double* angles);

// x: [T, C]; history: [W-1, C] or null; w: [W, C]; bias: [C] or null; out: [T, C].
template <typename Real>
void CausalConv1d(const Real* x, const Real* history, const Real* w, const Real* bias, size_t T,
                  size_t C, size_t W, Real* out);

// x, y: [T, H*P]; B, C: [T, G*N]; dt: [T, H]; A, D: [H]; state: [H, N, P] in and out (rounded to Real at the end only).
template <typename Real>
void SsmScan(const SsmDims& dims, const Real* x, const Real* B, const Real* C, const Real* dt,
             const Real* A, const Real* D, size_t T, Real* state, Real* y);

// q, out: [rows, heads * head_dim]; k, v: [first_position + rows, kv_heads * head_dim] by position.
template <typename Real>
void CausalAttention(const Real* q, const Real* k, const Real* v, size_t rows,
                     size_t first_position, size_t heads, size_t kv_heads, size_t head_dim,
                     double scale, Real* out);

template <typename Real>
double LogSumExp(const Real* x, size_t n);

}  // namespace planish::reference

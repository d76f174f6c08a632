// SPDX-License-Identifier: Apache-2.0
// The matrix nearest to a block on its own inputs: W = argmin sum_t ||W x_t - y_t||^2 + lambda ||W||^2, by the normal
// equations (X^T X + lambda I) W^T = X^T Y and Cholesky's factors, in double.
#pragma once

#include <cstddef>
#include <vector>

namespace planish {

// Lower Cholesky factor, in place of the lower triangle of a symmetric A [n, n] (the upper one is not read); false if A is not
// positive definite. Bits do not depend on threads.
bool CholeskyInPlace(size_t n, double* a);
// x [n] = A^-1 x, with A's factor as above.
void CholeskySolve(size_t n, const double* factor, double* x);

// x: [T, in], y: [T, out], T >= 1. lambda = `ridge` times the mean of the diagonal of X^T X. Result: [out, in].
// Error(kFailure) if rows are not finite.
std::vector<float> RidgeMatrix(const float* x, const float* y, size_t T, size_t in, size_t out,
                               double ridge);

}  // namespace planish

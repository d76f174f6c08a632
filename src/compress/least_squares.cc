// SPDX-License-Identifier: Apache-2.0
#include "compress/least_squares.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/gemm_f32.h"

namespace planish {
namespace {

constexpr size_t kLanes = 8;  // independent sums, so that the compiler may use vectors
constexpr size_t kTaskRows = 16;
constexpr size_t kChunkRows = 256;  // of float sums that are then added in double

double Dot(const double* a, const double* b, size_t n) {
  double sums[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (size_t j = 0; j < kLanes; ++j) sums[j] += a[i + j] * b[i + j];
  double sum = 0;
  for (const double lane : sums) sum += lane;
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// sum [m, n] += a^T b over T rows.
void AddProduct(const float* a, const float* b, size_t T, size_t m, size_t n, double* sum) {
  std::vector<float> part(m * n);
  for (size_t t = 0; t < T; t += kChunkRows) {
    const size_t count = std::min(kChunkRows, T - t);
    GemmF32({a + t * m, m, DType::kF32, true}, {b + t * n, n, DType::kF32, true}, m, n, count,
            /*accumulate=*/false, part.data(), n);
    ParallelFor(m, [&](size_t i, int) {
      for (size_t j = 0; j < n; ++j) sum[i * n + j] += part[i * n + j];
    });
  }
}

}  // namespace

bool CholeskyInPlace(size_t n, double* a) {
  for (size_t j = 0; j < n; ++j) {
    double* pivot_row = a + j * n;
    const double pivot = pivot_row[j] - Dot(pivot_row, pivot_row, j);
    if (!(pivot > 0) || !std::isfinite(pivot)) return false;
    pivot_row[j] = std::sqrt(pivot);
    const size_t below = n - j - 1;
    ParallelFor((below + kTaskRows - 1) / kTaskRows, [&](size_t task, int) {
      for (size_t i = j + 1 + task * kTaskRows; i < std::min(n, j + 1 + (task + 1) * kTaskRows);
           ++i)
        a[i * n + j] = (a[i * n + j] - Dot(a + i * n, pivot_row, j)) / pivot_row[j];
    });
  }
  return true;
}

void CholeskySolve(size_t n, const double* factor, double* x) {
  for (size_t i = 0; i < n; ++i) x[i] = (x[i] - Dot(factor + i * n, x, i)) / factor[i * n + i];
  for (size_t i = n; i-- > 0;) {
    const double* row = factor + i * n;
    x[i] /= row[i];
    for (size_t j = 0; j < i; ++j) x[j] -= row[j] * x[i];
  }
}

std::vector<float> RidgeMatrix(const float* x, const float* y, size_t T, size_t in, size_t out,
                               double ridge) {
  PLANISH_CHECK(T > 0 && ridge > 0);
  std::vector<double> gram(in * in), cross(out * in);
  AddProduct(x, x, T, in, in, gram.data());
  AddProduct(y, x, T, out, in, cross.data());
  double trace = 0;
  for (size_t i = 0; i < in; ++i) trace += gram[i * in + i];
  // Inputs that are zero throughout leave nothing to fit: any lambda gives W = 0.
  const double lambda = trace > 0 ? ridge * trace / static_cast<double>(in) : 1;
  for (size_t i = 0; i < in; ++i) gram[i * in + i] += lambda;
  if (!CholeskyInPlace(in, gram.data()))
    throw RuntimeError("a least-squares fit of {} inputs: the rows are not finite", in);
  std::vector<float> w(out * in);
  ParallelFor(out, [&](size_t o, int) {
    double* row = cross.data() + o * in;
    CholeskySolve(in, gram.data(), row);
    for (size_t i = 0; i < in; ++i) w[o * in + i] = static_cast<float>(row[i]);
  });
  return w;
}

}  // namespace planish

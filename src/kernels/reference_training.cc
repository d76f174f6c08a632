// SPDX-License-Identifier: Apache-2.0
#include "kernels/reference_training.h"

#include <cmath>

#include "kernels/reference.h"

namespace planish::reference {

double SiluDerivative(double a) {
  const double sigmoid = Sigmoid(a);
  return sigmoid * (1 + a * (1 - sigmoid));
}

SsmScanGradient SsmScanBackward(const SsmDims& dims, const double* x, const double* B,
                                const double* C, const double* dt, const double* A, const double* D,
                                size_t T, const double* initial, const double* dy,
                                const double* dfinal) {
  const size_t H = dims.heads, P = dims.head_dim, N = dims.state, G = dims.groups;
  SsmScanGradient result;
  result.dx.assign(T * H * P, 0);
  result.dB.assign(T * G * N, 0);
  result.dC.assign(T * G * N, 0);
  result.direct.assign(T * H, 0);
  result.da.assign(T * H, 0);
  result.dD.assign(H, 0);
  // states[t]: after token t - 1.
  std::vector<std::vector<double>> states(T + 1);
  states[0].assign(initial, initial + dims.StateSize());
  for (size_t t = 0; t < T; ++t) {
    states[t + 1].resize(dims.StateSize());
    for (size_t h = 0; h < H; ++h) {
      const double step = dt[t * H + h], decay = std::exp(step * A[h]);
      const double* b = B + (t * G + h / (H / G)) * N;
      for (size_t n = 0; n < N; ++n) {
        for (size_t p = 0; p < P; ++p) {
          const size_t i = (h * N + n) * P + p;
          states[t + 1][i] = decay * states[t][i] + step * x[(t * H + h) * P + p] * b[n];
        }
      }
    }
  }
  std::vector<double> gamma(dfinal, dfinal + dims.StateSize());
  for (size_t t = T; t-- > 0;) {
    for (size_t h = 0; h < H; ++h) {
      const size_t group_row = (t * G + h / (H / G)) * N;
      const double step = dt[t * H + h], decay = std::exp(step * A[h]);
      for (size_t p = 0; p < P; ++p) {
        const size_t at = (t * H + h) * P + p;
        double sum = 0;  // gradient of dt x
        for (size_t n = 0; n < N; ++n) {
          const size_t i = (h * N + n) * P + p;
          gamma[i] += dy[at] * C[group_row + n];
          result.dC[group_row + n] += states[t + 1][i] * dy[at];
          result.dB[group_row + n] += step * gamma[i] * x[at];
          result.da[t * H + h] += decay * gamma[i] * states[t][i];
          sum += gamma[i] * B[group_row + n];
          gamma[i] *= decay;
        }
        result.direct[t * H + h] += x[at] * sum;
        result.dx[at] = step * sum + D[h] * dy[at];
        result.dD[h] += dy[at] * x[at];
      }
    }
  }
  result.dinitial = gamma;
  return result;
}

ConvGradient CausalConv1dBackward(const double* x, const double* history, const double* w,
                                  const double* bias, size_t T, size_t C, size_t W,
                                  const double* dout) {
  ConvGradient result;
  result.dx.assign(T * C, 0);
  result.dhistory.assign((W - 1) * C, 0);
  result.dw.assign(W * C, 0);
  result.db.assign(C, 0);
  for (size_t t = 0; t < T; ++t) {
    for (size_t c = 0; c < C; ++c) {
      const auto input = [&](size_t k) {
        const size_t row = t + k;
        if (row >= W - 1) return x[(row - (W - 1)) * C + c];
        return history != nullptr ? history[row * C + c] : 0.0;
      };
      double sum = bias != nullptr ? bias[c] : 0;
      for (size_t k = 0; k < W; ++k) sum += w[k * C + c] * input(k);
      const double g = dout[t * C + c] * SiluDerivative(sum);
      result.db[c] += g;
      for (size_t k = 0; k < W; ++k) {
        const size_t row = t + k;
        result.dw[k * C + c] += g * input(k);
        double& to =
            row >= W - 1 ? result.dx[(row - (W - 1)) * C + c] : result.dhistory[row * C + c];
        to += g * w[k * C + c];
      }
    }
  }
  return result;
}

GatedNormGradient GatedGroupRmsNormBackward(const double* y, const double* z, const double* w,
                                            size_t T, size_t d_in, size_t groups, double eps,
                                            const double* dn) {
  const size_t n = d_in / groups;
  GatedNormGradient result;
  result.dy.resize(T * d_in);
  result.dz.resize(T * d_in);
  result.dw.assign(d_in, 0);
  for (size_t first = 0; first < T * d_in; first += n) {
    double squares = 0;
    std::vector<double> u(n);
    for (size_t j = 0; j < n; ++j) {
      u[j] = y[first + j] * Silu(z[first + j]);
      squares += u[j] * u[j];
    }
    const double r = std::sqrt(squares / static_cast<double>(n) + eps);
    double mean = 0;  // of dn w u / r
    for (size_t j = 0; j < n; ++j)
      mean += dn[first + j] * w[(first + j) % d_in] * u[j] / r / static_cast<double>(n);
    for (size_t j = 0; j < n; ++j) {
      const size_t i = first + j;
      const double du = (dn[i] * w[i % d_in] - u[j] / r * mean) / r;
      result.dw[i % d_in] += dn[i] * u[j] / r;
      result.dy[i] = du * Silu(z[i]);
      result.dz[i] = du * y[i] * SiluDerivative(z[i]);
    }
  }
  return result;
}

}  // namespace planish::reference

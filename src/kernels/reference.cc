// SPDX-License-Identifier: Apache-2.0
#include "kernels/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace planish::reference {

double Sigmoid(double a) { return 1 / (1 + std::exp(-a)); }
double Silu(double a) { return a / (1 + std::exp(-a)); }
double Softplus(double a) { return a > 20 ? a : std::log1p(std::exp(a)); }
double ReluSquared(double a) { return a < 0 ? 0 : a * a; }

template <typename Real>
void RmsNorm(const Real* x, const Real* w, size_t T, size_t D, double eps, Real* y) {
  for (size_t t = 0; t < T; ++t) {
    double squares = 0;
    for (size_t d = 0; d < D; ++d) squares += double(x[t * D + d]) * x[t * D + d];
    const double r = 1 / std::sqrt(squares / D + eps);
    for (size_t d = 0; d < D; ++d) y[t * D + d] = static_cast<Real>(x[t * D + d] * r * w[d]);
  }
}

template <typename Real>
void GatedGroupRmsNorm(const Real* y, const Real* z, const Real* w, size_t T, size_t d_in,
                       size_t groups, double eps, Real* out) {
  const size_t n = d_in / groups;
  for (size_t t = 0; t < T; ++t) {
    for (size_t g = 0; g < groups; ++g) {
      std::vector<double> u(n);
      for (size_t j = 0; j < n; ++j) {
        const size_t i = t * d_in + g * n + j;
        u[j] = y[i] * Silu(z[i]);
      }
      RmsNorm(u.data(), std::vector<double>(w + g * n, w + (g + 1) * n).data(), 1, n, eps,
              u.data());
      for (size_t j = 0; j < n; ++j) out[t * d_in + g * n + j] = static_cast<Real>(u[j]);
    }
  }
}

std::vector<double> RopeInverseFrequencies(size_t rotary_dim, double theta,
                                           const RopeScaling& scaling) {
  std::vector<double> frequencies(rotary_dim / 2);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    double f = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
    if (scaling.kind == RopeScaling::Kind::kLinear) f /= scaling.factor;
    if (scaling.kind == RopeScaling::Kind::kLlama3) {
      const double periods =
          scaling.original_max_position * f / (2 * std::numbers::pi);  // L0 / wavelength
      const double smooth = (periods - scaling.low_freq_factor) /
                            (scaling.high_freq_factor - scaling.low_freq_factor);
      const double keep = std::clamp(smooth, 0.0, 1.0);  // 1: unscaled; 0: divided by the factor
      f = keep * f + (1 - keep) * f / scaling.factor;
    }
    frequencies[i] = f;
  }
  return frequencies;
}

template <typename Real>
void ApplyRope(Real* x, size_t T, size_t heads, size_t head_dim, size_t half,
               const double* angles) {
  for (size_t t = 0; t < T; ++t) {
    for (size_t h = 0; h < heads; ++h) {
      Real* head = x + (t * heads + h) * head_dim;
      for (size_t i = 0; i < half; ++i) {
        const double a = head[i], b = head[i + half], angle = angles[t * half + i];
        head[i] = static_cast<Real>(a * std::cos(angle) - b * std::sin(angle));
        head[i + half] = static_cast<Real>(b * std::cos(angle) + a * std::sin(angle));
      }
    }
  }
}

template <typename Real>
void CausalConv1d(const Real* x, const Real* history, const Real* w, const Real* bias, size_t T,
                  size_t C, size_t W, Real* out) {
  for (size_t t = 0; t < T; ++t) {
    for (size_t c = 0; c < C; ++c) {
      double sum = bias != nullptr ? bias[c] : 0;
      for (size_t k = 0; k < W; ++k) {
        const size_t row = t + k;  // of the history rows followed by x
        double in = 0;
        if (row >= W - 1) {
          in = x[(row - (W - 1)) * C + c];
        } else if (history != nullptr) {
          in = history[row * C + c];
        }
        sum += w[k * C + c] * in;
      }
      out[t * C + c] = static_cast<Real>(Silu(sum));
    }
  }
}

template <typename Real>
void SsmScan(const SsmDims& dims, const Real* x, const Real* B, const Real* C, const Real* dt,
             const Real* A, const Real* D, size_t T, Real* state, Real* y) {
  const size_t H = dims.heads, P = dims.head_dim, N = dims.state, G = dims.groups;
  std::vector<double> S(state, state + dims.StateSize());
  for (size_t t = 0; t < T; ++t) {
    for (size_t h = 0; h < H; ++h) {
      const size_t g = h / (H / G);
      const double step = dt[t * H + h], decay = std::exp(step * A[h]);
      for (size_t p = 0; p < P; ++p) {
        const double input = x[(t * H + h) * P + p];
        double sum = 0;
        for (size_t n = 0; n < N; ++n) {
          double& s = S[(h * N + n) * P + p];
          s = decay * s + step * input * B[(t * G + g) * N + n];
          sum += s * C[(t * G + g) * N + n];
        }
        y[(t * H + h) * P + p] = static_cast<Real>(sum + D[h] * input);
      }
    }
  }
  for (size_t i = 0; i < S.size(); ++i) state[i] = static_cast<Real>(S[i]);
}

template <typename Real>
void CausalAttention(const Real* q, const Real* k, const Real* v, size_t rows,
                     size_t first_position, size_t heads, size_t kv_heads, size_t head_dim,
                     double scale, Real* out) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t h = 0; h < heads; ++h) {
      const size_t kv = h / (heads / kv_heads);
      const Real* query = q + (r * heads + h) * head_dim;
      std::vector<double> scores(first_position + r + 1);
      for (size_t j = 0; j < scores.size(); ++j) {
        const Real* key = k + (j * kv_heads + kv) * head_dim;
        double dot = 0;
        for (size_t p = 0; p < head_dim; ++p) dot += double(query[p]) * key[p];
        scores[j] = scale * dot;
      }
      const double normaliser = LogSumExp(scores.data(), scores.size());
      for (size_t p = 0; p < head_dim; ++p) {
        double sum = 0;
        for (size_t j = 0; j < scores.size(); ++j) {
          sum += std::exp(scores[j] - normaliser) * v[(j * kv_heads + kv) * head_dim + p];
        }
        out[(r * heads + h) * head_dim + p] = static_cast<Real>(sum);
      }
    }
  }
}

template <typename Real>
double LogSumExp(const Real* x, size_t n) {
  double largest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max<double>(largest, x[i]);
  for (size_t i = 0; i < n; ++i) sum += std::exp(x[i] - largest);
  return largest + std::log(sum);
}

#define PLANISH_INSTANTIATE(Real)                                                                \
  template void RmsNorm(const Real*, const Real*, size_t, size_t, double, Real*);                \
  template void GatedGroupRmsNorm(const Real*, const Real*, const Real*, size_t, size_t, size_t, \
                                  double, Real*);                                                \
  template void ApplyRope(Real*, size_t, size_t, size_t, size_t, const double*);                 \
  template void CausalConv1d(const Real*, const Real*, const Real*, const Real*, size_t, size_t, \
                             size_t, Real*);                                                     \
  template void SsmScan(const SsmDims&, const Real*, const Real*, const Real*, const Real*,      \
                        const Real*, const Real*, size_t, Real*, Real*);                         \
  template void CausalAttention(const Real*, const Real*, const Real*, size_t, size_t, size_t,   \
                                size_t, size_t, double, Real*);                                  \
  template double LogSumExp(const Real*, size_t)
PLANISH_INSTANTIATE(float);
PLANISH_INSTANTIATE(double);
#undef PLANISH_INSTANTIATE

}  // namespace planish::reference

// SPDX-License-Identifier: Apache-2.0
#include "kernels/reference_attention.h"

#include <cmath>
#include <vector>

#include "kernels/reference.h"

namespace planish::reference {
namespace {

template <typename Real>
double Dot(const Real* a, const Real* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += double(a[i]) * b[i];
  return sum;
}

// scale q_i . k_j for j <= i.
template <typename Real>
std::vector<double> Scores(const Real* query, const Real* k, size_t stride, size_t seen,
                           size_t head_dim, double scale) {
  std::vector<double> scores(seen);
  for (size_t j = 0; j < seen; ++j) scores[j] = scale * Dot(query, k + j * stride, head_dim);
  return scores;
}

}  // namespace

template <typename Real>
void AttentionLogSumExp(const Real* q, const Real* k, size_t T, size_t heads, size_t kv_heads,
                        size_t head_dim, double scale, Real* lse) {
  for (size_t i = 0; i < T; ++i) {
    for (size_t h = 0; h < heads; ++h) {
      const size_t kv = h / (heads / kv_heads);
      const std::vector<double> scores = Scores(q + (i * heads + h) * head_dim, k + kv * head_dim,
                                                kv_heads * head_dim, i + 1, head_dim, scale);
      lse[i * heads + h] = static_cast<Real>(LogSumExp(scores.data(), scores.size()));
    }
  }
}

template <typename Real>
void CausalAttentionBackward(const Real* q, const Real* k, const Real* v, const Real* dout,
                             size_t T, size_t heads, size_t kv_heads, size_t head_dim, double scale,
                             Real* dq, Real* dk, Real* dv) {
  const size_t P = head_dim, stride = kv_heads * P;
  std::vector<double> wide_dk(T * stride), wide_dv(T * stride);
  for (size_t i = 0; i < T; ++i) {
    for (size_t h = 0; h < heads; ++h) {
      const size_t row = (i * heads + h) * P, kv = h / (heads / kv_heads) * P;
      std::vector<double> p = Scores(q + row, k + kv, stride, i + 1, P, scale);
      const double lse = LogSumExp(p.data(), p.size());
      double delta = 0;  // dout_i . out_i = sum_j p_ij (dout_i . v_j)
      for (size_t j = 0; j <= i; ++j) {
        p[j] = std::exp(p[j] - lse);
        delta += p[j] * Dot(dout + row, v + j * stride + kv, P);
      }
      std::vector<double> wide_dq(P);
      for (size_t j = 0; j <= i; ++j) {
        const size_t key = j * stride + kv;
        const double ds = p[j] * (Dot(dout + row, v + key, P) - delta);
        for (size_t c = 0; c < P; ++c) {
          wide_dq[c] += scale * ds * k[key + c];
          wide_dk[key + c] += scale * ds * q[row + c];
          wide_dv[key + c] += p[j] * dout[row + c];
        }
      }
      for (size_t c = 0; c < P; ++c) dq[row + c] = static_cast<Real>(wide_dq[c]);
    }
  }
  for (size_t i = 0; i < wide_dk.size(); ++i) {
    dk[i] = static_cast<Real>(wide_dk[i]);
    dv[i] = static_cast<Real>(wide_dv[i]);
  }
}

#define PLANISH_INSTANTIATE(Real)                                                             \
  template void AttentionLogSumExp(const Real*, const Real*, size_t, size_t, size_t, size_t,  \
                                   double, Real*);                                            \
  template void CausalAttentionBackward(const Real*, const Real*, const Real*, const Real*,   \
                                        size_t, size_t, size_t, size_t, double, Real*, Real*, \
                                        Real*)
PLANISH_INSTANTIATE(float);
PLANISH_INSTANTIATE(double);
#undef PLANISH_INSTANTIATE

}  // namespace planish::reference

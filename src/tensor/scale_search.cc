// SPDX-License-Identifier: Apache-2.0
#include "tensor/scale_search.h"

#include <algorithm>
#include <cmath>

namespace planish {
namespace {

// Sums run in eight lanes, so that the compiler may use SIMD and every machine adds in the same order.
constexpr int kLanes = 8;
struct Lanes {
  float sum[kLanes] = {};
  float total() const {
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
  }
};

// The whole number in [0, levels] nearest to v.
inline float Nearest(float v, float levels) {
  v = v + 0.5f;
  v = v > 0.0f ? v : 0.0f;
  v = v < levels ? v : levels;
  return static_cast<float>(static_cast<int32_t>(v));
}

// values[l] = what the code nearest to v[l] stands for.
struct WholeNumbers {
  float low, levels;
  void operator()(const float* v, float* values) const {
    for (int l = 0; l < kLanes; ++l) values[l] = Nearest(v[l] - low, levels) + low;
  }
};
struct TableEntries {
  const CodeRange& range;
  void operator()(const float* v, float* values) const {
    for (int l = 0; l < kLanes; ++l) values[l] = static_cast<float>(range.table[0]);
    for (int k = 0; k < range.levels; ++k) {
      const auto a = static_cast<float>(range.table[k]), b = static_cast<float>(range.table[k + 1]);
      const float middle = 0.5f * (a + b), more = b - a;
      for (int l = 0; l < kLanes; ++l) values[l] += v[l] > middle ? more : 0.0f;
    }
  }
};
// The loops are compiled for both kinds: a choice inside of them would keep the compiler from using SIMD.
template <typename Body>
auto WithCodes(const CodeRange& range, Body&& body) {
  if (range.table != nullptr) return body(TableEntries{range});
  return body(WholeNumbers{static_cast<float>(range.low), static_cast<float>(range.levels)});
}

inline float Inverse(float step) { return step != 0.0f ? 1.0f / step : 0.0f; }

struct Moments {
  float q, qq, xq;  // sums of w q, w q^2, w x q
};

// Of the nearest codes' values at x ~ q / inverse + offset.
Moments MomentsAt(const float* x, const float* w, int n, const CodeRange& range, float inverse,
                  float offset) {
  return WithCodes(range, [=](const auto& nearest) {
    Lanes q_sum, qq_sum, xq_sum;
    for (int j = 0; j < n; j += kLanes) {
      float v[kLanes], q[kLanes];
      for (int l = 0; l < kLanes; ++l) v[l] = (x[j + l] - offset) * inverse;
      nearest(v, q);
      for (int l = 0; l < kLanes; ++l) {
        const float wq = w[j + l] * q[l];
        q_sum.sum[l] += wq;
        qq_sum.sum[l] += wq * q[l];
        xq_sum.sum[l] += wq * x[j + l];
      }
    }
    return Moments{q_sum.total(), qq_sum.total(), xq_sum.total()};
  });
}

}  // namespace

int NearestCode(const CodeRange& range, float v) noexcept {
  if (range.table == nullptr)
    return static_cast<int>(
        Nearest(v - static_cast<float>(range.low), static_cast<float>(range.levels)));
  int code = 0;
  for (int k = 0; k < range.levels; ++k)
    code += v > 0.5f * static_cast<float>(range.table[k] + range.table[k + 1]);
  return code;
}

float GridError(const float* x, const float* w, int n, const CodeRange& range, float step,
                float offset) noexcept {
  const float inverse = Inverse(step);
  return WithCodes(range, [=](const auto& nearest) {
    Lanes error;
    for (int j = 0; j < n; j += kLanes) {
      float v[kLanes], q[kLanes];
      for (int l = 0; l < kLanes; ++l) v[l] = (x[j + l] - offset) * inverse;
      nearest(v, q);
      for (int l = 0; l < kLanes; ++l) {
        const float e = x[j + l] - (step * q[l] + offset);
        error.sum[l] += w[j + l] * e * e;
      }
    }
    return error.total();
  });
}

AffineScale FitAffine(const float* x, const float* w, int n, const CodeRange& range,
                      bool has_any_offset) noexcept {
  float low = *std::min_element(x, x + n), high = *std::max_element(x, x + n);
  if (!has_any_offset) low = std::min(low, 0.0f);
  if (!(high > low)) return {0.0f, low};
  Lanes w_sum, x_sum;
  for (int j = 0; j < n; j += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      w_sum.sum[l] += w[j + l];
      x_sum.sum[l] += w[j + l] * x[j + l];
    }
  }
  const float sw = w_sum.total(), sx = x_sum.total();
  const auto levels = static_cast<float>(range.levels);

  AffineScale best{(high - low) / levels, low};
  float best_gain = -1;  // the squares that a fit takes away
  const auto improve = [&](float inverse, float offset) {
    const Moments m = MomentsAt(x, w, n, range, inverse, offset);
    const float determinant = sw * m.qq - m.q * m.q;
    AffineScale fit{0, 0};
    if (determinant > 1e-6f * sw * m.qq) {
      fit.step = (sw * m.xq - sx * m.q) / determinant;
      fit.offset = (m.qq * sx - m.q * m.xq) / determinant;
    }
    if (fit.step <= 0 || (!has_any_offset && fit.offset > 0)) {
      if (!(m.qq > 0) || !(m.xq > 0)) return false;
      fit = {m.xq / m.qq, 0};
    }
    const float gain = fit.step * m.xq + fit.offset * sx;
    if (!(gain > best_gain)) return false;
    best_gain = gain;
    best = fit;
    return true;
  };
  // Steps from a little wider than the range asks for to narrow ones that clip its ends; few levels gain more by clipping.
  constexpr int kStarts = 16;
  const float widest = -0.9f, narrowest = range.levels <= 4 ? 1.2f : 2.6f;
  for (int k = 0; k < kStarts; ++k) {
    const float more = widest + (narrowest - widest) * static_cast<float>(k) / (kStarts - 1);
    const float inverse = (levels + more) / (high - low);
    // Clipping is shared by both ends.
    improve(inverse, more > 0 ? low + 0.5f * more / inverse : low);
  }
  for (int turn = 0; turn < 4 && best.step > 0; ++turn)
    if (!improve(1.0f / best.step, best.offset)) break;
  return best;
}

float FitStep(const float* x, const float* w, int n, const CodeRange& range) noexcept {
  const float largest =
      *std::max_element(x, x + n, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  if (largest == 0.0f) return 0.0f;
  const auto first = static_cast<float>(range.table != nullptr ? range.table[0] : range.low);
  const auto last = static_cast<float>(range.table != nullptr ? range.table[range.levels]
                                                              : range.low + range.levels);
  float best = largest / first, best_gain = -1;
  const auto improve = [&](float inverse) {
    const Moments m = MomentsAt(x, w, n, range, inverse, 0.0f);
    if (!(m.qq > 0)) return false;
    const float gain = m.xq * m.xq / m.qq;
    if (!(gain > best_gain)) return false;
    best_gain = gain;
    best = m.xq / m.qq;
    return true;
  };
  // The largest value becomes one of the ends, or lies up to some levels beyond or inside of it.
  constexpr int kStarts = 12;
  const float unit = range.table != nullptr ? 12.0f : 1.0f;
  const float inside = range.levels < 4 ? 0.6f : 0.9f, beyond = range.levels > 40 ? 1.2f : 2.2f;
  for (const float end : {first, last}) {
    const float outwards = end < 0 ? -unit : unit;
    for (int k = 0; k < kStarts; ++k) {
      const float more = -inside + (beyond + inside) * static_cast<float>(k) / (kStarts - 1);
      const float target = end + outwards * more;
      if (target * end > 0) improve(target / largest);
    }
  }
  for (int turn = 0; turn < 4; ++turn)
    if (!improve(1.0f / best)) break;
  return best;
}

}  // namespace planish

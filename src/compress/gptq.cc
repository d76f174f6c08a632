// SPDX-License-Identifier: Apache-2.0
#include "compress/gptq.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"
#include "tensor/block_grid.h"

namespace planish {
namespace {

constexpr size_t kPanel = 64;

double Dot(const double* a, const double* b, size_t n) {
  double lanes[4] = {};
  size_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (size_t l = 0; l < 4; ++l) lanes[l] += a[i + l] * b[i + l];
  double sum = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// a [n, n] = L L^T in its lower half, in place; false if it is not positive definite. Panels of columns: rows below one are
// independent of each other.
bool Cholesky(std::vector<double>* a, size_t n) {
  double* m = a->data();
  for (size_t begin = 0; begin < n; begin += kPanel) {
    const size_t end = std::min(begin + kPanel, n);
    for (size_t j = begin; j < end; ++j) {
      for (size_t k = begin; k <= j; ++k) {
        double& value = m[j * n + k];
        value -= Dot(m + j * n, m + k * n, k);
        if (k < j)
          value /= m[k * n + k];
        else if (!(value > 0) || !std::isfinite(value))
          return false;
        else
          value = std::sqrt(value);
      }
    }
    ParallelFor(n - end, [&](size_t r, int) {
      double* row = m + (end + r) * n;
      for (size_t k = begin; k < end; ++k)
        row[k] = (row[k] - Dot(row, m + k * n, k)) / m[k * n + k];
    });
  }
  return true;
}

// Row r of L^-1, transposed storage: inverse[c * n + r] for c <= r; column c of L^-1 by forward substitution.
std::vector<double> InverseColumns(const std::vector<double>& l, size_t n) {
  std::vector<double> inverse(n * n, 0.0);
  ParallelFor(n, [&](size_t c, int) {
    double* column = inverse.data() + c * n;
    column[c] = 1.0 / l[c * n + c];
    for (size_t r = c + 1; r < n; ++r)
      column[r] = -Dot(l.data() + r * n + c, column + c, r - c) / l[r * n + r];
  });
  return inverse;
}

std::vector<uint32_t> OrderOf(const Tensor& gram, size_t block) {
  const size_t n = gram.shape().last();
  std::vector<double> energy(n / block, 0.0);
  for (size_t j = 0; j < n; ++j) energy[j / block] += gram.row(j)[j];
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    if (a / block != b / block) {
      const double ea = energy[a / block], eb = energy[b / block];
      return ea != eb ? ea > eb : a / block < b / block;
    }
    return gram.row(a)[a] > gram.row(b)[b];
  });
  return order;
}

}  // namespace

GptqFactors FactorGram(const Tensor& gram, size_t block, double damping) {
  const size_t n = gram.shape().last();
  PLANISH_CHECK(n > 0 && n % block == 0 && gram.shape()[0] == n);
  GptqFactors factors{.order = OrderOf(gram, block), .u = Tensor::ZerosF32({n, n})};
  double mean = 0;
  for (size_t j = 0; j < n; ++j) mean += gram.row(j)[j];
  mean /= static_cast<double>(n);
  if (!(mean > 0)) mean = 1;  // inputs that never were anything: plain rounding
  // H = J L L^T J with J the reversal of rows gives H^-1 = U^T U with U = J L^-1 J, which is upper triangular.
  const std::vector<uint32_t>& order = factors.order;
  std::vector<double> reversed(n * n);
  for (double more = damping;; more *= 10) {
    ParallelFor(n, [&](size_t r, int) {
      const size_t row = order[n - 1 - r];
      for (size_t c = 0; c <= r; ++c) {
        const size_t column = order[n - 1 - c];
        // The Gram matrix is symmetric but for rounding: one half of it is read.
        reversed[r * n + c] = gram.row(std::max(row, column))[std::min(row, column)];
      }
      reversed[r * n + r] += more * mean;
    });
    if (Cholesky(&reversed, n)) break;
    PLANISH_CHECK(more < 1e6, "a Gram matrix that is not finite");
  }
  const std::vector<double> inverse = InverseColumns(reversed, n);
  ParallelFor(n, [&](size_t r, int) {
    const size_t from = n - 1 - r;  // row of L^-1
    for (size_t c = r; c < n; ++c)
      factors.u.row(r)[c] = static_cast<float>(inverse[(n - 1 - c) * n + from]);
  });
  return factors;
}

namespace {

// A few rows, which share the reading of U.
class RowsByGptq {
 public:
  static constexpr size_t kRows = 8;
  RowsByGptq(const Tensor& w, size_t begin, size_t count, const GptqFactors& factors, DType type)
      : factors_(factors), type_(type), n_(w.shape().last()), count_(count), rows_(count * n_) {
    // Rows in the order of their columns, so that the rest of a row is contiguous.
    for (size_t r = 0; r < count; ++r)
      for (size_t p = 0; p < n_; ++p) rows_[r * n_ + p] = w.row(begin + r)[factors.order[p]];
  }

  void Round(uint8_t* out, size_t row_bytes) {
    const size_t block = Traits(type_).block_elems, bytes = Traits(type_).block_bytes;
    for (size_t first = 0; first < n_; first += block) {
      const size_t column = factors_.order[first] / block * block;
      FitGrids(first, column);
      std::vector<int> codes(count_ * block);
      for (size_t p = first; p < first + block; ++p) RoundColumn(p, column, codes.data());
      for (size_t r = 0; r < count_; ++r)
        PackBlock(grids_[r], codes.data() + r * block,
                  out + r * row_bytes + column / block * bytes);
    }
  }

 private:
  void FitGrids(size_t first, size_t column) {
    const size_t block = Traits(type_).block_elems;
    float x[256], importance[256];
    for (size_t r = 0; r < count_; ++r) {
      for (size_t p = first; p < first + block; ++p) {
        const size_t i = factors_.order[p] - column;
        const float u = factors_.u.row(p)[p];
        x[i] = rows_[r * n_ + p];
        importance[i] = 1.0f / (u * u);
      }
      grids_[r] = FitBlock(type_, x, importance);
    }
  }
  void RoundColumn(size_t p, size_t column, int* codes) {
    const size_t block = Traits(type_).block_elems;
    const float* u = factors_.u.row(p);
    const auto i = static_cast<int>(factors_.order[p] - column);
    for (size_t r = 0; r < count_; ++r) {
      float* row = rows_.data() + r * n_;
      const int code = grids_[r].Code(i, row[p]);
      codes[r * block + static_cast<size_t>(i)] = code;
      const float error = (row[p] - grids_[r].Value(i, code)) / u[p];
      for (size_t k = p + 1; k < n_; ++k) row[k] -= error * u[k];
    }
  }

  const GptqFactors& factors_;
  DType type_;
  size_t n_, count_;
  std::vector<float> rows_;  // [count, in]
  BlockGrid grids_[kRows];
};

}  // namespace

Weight RoundByGptq(const std::string& name, Tensor w, const GptqFactors& factors, DType type) {
  const size_t out = w.shape()[0], in = w.shape()[1];
  PLANISH_CHECK(HasBlockGrid(type) && in % Traits(type).block_elems == 0);
  Weight weight(name, out, in, type);
  auto* bytes = reinterpret_cast<uint8_t*>(weight.mutable_data());
  constexpr size_t kRows = RowsByGptq::kRows;
  ParallelFor((out + kRows - 1) / kRows, [&](size_t i, int) {
    const size_t begin = i * kRows;
    RowsByGptq(w, begin, std::min(kRows, out - begin), factors, type)
        .Round(bytes + begin * weight.row_bytes(), weight.row_bytes());
  });
  return weight;
}

}  // namespace planish

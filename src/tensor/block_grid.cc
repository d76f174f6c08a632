// SPDX-License-Identifier: Apache-2.0
#include "tensor/block_grid.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "tensor/block_formats.h"

namespace planish {
namespace {

constexpr float kLargestF16 = 65504.0f;

struct GridShape {
  CodeRange range;
  int group;                  // values
  bool has_offset;            // a minimum beside the scale
  int scale_low, scale_high;  // of scales of scales; both 0: the block's one scale is an F16
};

const GridShape* ShapeOf(DType dtype) {
  using block_formats::kIq4;
  static constexpr GridShape kQ8_0 = {{-127, 254}, 32, false, 0, 0};
  static constexpr GridShape kQ4_0 = {{-8, 15}, 32, false, 0, 0};
  static constexpr GridShape kQ5_0 = {{-16, 31}, 32, false, 0, 0};
  static constexpr GridShape kQ4_1 = {{0, 15}, 32, true, 0, 0};
  static constexpr GridShape kQ5_1 = {{0, 31}, 32, true, 0, 0};
  static constexpr GridShape kIq4Nl = {{0, 15, kIq4}, 32, false, 0, 0};
  static constexpr GridShape kIq4Xs = {{0, 15, kIq4}, 32, false, -32, 31};
  static constexpr GridShape kQ2_K = {{0, 3}, 16, true, 0, 15};
  static constexpr GridShape kQ3_K = {{-4, 7}, 16, false, -32, 31};
  static constexpr GridShape kQ4_K = {{0, 15}, 32, true, 0, 63};
  static constexpr GridShape kQ5_K = {{0, 31}, 32, true, 0, 63};
  static constexpr GridShape kQ6_K = {{-32, 63}, 16, false, -128, 127};
  switch (dtype) {
    case DType::kQ8_0:
      return &kQ8_0;
    case DType::kQ4_0:
      return &kQ4_0;
    case DType::kQ5_0:
      return &kQ5_0;
    case DType::kQ4_1:
      return &kQ4_1;
    case DType::kQ5_1:
      return &kQ5_1;
    case DType::kIQ4_NL:
      return &kIq4Nl;
    case DType::kIQ4_XS:
      return &kIq4Xs;
    case DType::kQ2_K:
      return &kQ2_K;
    case DType::kQ3_K:
      return &kQ3_K;
    case DType::kQ4_K:
      return &kQ4_K;
    case DType::kQ5_K:
      return &kQ5_K;
    case DType::kQ6_K:
      return &kQ6_K;
    default:
      return nullptr;
  }
}

float RoundedF16(float x) {
  return FloatFromF16(F16FromFloat(std::clamp(x, -kLargestF16, kLargestF16)));
}

int RoundInside(float x, int low, int high) {
  return static_cast<int>(
      std::lround(std::clamp(x, static_cast<float>(low), static_cast<float>(high))));
}

class BlockFitter {
 public:
  BlockFitter(DType dtype, const float* x, const float* importance) : shape_(*ShapeOf(dtype)) {
    grid_.dtype = dtype;
    grid_.range = shape_.range;
    grid_.values = static_cast<int>(Traits(dtype).block_elems);
    grid_.group = shape_.group;
    groups_ = grid_.values / grid_.group;
    for (int i = 0; i < grid_.values; ++i) {
      const bool counts = std::fabs(x[i]) >= 1e-20f;  // false for NaN
      x_[i] = counts ? std::clamp(x[i], -kLargestF16, kLargestF16) : 0.0f;
    }
    SetWeights(importance);
  }

  BlockGrid Fit() {
    if (shape_.scale_high == 0)
      FitPlain();
    else
      FitNested();
    return grid_;
  }

 private:
  // Their mean is one in each group: only their proportions count, and products stay in the range of floats.
  void SetWeights(const float* importance) {
    for (int g = 0; g < groups_; ++g) {
      float sum = 0;
      for (int i = 0; importance != nullptr && i < grid_.group; ++i)
        sum += importance[g * grid_.group + i];
      const bool counts = std::isfinite(sum) && sum > 1e-30f;
      group_weight_[g] = counts ? sum : importance == nullptr ? 1.0f : 0.0f;
      const float factor = counts ? static_cast<float>(grid_.group) / sum : 0.0f;
      for (int i = 0; i < grid_.group; ++i) {
        const int at = g * grid_.group + i;
        w_[at] = counts ? importance[at] * factor : 1.0f;
      }
    }
  }
  const float* x(int g) const { return x_ + g * grid_.group; }
  const float* w(int g) const { return w_ + g * grid_.group; }

  void FitPlain() {
    if (shape_.has_offset) {
      const AffineScale fit = FitAffine(x_, w_, grid_.group, shape_.range, /*has_any_offset=*/true);
      grid_.d = RoundedF16(fit.step);
      grid_.dmin = RoundedF16(fit.offset);
    } else {
      grid_.d = RoundedF16(FitStep(x_, w_, grid_.group, shape_.range));
    }
    grid_.step[0] = grid_.d;
    grid_.offset[0] = grid_.dmin;
  }

  // Groups first, each with scales of its own; then the block's scales d and dmin, of which those of the groups are whole
  // multiples: multiples of given d and dmin by trying neighbours, d and dmin of given multiples by least squares, in turns.
  void FitNested() {
    AffineScale fits[16];
    float largest_step = 0, largest_min = 0;
    for (int g = 0; g < groups_; ++g) {
      if (shape_.has_offset) {
        fits[g] = FitAffine(x(g), w(g), grid_.group, shape_.range, /*has_any_offset=*/false);
      } else {
        fits[g].step = FitStep(x(g), w(g), grid_.group, shape_.range);
      }
      if (std::fabs(fits[g].step) > std::fabs(largest_step)) largest_step = fits[g].step;
      largest_min = std::max(largest_min, -fits[g].offset);
    }
    // Signed multiples reach one further down than up.
    const int reach = shape_.scale_low < 0 ? shape_.scale_low : shape_.scale_high;
    float d = RoundedF16(largest_step / static_cast<float>(reach));
    float dmin = RoundedF16(largest_min / static_cast<float>(shape_.scale_high));
    constexpr int kTurns = 3;
    float best = INFINITY;
    for (int turn = 0; turn < kTurns; ++turn) {
      BlockGrid tried = grid_;
      tried.d = d;
      tried.dmin = dmin;
      float error = 0;
      for (int g = 0; g < groups_; ++g)
        error += group_weight_[g] * ChooseMultiples(g, fits[g], &tried);
      if (!(error < best)) break;
      best = error;
      grid_ = tried;
      if (!Refit(&d, &dmin)) break;
    }
  }

  float ChooseMultiples(int g, const AffineScale& fit, BlockGrid* grid) const {
    const int scale =
        grid->d == 0.0f ? 0 : RoundInside(fit.step / grid->d, shape_.scale_low, shape_.scale_high);
    const int min =
        grid->dmin == 0.0f ? 0 : RoundInside(-fit.offset / grid->dmin, 0, shape_.scale_high);
    const int more_scale = grid->d == 0.0f ? 0 : 1, more_min = grid->dmin == 0.0f ? 0 : 1;
    float best = INFINITY;
    for (int s = std::max(scale - more_scale, shape_.scale_low);
         s <= std::min(scale + more_scale, shape_.scale_high); ++s) {
      for (int m = std::max(min - more_min, 0); m <= std::min(min + more_min, shape_.scale_high);
           ++m) {
        const float step = grid->d * static_cast<float>(s);
        const float offset = shape_.has_offset ? -grid->dmin * static_cast<float>(m) : 0.0f;
        const float error = GridError(x(g), w(g), grid_.group, shape_.range, step, offset);
        if (error < best) {
          best = error;
          grid->scale[g] = s;
          grid->min[g] = m;
          grid->step[g] = step;
          grid->offset[g] = offset;
        }
      }
    }
    return best;
  }

  // x ~ d S - dmin M with S = scale q, M = min of the present codes. False if nothing changes.
  bool Refit(float* d, float* dmin) const {
    double ss = 0, sm = 0, mm = 0, xs = 0, xm = 0;
    for (int i = 0; i < grid_.values; ++i) {
      const int g = i / grid_.group;
      const int code = grid_.Code(i, x_[i]);
      const int q =
          shape_.range.table != nullptr ? shape_.range.table[code] : shape_.range.low + code;
      const double s = static_cast<double>(grid_.scale[g]) * q, m = grid_.min[g];
      const double weight = static_cast<double>(w_[i]) * group_weight_[g];
      ss += weight * s * s;
      sm += weight * s * m;
      mm += weight * m * m;
      xs += weight * s * x_[i];
      xm += weight * m * x_[i];
    }
    if (!(ss > 0)) return false;
    double new_d = xs / ss, new_dmin = 0;
    const double determinant = ss * mm - sm * sm;
    if (shape_.has_offset && determinant > 1e-9 * ss * mm) {
      new_d = (xs * mm - xm * sm) / determinant;
      new_dmin = (xs * sm - xm * ss) / determinant;
    } else if (shape_.has_offset) {
      new_dmin = *dmin;
    }
    if (shape_.has_offset && (new_d <= 0 || new_dmin < 0)) return false;
    const float rounded_d = RoundedF16(static_cast<float>(new_d));
    const float rounded_dmin = RoundedF16(static_cast<float>(new_dmin));
    const bool changes = rounded_d != *d || rounded_dmin != *dmin;
    *d = rounded_d;
    *dmin = rounded_dmin;
    return changes;
  }

  const GridShape& shape_;
  BlockGrid grid_;
  int groups_ = 0;
  float x_[256], w_[256], group_weight_[16];
};

}  // namespace

bool HasBlockGrid(DType dtype) { return ShapeOf(dtype) != nullptr; }

BlockGrid FitBlock(DType dtype, const float* x, const float* importance) {
  PLANISH_CHECK(HasBlockGrid(dtype), "{}", Name(dtype));
  return BlockFitter(dtype, x, importance).Fit();
}

BlockGrid GridWithStep(DType dtype, float step) {
  const GridShape* shape = ShapeOf(dtype);
  PLANISH_CHECK(shape != nullptr && shape->scale_high == 0 && !shape->has_offset, "{}",
                Name(dtype));
  BlockGrid grid;
  grid.dtype = dtype;
  grid.range = shape->range;
  grid.values = grid.group = shape->group;
  grid.d = grid.step[0] = RoundedF16(step);
  return grid;
}

void QuantizeRowFitted(DType dtype, const float* in, const float* importance, void* out, size_t n) {
  const DTypeTraits& traits = Traits(dtype);
  PLANISH_CHECK(n % traits.block_elems == 0, "{} values of {}", n, traits.name);
  auto* bytes = static_cast<uint8_t*>(out);
  int codes[256];
  for (size_t begin = 0; begin < n; begin += traits.block_elems, bytes += traits.block_bytes) {
    const BlockGrid grid =
        FitBlock(dtype, in + begin, importance != nullptr ? importance + begin : nullptr);
    for (int i = 0; i < grid.values; ++i) {
      const float x = in[begin + static_cast<size_t>(i)];
      codes[i] = grid.Code(i, std::isnan(x) ? 0.0f : x);
    }
    PackBlock(grid, codes, bytes);
  }
}

}  // namespace planish

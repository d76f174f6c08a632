// SPDX-License-Identifier: Apache-2.0
// What must hold for the backward pass of every registered mixer: gradients agree with central differences of its own forward,
// packed documents give the sum of separate ones, neither threads nor what was kept change a bit, frozen parameters are left
// alone, bf16 stays near float.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/parallel.h"
#include "model/mixer_testing.h"

namespace planish {
namespace {

// Gradients by parameter name.
using Gradients = std::map<std::string, std::vector<float>>;

// Binds zeroed buffers for all parameters.
Gradients BindGradients(Mixer& mixer) {
  Gradients gradients;
  mixer.VisitParams([&](const Param& param) {
    ASSERT_NE(param.grad, nullptr) << param.name;
    std::vector<float>& buffer = gradients[param.name];
    buffer.assign(param.shape.elements(), 0.0f);
    *param.grad = buffer.data();
  });
  return gradients;
}

std::vector<float> Backward(const Mixer& mixer, const SeqLayout& layout,
                            const std::vector<float>& x, const std::vector<float>& dy,
                            Precision precision = Precision::kF32, bool selective = true) {
  Workspace workspace;
  const Pass pass{
      .layout = layout, .workspace = &workspace, .precision = precision, .selective = selective};
  std::vector<float> y(x.size()), dx(x.size(), NAN);
  std::unique_ptr<Saved> saved;
  mixer.Forward(pass, x.data(), y.data(), &saved);
  mixer.Backward(pass, x.data(), *saved, dy.data(), dx.data());
  return dx;
}

double Dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

double Norm(const std::vector<float>& a) { return std::sqrt(Dot(a, a)); }

// Relative distance of a from b.
double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> difference(a.size());
  for (size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return Norm(difference) / std::max(Norm(b), 1e-30);
}

// d/de of <dy, Forward(values + e direction)>, by central differences at two steps: the value at the smaller one and a bound
// of its error (rounding of the forward's floats, and what the steps disagree by).
struct Slope {
  double value, bound;
};
template <class Evaluate>
Slope SlopeAlong(float* values, const std::vector<float>& direction, const Evaluate& evaluate) {
  const std::vector<float> start(values, values + direction.size());
  double noise = 0;
  const auto slope = [&](double step) {
    double sides[2];
    for (const int side : {0, 1}) {
      for (size_t i = 0; i < start.size(); ++i)
        values[i] = static_cast<float>(start[i] + (side == 0 ? step : -step) * direction[i]);
      const auto [value, magnitude] = evaluate();
      sides[side] = value;
      noise = std::max(noise, 64 * 0x1p-24 * magnitude / step);
    }
    std::copy(start.begin(), start.end(), values);
    return (sides[0] - sides[1]) / (2 * step);
  };
  const double near = slope(0x1p-7), far = slope(0x1p-6);
  return {(4 * near - far) / 3, 2 * noise + std::abs(near - far)};
}

TEST(MixerGradient, AgreesWithCentralDifferencesOfTheForward) {
  for (const MixerKind& kind : TrainableMixerKinds()) {
    SCOPED_TRACE(kind.name);
    const auto mixer = RandomMixer(kind.config, 21);
    const SeqLayout layout = SeqLayout::Packed({13, 1, 2, 9, 20});
    std::vector<float> x = RandomRows(layout.tokens(), 22);
    const std::vector<float> dy = RandomRows(layout.tokens(), 23);
    const Gradients gradients = BindGradients(*mixer);
    const std::vector<float> dx = Backward(*mixer, layout, x, dy);
    const auto evaluate = [&] {
      Workspace workspace;
      std::vector<float> y(x.size());
      mixer->ParamsChanged();
      mixer->Forward({.layout = layout, .workspace = &workspace}, x.data(), y.data(), nullptr);
      double magnitude = 0;
      for (size_t i = 0; i < y.size(); ++i)
        magnitude += std::pow(static_cast<double>(y[i]) * dy[i], 2);
      return std::pair(Dot(y, dy), std::sqrt(magnitude));
    };
    const auto check = [&](const std::string& name, float* values,
                           const std::vector<float>& gradient) {
      for (const uint64_t seed : {31, 32}) {
        Random random(seed);
        std::vector<float> direction(gradient.size());
        // Along the gradient, with noise: a slope that stands out of the rounding.
        for (size_t i = 0; i < direction.size(); ++i)
          direction[i] = static_cast<float>(random.Normal() / std::sqrt(gradient.size()) +
                                            gradient[i] / std::max(Norm(gradient), 1e-30));
        const Slope slope = SlopeAlong(values, direction, evaluate);
        const double expected = Dot(gradient, direction);
        EXPECT_NEAR(slope.value, expected, slope.bound) << name;
        EXPECT_LT(slope.bound, 0.05 * Norm(gradient) + 1e-3) << name << ": the check is too blunt";
      }
    };
    check("x", x.data(), dx);
    mixer->VisitParams([&](const Param& param) {
      float* values = param.weight != nullptr
                          ? reinterpret_cast<float*>(param.weight->mutable_data())
                          : param.vector->f32();
      check(param.name, values, gradients.at(param.name));
    });
  }
}

TEST(MixerGradient, PackedDocumentsGiveTheSumOfSeparateOnes) {
  const std::vector<std::vector<size_t>> packings = {
      {1, 1, 1}, {2, 3, 1, 17}, {8, 8}, {7, 9, 64}, {65, 1, 66}};
  for (const MixerKind& kind : TrainableMixerKinds()) {
    SCOPED_TRACE(kind.name);
    for (const auto& lengths : packings) {
      const auto mixer = RandomMixer(kind.config, 24);
      const SeqLayout layout = SeqLayout::Packed(lengths);
      const std::vector<float> x = RandomRows(layout.tokens(), 25),
                               dy = RandomRows(layout.tokens(), 26);
      const Gradients packed = BindGradients(*mixer);
      const std::vector<float> dx = Backward(*mixer, layout, x, dy);
      const Gradients separate = BindGradients(*mixer);
      std::vector<float> separate_dx;
      for (size_t s = 0; s < layout.sequences(); ++s) {
        const auto part = [&](const std::vector<float>& rows) {
          const auto begin =
              rows.begin() + static_cast<ptrdiff_t>(layout.begin(s) * kMixerTestHidden);
          return std::vector<float>(
              begin, begin + static_cast<ptrdiff_t>(layout.length(s) * kMixerTestHidden));
        };
        const std::vector<float> own =
            Backward(*mixer, SeqLayout(layout.length(s)), part(x), part(dy));
        separate_dx.insert(separate_dx.end(), own.begin(), own.end());
      }
      EXPECT_LT(Distance(dx, separate_dx), 1e-5);
      for (const auto& [name, gradient] : packed) {
        if (Norm(separate.at(name)) == 0) {  // e.g. the decay of documents of one token
          EXPECT_EQ(Norm(gradient), 0) << name;
        } else {
          EXPECT_LT(Distance(gradient, separate.at(name)), 1e-5) << name;
        }
      }
    }
  }
}

TEST(MixerGradient, ThreadsAndWhatWasKeptChangeNoBit) {
  for (const MixerKind& kind : TrainableMixerKinds()) {
    for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
      SCOPED_TRACE(kind.name + std::to_string(static_cast<int>(precision)));
      const auto mixer = RandomMixer(kind.config, 27);
      const SeqLayout layout = SeqLayout::Packed({70, 3, 150});
      const std::vector<float> x = RandomRows(layout.tokens(), 28),
                               dy = RandomRows(layout.tokens(), 29);
      std::vector<Gradients> all;
      for (const bool selective : {true, false}) {
        for (const int threads : {1, 2, 3}) {
          SetThreadCount(threads);
          Gradients gradients = BindGradients(*mixer);
          gradients["dx"] = Backward(*mixer, layout, x, dy, precision, selective);
          all.push_back(std::move(gradients));
        }
      }
      SetThreadCount(0);
      for (const Gradients& gradients : all) EXPECT_EQ(gradients, all[0]);
    }
  }
}

TEST(MixerGradient, Bf16StaysNearFloat) {
  for (const MixerKind& kind : TrainableMixerKinds()) {
    SCOPED_TRACE(kind.name);
    const auto mixer = RandomMixer(kind.config, 33);
    const SeqLayout layout = SeqLayout::Packed({70, 3, 150});
    const std::vector<float> x = RandomRows(layout.tokens(), 34),
                             dy = RandomRows(layout.tokens(), 35);
    const Gradients exact = BindGradients(*mixer);
    const std::vector<float> exact_dx = Backward(*mixer, layout, x, dy);
    const Gradients rounded = BindGradients(*mixer);
    const std::vector<float> dx = Backward(*mixer, layout, x, dy, Precision::kBf16);
    // A chain of at most ten roundings of 2^-9 each, relative, in independent directions; scans and norms amplify some.
    const double bound = 10 * 0x1p-8;
    EXPECT_LT(Distance(dx, exact_dx), bound);
    for (const auto& [name, gradient] : rounded)
      EXPECT_LT(Distance(gradient, exact.at(name)), bound) << name;
  }
}

TEST(MixerGradient, FrozenParametersAreLeftAlone) {
  for (const MixerKind& kind : TrainableMixerKinds()) {
    SCOPED_TRACE(kind.name);
    const auto mixer = RandomMixer(kind.config, 36);
    const SeqLayout layout(40);
    const std::vector<float> x = RandomRows(40, 37), dy = RandomRows(40, 38);
    const std::vector<float> frozen = Backward(*mixer, layout, x, dy);  // no gradient bound
    const Gradients gradients = BindGradients(*mixer);
    EXPECT_EQ(Backward(*mixer, layout, x, dy), frozen);
  }
}

}  // namespace
}  // namespace planish

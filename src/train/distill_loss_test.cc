// SPDX-License-Identifier: Apache-2.0
// The fused head and divergence: goldens of an autograd run in double; chunks, masks, neighbours and threads; the gradient of
// hidden rows and head against central differences of the loss itself.
#include "train/distill_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "base/file.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/testing.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

std::vector<float> RandomFloats(uint64_t seed, size_t n, double scale) {
  Random random(seed);
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(scale * random.Normal());
  return values;
}

// A student's head [V, D] over hidden rows, and a teacher's logits.
struct Problem {
  Problem(size_t rows, size_t vocabulary, size_t width, Precision precision)
      : T(rows),
        V(vocabulary),
        D(width),
        hidden(RandomFloats(T, T * D, 1.0)),
        teacher(RandomFloats(T + 1, T * V, 2.0)),
        targets(T),
        mask(T, 1),
        head("head", V, D) {
    const std::vector<float> values = RandomFloats(V, V * D, 2 / std::sqrt(static_cast<double>(D)));
    std::memcpy(head.mutable_data(), values.data(), values.size() * sizeof(float));
    Random random(3);
    for (int32_t& target : targets) target = static_cast<int32_t>(random.Bits() % V);
    input = {.hidden = hidden.data(), .head = &head, .targets = targets.data()};
    input.mask = mask.data();
    input.T = T;
    input.precision = precision;
    input.workspace = &workspace;
    rows_of_teacher.logits = [this](std::span<const size_t> chosen, float* logits) {
      for (size_t r = 0; r < chosen.size(); ++r)
        std::copy_n(teacher.data() + chosen[r] * V, V, logits + r * V);
    };
  }
  Problem(const Problem&) = delete;
  size_t T, V, D;
  std::vector<float> hidden, teacher;
  std::vector<int32_t> targets;
  std::vector<uint8_t> mask;
  Weight head;
  Workspace workspace;
  LossInput input;
  TeacherRows rows_of_teacher;
};

struct Result {
  explicit Result(const Problem& p, const DistillationTerms& terms = {})
      : rows(p.T, -1), d_hidden(p.T * p.D, 5.0f), d_head(p.V * p.D, 0.0f) {
    sums =
        DistillLoss(p.input, terms, p.rows_of_teacher, rows.data(), d_hidden.data(), d_head.data());
  }
  std::vector<double> rows;
  std::vector<float> d_hidden, d_head;
  LossSums sums;
};

TEST(DistillLoss, CrossEntropyAloneIsTheLossOfPretraining) {
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    Problem p(61, 40, 24, precision);
    for (size_t t = 0; t < p.T; ++t) p.mask[t] = t % 3 != 1;
    const Result result(p, {.ce = 1, .forward = 0});
    std::vector<double> rows(p.T);
    std::vector<float> d_hidden(p.T * p.D), d_head(p.V * p.D);
    const LossSums sums = LossAndGradient(p.input, rows.data(), d_hidden.data(), d_head.data());
    EXPECT_EQ(result.sums.kept, sums.kept);
    // The exponentials are added in another order.
    const double rounding = static_cast<double>(sums.kept * p.V) * 0x1p-24;
    EXPECT_NEAR(result.sums.ce, sums.ce, rounding);
    EXPECT_NEAR(result.sums.distill.objective, sums.ce, rounding);
    // In bf16 a rounded gradient of a logit may fall to the other side: half an ulp of at most 1.
    const double unit = precision == Precision::kF32 ? 0x1p-22 : 0x1p-8;
    for (size_t i = 0; i < d_hidden.size(); ++i)
      ASSERT_NEAR(result.d_hidden[i], d_hidden[i], unit * static_cast<double>(p.V)) << i;
    for (size_t i = 0; i < d_head.size(); ++i)
      ASSERT_NEAR(result.d_head[i], d_head[i], unit * static_cast<double>(p.T)) << i;
  }
}

// In f32, with a step that balances rounding (2^-24 L / step) against the cubic term: 1e-3 of the slope is far above both.
TEST(DistillLoss, GradientsAreThoseOfTheLossItself) {
  const DistillationTerms cases[] = {
      {}, {.ce = 0.3f, .forward = 0.7f, .temperature = 2}, {.forward = 0.5f, .reverse = 0.5f}};
  for (const DistillationTerms& terms : cases) {
    Problem p(23, 35, 12, Precision::kF32);
    p.mask[4] = 0;
    const Result result(p, terms);
    const auto loss = [&] {
      return DistillLoss(p.input, terms, p.rows_of_teacher, nullptr, nullptr, nullptr)
          .distill.objective;
    };
    EXPECT_DOUBLE_EQ(loss(), result.sums.distill.objective);
    auto* weights = reinterpret_cast<float*>(p.head.mutable_data());
    const auto expect_slope = [&](float* values, const std::vector<float>& gradient) {
      double slope = 0;
      for (const float g : gradient) slope += static_cast<double>(g) * static_cast<double>(g);
      const float step = static_cast<float>(1e-2 / std::sqrt(slope));
      const std::vector<float> before(values, values + gradient.size());
      double ends[2];
      for (const int side : {0, 1}) {
        for (size_t i = 0; i < gradient.size(); ++i)
          values[i] = before[i] + (side == 1 ? step : -step) * gradient[i];
        ends[side] = loss();
      }
      std::copy(before.begin(), before.end(), values);
      EXPECT_NEAR((ends[1] - ends[0]) / (2 * static_cast<double>(step)), slope, 1e-3 * slope);
    };
    expect_slope(p.hidden.data(), result.d_hidden);
    expect_slope(weights, result.d_head);
  }
}

TEST(DistillLoss, ChunksNeighboursAndThreadsChangeNoRow) {
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    Problem p(LossChunkRows(24) + 70, 24, 9, precision);
    for (size_t t = 0; t < p.T; ++t) p.mask[t] = t % 5 < 4;
    SetThreadCount(1);
    const Result one(p);
    SetThreadCount(2);
    const Result two(p);
    SetThreadCount(0);
    EXPECT_EQ(one.rows, two.rows);
    EXPECT_EQ(one.d_hidden, two.d_hidden);
    EXPECT_EQ(one.d_head, two.d_head);
    EXPECT_EQ(one.sums.distill.objective, two.sums.distill.objective);
    const size_t last = p.T - 3;
    for (size_t t = 0; t < p.T; ++t) p.mask[t] = t == 7 || t == last;
    const Result few(p);
    for (const size_t t : {size_t{7}, last}) {
      if (one.rows[t] == 0) continue;
      EXPECT_EQ(few.rows[t], one.rows[t]);
      for (size_t i = 0; i < p.D; ++i)
        ASSERT_EQ(few.d_hidden[t * p.D + i], one.d_hidden[t * p.D + i]);
    }
  }
}

TEST(DistillLoss, NothingKeptIsZeroAndAFrozenHeadGetsNoGradient) {
  Problem p(5, 10, 8, Precision::kBf16);
  std::fill(p.mask.begin(), p.mask.end(), 0);
  p.targets[2] = -1;  // what a masked row holds is not looked at
  const Result none(p);
  EXPECT_EQ(none.sums.kept, 0u);
  EXPECT_EQ(none.sums.distill.objective, 0);
  EXPECT_EQ(none.d_hidden, std::vector<float>(p.T * p.D, 0.0f));
  p.input.mask = nullptr;
  p.targets[2] = 1;
  const Result all(p);
  std::vector<float> d_hidden(p.T * p.D);
  DistillLoss(p.input, {}, p.rows_of_teacher, nullptr, d_hidden.data(), nullptr);
  EXPECT_EQ(d_hidden, all.d_hidden);
}

// Logits of the golden file as hidden rows through a head that is the identity.
TEST(DistillLoss, GoldenDivergencesAndGradients) {
  const std::string folder = testing::GoldenDir() + "/losses/";
  if (!FileExists(folder + "losses.safetensors")) GTEST_SKIP() << folder << " is missing";
  std::map<std::string, StoredTensor> tensors;
  for (StoredTensor& tensor :
       ReadSafetensors(folder + "losses.safetensors", FileBytes::Access::kRead).tensors)
    tensors[tensor.name] = tensor;
  const Json json = ParseJson(ReadFile(folder + "losses.json", 1 << 20), "losses.json");
  size_t cases = 0;
  for (const auto& [name, unused] : json.AsObject()) {
    if (!name.starts_with("forward_kl_") && !name.starts_with("reverse_kl_") &&
        !name.starts_with("topk_tail_forward_kl_"))
      continue;  // of other losses
    SCOPED_TRACE(name);
    ++cases;
    const JsonReader scalars = JsonReader(json, "losses.json").Object(name).Object("scalars");
    const auto values = [&](const char* part) {
      return Tensor::ToF32(tensors.at(name + part).view);
    };
    const Tensor student = values(".student"), want = values(".grad_mean");
    const TensorView mask_view = tensors.at(name + ".mask").view;
    const size_t V = student.shape().last(), T = student.elements() / V;
    const double tau = scalars.Number("temperature", 0.1, 10);
    std::vector<uint8_t> mask(T);
    const Tensor mask_values =
        mask_view.dtype == DType::kBool ? Tensor() : Tensor::ToF32(mask_view);
    for (size_t t = 0; t < T; ++t)
      mask[t] = mask_view.dtype == DType::kBool
                    ? reinterpret_cast<const uint8_t*>(mask_view.data)[t]
                    : mask_values.f32()[t] != 0;
    Weight head("head", V, V);
    auto* identity = reinterpret_cast<float*>(head.mutable_data());
    std::fill_n(identity, V * V, 0.0f);
    for (size_t v = 0; v < V; ++v) identity[v * V + v] = 1;
    const std::vector<int32_t> targets(T, 0);
    Workspace workspace;
    LossInput input = {.hidden = student.f32(), .head = &head, .targets = targets.data()};
    input.mask = mask.data();
    input.T = T;
    input.workspace = &workspace;

    TeacherRows teacher;
    Tensor logits;
    std::vector<uint32_t> ids;
    std::vector<float> log_probs, rest;
    const bool is_likeliest = name.starts_with("topk");
    const bool is_reverse = name.starts_with("reverse");
    if (is_likeliest) {
      // Log-probabilities at this temperature, as a cache holds them.
      const Tensor full = values(".teacher_topk_logprobs_full");
      const size_t k = full.shape().last();
      const TensorView view = tensors.at(name + ".teacher_topk_indices").view;
      for (size_t t = 0; t < T; ++t) {
        if (mask[t] == 0) continue;
        double left = 1;
        for (size_t i = 0; i < k; ++i) {
          log_probs.push_back(full.f32()[t * k + i]);
          left -= std::exp(static_cast<double>(log_probs.back()));
          int64_t id = 0;
          std::memcpy(&id,
                      reinterpret_cast<const std::byte*>(view.data) +
                          (t * k + i) * (view.bytes() / (T * k)),
                      view.bytes() / (T * k));
          ids.push_back(static_cast<uint32_t>(id));
        }
        rest.push_back(static_cast<float>(left));
      }
      teacher.likeliest = {k, ids.data(), log_probs.data(), rest.data(), nullptr};
    } else {
      logits = values(".teacher");
      teacher.logits = [&](std::span<const size_t> rows, float* out) {
        for (size_t r = 0; r < rows.size(); ++r)
          std::copy_n(logits.f32() + rows[r] * V, V, out + r * V);
      };
    }
    std::vector<float> gradient(T * V);
    const LossSums sums = DistillLoss(input,
                                      {.forward = is_reverse ? 0.0f : 1.0f,
                                       .reverse = is_reverse ? 1.0f : 0.0f,
                                       .temperature = static_cast<float>(tau)},
                                      teacher, nullptr, gradient.data(), nullptr);
    const auto kept = static_cast<double>(sums.kept);
    EXPECT_EQ(kept, scalars.Number("kept", 1, 1e6));
    const double mean = scalars.Number("mean", -100, 1e4);
    const double found = is_reverse ? sums.distill.reverse : sums.distill.forward;
    EXPECT_NEAR(found / kept, mean, 1e-6 * mean);
    EXPECT_NEAR(sums.distill.objective / kept, tau * tau * mean, 1e-6 * tau * tau * mean);
    // The file's gradient is of the mean without tau^2.
    for (size_t i = 0; i < gradient.size(); ++i)
      ASSERT_NEAR(gradient[i] / kept / (tau * tau), want.f32()[i], 1e-6) << i;
  }
  EXPECT_GT(cases, 0u);
}

}  // namespace
}  // namespace planish

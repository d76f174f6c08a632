// SPDX-License-Identifier: Apache-2.0
#include "train/merge.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <numeric>

#include "base/hash.h"
#include "base/random.h"
#include "base/testing.h"
#include "model/masters.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

using testing::GoldenDir;
using testing::TemporaryDir;
using Values = std::map<std::string, std::vector<float>>;

const std::string& Golden() {
  static const std::string path = GoldenDir() + "/models/nemotron_h_a";
  return path;
}

Values ValuesOf(const std::string& folder) {
  Values values;
  for (const StoredTensor& tensor : ReadSafetensorsFolder(folder, FileBytes::Access::kRead)) {
    const Tensor floats = Tensor::ToF32(tensor.view);
    values[tensor.name].assign(floats.f32(), floats.f32() + floats.elements());
  }
  return values;
}

// The golden model with noise of its own on every value, in f32.
std::string Noisy(const TemporaryDir& folder, uint64_t seed) {
  const std::string path = folder / fmt::format("model{}", seed);
  Pretrained opened = OpenPretrained(Golden());
  const ParamRows rows = [seed](const Param& param, size_t r, float* out) {
    size_t columns = param.shape.elements();
    if (param.weight != nullptr) {
      columns = param.weight->in();
      param.weight->DequantizeRow(r, out);
    } else {
      std::memcpy(out, param.vector->data(), param.vector->bytes());
    }
    Random random(seed, Fnv1a(param.name) + r);
    for (size_t c = 0; c < columns; ++c) out[c] += static_cast<float>(0.1 * random.Normal());
  };
  ExportHf(&opened, path, DType::kF32, uint64_t{1} << 30, {.rows = rows});
  return path;
}

Values Merged(const Merger& merger, const TemporaryDir& folder, const std::string& name,
              Merger* for_export) {
  ExportHf(&for_export->first(), folder / name, DType::kF32, uint64_t{1} << 30,
           {.rows = merger.Rows()});
  return ValuesOf(folder / name);
}

TEST(Merge, LinearIsTheWeightedSumOfEveryValueRoundedOnce) {
  const TemporaryDir folder;
  const std::vector<std::string> paths = {Golden(), Noisy(folder, 1), Noisy(folder, 2)};
  Merger merger(paths);
  merger.SetLinear({0.2, 0.3, 0.5});
  const Values got = Merged(merger, folder, "out", &merger);
  const Values a = ValuesOf(paths[0]), b = ValuesOf(paths[1]), c = ValuesOf(paths[2]);
  ASSERT_EQ(got.size(), a.size());
  bool has_a_log = false;
  for (const auto& [name, values] : got) {
    has_a_log = has_a_log || name.ends_with("A_log");
    for (size_t i = 0; i < values.size(); ++i) {
      const double want = 0.2 * a.at(name)[i] + 0.3 * b.at(name)[i] + 0.5 * c.at(name)[i];
      ASSERT_EQ(values[i], static_cast<float>(want)) << name << " " << i;
    }
  }
  EXPECT_TRUE(has_a_log);
  // The same in memory.
  Pretrained target = OpenPretrained(Golden());
  HoldMasters(target.model.get());
  merger.Fill(target.model.get());
  target.model->VisitParams([&](const Param& param) {
    const float* values = param.vector != nullptr
                              ? param.vector->f32()
                              : reinterpret_cast<const float*>(param.weight->data());
    EXPECT_EQ(std::memcmp(values, got.at(param.name).data(), 4 * param.shape.elements()), 0)
        << param.name;
  });
}

TEST(Merge, AModelWithItselfIsUnchanged) {
  const TemporaryDir folder;
  Merger merger({Golden(), Golden()});
  EXPECT_EQ(Merged(merger, folder, "half", &merger), ValuesOf(Golden()));
  merger.SetSlerp(0.3);
  EXPECT_EQ(Merged(merger, folder, "arc", &merger), ValuesOf(Golden()));
}

TEST(Merge, SlerpFollowsTheArcOfEachTensor) {
  const TemporaryDir folder;
  const std::vector<std::string> paths = {Golden(), Noisy(folder, 3)};
  const Values a = ValuesOf(paths[0]), b = ValuesOf(paths[1]);
  Merger merger(paths);
  merger.SetSlerp(0);
  EXPECT_EQ(Merged(merger, folder, "start", &merger), a);
  merger.SetSlerp(1);
  EXPECT_EQ(Merged(merger, folder, "end", &merger), b);
  const double t = 0.25;
  merger.SetSlerp(t);
  const Values got = Merged(merger, folder, "quarter", &merger);
  for (const auto& [name, values] : got) {
    const std::vector<float>&x = a.at(name), &y = b.at(name);
    const auto dot = [](const std::vector<float>& u, const std::vector<float>& v) {
      return std::inner_product(u.begin(), u.end(), v.begin(), 0.0, std::plus<double>(),
                                [](float p, float q) { return double{p} * q; });
    };
    const double omega = std::acos(dot(x, y) / std::sqrt(dot(x, x) * dot(y, y)));
    const double cx = std::sin((1 - t) * omega) / std::sin(omega),
                 cy = std::sin(t * omega) / std::sin(omega);
    for (size_t i = 0; i < values.size(); ++i) {
      const double want = cx * x[i] + cy * y[i];
      ASSERT_NEAR(values[i], want, 0x1p-23 * (std::abs(cx * x[i]) + std::abs(cy * y[i])))
          << name << " " << i;
    }
  }
}

TEST(Merge, NormsAreThoseOfTheTensors) {
  const TemporaryDir folder;
  const std::vector<std::string> paths = {Golden(), Noisy(folder, 4)};
  Merger merger(paths);
  for (const bool is_slerp : {false, true}) {
    if (is_slerp)
      merger.SetSlerp(0.6);
    else
      merger.SetLinear({1.5, -0.5});  // an extrapolation
    const Values got = Merged(merger, folder, is_slerp ? "s" : "l", &merger);
    const Values a = ValuesOf(paths[0]), b = ValuesOf(paths[1]);
    const auto norm = [](const std::vector<float>& values) {
      double sum = 0;
      for (const float v : values) sum += double{v} * v;
      return std::sqrt(sum);
    };
    const std::vector<TensorNorms> norms = merger.Norms();
    ASSERT_EQ(norms.size(), got.size());
    for (const TensorNorms& item : norms) {
      EXPECT_NEAR(item.merged / norm(got.at(item.name)), 1, 1e-6) << item.name;
      EXPECT_NEAR(item.sources[0] / norm(a.at(item.name)), 1, 1e-12) << item.name;
      EXPECT_NEAR(item.sources[1] / norm(b.at(item.name)), 1, 1e-12) << item.name;
    }
  }
}

TEST(Merge, WeightsFollowTheirFormulas) {
  const std::vector<double> x = {1.0, 5.0, -2.0, 7.0};  // a value in four checkpoints
  const auto sum = [&](const std::vector<double>& w) {
    return std::inner_product(w.begin(), w.end(), x.begin(), 0.0);
  };
  double ema = x[0];
  for (size_t i = 1; i < x.size(); ++i) ema = 0.7 * ema + 0.3 * x[i];
  EXPECT_NEAR(sum(EmaWeights(4, 0.7)), ema, 1e-14);
  EXPECT_EQ(sum(EmaWeights(4, 0)), 7.0);
  EXPECT_NEAR(sum(UniformWeights(4)), 2.75, 1e-15);
  EXPECT_NEAR(sum(TaskWeights({0.5, 1.0, -0.25})),
              1 + 0.5 * (5 - 1) + 1.0 * (-2 - 1) - 0.25 * (7 - 1), 1e-14);
  for (const auto& weights : {EmaWeights(4, 0.7), UniformWeights(4), TaskWeights({0.5, 3})})
    CheckWeights(weights);
  EXPECT_THROW(CheckWeights({0.5, 0.6}), Error);
  EXPECT_THROW(CheckWeights({std::nan("")}), Error);
}

std::string MessageOfMerging(const std::string& a, const std::string& b) {
  try {
    Merger merger({a, b});
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
  return "none";
}

TEST(Merge, ModelsThatDifferAreRefusedWithWhatDiffers) {
  EXPECT_NE(MessageOfMerging(Golden(), GoldenDir() + "/models/llama_a").find("model_type"),
            std::string::npos);
  const std::string other = MessageOfMerging(Golden(), GoldenDir() + "/models/nemotron_h_bf16");
  EXPECT_NE(other.find("hidden_size is 64 and 96"), std::string::npos) << other;

  // One token of the same vocabulary means something else.
  const TemporaryDir folder;
  const std::string copy = folder / "copy";
  Pretrained opened = OpenPretrained(Golden());
  Json tokenizer = opened.tokenizer->ToJson();
  const std::string path = copy + "/tokenizer.json";
  ExportHf(&opened, copy, DType::kF32, uint64_t{1} << 30);
  EXPECT_EQ(MessageOfMerging(Golden(), copy), "none");
  std::string text = ReadFile(path, 1 << 20);
  const size_t at = text.find("\"!\"");
  ASSERT_NE(at, std::string::npos);
  // Exchange the ids of two tokens by exchanging their texts.
  const size_t other_at = text.find("\"#\"");
  ASSERT_NE(other_at, std::string::npos);
  std::swap(text[at + 1], text[other_at + 1]);
  WriteFile(path, text);
  const std::string message = MessageOfMerging(Golden(), copy);
  EXPECT_NE(message.find("token "), std::string::npos) << message;
}

}  // namespace
}  // namespace planish

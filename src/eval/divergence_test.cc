// SPDX-License-Identifier: Apache-2.0
// The divergence of two models against its formula in double, and its independence of threads and cuts.
#include "eval/divergence.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/parallel.h"
#include "base/random.h"
#include "base/testing.h"
#include "model/random_model.h"

namespace planish {
namespace {

using testing::TemporaryDir;

constexpr const char* kConfig = R"({"model_type": "llama", "hidden_size": 32, "vocab_size": 307,
  "num_hidden_layers": 1, "intermediate_size": 32, "num_attention_heads": 2,
  "num_key_value_heads": 1, "head_dim": 16, "hidden_act": "silu", "rms_norm_eps": 1e-5,
  "rope_theta": 10000.0, "max_position_embeddings": 512, "initializer_range": 0.4,
  "bos_token_id": 256, "eos_token_id": 257})";

Pretrained RandomLlama(const TemporaryDir& dir, uint64_t seed, size_t vocab_size = 307) {
  Json json = ParseJson(kConfig, "config");
  json.Set("vocab_size", vocab_size);
  const ModelConfig config = ConfigFromJson(json, "config");
  Pretrained made = RandomModel(config, fmt::format("seed {}", seed));
  const std::string path = dir / fmt::format("{}-{}.gguf", seed, vocab_size);
  ExportGguf(&made, path, DType::kF32, {.rows = RandomRows(config, seed)});
  return OpenPretrained(path);
}

std::vector<std::vector<int32_t>> RandomIds(size_t rows, size_t length) {
  Random random(5);
  std::vector<std::vector<int32_t>> ids(rows, std::vector<int32_t>(length));
  for (auto& row : ids)
    for (int32_t& id : row) id = static_cast<int32_t>(random.Below(300));
  return ids;
}

std::vector<double> Probabilities(const Model& model, const float* hidden) {
  const size_t V = model.config().vocab_size;
  std::vector<float> logits(V);
  model.Head(hidden, 1, logits.data());
  const double top = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p(V);
  double sum = 0;
  for (size_t v = 0; v < V; ++v) sum += p[v] = std::exp(logits[v] - top);
  for (double& x : p) x /= sum;
  return p;
}

TEST(Divergence, FollowsItsFormula) {
  const TemporaryDir dir;
  const Pretrained a = RandomLlama(dir, 1), b = RandomLlama(dir, 2);
  const auto ids = RandomIds(1, 300);  // more rows than one chunk of the head has
  Workspace workspace;
  Tensor ha = Tensor::F32({300, 32}), hb = Tensor::F32({300, 32});
  a.model->Forward(ids[0], SeqLayout(300), ha.f32(), &workspace);
  b.model->Forward(ids[0], SeqLayout(300), hb.f32(), &workspace);
  double nll = 0, reference_nll = 0, kl = 0, kl_max = 0;
  uint64_t top1 = 0;
  for (size_t t = 0; t + 1 < 300; ++t) {
    const auto p = Probabilities(*a.model, ha.row(t)), q = Probabilities(*b.model, hb.row(t));
    const auto next = static_cast<size_t>(ids[0][t + 1]);
    nll -= std::log(p[next]);
    reference_nll -= std::log(q[next]);
    double sum = 0;
    for (size_t v = 0; v < p.size(); ++v) sum += q[v] * std::log(q[v] / p[v]);
    kl += sum;
    kl_max = std::max(kl_max, sum);
    top1 += std::max_element(p.begin(), p.end()) - p.begin() ==
            std::max_element(q.begin(), q.end()) - q.begin();
  }
  const Divergence d = CompareModels(*a.model, *b.model, ids);
  EXPECT_EQ(d.tokens, 299u);
  EXPECT_EQ(d.top1, top1);
  // A normaliser has float exponentials: 2^-23 of its value, twice a token, and the KL adds up V of them.
  const double bound = 299 * 4 * 0x1p-23 * 16;
  EXPECT_NEAR(d.nll, nll, bound);
  EXPECT_NEAR(d.reference_nll, reference_nll, bound);
  EXPECT_NEAR(d.kl, kl, bound);
  EXPECT_NEAR(d.kl_max, kl_max, bound / 299);
  EXPECT_NEAR(d.perplexity(), std::exp(nll / 299), std::exp(nll / 299) * 1e-5);
  EXPECT_GT(d.mean_kl(), 0.1) << "two random models differ";
  EXPECT_EQ(d.sample_kl, std::vector<double>{d.mean_kl()});
}

TEST(Divergence, OfAModelAndItselfIsNothing) {
  const TemporaryDir dir;
  const Pretrained a = RandomLlama(dir, 1);
  const Divergence d = CompareModels(*a.model, *a.model, RandomIds(2, 9));
  EXPECT_EQ(d.kl, 0);
  EXPECT_EQ(d.top1, d.tokens);
  EXPECT_EQ(d.nll, d.reference_nll);
}

TEST(Divergence, BitsDoNotDependOnThreadsAndRowsAddUp) {
  const TemporaryDir dir;
  const Pretrained a = RandomLlama(dir, 1), b = RandomLlama(dir, 2);
  const auto ids = RandomIds(3, 41);
  const int before = ThreadCount();
  Divergence first;
  for (const int threads : {1, 2, 5}) {
    SetThreadCount(threads);
    const Divergence d = CompareModels(*a.model, *b.model, ids);
    if (threads == 1) first = d;
    EXPECT_EQ(d.kl, first.kl) << threads;
    EXPECT_EQ(d.nll, first.nll) << threads;
    EXPECT_EQ(d.sample_kl, first.sample_kl) << threads;
  }
  SetThreadCount(before);
  Divergence sum;
  for (const auto& row : ids) sum.Add(CompareModels(*a.model, *b.model, {&row, 1}));
  EXPECT_EQ(sum.kl, first.kl);
  EXPECT_EQ(sum.sample_kl, first.sample_kl);
  EXPECT_EQ(sum.tokens, 3u * 40);
}

TEST(Divergence, NothingToPredictIsNoError) {
  const TemporaryDir dir;
  const Pretrained a = RandomLlama(dir, 1);
  const Divergence d = CompareModels(*a.model, *a.model, RandomIds(1, 1));
  EXPECT_EQ(d.tokens, 0u);
  EXPECT_EQ(d.mean_kl(), 0);
  EXPECT_EQ(d.perplexity(), 0);
}

TEST(Divergence, RefusesOtherVocabularies) {
  const TemporaryDir dir;
  const Pretrained a = RandomLlama(dir, 1), b = RandomLlama(dir, 1, 310);
  RequireSameVocabulary(a, a);
  EXPECT_THROW(RequireSameVocabulary(a, b), Error);
}

}  // namespace
}  // namespace planish

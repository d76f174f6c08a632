// SPDX-License-Identifier: Apache-2.0
// A sliced model computes what its parent does with the removed parts silenced by hand; a permutation of everything changes
// nothing; slices written to disk open to the same bits.
#include "compress/slice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/testing.h"
#include "compress/compress_testing.h"

namespace planish {
namespace {

using testing::TemporaryDir;
using testing::TinyModel;

constexpr const char* kFamilies[] = {testing::kTinyHybrid, testing::kTinyLlama, testing::kTinyQwen};

// With an epsilon so small that norms over fewer channels differ by a known factor alone.
Pretrained Tiny(const char* family, uint64_t seed) {
  Json json = ParseJson(family, "family");
  json.Set(json.Find("layer_norm_epsilon") != nullptr ? "layer_norm_epsilon" : "rms_norm_eps",
           1e-12);
  Pretrained model = TinyModel(DumpJson(json).c_str(), seed);
  // Norm weights and D that are all 1, conv biases near 0 would hide mistakes.
  Random random(seed + 1);
  model.model->VisitParams([&](const Param& param) {
    if (param.vector == nullptr) return;
    for (size_t i = 0; i < param.vector->elements(); ++i)
      param.vector->f32()[i] += static_cast<float>(0.2 * random.Normal());
  });
  model.model->ParamsChanged();
  return model;
}

std::vector<float> Logits(const Model& model, const std::vector<int32_t>& ids) {
  Workspace workspace;
  std::vector<float> hidden(ids.size() * model.config().hidden_size);
  std::vector<float> logits(ids.size() * model.config().vocab_size);
  model.Forward(ids, SeqLayout(ids.size()), hidden.data(), &workspace);
  model.Head(hidden.data(), ids.size(), logits.data());
  return logits;
}

// Both sums run over the same products in another order: every block adds about sqrt(K) roundings of 2^-24 of its values,
// K <= 64 products a sum here, and values are within 16 times of the largest logit.
void ExpectSameLogits(const std::vector<float>& found, const std::vector<float>& expected,
                      size_t blocks) {
  ASSERT_EQ(found.size(), expected.size());
  float largest = 0, worst = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    worst = std::max(worst, std::abs(found[i] - expected[i]));
  }
  EXPECT_GT(largest, 0.1f);
  EXPECT_LE(worst, static_cast<float>(blocks) * 8 * 16 * 0x1p-24f * largest);
}

std::vector<bool> Mask(const IndexList& kept, size_t size) {
  std::vector<bool> mask(size, kept.empty());
  for (const uint32_t index : kept) mask[index] = true;
  return mask;
}

// Sets rows (or columns) of a weight that `keeps` says no to to zero.
template <typename Keeps>
void SilenceRows(Weight* weight, const Keeps& keeps) {
  auto* values = reinterpret_cast<float*>(weight->mutable_data());
  for (size_t r = 0; r < weight->out(); ++r)
    if (!keeps(r)) std::fill_n(values + r * weight->in(), weight->in(), 0.0f);
}
template <typename Keeps>
void SilenceColumns(Weight* weight, const Keeps& keeps) {
  auto* values = reinterpret_cast<float*>(weight->mutable_data());
  for (size_t r = 0; r < weight->out(); ++r)
    for (size_t c = 0; c < weight->in(); ++c)
      if (!keeps(c)) values[r * weight->in() + c] = 0.0f;
}

// The parent with what the slice removes silenced; norms corrected for the removed channels that they still count.
void Silence(const ModelSlice& slice, const std::vector<bool>& keep, Pretrained* parent) {
  const ModelConfig& config = parent->config;
  const size_t D = config.hidden_size;
  const std::vector<bool> hidden = Mask(slice.hidden, D);
  const auto share = static_cast<float>(
      std::sqrt(static_cast<double>(std::count(hidden.begin(), hidden.end(), true)) /
                static_cast<double>(D)));
  const auto keeps_hidden = [&](size_t d) { return hidden[d]; };
  parent->model->VisitParams([&](const Param& param) {
    const bool is_stream = param.role == ParamRole::kNorm && param.vector->elements() == D &&
                           param.name.find("mixer.norm") == std::string::npos &&
                           param.name.find("q_norm") == std::string::npos &&
                           param.name.find("k_norm") == std::string::npos;
    if (is_stream) {
      for (size_t d = 0; d < D; ++d) param.vector->f32()[d] *= hidden[d] ? share : 0.0f;
      return;
    }
    if (param.role == ParamRole::kEmbedding) SilenceColumns(param.weight, keeps_hidden);
    if (param.role == ParamRole::kOutput) SilenceRows(param.weight, keeps_hidden);
    if (param.block < 0) return;
    const auto block = static_cast<size_t>(param.block);
    if (!keep[block] && param.role == ParamRole::kOutput)
      SilenceRows(param.weight, [](size_t) { return false; });
    const MixerConfig& mixer = config.blocks[block].mixer;
    if (const auto* ffn = std::get_if<FfnSlice>(&slice.blocks[block])) {
      const auto kept = Mask(ffn->neurons, std::get<FfnConfig>(mixer).intermediate_size);
      if (param.role == ParamRole::kOutput)
        SilenceColumns(param.weight, [&](size_t f) { return kept[f]; });
    } else if (const auto* attention = std::get_if<AttentionSlice>(&slice.blocks[block])) {
      const auto& shape = std::get<AttentionConfig>(mixer);
      const auto kept = Mask(attention->heads, shape.n_heads);
      if (param.role == ParamRole::kOutput)
        SilenceColumns(param.weight, [&](size_t i) { return kept[i / shape.head_dim]; });
    } else if (const auto* mamba = std::get_if<MambaSlice>(&slice.blocks[block])) {
      const auto& shape = std::get<Mamba2Config>(mixer);
      const size_t d_in = shape.inner(), P = shape.head_dim;
      const auto heads = Mask(mamba->heads, shape.n_heads), channels = Mask(mamba->channels, P);
      const auto keeps = [&](size_t i) { return heads[i / P] && channels[i % P]; };
      if (param.name.ends_with("mixer.in_proj.weight")) {
        SilenceRows(param.weight,
                    [&](size_t r) { return r < d_in || r >= 2 * d_in || keeps(r - d_in); });
      } else if (param.name.ends_with("conv1d.bias")) {
        for (size_t i = 0; i < d_in; ++i) param.vector->f32()[i] *= keeps(i) ? 1.0f : 0.0f;
      } else if (param.name.ends_with("mixer.norm.weight")) {
        const double kept = static_cast<double>(mamba->heads.size() * mamba->channels.size());
        for (size_t i = 0; i < d_in; ++i)
          param.vector->f32()[i] *= static_cast<float>(std::sqrt(kept / static_cast<double>(d_in)));
      }
    }
  });
  parent->model->ParamsChanged();
}

IndexList Permuted(size_t n, uint64_t seed) {
  IndexList list(n);
  std::iota(list.begin(), list.end(), 0u);
  Random random(seed);
  for (size_t i = n; i > 1; --i) std::swap(list[i - 1], list[random.Below(i)]);
  return list;
}

// `share` of everything, in random order; all of it: a permutation.
ModelSlice RandomSlice(const ModelConfig& config, double share, uint64_t seed) {
  const auto cut = [&](size_t n) {
    return std::max<size_t>(1, static_cast<size_t>(static_cast<double>(n) * share));
  };
  const auto some = [&](size_t n) {
    IndexList list = Permuted(n, ++seed);
    list.resize(cut(n));
    return list;
  };
  // The same number out of each of `groups` runs.
  const auto grouped = [&](size_t n, size_t groups) {
    IndexList all;
    for (size_t g = 0; g < groups; ++g) {
      for (const uint32_t i : some(n / groups))
        all.push_back(static_cast<uint32_t>(g * (n / groups) + i));
    }
    return all;
  };
  ModelSlice slice;
  slice.hidden = some(config.hidden_size);
  for (const BlockConfig& block : config.blocks) {
    if (const auto* f = std::get_if<FfnConfig>(&block.mixer)) {
      slice.blocks.push_back(FfnSlice{some(f->intermediate_size)});
    } else if (const auto* a = std::get_if<AttentionConfig>(&block.mixer)) {
      AttentionSlice attention{grouped(a->n_heads, a->n_kv_heads), {}};
      for (size_t k = 0; k < a->n_kv_heads; ++k)
        attention.kv_heads.push_back({static_cast<uint32_t>(k)});
      slice.blocks.push_back(attention);
    } else {
      const auto& m = std::get<Mamba2Config>(block.mixer);
      slice.blocks.push_back(MambaSlice{grouped(m.n_heads, m.n_groups), some(m.head_dim)});
    }
  }
  return slice;
}

TEST(Slice, PermutationOfEverythingChangesNothing) {
  for (const char* family : kFamilies) {
    const Pretrained parent = Tiny(family, 3);
    const ModelSlice slice = RandomSlice(parent.config, 1.0, 17);
    const EditedConfig edited =
        SlicedConfig(parent.config, slice, std::vector<bool>(parent.config.blocks.size(), true));
    EXPECT_EQ(edited.config.blocks, parent.config.blocks);
    const Pretrained child = FilledChild(parent, edited.config, SlicedRows(parent, edited, slice));
    const auto ids = testing::RandomIds(parent, 1, 37, 5)[0];
    const std::vector<float> expected = Logits(*parent.model, ids),
                             found = Logits(*child.model, ids);
    ExpectSameLogits(found, expected, parent.config.blocks.size());
    float worst = 0, largest = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      worst = std::max(worst, std::abs(found[i] - expected[i]));
      largest = std::max(largest, std::abs(expected[i]));
    }
    EXPECT_LE(worst, 1e-5f * largest);
  }
}

TEST(Slice, EqualsTheParentWithTheRestSilenced) {
  for (const char* family : kFamilies) {
    for (const double share : {0.75, 0.5, 0.25}) {
      SCOPED_TRACE(std::string(family).substr(16, 10) + " " + std::to_string(share));
      Pretrained parent = Tiny(family, 4);
      const ModelSlice slice = RandomSlice(parent.config, share, 29);
      const std::vector<bool> keep(parent.config.blocks.size(), true);
      const EditedConfig edited = SlicedConfig(parent.config, slice, keep);
      const Pretrained child =
          FilledChild(parent, edited.config, SlicedRows(parent, edited, slice));
      Silence(slice, keep, &parent);
      const auto ids = testing::RandomIds(parent, 1, 41, 6)[0];
      ExpectSameLogits(Logits(*child.model, ids), Logits(*parent.model, ids), keep.size());
    }
  }
}

TEST(Slice, EqualsTheParentWithBlocksSilenced) {
  for (const char* family : kFamilies) {
    Pretrained parent = Tiny(family, 8);
    ModelSlice slice;
    slice.blocks.resize(parent.config.blocks.size());
    std::vector<bool> keep(parent.config.blocks.size(), true);
    keep[1] = false;
    if (family == testing::kTinyQwen) keep[0] = false;  // its layers stay whole
    const EditedConfig edited = SlicedConfig(parent.config, slice, keep);
    const Pretrained child = FilledChild(parent, edited.config, SlicedRows(parent, edited, slice));
    Silence(slice, keep, &parent);
    const auto ids = testing::RandomIds(parent, 1, 23, 6)[0];
    ExpectSameLogits(Logits(*child.model, ids), Logits(*parent.model, ids), keep.size());
  }
}

TEST(Slice, KeyValueHeadsOfAListAreAveraged) {
  Pretrained parent = Tiny(testing::kTinyLlama, 9);  // 4 heads, 4 key-value heads of 8
  ModelSlice slice;
  slice.blocks.resize(parent.config.blocks.size());
  slice.blocks[2] = AttentionSlice{{0, 1, 2, 3}, {{0, 1}, {3}}};
  const std::vector<bool> keep(parent.config.blocks.size(), true);
  const EditedConfig edited = SlicedConfig(parent.config, slice, keep);
  EXPECT_EQ(edited.config.family, Family::kDeci);
  const Pretrained child = FilledChild(parent, edited.config, SlicedRows(parent, edited, slice));
  parent.model->VisitParams([&](const Param& param) {
    if (!param.name.starts_with("model.layers.1.self_attn.") ||
        (!param.name.ends_with("k_proj.weight") && !param.name.ends_with("v_proj.weight")))
      return;
    auto* values = reinterpret_cast<float*>(param.weight->mutable_data());
    const size_t head = 8 * param.weight->in();
    for (size_t i = 0; i < head; ++i) {
      values[i] = values[head + i] = (values[i] + values[head + i]) / 2;
      values[2 * head + i] = values[3 * head + i];
    }
  });
  const auto ids = testing::RandomIds(parent, 1, 33, 6)[0];
  ExpectSameLogits(Logits(*child.model, ids), Logits(*parent.model, ids), keep.size());
}

TEST(Slice, WrittenRowByRowOpensToTheSameBits) {
  for (const char* family : kFamilies) {
    const Pretrained parent = Tiny(family, 10);
    const ModelSlice slice = RandomSlice(parent.config, 0.5, 31);
    const EditedConfig edited =
        SlicedConfig(parent.config, slice, std::vector<bool>(parent.config.blocks.size(), true));
    const ParamRows rows = SlicedRows(parent, edited, slice);
    const TemporaryDir folder;
    const testing::Threads threads(3);
    Pretrained written = ChildOf(parent, edited.config);
    ExportHf(&written, folder / "child", DType::kF32, uint64_t{1} << 30, {.rows = rows});
    const Pretrained opened = OpenPretrained(folder / "child");
    EXPECT_EQ(opened.config.blocks, edited.config.blocks);
    EXPECT_EQ(opened.tokenizer->vocab_size(), parent.tokenizer->vocab_size());
    const Pretrained filled = FilledChild(parent, edited.config, rows);
    const auto ids = testing::RandomIds(parent, 1, 19, 6)[0];
    EXPECT_EQ(Logits(*opened.model, ids), Logits(*filled.model, ids));
  }
}

void ExpectRefused(const ModelConfig& config, const ModelSlice& slice, const std::string& part) {
  try {
    SlicedConfig(config, slice, std::vector<bool>(config.blocks.size(), true));
    ADD_FAILURE() << "accepted, expected a complaint about " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Slice, UnevenGroupsAndWrongIndicesAreRefused) {
  const ModelConfig config =
      ConfigFromJson(ParseJson(testing::kTinyHybrid, "tiny"), "tiny");  // M-*-, heads 0 1 | 2 3
  ModelSlice none;
  none.blocks.resize(config.blocks.size());
  const auto with = [&](size_t block, BlockSlice slice) {
    ModelSlice all = none;
    all.blocks[block] = std::move(slice);
    return all;
  };
  const IndexList channels = {0, 1, 2};
  ExpectRefused(config, with(0, MambaSlice{{0, 1}, channels}), "group");  // both of group 0
  ExpectRefused(config, with(0, MambaSlice{{2, 0}, channels}), "group");
  ExpectRefused(config, with(0, MambaSlice{{0}, channels}), "evenly");
  ExpectRefused(config, with(0, MambaSlice{{0, 4}, channels}), "of 4");
  ExpectRefused(config, with(0, MambaSlice{{0, 2}, {}}), "channels");
  ExpectRefused(config, with(1, FfnSlice{{3, 3}}), "twice");
  ExpectRefused(config, with(1, FfnSlice{{48}}), "48");
  ExpectRefused(config, with(2, AttentionSlice{{0, 1, 2}, {{0}, {1}}}), "block 2");
  ExpectRefused(config, with(2, AttentionSlice{{0, 1}, {{2}, {1}}}), "key-value");
  ModelSlice hidden = none;
  hidden.hidden = {31, 32};
  ExpectRefused(config, hidden, "embedding");
}

}  // namespace
}  // namespace planish

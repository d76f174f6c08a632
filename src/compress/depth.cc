// SPDX-License-Identifier: Apache-2.0
#include "compress/depth.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/parallel.h"
#include "compress/block_runner.h"
#include "kernels/gemm_f32.h"
#include "kernels/residual.h"

namespace planish {
namespace {

// W^T W [D, D] of a head [V, D], in slices of rows that are dequantised.
std::vector<float> GramMatrix(const Weight& head) {
  constexpr size_t kSlice = 2048;
  const size_t V = head.out(), D = head.in();
  std::vector<float> gram(D * D, 0.0f), rows(std::min(V, kSlice) * D);
  for (size_t begin = 0; begin < V; begin += kSlice) {
    const size_t count = std::min(kSlice, V - begin);
    ParallelFor(count, [&](size_t r, int) { head.DequantizeRow(begin + r, rows.data() + r * D); });
    const PanelSource source{rows.data(), D, DType::kF32, /*is_transposed=*/true};
    GemmF32(source, source, D, D, count, /*accumulate=*/true, gram.data(), D);
  }
  return gram;
}

class DepthRanking {
 public:
  DepthRanking(const Pretrained& parent, std::span<const std::vector<int32_t>> rows,
               const DepthOptions& options)
      : parent_(parent),
        options_(options),
        runner_(parent.model.get()),
        layout_(LayoutOf(rows)),
        pass_{.layout = layout_, .workspace = &workspace_, .precision = options.precision},
        gone_(parent.config.blocks.size()) {
    const size_t size = layout_.tokens() * D();
    std::vector<int32_t> ids;
    for (const auto& row : rows) ids.insert(ids.end(), row.begin(), row.end());
    embedded_.resize(size);
    runner_.Embed(ids, embedded_.data());
    full_.resize(size);
    std::vector<float> h = embedded_;
    RunLeft(0, h.data());
    runner_.Norm(runner_.blocks(), h.data(), layout_.tokens(), full_.data());
    gram_ = GramMatrix(parent.model->head());
    if (options_.evicts) EvictBlock(parent_, -1);
  }

  // The best of `units` to remove beside what is gone already.
  Importance::Removal Best(const std::vector<std::vector<size_t>>& units) {
    Importance::Removal best;
    best.logit_mse = std::numeric_limits<double>::infinity();
    std::vector<float> prefix = embedded_, h, hidden(embedded_.size());
    size_t next = 0;  // block that `prefix` is the input of
    for (const std::vector<size_t>& unit : units) {
      for (; next < unit.front(); ++next) RunOne(next, prefix.data());
      for (const size_t block : unit) gone_[block] = true;
      h = prefix;
      RunLeft(next, h.data());
      for (const size_t block : unit) gone_[block] = false;
      runner_.Norm(runner_.blocks(), h.data(), layout_.tokens(), hidden.data());
      if (const double mse = LogitMse(hidden); mse < best.logit_mse) best = {unit, mse};
    }
    if (best.blocks.empty()) {
      throw RuntimeError("{}: logits are not finite whatever block is removed", parent_.name);
    }
    for (const size_t block : best.blocks) gone_[block] = true;
    return best;
  }

  size_t blocks_run() const { return blocks_run_; }

 private:
  static SeqLayout LayoutOf(std::span<const std::vector<int32_t>> rows) {
    std::vector<size_t> lengths;
    for (const auto& row : rows) lengths.push_back(row.size());
    return SeqLayout::Packed(lengths);
  }
  size_t D() const { return parent_.config.hidden_size; }

  void RunOne(size_t block, float* h) {
    if (gone_[block]) return;
    runner_.Run(pass_, block, block + 1, h);
    if (options_.evicts) EvictBlock(parent_, static_cast<int>(block));
    ++blocks_run_;
  }
  void RunLeft(size_t begin, float* h) {
    for (size_t block = begin; block < runner_.blocks(); ++block) RunOne(block, h);
  }

  // Mean over tokens and vocabulary of the squared difference of the logits.
  double LogitMse(const std::vector<float>& hidden) const {
    const size_t T = layout_.tokens(), d = D();
    std::vector<float> difference(hidden.size()), product(hidden.size());
    for (size_t i = 0; i < hidden.size(); ++i) difference[i] = hidden[i] - full_[i];
    GemmF32({difference.data(), d, DType::kF32, false}, {gram_.data(), d, DType::kF32, false}, T, d,
            d, /*accumulate=*/false, product.data(), d);
    std::vector<double> sums(T);
    ParallelFor(T, [&](size_t t, int) {
      for (size_t i = t * d; i < (t + 1) * d; ++i)
        sums[t] += static_cast<double>(difference[i]) * static_cast<double>(product[i]);
    });
    double sum = 0;
    for (const double part : sums) sum += part;
    // Rounding may leave a difference of nearly nothing below zero.
    return std::max(sum, 0.0) / static_cast<double>(T * parent_.model->head().out());
  }

  const Pretrained& parent_;
  const DepthOptions& options_;
  BlockRunner runner_;
  SeqLayout layout_;
  Workspace workspace_;
  Pass pass_;
  std::vector<bool> gone_;
  std::vector<float> embedded_,
      full_;                 // [T, D]: stream before block 0; hidden states of the parent
  std::vector<float> gram_;  // [D, D]
  size_t blocks_run_ = 0;
};

size_t AttentionBlocks(const ModelConfig& config, const std::vector<size_t>& unit) {
  return static_cast<size_t>(std::count_if(unit.begin(), unit.end(), [&](size_t block) {
    return std::holds_alternative<AttentionConfig>(config.blocks[block].mixer);
  }));
}

}  // namespace

std::vector<std::vector<size_t>> DepthUnits(const ModelConfig& config) {
  const bool is_layered = config.family == Family::kLlama || config.family == Family::kMistral ||
                          config.family == Family::kQwen3;
  std::map<size_t, std::vector<size_t>> layers;
  for (size_t i = 0; i < config.blocks.size(); ++i)
    layers[is_layered ? config.blocks[i].layer : i].push_back(i);
  std::vector<std::vector<size_t>> units;
  for (auto& [layer, blocks] : layers) units.push_back(std::move(blocks));
  return units;
}

namespace {

// Takes units away one by one, each by best(candidates), while enough attention stays.
template <typename ChooseBest>
std::vector<Importance::Removal> RemoveUnits(const ModelConfig& config, const DepthOptions& options,
                                             const ChooseBest& best) {
  std::vector<std::vector<size_t>> left = DepthUnits(config);
  size_t attention = config.CountBlocks(MixerConfig(AttentionConfig()).index());
  const size_t least = std::min(attention, options.min_attention);
  std::vector<Importance::Removal> removals;
  while (removals.size() < options.removals) {
    std::vector<std::vector<size_t>> candidates;
    for (const auto& unit : left) {
      if (attention - AttentionBlocks(config, unit) >= least) candidates.push_back(unit);
    }
    if (candidates.empty() || left.size() == 1) {
      throw UsageError(
          "{} of {} blocks or layers cannot be removed: at most {} while {} attention blocks stay",
          options.removals, DepthUnits(config).size(), removals.size(), least);
    }
    removals.push_back(best(candidates));
    attention -= AttentionBlocks(config, removals.back().blocks);
    std::erase(left, removals.back().blocks);
  }
  return removals;
}

}  // namespace

std::vector<Importance::Removal> RankDepth(const Pretrained& parent,
                                           std::span<const std::vector<int32_t>> rows,
                                           const DepthOptions& options) {
  if (options.removals == 0) return {};
  const size_t blocks = parent.config.blocks.size(), units = DepthUnits(parent.config).size();
  DepthRanking ranking(parent, rows, options);
  // Blocks that all steps run: for each candidate the rest behind it, and the prefix once.
  size_t total = blocks;
  for (size_t step = 0; step < std::min(options.removals, units); ++step)
    total += (units - step) * (blocks - step * blocks / units) / 2;
  return RemoveUnits(parent.config, options, [&](const auto& candidates) {
    Importance::Removal best = ranking.Best(candidates);
    if (options.progress) options.progress(std::min(ranking.blocks_run(), total), total);
    return best;
  });
}

std::vector<Importance::Removal> RankByInfluence(const ModelConfig& config,
                                                 std::span<const double> influence,
                                                 const DepthOptions& options) {
  const auto sum = [&](const std::vector<size_t>& unit) {
    double total = 0;
    for (const size_t block : unit) total += influence[block];
    return total;
  };
  return RemoveUnits(config, options, [&](const auto& candidates) {
    const auto best =
        std::min_element(candidates.begin(), candidates.end(),
                         [&](const auto& a, const auto& b) { return sum(a) < sum(b); });
    return Importance::Removal{*best, 0.0};
  });
}

}  // namespace planish

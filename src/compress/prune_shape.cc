// SPDX-License-Identifier: Apache-2.0
#include "compress/prune_shape.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace planish {
namespace {

template <typename Kind>
const Kind* Only(const ModelConfig& config) {
  const Kind* first = nullptr;
  for (const BlockConfig& block : config.blocks) {
    const Kind* found = std::get_if<Kind>(&block.mixer);
    if (found == nullptr) continue;
    if (first != nullptr && !(*first == *found)) {
      throw UsageError(
          "the {} blocks of this model differ from each other; prune cuts models whose blocks are "
          "alike",
          kMixerNames[block.mixer.index()]);
    }
    first = found;
  }
  return first;
}

// Indices of `scores` from the best to the worst; equal ones in their order.
IndexList ByScore(std::span<const double> scores, size_t first = 0) {
  IndexList order(scores.size());
  std::iota(order.begin(), order.end(), static_cast<uint32_t>(first));
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return scores[a - first] > scores[b - first]; });
  return order;
}

IndexList Best(std::span<const double> scores, size_t count, size_t first = 0) {
  IndexList order = ByScore(scores, first);
  if (count < order.size())
    order.resize(count);
  else
    std::sort(order.begin(), order.end());  // nothing goes: as it was
  return order;
}

// The same number of each of `groups` runs, run by run.
IndexList BestOfGroups(std::span<const double> scores, size_t groups, size_t count,
                       const char* what) {
  if (count % groups != 0)
    throw UsageError("{} {} do not spread evenly over {} groups", count, what, groups);
  const size_t run = scores.size() / groups;
  IndexList all;
  for (size_t g = 0; g < groups; ++g) {
    const IndexList some = Best(scores.subspan(g * run, run), count / groups, g * run);
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

double Norm(double sum_of_squares) { return std::sqrt(sum_of_squares); }

MambaSlice CutMamba(const Mamba2Config& mamba, const std::vector<double>& scores,
                    const PruneShape& shape) {
  const size_t H = mamba.n_heads, P = mamba.head_dim;
  std::vector<double> channels(P), heads(H);
  for (size_t p = 0; p < P; ++p) {
    double sum = 0;
    for (size_t h = 0; h < H; ++h) sum += scores[h * P + p] * scores[h * P + p];
    channels[p] = Norm(sum);
  }
  MambaSlice slice;
  slice.channels = Best(channels, shape.mamba_head_dim);
  for (size_t h = 0; h < H; ++h) {
    double sum = 0;
    for (const uint32_t p : slice.channels) sum += scores[h * P + p] * scores[h * P + p];
    heads[h] = Norm(sum);
  }
  slice.heads = BestOfGroups(heads, mamba.n_groups, shape.mamba_heads, "mamba heads");
  return slice;
}

BlockSlice CutBlock(const MixerConfig& mixer, const std::vector<double>& scores,
                    const PruneShape& shape) {
  if (const auto* f = std::get_if<FfnConfig>(&mixer)) {
    if (shape.ffn == f->intermediate_size) return {};
    return FfnSlice{Best(scores, shape.ffn)};
  }
  if (const auto* a = std::get_if<AttentionConfig>(&mixer)) {
    if (shape.heads == a->n_heads) return {};
    AttentionSlice slice{BestOfGroups(scores, a->n_kv_heads, shape.heads, "query heads"), {}};
    for (size_t k = 0; k < a->n_kv_heads; ++k) slice.kv_heads.push_back({static_cast<uint32_t>(k)});
    return slice;
  }
  if (const auto* m = std::get_if<Mamba2Config>(&mixer)) {
    if (shape.mamba_heads == m->n_heads && shape.mamba_head_dim == m->head_dim) return {};
    return CutMamba(*m, scores, shape);
  }
  return {};
}

void CheckAxis(size_t value, size_t parents, const char* name) {
  if (value > parents || (parents > 0 && value == 0))
    throw UsageError("{} {} of {}, expected 1 to {}", name, value, parents, parents);
}

// From the parent's value downwards while no more than `limit` of it goes.
std::vector<size_t> Steps(size_t parents, size_t step, double limit, size_t fixed) {
  if (parents == 0) return {0};
  if (fixed != 0) return {fixed};
  std::vector<size_t> values;
  const double least = static_cast<double>(parents) * (1.0 - limit) - 1e-9;
  for (size_t value = parents; static_cast<double>(value) >= least && value > 0;) {
    values.push_back(value);
    // Below the parent's own value, which need not be one, multiples of the step.
    const size_t next = value % step == 0 ? value - step : value / step * step;
    if (value < step || next == 0) break;
    value = next;
  }
  return values;
}

size_t DefaultStep(size_t value, size_t parts) {
  const size_t unit = value >= 1024 ? 64 : 8;
  return std::max(unit, value / parts / unit * unit);
}

// Counts by kind for every number of removed blocks.
std::vector<PruneShape> DepthChoices(const ModelConfig& parent, const PruneShape& whole,
                                     const PruneGrid& grid) {
  const bool is_hybrid = whole.mamba_blocks > 0;
  const size_t blocks = whole.attention_blocks + whole.mamba_blocks + whole.ffn_blocks;
  const size_t units = is_hybrid ? blocks : parent.n_layers;
  const size_t least_attention = std::min(whole.attention_blocks, grid.min_attention);
  std::vector<size_t> removed;
  if (grid.fixed_blocks) {
    if (*grid.fixed_blocks > units || *grid.fixed_blocks == 0)
      throw UsageError("{} blocks of {}, expected 1 to {}", *grid.fixed_blocks, units, units);
    removed = {units - *grid.fixed_blocks};
  } else {
    for (size_t gone = 0;
         static_cast<double>(gone) <= grid.depth_limit * static_cast<double>(units) + 1e-9;
         gone += grid.depth_step)
      removed.push_back(gone);
  }
  std::vector<PruneShape> choices;
  for (const size_t gone : removed) {
    if (grid.counts_at) {
      if (const auto counts = grid.counts_at(gone)) choices.push_back(*counts);
      continue;
    }
    for (size_t a = 0; a <= gone && whole.attention_blocks >= a + least_attention; ++a) {
      for (size_t m = 0; a + m <= gone && m <= whole.mamba_blocks; ++m) {
        const size_t f = gone - a - m;
        if (f > whole.ffn_blocks) continue;
        PruneShape counts;
        counts.attention_blocks = whole.attention_blocks - a;
        counts.mamba_blocks = whole.mamba_blocks - m;
        counts.ffn_blocks = whole.ffn_blocks - f;
        if (is_hybrid) choices.push_back(counts);
      }
    }
    if (!is_hybrid && whole.attention_blocks >= gone + least_attention) {  // whole layers go
      PruneShape counts;
      counts.attention_blocks = whole.attention_blocks - gone;
      counts.ffn_blocks = whole.ffn_blocks - gone;
      choices.push_back(counts);
    }
  }
  return choices;
}

}  // namespace

PruneShape ShapeOf(const ModelConfig& parent) {
  PruneShape shape;
  shape.hidden = parent.hidden_size;
  if (const auto* a = Only<AttentionConfig>(parent)) shape.heads = a->n_heads;
  if (const auto* f = Only<FfnConfig>(parent)) shape.ffn = f->intermediate_size;
  if (const auto* m = Only<Mamba2Config>(parent)) {
    shape.mamba_heads = m->n_heads;
    shape.mamba_head_dim = m->head_dim;
  }
  for (const BlockConfig& block : parent.blocks) {
    if (size_t* count = CountOf(&shape, block.mixer.index())) ++*count;
  }
  if (shape.attention_blocks + shape.mamba_blocks + shape.ffn_blocks == 0)
    throw UsageError("the model has no block that could be pruned");
  return shape;
}

std::string Describe(const PruneShape& shape) {
  std::string text = fmt::format("hidden {}", shape.hidden), blocks;
  const auto add = [&](size_t count, const char* kind) {
    if (count > 0) blocks += fmt::format("{}{} {}", blocks.empty() ? "" : " + ", count, kind);
  };
  if (shape.ffn > 0) text += fmt::format(", ffn {}", shape.ffn);
  if (shape.mamba_heads > 0)
    text += fmt::format(", mamba heads {} of {}", shape.mamba_heads, shape.mamba_head_dim);
  if (shape.heads > 0) text += fmt::format(", heads {}", shape.heads);
  add(shape.mamba_blocks, "mamba2");
  add(shape.attention_blocks, "attention");
  add(shape.ffn_blocks, "ffn");
  return text + ", blocks " + blocks;
}

MixerConfig ShapedMixer(const MixerConfig& mixer, const PruneShape& shape) {
  MixerConfig child = mixer;
  if (auto* a = std::get_if<AttentionConfig>(&child)) {
    a->n_heads = shape.heads;
  } else if (auto* m = std::get_if<Mamba2Config>(&child)) {
    m->n_heads = shape.mamba_heads;
    m->head_dim = shape.mamba_head_dim;
  } else if (auto* f = std::get_if<FfnConfig>(&child)) {
    f->intermediate_size = shape.ffn;
  }
  return child;
}

size_t* CountOf(PruneShape* shape, size_t kind) {
  size_t* const counts[] = {&shape->attention_blocks, &shape->mamba_blocks, &shape->ffn_blocks};
  return kind < 3 ? counts[kind] : nullptr;
}

size_t CountOf(const PruneShape& shape, size_t kind) {
  PruneShape copy = shape;
  const size_t* count = CountOf(&copy, kind);
  return count == nullptr ? 0 : *count;
}

ModelConfig ConfigOfShape(const ModelConfig& parent, const PruneShape& shape) {
  PruneShape left = shape;
  ConfigEdit edit;
  edit.hidden_size = shape.hidden;
  for (const BlockConfig& block : parent.blocks) {
    size_t* count = CountOf(&left, block.mixer.index());
    const bool stays = count == nullptr || *count > 0;
    if (count != nullptr && *count > 0) --*count;
    edit.blocks.push_back(stays ? std::optional(ShapedMixer(block.mixer, shape)) : std::nullopt);
  }
  return EditConfig(parent, edit).config;
}

PrunedModel CutToShape(const ModelConfig& parent, const Importance& importance,
                       const PruneShape& shape, const std::vector<size_t>& dropped) {
  const PruneShape whole = ShapeOf(parent);
  CheckAxis(shape.hidden, whole.hidden, "hidden size");
  CheckAxis(shape.ffn, whole.ffn, "FFN width");
  CheckAxis(shape.heads, whole.heads, "query heads");
  CheckAxis(shape.mamba_heads, whole.mamba_heads, "mamba heads");
  CheckAxis(shape.mamba_head_dim, whole.mamba_head_dim, "mamba head size");
  PLANISH_CHECK(importance.blocks.size() == parent.blocks.size());
  PrunedModel pruned;
  if (shape.hidden < whole.hidden) pruned.slice.hidden = Best(importance.hidden, shape.hidden);
  for (size_t i = 0; i < parent.blocks.size(); ++i)
    pruned.slice.blocks.push_back(
        CutBlock(parent.blocks[i].mixer, importance.blocks[i].scores, shape));
  pruned.keep.assign(parent.blocks.size(), true);
  for (const size_t block : dropped) {
    if (block >= pruned.keep.size())
      throw UsageError("block {} is to be dropped of {}", block, pruned.keep.size());
    pruned.keep[block] = false;
  }
  pruned.edited = SlicedConfig(parent, pruned.slice, pruned.keep);
  return pruned;
}

void EnumerateShapes(const ModelConfig& parent, const PruneGrid& grid,
                     const std::function<void(const PruneShape&)>& use) {
  const PruneShape whole = ShapeOf(parent);
  const auto* attention = Only<AttentionConfig>(parent);
  const auto* mamba = Only<Mamba2Config>(parent);
  const double limit = grid.width_limit;
  const size_t hidden_step =
      grid.hidden_step != 0 ? grid.hidden_step : DefaultStep(whole.hidden, 16);
  const size_t ffn_step = grid.ffn_step != 0 ? grid.ffn_step : DefaultStep(whole.ffn, 64);
  const auto hidden = Steps(whole.hidden, hidden_step, limit, grid.fixed.hidden);
  const auto ffn = Steps(whole.ffn, ffn_step, limit, grid.fixed.ffn);
  const auto mamba_heads = Steps(whole.mamba_heads, mamba != nullptr ? mamba->n_groups : 1, limit,
                                 grid.fixed.mamba_heads);
  const auto head_dims =
      Steps(whole.mamba_head_dim, grid.mamba_head_dim_step, limit, grid.fixed.mamba_head_dim);
  const auto heads = Steps(whole.heads, attention != nullptr ? attention->n_kv_heads : 1,
                           grid.cuts_heads ? limit : 0.0, grid.fixed.heads);
  for (const PruneShape& counts : DepthChoices(parent, whole, grid)) {
    PruneShape shape = counts;
    for (const size_t h : hidden)
      for (const size_t f : ffn)
        for (const size_t n : mamba_heads)
          for (const size_t p : head_dims)
            for (const size_t q : heads) {
              shape.hidden = h;
              shape.ffn = f;
              shape.mamba_heads = n;
              shape.mamba_head_dim = p;
              shape.heads = q;
              use(shape);
            }
  }
}

}  // namespace planish

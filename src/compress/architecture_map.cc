// SPDX-License-Identifier: Apache-2.0
#include "compress/architecture_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "base/error.h"
#include "base/plot.h"

namespace planish {
namespace {

// Colours of page.h's palette, by MixerConfig::index().
constexpr size_t kKindColors[] = {0, 2, 1, 5};
constexpr const char* kKindTexts[] = {"attention: query heads over KV heads",
                                      "Mamba-2: heads over channels of a head", "FFN: neurons",
                                      "linear"};
constexpr size_t kRowsOfColumn = 14, kMostColumns = 4, kColumnPixels = 420;

constexpr const char* kStyle = R"css(<style>
.map{column-gap:28px;background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:12px 16px}
.map>div{display:grid;grid-template-columns:34px 1fr;gap:4px;align-items:center;height:20px;break-inside:avoid}
.map>div>span{color:var(--soft);font-size:11.5px;text-align:right;padding-right:4px;font-variant-numeric:tabular-nums}
.map>div>div{display:grid;grid-auto-flow:column;grid-auto-columns:1fr;gap:6px}
.map .cell{position:relative;height:15px;cursor:default}
.map .cell b{position:absolute;left:0;border-radius:2px}
.map .cell .was{border:1px solid var(--edge);opacity:.75}
.map .none::after{content:"";position:absolute;left:0;right:0;top:7px;border-top:1px dashed var(--edge)}
.map-legend{padding-left:4px;margin:6px 0 14px}.map-legend .box{width:14px;height:9px}
.map-legend .outline{border:1px solid var(--edge)}.map-legend .dash{height:0;border-top:1px dashed var(--soft);border-radius:0}
</style>)css";

// What is drawn of a block: one bar, or two over each other; [0] is the upper one.
struct Sizes {
  size_t count = 1;
  std::array<double, 2> value = {1, 0};
};

Sizes SizesOf(const MixerConfig& mixer) {
  if (const auto* attention = std::get_if<AttentionConfig>(&mixer))
    return {2,
            {static_cast<double>(attention->n_heads), static_cast<double>(attention->n_kv_heads)}};
  if (const auto* mamba = std::get_if<Mamba2Config>(&mixer))
    return {2, {static_cast<double>(mamba->n_heads), static_cast<double>(mamba->head_dim)}};
  if (const auto* ffn = std::get_if<FfnConfig>(&mixer))
    return {1, {static_cast<double>(ffn->intermediate_size), 0}};
  return {};
}

// Largest sizes of each kind in both models: the full width of a cell.
std::array<Sizes, 4> FullSizes(const ModelConfig& parent, const ModelConfig& child) {
  std::array<Sizes, 4> full;
  for (const ModelConfig* config : {&parent, &child}) {
    for (const BlockConfig& block : config->blocks) {
      const Sizes sizes = SizesOf(block.mixer);
      Sizes& most = full[block.mixer.index()];
      most.count = sizes.count;
      for (size_t i = 0; i < 2; ++i) most.value[i] = std::max(most.value[i], sizes.value[i]);
    }
  }
  return full;
}

// Bars of one block. Two share the height of 15 pixels with one between.
std::string Bars(const MixerConfig& mixer, const std::array<Sizes, 4>& full, const char* css_class,
                 const std::string& style) {
  const Sizes sizes = SizesOf(mixer), most = full[mixer.index()];
  std::string html;
  for (size_t i = 0; i < sizes.count; ++i) {
    html += fmt::format("<b class=\"{}\" style=\"width:{:.1f}%;top:{}px;height:{}px;{}\"></b>",
                        css_class, 100 * sizes.value[i] / most.value[i], i == 0 ? 0 : 8,
                        sizes.count == 1 ? 15 : 7, style);
  }
  return html;
}

std::string Cell(const BlockConfig& was, const BlockConfig* is, const std::array<Sizes, 4>& full) {
  std::string tip = fmt::format("layer {}", was.layer);
  if (is == nullptr) {
    tip += fmt::format(": nothing\nparent: {}", DescribeMixer(was.mixer));
    return fmt::format("<div class=\"cell none\" data-tip=\"{}\"></div>", EscapeHtml(tip));
  }
  if (is->layer != was.layer) tip += fmt::format(", now layer {}", is->layer);
  tip += ": " + DescribeMixer(is->mixer);
  if (is->mixer != was.mixer) tip += "\nparent: " + DescribeMixer(was.mixer);
  const bool same_kind = is->mixer.index() == was.mixer.index();
  return fmt::format("<div class=\"cell\" data-tip=\"{}\">{}{}</div>", EscapeHtml(tip),
                     Bars(is->mixer, full, "is",
                          fmt::format("background:var(--c{})", kKindColors[is->mixer.index()])),
                     same_kind && is->mixer != was.mixer ? Bars(was.mixer, full, "was", "") : "");
}

std::string Legend(const ModelConfig& parent, const ModelConfig& child, bool has_none,
                   bool has_changed) {
  std::string html;
  for (size_t kind = 0; kind < std::size(kKindColors); ++kind) {
    if (parent.CountBlocks(kind) + child.CountBlocks(kind) > 0)
      html += fmt::format("<span><i class=\"box\" style=\"background:var(--c{})\"></i>{}</span>",
                          kKindColors[kind], kKindTexts[kind]);
  }
  if (has_changed) html += "<span><i class=\"box outline\"></i>the parent's size</span>";
  if (has_none) html += "<span><i class=\"dash\"></i>nothing left</span>";
  return "<div class=\"legend map-legend\">" + html + "</div>\n";
}

}  // namespace

size_t MixerColor(size_t kind) { return kKindColors[kind]; }

std::string DescribeMixer(const MixerConfig& mixer) {
  if (const auto* attention = std::get_if<AttentionConfig>(&mixer))
    return fmt::format("attention, {} heads, {} KV head{}, of {}", attention->n_heads,
                       attention->n_kv_heads, attention->n_kv_heads == 1 ? "" : "s",
                       attention->head_dim);
  if (const auto* mamba = std::get_if<Mamba2Config>(&mixer))
    return fmt::format("Mamba-2, {} heads of {} in {} groups, state {}", mamba->n_heads,
                       mamba->head_dim, mamba->n_groups, mamba->state_size);
  if (const auto* ffn = std::get_if<FfnConfig>(&mixer))
    return fmt::format("FFN ({}), {} wide",
                       ffn->kind == FfnKind::kSwiGlu ? "SwiGLU" : "squared ReLU",
                       ffn->intermediate_size);
  return "one matrix";
}

std::string ArchitectureMap(const ModelConfig& parent, const ModelConfig& child,
                            const std::vector<size_t>& parent_of) {
  PLANISH_CHECK(parent_of.size() == child.blocks.size());
  std::vector<const BlockConfig*> now(parent.blocks.size(), nullptr);
  for (size_t i = 0; i < parent_of.size(); ++i) now.at(parent_of[i]) = &child.blocks[i];
  const std::array<Sizes, 4> full = FullSizes(parent, child);
  std::string rows;
  size_t row_count = 0;
  bool has_none = false, has_changed = false;
  for (size_t i = 0; i < parent.blocks.size(); ++row_count) {
    const size_t layer = parent.blocks[i].layer;
    std::string cells;
    // The FFN of a layer without attention stays in the second place.
    if (parent.blocks[i].slot == Slot::kFfn) cells += "<div></div>";
    bool ends_with_attention = false;
    for (; i < parent.blocks.size() && parent.blocks[i].layer == layer; ++i) {
      cells += Cell(parent.blocks[i], now[i], full);
      has_none |= now[i] == nullptr;
      has_changed |= now[i] != nullptr && now[i]->mixer != parent.blocks[i].mixer;
      ends_with_attention = parent.blocks[i].slot == Slot::kAttention;
    }
    if (ends_with_attention) cells += "<div></div>";
    rows += fmt::format("<div><span>{}</span><div>{}</div></div>\n", layer, cells);
  }
  const size_t columns =
      std::clamp<size_t>((row_count + kRowsOfColumn - 1) / kRowsOfColumn, 1, kMostColumns);
  return fmt::format(
      "{2}<div class=\"map\" style=\"columns:{0} 180px;max-width:{1}px\">\n{3}</div>\n{4}", columns,
      columns * kColumnPixels, kStyle, rows, Legend(parent, child, has_none, has_changed));
}

std::string ArchitectureMap(const ModelConfig& config) {
  std::vector<size_t> same(config.blocks.size());
  std::iota(same.begin(), same.end(), size_t{0});
  return ArchitectureMap(config, config, same);
}

}  // namespace planish

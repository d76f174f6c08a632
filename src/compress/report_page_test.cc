// SPDX-License-Identifier: Apache-2.0
#include "compress/report_page.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "base/scatter.h"
#include "compress/architecture_map.h"

namespace planish {
namespace {

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// A model of layers with attention and FFN, and a child of it by hand: what the map shows needs no weights.
ModelConfig LayersOfTwo(size_t layers) {
  ModelConfig config;
  config.hidden_size = 576;
  config.n_layers = layers;
  for (size_t l = 0; l < layers; ++l) {
    config.blocks.push_back({l, Slot::kAttention, AttentionConfig{9, 3, 64}});
    config.blocks.push_back({l, Slot::kFfn, FfnConfig{1536}});
  }
  return config;
}

TEST(ArchitectureMap, HasARowForEachLayerAndWidthsInProportion) {
  const ModelConfig parent = LayersOfTwo(3);
  ModelConfig child = parent;
  child.blocks[1].mixer = FfnConfig{384};
  child.blocks[2].mixer = AttentionConfig{9, 1, 64};
  child.blocks[3].mixer = LinearConfig{};
  child.blocks.erase(child.blocks.begin() + 4);  // attention of layer 2
  const std::string html = ArchitectureMap(parent, child, {0, 1, 2, 3, 5});
  EXPECT_EQ(Count(html, "<div><span>"), 3u);
  EXPECT_EQ(Count(html, "class=\"cell\""), 5u);
  EXPECT_EQ(Count(html, "class=\"cell none\""), 1u);
  EXPECT_NE(html.find("layer 0: FFN (SwiGLU), 384 wide\nparent: FFN (SwiGLU), 1536 wide"),
            std::string::npos);
  EXPECT_NE(html.find("width:25.0%;top:0px;height:15px;background:var(--c1)"), std::string::npos);
  EXPECT_NE(html.find("width:33.3%;top:8px;height:7px;background:var(--c0)"), std::string::npos);
  EXPECT_NE(html.find("layer 1: one matrix\nparent: FFN"), std::string::npos);
  EXPECT_NE(html.find("layer 2: nothing\nparent: attention, 9 heads, 3 KV heads, of 64"),
            std::string::npos);
  EXPECT_NE(html.find("nothing left"), std::string::npos);
  EXPECT_EQ(Count(html, "class=\"was\""), 3u);  // of the FFN one bar, of attention two
}

TEST(ArchitectureMap, AFusedBlockIsWiderThanItsParents) {
  const ModelConfig parent = LayersOfTwo(2);
  ModelConfig child = parent;
  child.blocks = {parent.blocks[0], {0, Slot::kFfn, FfnConfig{3072}}};
  const std::string html = ArchitectureMap(parent, child, {0, 1});
  EXPECT_NE(html.find("width:100.0%;top:0px;height:15px;background:var(--c1)"), std::string::npos);
  EXPECT_NE(html.find("class=\"was\" style=\"width:50.0%"), std::string::npos);
  EXPECT_EQ(Count(html, "class=\"cell none\""), 2u);
}

TEST(ArchitectureMap, HybridsHaveOneCellARowAndKeepUnchangedBlocksPlain) {
  const ModelConfig config = ConfigFromJson(PublishedConfig("nano-9b-v2").value(), "nano-9b-v2");
  const std::string html = ArchitectureMap(config);
  EXPECT_EQ(Count(html, "<div><span>"), 56u);
  EXPECT_EQ(Count(html, "class=\"cell\""), 56u);
  EXPECT_EQ(Count(html, "class=\"was\""), 0u);
  EXPECT_NE(html.find("Mamba-2, 128 heads of 80 in 8 groups, state 128"), std::string::npos);
  EXPECT_NE(html.find("FFN (squared ReLU), 15680 wide"), std::string::npos);
  EXPECT_EQ(html.find("nothing left"), std::string::npos);
}

TEST(ReportPage, TablesCarryWhatTheyAreSortedBy) {
  EXPECT_EQ(SortableTable({}), "");
  ReportTable table{.columns = {{"name", false}, {"KL"}}};
  table.rows = {{"<a>", NumberCell(0.25)}, {"b", NumberCell(std::nan(""))}};
  const std::string html = SortableTable(table);
  EXPECT_NE(html.find("<td>&lt;a&gt;</td><td class=\"number\" data-value=\"0.25\">0.25</td>"),
            std::string::npos);
  EXPECT_NE(html.find("<td>b</td><td class=\"number\">–</td>"), std::string::npos);
  EXPECT_EQ(Count(html, "<button"), 2u);
}

TEST(ReportPage, AColumnOfEmptyCellsIsLeftOut) {
  ReportTable table{.columns = {{"name", false}, {"never"}, {"once"}}};
  table.rows = {{"a", "", ""}, {"b", "", NumberCell(2)}};
  const std::string html = SortableTable(table);
  EXPECT_EQ(html.find("never"), std::string::npos);
  EXPECT_EQ(Count(html, "<button"), 2u);
  EXPECT_EQ(Count(html, "<td"), 4u);
  EXPECT_NE(html.find("<td>a</td><td class=\"number\"></td>"), std::string::npos);
}

TEST(ReportPage, HoldsItsSectionsAndFetchesNothing) {
  const std::string html = CompressPage(
      "A & B", {{"<1>", "value"}},
      {{"Facts", FactsTable({{"k<", "v>"}})},
       {"Nothing", ""},
       {"Speed", PredictedMeasuredPlot("Latency", "ms", {{"x", 1, 1.1, 1.0, 1.2}, {"y", 2, 2}})}});
  EXPECT_NE(html.find("<title>A &amp; B</title>"), std::string::npos);
  EXPECT_NE(html.find("&lt;1&gt;"), std::string::npos);
  EXPECT_NE(html.find("<th>k&lt;</th><td>v&gt;</td>"), std::string::npos);
  EXPECT_EQ(html.find("Nothing"), std::string::npos);
  EXPECT_NE(html.find("measured ms"), std::string::npos);
  EXPECT_EQ(Count(html, "<circle"), 2u);
  EXPECT_EQ(Count(html, "http://") - Count(html, "http://www.w3.org/"), 0u);
  EXPECT_EQ(html.find("https://"), std::string::npos);
  EXPECT_NE(html.find("default-src 'none'"), std::string::npos);
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// `planish fuse` from outside: the file holds the merged matrices, its logits are those of the parallel form computed here in
// double, the choice of runs keeps to its limits, reports are there, and what it refuses leaves nothing behind.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "compress/compress_testing.h"
#include "golden_case.h"
#include "model/export.h"
#include "run_program.h"

namespace planish::testing {
namespace {

// Attention in layers 0 and 6 only; FFNs of unequal widths: runs in layers 0 to 5 and 6 to 8.
constexpr const char* kDeci = R"({"model_type": "nemotron-nas", "hidden_size": 32,
 "num_hidden_layers": 9, "vocab_size": 300, "max_position_embeddings": 4096,
 "num_attention_heads": 4, "rms_norm_eps": 1e-5, "tie_word_embeddings": false,
 "initializer_range": 0.1, "bos_token_id": 256, "eos_token_id": 257, "torch_dtype": "float32",
 "block_configs": [
  {"attention": {"n_heads_in_group": 2}, "ffn": {"intermediate_size": 48}},
  {"attention": {"no_op": true}, "ffn": {"intermediate_size": 17}},
  {"attention": {"no_op": true}, "ffn": {"intermediate_size": 1}},
  {"attention": {"no_op": true}, "ffn": {"intermediate_size": 64}},
  {"attention": {"no_op": true}, "ffn": {"intermediate_size": 33}},
  {"attention": {"no_op": true}, "ffn": {"intermediate_size": 40}},
  {"attention": {"n_heads_in_group": 4}, "ffn": {"intermediate_size": 24}},
  {"attention": {"no_op": true}, "ffn": {"intermediate_size": 32}},
  {"attention": {"no_op": true}, "ffn": {"intermediate_size": 40}}]})";
constexpr size_t kHidden = 32, kHeads = 4, kHeadDim = 8, kLayers = 9;

// A folder with that model in float, whose norm weights are not 1 so that folding them matters, and text.
class Fused : public TemporaryDir {
 public:
  Fused() {
    Pretrained parent = TinyModel(kDeci, 3);
    Random random(4);
    parent.model->VisitParams([&](const Param& param) {
      if (param.role != ParamRole::kNorm) return;
      for (size_t i = 0; i < param.shape.elements(); ++i)
        param.vector->f32()[i] = static_cast<float>(0.5 + random.Uniform());
    });
    parent.model->ParamsChanged();
    ExportHf(&parent, *this / "parent", DType::kF32, uint64_t{1} << 30);
    std::string lines;
    for (size_t i = 0; i < 60; ++i) {
      lines += "{\"text\": \"";
      static constexpr const char* kWords[] = {"the ", "river ", "of ", "iron ", "sings. "};
      for (size_t w = 0; w < 20; ++w) lines += kWords[random.Below(5)];
      lines += "\"}\n";
    }
    WriteFile(*this / "text.jsonl", lines);
  }
  std::vector<std::string> Arguments(const std::string& out,
                                     const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {
        "fuse", "-m", *this / "parent", "-o", *this / out, "--type", "f32", "-t", "1", "-q"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  // With text to choose runs on.
  std::vector<std::string> Measured(const std::string& out, int row_tokens,
                                    const std::vector<std::string>& more) const {
    std::vector<std::string> arguments =
        Arguments(out, {"--data", *this / "text.jsonl", "--samples", "6", "--held-out", "3",
                        "--cut-samples", "1", "--seq-len", std::to_string(row_tokens)});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  GoldenTensors Weights(const std::string& model) const {
    return ReadTensors(*this / (model + "/model.safetensors"));
  }
  std::vector<float> Logits(const std::string& model, const std::vector<int32_t>& ids) const {
    OutputOf({"logits", "-m", *this / model, "--ids", WriteIds(*this / "ids.json", ids), "-o",
              *this / "logits.safetensors", "-q"});
    return ReadTensors(*this / "logits.safetensors").values.at("logits");
  }
};

// The parent in double for ONE token, where attention is its own value whatever the keys are. Layers of `runs` (first, last) add
// to the stream what each gives for the stream before the run.
class ParallelForm {
 public:
  ParallelForm(GoldenTensors weights, std::vector<std::pair<size_t, size_t>> runs)
      : weights_(std::move(weights)), runs_(std::move(runs)) {}

  std::vector<double> Logits(int32_t id) const {
    const std::vector<float>& embedding = At("model.embed_tokens.weight");
    std::vector<double> h(kHidden), before;
    for (size_t d = 0; d < kHidden; ++d) h[d] = embedding[static_cast<size_t>(id) * kHidden + d];
    for (size_t layer = 0; layer < kLayers; ++layer) {
      const std::string name = "model.layers." + std::to_string(layer) + ".";
      if (weights_.values.contains(name + "self_attn.v_proj.weight")) Add(Attention(name, h), &h);
      const auto run = std::find_if(runs_.begin(), runs_.end(), [&](const auto& r) {
        return layer >= r.first && layer <= r.second;
      });
      if (run == runs_.end() || layer == run->first) before = h;
      Add(Ffn(name, before), &h);
    }
    return Times("lm_head.weight", Norm("model.norm.weight", h));
  }

 private:
  const std::vector<float>& At(const std::string& name) const { return weights_.values.at(name); }
  static void Add(const std::vector<double>& x, std::vector<double>* h) {
    for (size_t d = 0; d < kHidden; ++d) (*h)[d] += x[d];
  }
  std::vector<double> Times(const std::string& name, const std::vector<double>& x) const {
    const std::vector<float>& w = At(name);
    std::vector<double> y(w.size() / x.size(), 0.0);
    for (size_t r = 0; r < y.size(); ++r)
      for (size_t c = 0; c < x.size(); ++c) y[r] += double{w[r * x.size() + c]} * x[c];
    return y;
  }
  std::vector<double> Norm(const std::string& name, std::vector<double> x) const {
    double mean = 0;
    for (const double value : x) mean += value * value / static_cast<double>(x.size());
    for (size_t d = 0; d < x.size(); ++d) x[d] *= At(name)[d] / std::sqrt(mean + 1e-5);
    return x;
  }
  std::vector<double> Attention(const std::string& name, const std::vector<double>& h) const {
    const std::vector<double> v =
        Times(name + "self_attn.v_proj.weight", Norm(name + "input_layernorm.weight", h));
    const size_t group = kHeads * kHeadDim / v.size();
    std::vector<double> heads;
    for (size_t head = 0; head < kHeads; ++head) {
      const auto from = v.begin() + static_cast<ptrdiff_t>(head / group * kHeadDim);
      heads.insert(heads.end(), from, from + kHeadDim);
    }
    return Times(name + "self_attn.o_proj.weight", heads);
  }
  std::vector<double> Ffn(const std::string& name, const std::vector<double>& h) const {
    const std::vector<double> x = Norm(name + "post_attention_layernorm.weight", h);
    std::vector<double> gate = Times(name + "mlp.gate_proj.weight", x);
    const std::vector<double> up = Times(name + "mlp.up_proj.weight", x);
    for (size_t f = 0; f < gate.size(); ++f) gate[f] *= up[f] / (1 + std::exp(-gate[f]));
    return Times(name + "mlp.down_proj.weight", gate);
  }

  GoldenTensors weights_;
  std::vector<std::pair<size_t, size_t>> runs_;  // layers, ends included
};

double RelativeError(const std::vector<float>& found, const std::vector<double>& expected) {
  EXPECT_EQ(found.size(), expected.size());
  double difference = 0, largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference = std::max(difference, std::abs(found.at(i) - expected[i]));
    largest = std::max(largest, std::abs(expected[i]));
  }
  return difference / largest;
}

// Layers of a report's runs, ends included.
std::vector<std::pair<size_t, size_t>> RunsOf(const Json& report) {
  std::vector<std::pair<size_t, size_t>> runs;
  for (const Json& run : Member(report, "runs").AsArray()) {
    const std::string layers = Member(run, "layers").AsString();
    runs.emplace_back(std::stoul(layers), std::stoul(layers.substr(layers.find('-') + 1)));
  }
  return runs;
}

TEST(FuseVerb, TheLogitsOfAFusedModelAreThoseOfTheParallelFormInDouble) {
  const Fused dir;
  const Json report = JsonOf(dir.Arguments("fused", {"--runs", "1-5,6-8", "--json"}));
  const std::vector<std::pair<size_t, size_t>> runs = {{1, 5}, {6, 8}};
  EXPECT_EQ(RunsOf(report), runs);
  EXPECT_EQ(Member(report, "blocks_before").AsInt(), 11);
  EXPECT_EQ(Member(report, "blocks").AsInt(), 5);
  EXPECT_EQ(Member(Member(report, "runs").AsArray().at(0), "width").AsInt(), 17 + 1 + 64 + 33 + 40);
  const ParallelForm sequential(dir.Weights("parent"), {}), parallel(dir.Weights("parent"), runs);
  for (const int32_t id : {0, 101, 299}) {
    const std::vector<float> fused = dir.Logits("fused", {id});
    EXPECT_LT(RelativeError(fused, parallel.Logits(id)), 1e-5) << id;
    // The reference is right, and fusing is not nothing.
    EXPECT_LT(RelativeError(dir.Logits("parent", {id}), sequential.Logits(id)), 1e-5) << id;
    EXPECT_GT(RelativeError(fused, sequential.Logits(id)), 1e-3) << id;
  }
}

TEST(FuseVerb, WritesMergedMatricesAndLeavesTheOthersAsTheyWere) {
  const Fused dir;
  OutputOf(dir.Arguments("fused", {"--runs", "1-5"}));
  const GoldenTensors was = dir.Weights("parent"), is = dir.Weights("fused");
  const std::string at = "model.layers.5.";
  std::vector<float> gate, up;
  std::vector<std::vector<float>> down(kHidden);
  for (size_t layer = 1; layer <= 5; ++layer) {
    const std::string name = "model.layers." + std::to_string(layer) + ".";
    const std::vector<float>& norm = was.values.at(name + "post_attention_layernorm.weight");
    for (auto& [stacked, of] :
         {std::pair{&gate, "mlp.gate_proj.weight"}, {&up, "mlp.up_proj.weight"}}) {
      const std::vector<float>& w = was.values.at(name + of);
      for (size_t i = 0; i < w.size(); ++i) stacked->push_back(w[i] * norm[i % kHidden]);
    }
    const std::vector<float>& w = was.values.at(name + "mlp.down_proj.weight");
    const auto columns = static_cast<ptrdiff_t>(w.size() / kHidden);
    for (size_t d = 0; d < kHidden; ++d) {
      const auto row = w.begin() + static_cast<ptrdiff_t>(d) * columns;
      down[d].insert(down[d].end(), row, row + columns);
    }
    EXPECT_EQ(layer == 5, is.values.contains(name + "mlp.gate_proj.weight")) << layer;
  }
  std::vector<float> all_down;
  for (const std::vector<float>& row : down)
    all_down.insert(all_down.end(), row.begin(), row.end());
  EXPECT_EQ(is.values.at(at + "mlp.gate_proj.weight"), gate);
  EXPECT_EQ(is.values.at(at + "mlp.up_proj.weight"), up);
  EXPECT_EQ(is.values.at(at + "mlp.down_proj.weight"), all_down);
  EXPECT_EQ(is.values.at(at + "post_attention_layernorm.weight"),
            std::vector<float>(kHidden, 1.0f));
  size_t same = 0;
  for (const auto& [name, values] : is.values) {
    if (name.starts_with(at)) continue;
    ASSERT_TRUE(was.values.contains(name)) << name;
    EXPECT_EQ(values, was.values.at(name)) << name;
    ++same;
  }
  EXPECT_EQ(same, 3u + 2 * 5 + 4 * 4);  // shared; two layers with attention; FFNs of 0, 6, 7, 8
  // The file's own config: empty layers keep their numbers, so that others can read it.
  const Json config = ReadJson(dir / "fused/config.json");
  const Json::Array& blocks = Member(config, "block_configs").AsArray();
  ASSERT_EQ(blocks.size(), kLayers);
  for (size_t layer = 1; layer <= 4; ++layer)
    EXPECT_TRUE(Member(Member(blocks[layer], "ffn"), "no_op").AsBool()) << layer;
}

TEST(FuseVerb, ChoosesRunsWithinItsLimitsAndReportsWhatTheyCost) {
  const Fused dir;
  const Json report = JsonOf(dir.Measured(
      "fused", 24,
      {"--max-d", "1.9", "--mean-d", "1.9", "--most", "3", "--random", "2", "--json"}));
  const auto runs = RunsOf(report);
  ASSERT_FALSE(runs.empty());
  for (const auto& [first, last] : runs) {
    EXPECT_LT(first, last);
    EXPECT_LE(last - first + 1, 3u);
    EXPECT_TRUE(last <= 5 || (first >= 6 && last <= 7)) << "the model's last FFN stays";
  }
  for (const Json& run : Member(report, "runs").AsArray()) {
    EXPECT_LE(Member(run, "max_d").AsDouble(), 1.9);
    EXPECT_LE(Member(run, "mean_d").AsDouble(), Member(run, "max_d").AsDouble());
  }
  // Every pair of a run of the parent was measured, and one of them is no zero.
  const Json::Array& dependencies = Member(report, "dependencies").AsArray();
  ASSERT_EQ(dependencies.size(), 2u);
  EXPECT_EQ(Member(dependencies[0], "layers").AsString(), "0-5");
  EXPECT_EQ(Member(dependencies[0], "d").AsArray().size(), 6u);
  EXPECT_GT(Member(dependencies[0], "d").AsArray()[0].AsArray()[1].AsDouble(), 0);
  // What was written is the parallel form, and not the parent.
  const double kl = Member(Member(report, "parallel_form"), "kl_mean").AsDouble();
  EXPECT_GT(kl, 0);
  EXPECT_NEAR(Member(Member(report, "written"), "kl_mean").AsDouble(), kl, 1e-4 * kl);
  EXPECT_LT(Member(report, "written_error").AsDouble(), 1e-5);
  for (const Json& other : Member(report, "random_runs").AsArray())
    EXPECT_GT(Member(other, "kl_mean").AsDouble(), 0);
  const ParallelForm parallel(dir.Weights("parent"), runs);
  EXPECT_LT(RelativeError(dir.Logits("fused", {77}), parallel.Logits(77)), 1e-5);
  // Reports: the file is what was printed, the page tells the same runs and fetches nothing.
  EXPECT_EQ(DumpJson(ReadJson(dir / "fused/fuse.json")), DumpJson(report));
  const std::string page = ReadFile(dir / "fused/fuse.html", 1 << 24);
  EXPECT_NE(page.find("</html>"), std::string::npos);
  for (const char* fetched : {"src=", "href=", "url(", "@import", "fetch("})
    EXPECT_EQ(page.find(fetched), std::string::npos) << fetched;
  for (const Json& run : Member(report, "runs").AsArray())
    EXPECT_NE(page.find("<td>" + Member(run, "layers").AsString() + "</td>"), std::string::npos);

  const Json whole = JsonOf(dir.Measured(
      "whole", 24, {"--max-d", "2", "--mean-d", "2", "--fuse-last", "--random", "0", "--json"}));
  EXPECT_EQ(RunsOf(whole), (std::vector<std::pair<size_t, size_t>>{{0, 5}, {6, 8}}));
}

TEST(FuseVerb, BadInputIsOneLineWithItsStatusAndLeavesNothing) {
  const Fused dir;
  MakeDirectories(dir / "mine");
  WriteFile(dir / "mine/notes.txt", "mine");
  WriteFile(dir / "short.txt", "the river");
  WriteFile(dir / "llama.json", kTinyLlama);
  OutputOf({"init", dir / "llama.json", "-o", dir / "llama", "-q"});
  struct Case {
    std::vector<std::string> arguments;
    int status;
    std::vector<std::string> words;
  };
  auto no_runs = dir.Arguments("out", {"--runs", "0-1"});
  no_runs[2] = dir / "llama";
  const std::vector<Case> cases = {
      {dir.Arguments("out", {}), 2, {"--data", "--runs"}},
      {dir.Arguments("out", {"--runs", "1"}), 2, {"layers 1", "two FFN blocks"}},
      {dir.Arguments("out", {"--runs", "4-6"}), 2, {"attention of layer 6"}},
      {dir.Arguments("out", {"--runs", "1-2,2-3"}), 2, {"--runs"}},
      {dir.Arguments("out", {"--runs", "6-99"}), 2, {"6-99", "layers 0 to 8"}},
      {dir.Arguments("out", {"--runs", "all"}), 2, {"--runs", "'all'", "3-6"}},
      {dir.Arguments("out", {"--runs", "1-2", "--type", "q4_0"}), 2, {"--type"}},
      {dir.Arguments("out", {"--runs", "1-2", "--most", "1"}), 2, {"--most"}},
      {dir.Arguments("mine", {"--runs", "1-2"}), 2, {"exists"}},
      {dir.Measured("out", 24, {"--max-d", "0"}), 1, {"no run is within the limits", "smallest d"}},
      {dir.Measured("out", 4000, {}), 3, {"rows of 4000 tokens", "--seq-len"}},
      {dir.Arguments("out", {"--data", dir / "short.txt"}), 3, {"short.txt", "more --data"}},
      {dir.Arguments("out", {"--data", dir / "none.txt"}), 3, {"none.txt"}},
      {no_runs, 3, {"no two FFN blocks follow each other", "planish prune"}}};
  for (const Case& c : cases) {
    const Outcome outcome = RunProgram(c.arguments);
    EXPECT_EQ(outcome.status, c.status) << outcome.err;
    EXPECT_EQ(Lines(outcome.err).size(), 1u) << outcome.err;
    for (const std::string& word : c.words)
      EXPECT_NE(outcome.err.find(word), std::string::npos) << word << " is not in " << outcome.err;
    for (const auto& entry : std::filesystem::directory_iterator(dir.path()))
      EXPECT_FALSE(entry.path().filename().string().starts_with("out")) << entry.path();
  }
  EXPECT_EQ(ReadFile(dir / "mine/notes.txt", 100), "mine");
}

}  // namespace
}  // namespace planish::testing

// SPDX-License-Identifier: Apache-2.0
// `planish merge`: averages, interpolations and task vectors of models of one shape.
#include "train/merge.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <numbers>

#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/hidden_states.h"
#include "cli/verbs.h"
#include "model/adapter.h"
#include "model/masters.h"
#include "train/loss.h"

namespace planish {
namespace {

namespace fs = std::filesystem;

std::vector<double> ParseNumbers(const std::string& text, const char* option) {
  std::vector<double> numbers;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    double value = 0;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, value);
    if (error != std::errc() || stop != text.data() + end)
      throw UsageError("{} is {}, expected numbers with commas between", option, Quoted(text));
    numbers.push_back(value);
    begin = end + 1;
  }
  return numbers;
}

// A run's checkpoints, oldest first, where `path` is a run's folder; else the path itself.
std::vector<std::string> CheckpointsOf(const std::string& path) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(fs::path(path) / "checkpoints", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && FileExists((entry.path() / "config.json").string()))
      found.push_back(entry.path().string());
  }
  std::sort(found.begin(), found.end());
  return found.empty() ? std::vector<std::string>{path} : found;
}

// Loss of a model on a text in windows that start anew.
class TextLoss {
 public:
  TextLoss(const Pretrained& opened, const std::string& path, size_t window) : window_(window) {
    if (opened.tokenizer == nullptr) throw UsageError("{} has no tokenizer", opened.name);
    const std::string text = ReadFile(path, limits::kTokenizerBytes);
    bytes_ = text.size();
    ids_ = opened.tokenizer->Encode(text, {.parse_special = false});
    if (ids_.size() < 2) throw BadFile("{}: has {} tokens, expected at least 2", path, ids_.size());
  }
  struct Result {
    double loss = 0, bits_per_byte = 0;
  };
  Result Of(const Model& model) const {
    LossSums sums;
    for (size_t begin = 0; begin + 1 < ids_.size(); begin += window_) {
      const std::span<const int32_t> ids =
          std::span(ids_).subspan(begin, std::min(window_ + 1, ids_.size() - begin));
      const size_t T = ids.size() - 1;
      const Tensor hidden = HiddenStates(model, ids.first(T), HiddenPath::kForward);
      Workspace workspace;
      const LossSums part = EvaluateLoss({.hidden = hidden.f32(),
                                          .head = &model.head(),
                                          .targets = ids.data() + 1,
                                          .T = T,
                                          .workspace = &workspace},
                                         nullptr);
      sums.ce += part.ce;
      sums.kept += part.kept;
    }
    return {sums.ce / static_cast<double>(sums.kept),
            sums.ce / (std::numbers::ln2 * static_cast<double>(bytes_))};
  }

 private:
  size_t window_, bytes_ = 0;
  std::vector<int32_t> ids_;
};

class MergeVerb : public Verb {
 public:
  const char* name() const override { return "merge"; }
  const char* group() const override { return "make"; }
  const char* summary() const override {
    return "one model out of several of the same shape: averages, interpolation, task vectors";
  }
  const char* examples() const override {
    return "  planish merge reasoner chatter --alpha 0.5 -o merged\n  planish merge my-run "
           "--method lawa --last 4 -o averaged\n  "
           "planish merge my-model --adapter my-run/checkpoints/step-00000500 -o tuned";
  }
  void Declare(OptionSet* options) override {
    options->Positional("models", &models_,
                        "model folders or GGUF files, or a run's folder: its checkpoints, oldest "
                        "first");
    options->Text("-o,--output", &output_, "folder to write");
    options->Choice("--type", &type_, {"bf16", "f16", "f32"}, "type of what is written");
    options->Bytes("--shard", &shard_bytes_, "largest safetensors file");
    options->Group("Method");
    options->Choice("--method", &method_, {"linear", "slerp", "ema", "lawa", "task"},
                    "linear: weighted sum; slerp: two models along the arc, tensor by tensor; ema: "
                    "over checkpoints, oldest first; lawa: plain mean of the last; task: --base "
                    "plus weighted differences from it");
    options->Text("--weights", &weights_,
                  "of the models, 0.25,0.75; they add up to 1 (task: scales of the differences, "
                  "any); default: equal (task: 1 each)");
    options->Real("--alpha", &alpha_, 0, 1, "of two models: (1 - alpha) first + alpha second");
    options->Real("--decay", &decay_, 0, 0.999999, "of ema");
    options->Int("--last", &last_, 0, 1 << 20, "take only this many last models; 0: all");
    options->Text("--base", &base_, "the model that the others were trained from");
    options->Text("--adapter", &adapter_,
                  "PEFT folder of a low-rank adapter, added into the weights of one model");
    options->Group("Looking");
    options->Flag("--sweep", &sweep_,
                  "loss on --text for alpha from 0 to 1 in tenths; with -o the best is written");
    options->Text("--text", &text_, "text file for --sweep");
    options->Int("--window", &window_, 2, static_cast<int64_t>(limits::kContext),
                 "tokens of each independent window of the text");
    options->Flag("--json", &json_, "one JSON object with the norm of every tensor");
  }

  ExitCode Run(const OptionSet& options) override {
    CheckOptions(options);
    if (!adapter_.empty()) {
      MergeAdapter(options);
      return ExitCode::kOk;
    }
    std::vector<std::string> paths;
    for (const std::string& path : models_) {
      for (std::string& found : CheckpointsOf(path)) paths.push_back(std::move(found));
    }
    if (last_ > 0 && paths.size() > static_cast<size_t>(last_))
      paths.erase(paths.begin(), paths.end() - last_);
    if (method_ == "task") paths.insert(paths.begin(), base_);
    if (paths.size() < 2) throw UsageError("expected at least two models, found {}", paths.size());
    for (const std::string& path : paths) LogInfo("merging {}", path);
    Merger merger(paths);
    Json out = Json::MakeObject();
    if (sweep_)
      Sweep(&merger, &out);
    else
      SetRule(&merger, alpha_, options.WasGiven("--alpha"));
    if (!sweep_ || !output_.empty()) Report(merger, &out);
    if (json_) fmt::print("{}\n", DumpJson(out));
    if (!output_.empty()) Write(&merger);
    return ExitCode::kOk;
  }

 private:
  void CheckOptions(const OptionSet& options) const {
    if (output_.empty() && !sweep_) throw UsageError("-o is needed: where to write the model");
    if (sweep_ && text_.empty()) throw UsageError("--sweep needs --text to measure the loss on");
    if (sweep_ && method_ != "linear" && method_ != "slerp")
      throw UsageError("--sweep goes with the methods linear and slerp, not {}", method_);
    if ((method_ == "task") != !base_.empty())
      throw UsageError("the method task and --base go together");
    if (options.WasGiven("--weights") && method_ != "linear" && method_ != "task")
      throw UsageError("--weights goes with the methods linear and task, not {}", method_);
    if (options.WasGiven("--weights") && (sweep_ || options.WasGiven("--alpha")))
      throw UsageError("--weights cannot be given with --alpha or --sweep");
    if (options.WasGiven("--alpha") && method_ != "linear" && method_ != "slerp")
      throw UsageError("--alpha goes with the methods linear and slerp, not {}", method_);
    if (options.WasGiven("--decay") && method_ != "ema")
      throw UsageError("--decay goes with the method ema");
    if (FileExists(output_ + "/config.json") && !output_.empty())
      throw UsageError("{} already holds a model", Quoted(output_, 300));
  }

  void MergeAdapter(const OptionSet& options) const {
    for (const char* name :
         {"--method", "--weights", "--alpha", "--decay", "--last", "--base", "--sweep", "--json"}) {
      if (options.WasGiven(name)) throw UsageError("--adapter cannot be given with {}", name);
    }
    if (models_.size() != 1)
      throw UsageError("--adapter goes with one model, found {}", models_.size());
    Pretrained opened =
        OpenPretrained(models_[0], {.needs_tokenizer = false, .checks_memory = false});
    LoadAdapter(adapter_, opened.model.get());
    MergeAdapters(opened.model.get());
    ExportHf(&opened, output_, DTypeFromName(type_), shard_bytes_);
    LogInfo("wrote {}", output_);
  }

  void SetRule(Merger* merger, double alpha, bool by_alpha) const {
    const size_t n = merger->size();
    if (method_ == "slerp" || by_alpha || sweep_) {
      if (n != 2) throw UsageError("--alpha, slerp and --sweep take two models, found {}", n);
      if (method_ == "slerp")
        merger->SetSlerp(alpha);
      else
        merger->SetLinear({1 - alpha, alpha});
    } else if (method_ == "ema") {
      merger->SetLinear(EmaWeights(n, decay_));
    } else if (method_ == "lawa") {
      merger->SetLinear(UniformWeights(n));
    } else {
      merger->SetLinear(GivenWeights(n));
    }
  }

  std::vector<double> GivenWeights(size_t n) const {
    const bool is_task = method_ == "task";
    const size_t expected = is_task ? n - 1 : n;
    std::vector<double> weights;
    if (!weights_.empty())
      weights = ParseNumbers(weights_, "--weights");
    else
      weights = is_task ? std::vector<double>(expected, 1.0) : UniformWeights(n);
    if (weights.size() != expected)
      throw UsageError("--weights has {} numbers for {} models", weights.size(), expected);
    if (is_task) return TaskWeights(weights);
    CheckWeights(weights);
    return weights;
  }

  // Leaves the merger at the best alpha.
  void Sweep(Merger* merger, Json* out) const {
    Pretrained target = OpenPretrained(merger->first().path, {.needs_tokenizer = false});
    HoldMasters(target.model.get());
    const TextLoss measure(target, text_, static_cast<size_t>(window_));
    Json& rows = out->Set("sweep", Json::MakeArray());
    double best = 0, best_loss = 0;
    if (!json_) fmt::print("{:>6} {:>10} {:>14}\n", "alpha", "loss", "bits per byte");
    for (int tenth = 0; tenth <= 10; ++tenth) {
      const double alpha = tenth / 10.0;
      SetRule(merger, alpha, /*by_alpha=*/true);
      merger->Fill(target.model.get());
      const TextLoss::Result result = measure.Of(*target.model);
      if (tenth == 0 || result.loss < best_loss) best = alpha, best_loss = result.loss;
      rows.Append(Json::Object{
          {"alpha", alpha}, {"loss", result.loss}, {"bits_per_byte", result.bits_per_byte}});
      if (!json_) {
        fmt::print("{:>6.1f} {:>10.4f} {:>14.4f}\n", alpha, result.loss, result.bits_per_byte);
        FlushOutput();
      }
    }
    out->Set("best_alpha", best);
    if (!json_) fmt::print("best alpha: {}\n", best);
    SetRule(merger, best, /*by_alpha=*/true);
  }

  void Report(const Merger& merger, Json* out) const {
    Json& list = out->Set("norms", Json::MakeArray());
    if (!json_) fmt::print("{:<56} {:>12}   norms of the models\n", "tensor", "merged");
    for (const TensorNorms& item : merger.Norms()) {
      Json::Array sources;
      std::string text;
      for (const double norm : item.sources) {
        sources.emplace_back(norm);
        text += fmt::format(" {:>12.5g}", norm);
      }
      list.Append(Json::Object{
          {"name", item.name}, {"merged", item.merged}, {"models", std::move(sources)}});
      if (!json_) fmt::print("{:<56} {:>12.5g}  {}\n", item.name, item.merged, text);
    }
  }

  void Write(Merger* merger) const {
    std::unique_ptr<Progress> line;
    ExportOptions options;
    options.rows = merger->Rows();
    options.progress = [&](uint64_t done, uint64_t total) {
      if (line == nullptr) line = std::make_unique<Progress>("merge", total >> 20, "MiB");
      line->Update(done >> 20);
    };
    ExportHf(&merger->first(), output_, DTypeFromName(type_), shard_bytes_, options);
    line.reset();
    LogInfo("wrote {}", output_);
  }

  std::vector<std::string> models_;
  std::string output_, type_ = "bf16", method_ = "linear", weights_, base_, adapter_, text_;
  uint64_t shard_bytes_ = uint64_t{4} << 30;
  double alpha_ = 0.5, decay_ = 0.9;
  int64_t last_ = 0, window_ = 512;
  bool sweep_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeMerge() { return std::make_unique<MergeVerb>(); }

}  // namespace planish

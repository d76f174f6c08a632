// SPDX-License-Identifier: Apache-2.0
// `planish init`: a model with random weights of any shape, as a GGUF file (already quantised) or a Hugging Face folder.
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/config_source.h"
#include "cli/verbs.h"
#include "model/config_slice.h"
#include "model/export.h"
#include "model/planner.h"
#include "model/random_model.h"
#include "tensor/blocks.h"

namespace planish {
namespace {

namespace fs = std::filesystem;

// Files of a model that a new one in the same folder would leave behind or mix with. config.json first: a folder without
// one is no model.
void RemoveModelFiles(const std::string& folder) {
  std::error_code ignored;
  fs::remove(fs::path(folder) / "config.json", ignored);
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("model") &&
        (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")))
      fs::remove(entry.path(), ignored);
  }
}

class InitVerb : public Verb {
 public:
  const char* name() const override { return "init"; }
  const char* group() const override { return "make"; }
  const char* summary() const override {
    return "a model with random weights of any shape, to train or to measure";
  }
  const char* examples() const override {
    return "  planish init nano-9b-v2 --type q4_0 -o nano-9b.gguf\n  planish init "
           "my-model/config.json --type f32 -o my-model-untrained";
  }
  void Declare(OptionSet* options) override {
    names_help_ = ConfigSourceHelp();
    options->Positional("config", &configs_, names_help_.c_str());
    options->Group("Output");
    options->Text("-o,--output", &output_, "FILE.gguf, or a folder for safetensors", true);
    options->Choice("--type", &type_,
                    {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k",
                     "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "mxfp4"},
                    "type of the matrices; the quantised ones for GGUF only");
    options->Bytes("--shard", &shard_bytes_, "largest safetensors file");
    options->Flag("--force", &force_, "replace an existing model");
    options->Group("Model");
    options->Int("--seed", &seed_, 0, INT64_MAX, "of the random weights");
    options->Int("--blocks", &blocks_, 0, static_cast<int64_t>(limits::kLayers),
                 "keep this many consecutive layers, where the mix of kinds is nearest the whole "
                 "model's; 0: all");
    options->Int("--vocab", &vocab_, 0, static_cast<int64_t>(limits::kVocabSize),
                 "keep this many tokens; 0: all");
  }

  ExitCode Run(const OptionSet&) override {
    if (configs_.size() != 1)
      throw UsageError("expected one config: a published name, a config.json or a model folder");
    const bool to_gguf = output_.ends_with(".gguf");
    CheckOutput(to_gguf);
    ModelConfig config = ConfigBySource(configs_[0]);
    if (blocks_ > 0) config = SliceLayers(config, static_cast<size_t>(blocks_));
    if (vocab_ > 0) config = CutVocabulary(config, static_cast<size_t>(vocab_));
    const auto seed = static_cast<uint64_t>(seed_);
    Pretrained made = RandomModel(config, fs::path(output_).stem().string());
    if (made.tokenizer == nullptr)
      LogInfo("a vocabulary of {} tokens has no room for all bytes: written without tokenizer",
              config.vocab_size);
    Write(&made, to_gguf, seed);
    LogInfo("wrote {}: {} layers ({}), {} parameters, random", output_, config.n_layers,
            DescribeBlocks(config), MakePlan(config, {}).parameters);
    return ExitCode::kOk;
  }

 private:
  void CheckOutput(bool to_gguf) const {
    const std::string existing = to_gguf ? output_ : output_ + "/config.json";
    if (!to_gguf && FileExists(output_) && !IsDirectory(output_))
      throw UsageError("{} is a file, expected a folder or a name that ends in .gguf",
                       Quoted(output_, 300));
    if (to_gguf && IsDirectory(output_))
      throw UsageError("{} is a folder, expected a file", Quoted(output_, 300));
    if (FileExists(existing) && !force_) {
      throw Error(ExitCode::kUsage, fmt::format("{} exists", Quoted(existing, 300)),
                  "--force replaces it");
    }
  }

  void Write(Pretrained* made, bool to_gguf, uint64_t seed) const {
    const DType type = *DTypeFromName(type_);
    std::unique_ptr<Progress> line;
    ExportOptions options;
    options.rows = RandomRows(made->config, seed);
    options.notes = RandomModelNotes(seed, type);
    options.progress = [&](uint64_t done, uint64_t total) {
      if (line == nullptr) line = std::make_unique<Progress>("init", total >> 20, "MiB");
      line->Update(done >> 20);
    };
    if (to_gguf) return ExportGguf(made, output_, type, options);
    if (IsQuantised(type))
      throw UsageError("a Hugging Face folder can be written in f32, f16 or bf16, not {}", type_);
    const bool is_new = !FileExists(output_);
    if (force_) RemoveModelFiles(output_);
    try {
      ExportHf(made, output_, type, shard_bytes_, options);
    } catch (...) {  // the shards that were finished are of no use
      std::error_code ignored;
      if (is_new)
        fs::remove_all(output_, ignored);
      else if (force_)
        RemoveModelFiles(output_);
      throw;
    }
  }

  std::vector<std::string> configs_;
  std::string names_help_, output_, type_ = "bf16";
  uint64_t shard_bytes_ = uint64_t{4} << 30;
  int64_t seed_ = 1, blocks_ = 0, vocab_ = 0;
  bool force_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeInit() { return std::make_unique<InitVerb>(); }

}  // namespace planish

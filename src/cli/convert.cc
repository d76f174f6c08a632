// SPDX-License-Identifier: Apache-2.0
// `planish convert`: Hugging Face folder to GGUF and back.
#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/model_options.h"
#include "cli/verbs.h"
#include "model/export.h"
#include "model/planner.h"

namespace planish {
namespace {

class ConvertVerb : public Verb {
 public:
  const char* name() const override { return "convert"; }
  const char* group() const override { return "make"; }
  const char* summary() const override {
    return "Hugging Face folder to GGUF and back, with a change of type";
  }
  const char* examples() const override {
    return "  planish convert -m my-model -o my-model.gguf --type q8_0\n  planish convert -m "
           "my-model.gguf -o my-model-hf --type bf16";
  }
  void Declare(OptionSet* options) override {
    model_.Declare(options);
    options->Group("Output");
    options->Text("-o,--output", &output_, "FILE.gguf, or a folder for safetensors", true);
    options->Choice("--type", &type_,
                    {"keep", "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k",
                     "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "mxfp4"},
                    "type of the matrices; block types (q..., mxfp4) for GGUF only");
    options->Bytes("--shard", &shard_bytes_, "largest safetensors file");
  }

  ExitCode Run(const OptionSet&) override {
    Pretrained opened = model_.Open(/*needs_tokenizer=*/false, /*checks_memory=*/false);
    const std::optional<DType> type = type_ == "keep" ? std::nullopt : DTypeFromName(type_);
    const bool to_gguf = output_.ends_with(".gguf");
    {
      std::unique_ptr<Progress> line;
      const auto progress = [&](uint64_t done, uint64_t total) {
        if (line == nullptr) line = std::make_unique<Progress>("convert", total >> 20, "MiB");
        line->Update(done >> 20);
      };
      if (to_gguf)
        ExportGguf(&opened, output_, type, {.progress = progress});
      else
        ExportHf(&opened, output_, type, shard_bytes_, {.progress = progress});
    }
    LogInfo("wrote {} as {}{}", output_, to_gguf ? "GGUF" : "a Hugging Face folder",
            opened.tokenizer == nullptr ? ", without tokenizer" : "");
    return ExitCode::kOk;
  }

 private:
  ModelOptions model_;
  std::string output_, type_ = "keep";
  uint64_t shard_bytes_ = uint64_t{4} << 30;
};

}  // namespace

std::unique_ptr<Verb> MakeConvert() { return std::make_unique<ConvertVerb>(); }

}  // namespace planish

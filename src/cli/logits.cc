// SPDX-License-Identifier: Apache-2.0
// `planish logits`: logits or token log-probabilities of ids or text, for comparison with other engines.
#include <cmath>
#include <cstring>

#include "base/file.h"
#include "cli/hidden_states.h"
#include "cli/input.h"
#include "cli/model_options.h"
#include "cli/verbs.h"
#include "infer/generate.h"
#include "kernels/sample.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

class LogitsVerb : public Verb {
 public:
  const char* name() const override { return "logits"; }
  const char* group() const override { return "measure"; }
  const char* summary() const override {
    return "logits of a token sequence to safetensors, or its log-probabilities as JSON";
  }
  const char* examples() const override {
    return "  planish logits -m MODEL --ids ids.json -o logits.safetensors\n  planish logits -m "
           "MODEL --text 'The capital of France is' --logprobs";
  }
  void Declare(OptionSet* options) override {
    model_.Declare(options);
    model_.DeclareRun(options, "f32");
    options->Group("Input and output");
    options->Text("--ids", &ids_, "JSON file with a list of token ids");
    options->Text("--text", &text_, "text, encoded with BOS if the tokenizer says so");
    options->Text("-o,--output", &output_, "safetensors file with `logits` f32 [T, V]");
    options->Flag("--logprobs", &logprobs_,
                  "print {\"ids\", \"logprobs\"}: log p of each id given those before it");
    options->Flag("--steps", &steps_, "compute one token at a time, as decoding does");
  }

  ExitCode Run(const OptionSet&) override {
    if (ids_.empty() == text_.empty())
      throw UsageError("expected one of --ids FILE and --text TEXT");
    if (output_.empty() && !logprobs_) throw UsageError("expected -o FILE or --logprobs");
    const Pretrained opened = model_.Open(/*needs_tokenizer=*/!text_.empty());
    const std::vector<int32_t> ids =
        ids_.empty() ? EncodeText(opened, text_).ids : ReadIds(ids_, opened.config.vocab_size);
    if (ids.empty()) throw UsageError("the text has no tokens");
    if (model_.context > 0 && ids.size() > static_cast<size_t>(model_.context)) {
      throw UsageError("{} tokens are more than --ctx {}", ids.size(), model_.context);
    }
    const HiddenPath path = steps_                     ? HiddenPath::kDecode
                            : model_.Mode().is_exact() ? HiddenPath::kForward
                                                       : HiddenPath::kPrefill;
    const Tensor hidden = HiddenStates(*opened.model, ids, path);
    if (!output_.empty()) Write(*opened.model, hidden);
    if (logprobs_) PrintLogprobs(*opened.model, hidden, ids);
    return ExitCode::kOk;
  }

 private:
  // Rows [first, last) in blocks, so that T x V floats need not exist at once.
  template <typename Consume>
  static void ForEachRow(const Model& model, const Tensor& hidden, size_t first, size_t last,
                         Consume consume) {
    constexpr size_t kRows = 64;
    Tensor logits = Tensor::F32({kRows, model.config().vocab_size});
    for (size_t begin = first; begin < last; begin += kRows) {
      const size_t n = std::min(kRows, last - begin);
      model.Head(hidden.row(begin), n, logits.f32());
      for (size_t r = 0; r < n; ++r) consume(begin + r, logits.row(r));
    }
  }

  void Write(const Model& model, const Tensor& hidden) const {
    const size_t V = model.config().vocab_size;
    TensorToWrite tensor{.name = "logits",
                         .dtype = DType::kF32,
                         .shape = {hidden.shape()[0], V},
                         .fill = [&](size_t begin, size_t end, std::byte* out) {
                           ForEachRow(model, hidden, begin, end, [&](size_t t, const float* row) {
                             std::memcpy(out + (t - begin) * V * sizeof(float), row,
                                         V * sizeof(float));
                           });
                         }};
    WriteSafetensors(output_, {tensor});
  }

  static void PrintLogprobs(const Model& model, const Tensor& hidden,
                            const std::vector<int32_t>& ids) {
    Json list = Json::MakeArray(), shown = Json::MakeArray();
    for (const int32_t id : ids) shown.Append(int64_t{id});
    ForEachRow(model, hidden, 0, hidden.shape()[0], [&](size_t t, const float* row) {
      if (t + 1 == ids.size()) return;
      double logprob;
      LogSoftmaxAt(row, model.config().vocab_size, {&ids[t + 1], 1}, &logprob);
      if (!std::isfinite(logprob))
        throw RuntimeError("the log-probability of token {} is {}: NaN or infinite weights?", t + 1,
                           logprob);
      list.Append(logprob);
    });
    Json out = Json::MakeObject();
    out.Set("ids", std::move(shown));
    out.Set("logprobs", std::move(list));
    fmt::print("{}\n", DumpJson(out));
  }

  ModelOptions model_;
  std::string ids_, text_, output_;
  bool logprobs_ = false, steps_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeLogits() { return std::make_unique<LogitsVerb>(); }

}  // namespace planish

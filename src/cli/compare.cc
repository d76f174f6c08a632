// SPDX-License-Identifier: Apache-2.0
// `planish compare`: perplexity of two models on a text, and how far their distributions are apart.
#include <algorithm>

#include "base/file.h"
#include "cli/hidden_states.h"
#include "cli/model_options.h"
#include "cli/verbs.h"
#include "eval/divergence.h"

namespace planish {
namespace {

class CompareVerb : public Verb {
 public:
  const char* name() const override { return "compare"; }
  const char* group() const override { return "measure"; }
  const char* summary() const override {
    return "perplexity of two models on a text and the KL between them";
  }
  const char* examples() const override {
    return "  planish compare -m model.q4_0.gguf --reference model.gguf --text book.txt\n  planish "
           "compare -m A --reference B --text FILE --window 512 --json";
  }
  void Declare(OptionSet* options) override {
    model_.Declare(options);
    model_.DeclareRun(options, "f32");
    options->Group("Comparison");
    options->Text("--reference", &reference_,
                  "the model to compare with, in exact arithmetic; must have the same vocabulary; "
                  "default: the model itself, which tells what --act, --kv and --ssm cost");
    options->Text("--text", &text_, "text file", true);
    options->Int("--window", &window_, 2, static_cast<int64_t>(limits::kContext),
                 "tokens of each independent window");
    options->Int("--limit", &limit_, 0, static_cast<int64_t>(limits::kContext),
                 "tokens of the text to use; 0: all");
    options->Flag("--steps", &steps_, "run the model token by token, as decoding does");
    options->Flag("--json", &json_, "one JSON object");
  }

  ExitCode Run(const OptionSet&) override {
    const Pretrained opened = model_.Open();
    ModelOptions other = model_;
    if (!reference_.empty()) {
      other.model = reference_;
      other.adapter.clear();
    }
    other.act = "f32";
    other.kv = "auto";
    other.ssm = "f32";
    const Pretrained reference = other.Open(/*needs_tokenizer=*/false);
    RequireSameVocabulary(opened, reference);
    std::vector<int32_t> ids = opened.tokenizer->Encode(ReadFile(text_, limits::kTokenizerBytes),
                                                        {.parse_special = false});
    if (limit_ > 0 && ids.size() > static_cast<size_t>(limit_))
      ids.resize(static_cast<size_t>(limit_));
    if (ids.size() < 2) throw BadFile("{}: has {} tokens, expected at least 2", text_, ids.size());
    const HiddenPath path = steps_                     ? HiddenPath::kDecode
                            : model_.Mode().is_exact() ? HiddenPath::kForward
                                                       : HiddenPath::kPrefill;
    Divergence sums;
    const auto window = static_cast<size_t>(window_);
    for (size_t begin = 0; begin + 1 < ids.size(); begin += window) {
      const auto piece = std::span(ids).subspan(begin, std::min(window, ids.size() - begin));
      const Tensor hidden = HiddenStates(*opened.model, piece, path),
                   reference_hidden = HiddenStates(*reference.model, piece, HiddenPath::kForward);
      sums.Add(CompareHidden(*opened.model, hidden.f32(), *reference.model, reference_hidden.f32(),
                             piece.subspan(1)));
    }
    Print(opened, reference, sums);
    return ExitCode::kOk;
  }

 private:
  void Print(const Pretrained& opened, const Pretrained& reference, const Divergence& sums) const {
    const auto n = static_cast<double>(sums.tokens);
    const double perplexity = sums.perplexity(), reference_perplexity = sums.reference_perplexity();
    const double agreement = static_cast<double>(sums.top1) / n;
    if (json_) {
      Json out = Json::MakeObject();
      out.Set("perplexity", perplexity);
      out.Set("reference_perplexity", reference_perplexity);
      out.Set("kl_mean", sums.mean_kl());
      out.Set("kl_max", sums.kl_max);
      out.Set("top1_agreement", agreement);
      out.Set("tokens", sums.tokens);
      fmt::print("{}\n", DumpJson(out));
      return;
    }
    fmt::print("{:<28} {:.4f}\n", "perplexity of " + opened.name, perplexity);
    fmt::print("{:<28} {:.4f}\n", "perplexity of " + reference.name, reference_perplexity);
    fmt::print("{:<28} {:.6f} mean, {:.6f} largest, nats a token\n", "KL(reference || model)",
               sums.mean_kl(), sums.kl_max);
    fmt::print("{:<28} {:.2f} % of {} tokens\n", "same first choice", 100 * agreement, sums.tokens);
  }

  ModelOptions model_;
  std::string reference_, text_;
  int64_t window_ = 512, limit_ = 0;
  bool json_ = false, steps_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeCompare() { return std::make_unique<CompareVerb>(); }

}  // namespace planish

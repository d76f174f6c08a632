// SPDX-License-Identifier: Apache-2.0
// `planish compare`: perplexity of two models on a text, and how far their distributions are apart.
#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "cli/hidden_states.h"
#include "cli/model_options.h"
#include "cli/verbs.h"
#include "infer/generate.h"
#include "kernels/sample.h"

namespace planish {
namespace {

struct Sums {
  double nll = 0, reference_nll = 0, kl = 0, kl_max = 0;
  size_t tokens = 0, top1 = 0;
};

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
    if (opened.config.vocab_size != reference.config.vocab_size) {
      throw BadFile("{}: has {} tokens, but {} has {}: the KL needs the same vocabulary",
                    opened.name, opened.config.vocab_size, reference.name,
                    reference.config.vocab_size);
    }
    CheckSameVocabulary(opened, reference);
    std::vector<int32_t> ids = opened.tokenizer->Encode(ReadFile(text_, limits::kTokenizerBytes),
                                                        {.parse_special = false});
    if (limit_ > 0 && ids.size() > static_cast<size_t>(limit_))
      ids.resize(static_cast<size_t>(limit_));
    if (ids.size() < 2) throw BadFile("{}: has {} tokens, expected at least 2", text_, ids.size());
    const HiddenPath path = steps_                     ? HiddenPath::kDecode
                            : model_.Mode().is_exact() ? HiddenPath::kForward
                                                       : HiddenPath::kPrefill;
    Sums sums;
    const auto window = static_cast<size_t>(window_);
    for (size_t begin = 0; begin + 1 < ids.size(); begin += window) {
      AddWindow(*opened.model, path, *reference.model,
                std::span(ids).subspan(begin, std::min(window, ids.size() - begin)), &sums);
    }
    Print(opened, reference, sums);
    return ExitCode::kOk;
  }

 private:
  // The KL compares token by token: the same ids must mean the same bytes.
  static void CheckSameVocabulary(const Pretrained& a, const Pretrained& b) {
    if (b.tokenizer == nullptr) return;
    for (size_t id = 0; id < a.config.vocab_size; ++id) {
      const auto token = static_cast<TokenId>(id);
      if (a.tokenizer->TokenBytes(token) != b.tokenizer->TokenBytes(token)) {
        throw BadFile("{} and {} have different vocabularies: token {} is {} and {}", a.name,
                      b.name, id, Quoted(a.tokenizer->TokenBytes(token)),
                      Quoted(b.tokenizer->TokenBytes(token)));
      }
    }
  }

  static void AddWindow(const Model& a, HiddenPath path, const Model& b,
                        std::span<const int32_t> ids, Sums* sums) {
    constexpr size_t kRows = 32;
    const Tensor hidden_a = HiddenStates(a, ids, path),
                 hidden_b = HiddenStates(b, ids, HiddenPath::kForward);
    const size_t V = a.config().vocab_size, predicted = ids.size() - 1;
    Tensor logits_a = Tensor::F32({kRows, V}), logits_b = Tensor::F32({kRows, V});
    for (size_t begin = 0; begin < predicted; begin += kRows) {
      const size_t n = std::min(kRows, predicted - begin);
      a.Head(hidden_a.row(begin), n, logits_a.f32());
      b.Head(hidden_b.row(begin), n, logits_b.f32());
      for (size_t r = 0; r < n; ++r)
        AddToken(logits_a.row(r), logits_b.row(r), V, static_cast<size_t>(ids[begin + r + 1]),
                 sums);
    }
  }

  // KL(reference || model), the direction that punishes what the model has lost.
  static void AddToken(const float* a, const float* b, size_t V, size_t next, Sums* sums) {
    const double log_a = LogSumExp(a, V), log_b = LogSumExp(b, V);
    if (!std::isfinite(log_a) || !std::isfinite(log_b))
      throw RuntimeError("the logits of {} are not finite",
                         std::isfinite(log_a) ? "the reference" : "the model");
    double kl = 0;
    for (size_t v = 0; v < V; ++v) {
      const double q = static_cast<double>(b[v]) - log_b;
      if (q > -60.0) kl += std::exp(q) * (q - (static_cast<double>(a[v]) - log_a));
    }
    kl = std::max(kl, 0.0);
    sums->nll -= static_cast<double>(a[next]) - log_a;
    sums->reference_nll -= static_cast<double>(b[next]) - log_b;
    sums->kl += kl;
    sums->kl_max = std::max(sums->kl_max, kl);
    sums->top1 += ArgMax(a, V) == ArgMax(b, V);
    ++sums->tokens;
  }

  void Print(const Pretrained& opened, const Pretrained& reference, const Sums& sums) const {
    const auto n = static_cast<double>(sums.tokens);
    const double perplexity = std::exp(sums.nll / n),
                 reference_perplexity = std::exp(sums.reference_nll / n);
    const double agreement = static_cast<double>(sums.top1) / n;
    if (json_) {
      Json out = Json::MakeObject();
      out.Set("perplexity", perplexity);
      out.Set("reference_perplexity", reference_perplexity);
      out.Set("kl_mean", sums.kl / n);
      out.Set("kl_max", sums.kl_max);
      out.Set("top1_agreement", agreement);
      out.Set("tokens", static_cast<uint64_t>(sums.tokens));
      fmt::print("{}\n", DumpJson(out));
      return;
    }
    fmt::print("{:<28} {:.4f}\n", "perplexity of " + opened.name, perplexity);
    fmt::print("{:<28} {:.4f}\n", "perplexity of " + reference.name, reference_perplexity);
    fmt::print("{:<28} {:.6f} mean, {:.6f} largest, nats a token\n", "KL(reference || model)",
               sums.kl / n, sums.kl_max);
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

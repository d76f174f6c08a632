// SPDX-License-Identifier: Apache-2.0
#include "eval/divergence.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/sample.h"
#include "model/pretrained.h"

namespace planish {
namespace {

// Rows of logits at a time: enough for a good matrix product, bounded in memory for large vocabularies.
size_t RowsAtATime(size_t V) {
  constexpr size_t kValues = size_t{1} << 23;
  return std::clamp<size_t>(kValues / V, 8, 256);
}

struct TokenFigures {
  double nll, reference_nll, kl;
  bool same_choice, finite, reference_finite;
};

// a, b: [V] logits of the model and of the reference.
TokenFigures CompareToken(const float* a, const float* b, size_t V, size_t next) {
  // What has less probability than e^-60 adds nothing that a double sum of V terms could hold.
  constexpr double kSmallest = -60.0;
  const double log_a = LogSumExp(a, V), log_b = LogSumExp(b, V);
  double kl = 0;
  for (size_t v = 0; v < V; ++v) {
    const double q = static_cast<double>(b[v]) - log_b;
    if (q > kSmallest) kl += std::exp(q) * (q - (static_cast<double>(a[v]) - log_a));
  }
  return {log_a - static_cast<double>(a[next]),
          log_b - static_cast<double>(b[next]),
          std::max(kl, 0.0),
          ArgMax(a, V) == ArgMax(b, V),
          std::isfinite(log_a),
          std::isfinite(log_b)};
}

double Perplexity(double nll, uint64_t tokens) {
  return tokens == 0 ? 0 : std::exp(nll / static_cast<double>(tokens));
}

Tensor ForwardHidden(const Model& model, std::span<const int32_t> ids, Workspace* workspace) {
  Tensor hidden = Tensor::F32({ids.size(), model.config().hidden_size});
  model.Forward(ids, SeqLayout(ids.size()), hidden.f32(), workspace);
  return hidden;
}

}  // namespace

double Divergence::perplexity() const { return Perplexity(nll, tokens); }
double Divergence::reference_perplexity() const { return Perplexity(reference_nll, tokens); }

void Divergence::Add(const Divergence& other) {
  nll += other.nll;
  reference_nll += other.reference_nll;
  kl += other.kl;
  kl_max = std::max(kl_max, other.kl_max);
  tokens += other.tokens;
  top1 += other.top1;
  sample_kl.insert(sample_kl.end(), other.sample_kl.begin(), other.sample_kl.end());
}

Divergence CompareHidden(const Model& model, const float* hidden, const Model& reference,
                         const float* reference_hidden, std::span<const int32_t> next) {
  const size_t T = next.size(), V = model.config().vocab_size;
  const size_t D = model.config().hidden_size, reference_D = reference.config().hidden_size;
  PLANISH_CHECK(reference.config().vocab_size == V);
  const size_t rows = std::min(T, RowsAtATime(V));
  Tensor logits = Tensor::F32({rows, V}), reference_logits = Tensor::F32({rows, V});
  std::vector<TokenFigures> figures(rows);
  Divergence sum;
  for (size_t begin = 0; begin < T; begin += rows) {
    const size_t n = std::min(rows, T - begin);
    model.Head(hidden + begin * D, n, logits.f32());
    reference.Head(reference_hidden + begin * reference_D, n, reference_logits.f32());
    ParallelFor(n, [&](size_t r, int) {
      figures[r] = CompareToken(logits.row(r), reference_logits.row(r), V,
                                static_cast<size_t>(next[begin + r]));
    });
    for (size_t r = 0; r < n; ++r) {
      const TokenFigures& token = figures[r];
      if (!token.finite || !token.reference_finite)
        throw RuntimeError("the logits of {} are not finite",
                           token.finite ? "the reference" : "the model");
      sum.nll += token.nll;
      sum.reference_nll += token.reference_nll;
      sum.kl += token.kl;
      sum.kl_max = std::max(sum.kl_max, token.kl);
      sum.top1 += token.same_choice;
    }
  }
  sum.tokens = T;
  if (T > 0) sum.sample_kl.push_back(sum.mean_kl());
  return sum;
}

Divergence CompareModels(const Model& model, const Model& reference,
                         std::span<const std::vector<int32_t>> rows) {
  Workspace workspace;
  Divergence sum;
  for (const std::vector<int32_t>& row : rows) {
    if (row.size() < 2) continue;  // nothing is predicted
    const Tensor hidden = ForwardHidden(model, row, &workspace);
    const Tensor reference_hidden = ForwardHidden(reference, row, &workspace);
    sum.Add(CompareHidden(model, hidden.f32(), reference, reference_hidden.f32(),
                          std::span(row).subspan(1)));
  }
  return sum;
}

void RequireSameVocabulary(const Pretrained& model, const Pretrained& reference) {
  if (model.config.vocab_size != reference.config.vocab_size) {
    throw BadFile("{}: has {} tokens, but {} has {}: the KL needs the same vocabulary", model.name,
                  model.config.vocab_size, reference.name, reference.config.vocab_size);
  }
  if (model.tokenizer == nullptr || reference.tokenizer == nullptr) return;
  for (size_t id = 0; id < model.config.vocab_size; ++id) {
    const auto token = static_cast<TokenId>(id);
    const std::string_view a = model.tokenizer->TokenBytes(token),
                           b = reference.tokenizer->TokenBytes(token);
    if (a != b) {
      throw BadFile("{} and {} have different vocabularies: token {} is {} and {}", model.name,
                    reference.name, id, Quoted(a), Quoted(b));
    }
  }
}

}  // namespace planish

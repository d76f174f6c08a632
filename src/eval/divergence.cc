// SPDX-License-Identifier: Apache-2.0
#include "eval/divergence.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/distillation.h"
#include "kernels/sample.h"
#include "model/pretrained.h"

namespace planish {
namespace {

// Rows of logits at a time: enough for a good matrix product, bounded in memory for large vocabularies.
size_t RowsAtATime(size_t V) {
  constexpr size_t kValues = size_t{1} << 23;
  return std::clamp<size_t>(kValues / V, 8, 256);
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

void AddTokens(float* logits, const float* reference, std::span<const int32_t> next, size_t V,
               Divergence* sum) {
  std::vector<DistillationRow> rows(next.size());
  Distillation({.student = logits,
                .teacher = reference,
                .stride = V,
                .targets = next.data(),
                .R = rows.size(),
                .V = V,
                .results = rows.data()},
               CrossEntropyGradient::kNone);
  for (size_t r = 0; r < rows.size(); ++r) {
    const DistillationRow& row = rows[r];
    if (std::isnan(row.ce)) {
      const bool is_reference = !std::isfinite(LogSumExp(reference + r * V, V));
      throw RuntimeError("the logits of {} are not finite",
                         is_reference ? "the reference" : "the model");
    }
    const double kl = std::max(row.forward, 0.0);  // rounding can leave less than nothing
    sum->nll += row.ce;
    sum->reference_nll += row.teacher_ce;
    sum->kl += kl;
    sum->kl_max = std::max(sum->kl_max, kl);
    sum->top1 += row.agrees;
  }
  sum->tokens += rows.size();
}

Divergence CompareHidden(const Model& model, const float* hidden, const Model& reference,
                         const float* reference_hidden, std::span<const int32_t> next) {
  const size_t T = next.size(), V = model.config().vocab_size;
  const size_t D = model.config().hidden_size, reference_D = reference.config().hidden_size;
  PLANISH_CHECK(reference.config().vocab_size == V);
  const size_t rows = std::min(T, RowsAtATime(V));
  Tensor logits = Tensor::F32({rows, V}), reference_logits = Tensor::F32({rows, V});
  Divergence sum;
  for (size_t begin = 0; begin < T; begin += rows) {
    const size_t n = std::min(rows, T - begin);
    model.Head(hidden + begin * D, n, logits.f32());
    reference.Head(reference_hidden + begin * reference_D, n, reference_logits.f32());
    AddTokens(logits.f32(), reference_logits.f32(), next.subspan(begin, n), V, &sum);
  }
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

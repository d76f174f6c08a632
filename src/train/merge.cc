// SPDX-License-Identifier: Apache-2.0
#include "train/merge.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"

namespace planish {
namespace {

constexpr size_t kTaskRows = 64;

size_t RowsOf(const Param& param) { return param.weight != nullptr ? param.shape[0] : 1; }
size_t ColumnsOf(const Param& param) {
  return param.weight != nullptr ? param.shape[1] : param.shape.elements();
}
void ReadRow(const Param& param, size_t r, float* out) {
  if (param.weight != nullptr)
    param.weight->DequantizeRow(r, out);
  else
    std::memcpy(out, param.vector->data(), param.vector->bytes());
}

// The first difference between two configs that matters for merging; empty if there is none.
std::string ConfigDifference(const ModelConfig& a, const ModelConfig& b) {
  const auto differ = [](const char* what, const auto& x, const auto& y) {
    return x == y ? std::string() : fmt::format("{} is {} and {}", what, x, y);
  };
  for (const std::string& text :
       {differ("model_type", std::string(ModelType(a.family)), std::string(ModelType(b.family))),
        differ("hidden_size", a.hidden_size, b.hidden_size),
        differ("vocab_size", a.vocab_size, b.vocab_size),
        differ("num_hidden_layers", a.n_layers, b.n_layers),
        differ("tie_word_embeddings", a.tie_embeddings, b.tie_embeddings),
        differ("norm epsilon", a.norm_eps, b.norm_eps),
        differ("rope_theta", a.rope_theta, b.rope_theta)}) {
    if (!text.empty()) return text;
  }
  for (size_t i = 0; i < std::min(a.blocks.size(), b.blocks.size()); ++i) {
    const BlockConfig &x = a.blocks[i], &y = b.blocks[i];
    if (x.layer != y.layer || x.mixer.index() != y.mixer.index()) {
      return fmt::format("block {} is {} of layer {} and {} of layer {}", i,
                         kMixerNames[x.mixer.index()], x.layer, kMixerNames[y.mixer.index()],
                         y.layer);
    }
  }
  if (!a.HasBlocksOf(b)) return "their blocks differ in size";
  return {};
}

std::string TokenizerDifference(const Pretrained& a, const Pretrained& b) {
  if ((a.tokenizer == nullptr) != (b.tokenizer == nullptr))
    return fmt::format("{} has no tokenizer", a.tokenizer == nullptr ? a.name : b.name);
  if (a.tokenizer == nullptr) return {};
  for (size_t id = 0; id < a.config.vocab_size; ++id) {
    const auto token = static_cast<TokenId>(id);
    if (a.tokenizer->TokenBytes(token) != b.tokenizer->TokenBytes(token)) {
      return fmt::format("token {} is {} and {}", id, Quoted(a.tokenizer->TokenBytes(token)),
                         Quoted(b.tokenizer->TokenBytes(token)));
    }
  }
  if (!(a.tokenizer->ToJson() == b.tokenizer->ToJson()))
    return "their tokenizers cut text in different ways";
  return {};
}

void CheckMergeable(const Pretrained& a, const Pretrained& b) {
  std::string difference = ConfigDifference(a.config, b.config);
  if (difference.empty()) difference = TokenizerDifference(a, b);
  if (!difference.empty())
    throw UsageError("{} and {} cannot be merged: {}", a.name, b.name, difference);
  const bool has_template = a.chat_template != nullptr;
  if (has_template != (b.chat_template != nullptr) ||
      (has_template && a.chat_template->source() != b.chat_template->source()))
    LogWarning("the chat template of {} differs from that of {}, which is taken", b.name, a.name);
}

}  // namespace

std::vector<double> UniformWeights(size_t n) {
  return std::vector<double>(n, 1.0 / static_cast<double>(n));
}

std::vector<double> EmaWeights(size_t n, double decay) {
  std::vector<double> weights(n);
  double factor = 1;  // decay^(models after this one)
  for (size_t i = n; i-- > 1; factor *= decay) weights[i] = (1 - decay) * factor;
  weights[0] = factor;
  return weights;
}

std::vector<double> TaskWeights(const std::vector<double>& scales) {
  std::vector<double> weights = {1 - std::accumulate(scales.begin(), scales.end(), 0.0)};
  weights.insert(weights.end(), scales.begin(), scales.end());
  return weights;
}

void CheckWeights(const std::vector<double>& weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (!(std::abs(sum - 1) <= 1e-6)) throw UsageError("the weights add up to {}, expected 1", sum);
}

Merger::Merger(const std::vector<std::string>& paths) {
  PLANISH_CHECK(!paths.empty());
  for (const std::string& path : paths) {
    models_.push_back(OpenPretrained(path, {.needs_tokenizer = false, .checks_memory = false}));
    if (models_.size() > 1) CheckMergeable(models_.front(), models_.back());
    std::vector<Param>& params = params_.emplace_back();
    models_.back().model->VisitParams([&](const Param& param) { params.push_back(param); });
    // Equal configs make equal lists.
    PLANISH_CHECK(params.size() == params_.front().size());
  }
  weights_ = UniformWeights(paths.size());
}

void Merger::SetLinear(std::vector<double> weights) {
  PLANISH_CHECK(weights.size() == models_.size());
  weights_ = std::move(weights);
  is_slerp_ = false;
}

void Merger::SetSlerp(double t) {
  PLANISH_CHECK(models_.size() == 2);
  t_ = t;
  is_slerp_ = true;
}

const std::vector<Merger::Gram>& Merger::Grams() const {
  if (!grams_.empty()) return grams_;
  const size_t n = models_.size();
  for (size_t p = 0; p < params_[0].size(); ++p) {
    const size_t rows = RowsOf(params_[0][p]), columns = ColumnsOf(params_[0][p]);
    const size_t tasks = (rows + kTaskRows - 1) / kTaskRows;
    std::vector<double> partial(tasks * n * n);
    ParallelFor(tasks, [&](size_t task, int) {
      std::vector<float> values(n * columns);
      double* sums = partial.data() + task * n * n;
      for (size_t r = task * kTaskRows; r < std::min(rows, (task + 1) * kTaskRows); ++r) {
        for (size_t i = 0; i < n; ++i) ReadRow(params_[i][p], r, values.data() + i * columns);
        for (size_t i = 0; i < n; ++i) {
          for (size_t j = 0; j <= i; ++j) {
            double sum = 0;
            for (size_t c = 0; c < columns; ++c)
              sum += double{values[i * columns + c]} * values[j * columns + c];
            sums[i * n + j] += sum;
          }
        }
      }
    });
    Gram gram{params_[0][p].name, std::vector<double>(n * n)};
    for (size_t task = 0; task < tasks; ++task) {
      for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j <= i; ++j) gram.products[i * n + j] += partial[(task * n + i) * n + j];
      }
    }
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = i + 1; j < n; ++j) gram.products[i * n + j] = gram.products[j * n + i];
    }
    grams_.push_back(std::move(gram));
  }
  return grams_;
}

std::vector<double> Merger::CoefficientsOf(const Gram& gram) const {
  if (!is_slerp_) return weights_;
  const double lengths = std::sqrt(gram.products[0] * gram.products[3]);
  const double cosine = lengths > 0 ? std::clamp(gram.products[1] / lengths, -1.0, 1.0) : 1.0;
  const double omega = std::acos(cosine), sine = std::sin(omega);
  // Below, the arc is straight to within the rounding of a float; at 180 degrees no arc is singled out.
  if (sine < 1e-4) return {1 - t_, t_};
  return {std::sin((1 - t_) * omega) / sine, std::sin(t_ * omega) / sine};
}

ParamRows Merger::Rows() const {
  // By name: the caller's parameters may belong to another model of the same shape.
  auto coefficients = std::make_shared<std::map<std::string, std::vector<double>>>();
  auto index = std::make_shared<std::map<std::string, size_t>>();
  for (size_t p = 0; p < params_[0].size(); ++p) {
    (*index)[params_[0][p].name] = p;
    (*coefficients)[params_[0][p].name] = is_slerp_ ? CoefficientsOf(Grams()[p]) : weights_;
  }
  return [this, coefficients, index](const Param& param, size_t r, float* out) {
    const size_t p = index->at(param.name), columns = ColumnsOf(params_[0][p]);
    const std::vector<double>& c = coefficients->at(param.name);
    std::vector<float> row(columns);
    std::vector<double> sum(columns);
    for (size_t i = 0; i < models_.size(); ++i) {
      if (c[i] == 0) continue;  // a weight of 0 keeps even infinities out
      ReadRow(params_[i][p], r, row.data());
      for (size_t k = 0; k < columns; ++k) sum[k] += c[i] * row[k];
    }
    for (size_t k = 0; k < columns; ++k) out[k] = static_cast<float>(sum[k]);
  };
}

std::vector<TensorNorms> Merger::Norms() const {
  const size_t n = models_.size();
  std::vector<TensorNorms> norms;
  for (const Gram& gram : Grams()) {
    const std::vector<double> c = CoefficientsOf(gram);
    TensorNorms item{.name = gram.name, .sources = {}, .merged = 0};
    double square = 0;  // of sum_i c_i theta_i
    for (size_t i = 0; i < n; ++i) {
      item.sources.push_back(std::sqrt(gram.products[i * n + i]));
      for (size_t j = 0; j < n; ++j) square += c[i] * c[j] * gram.products[i * n + j];
    }
    item.merged = std::sqrt(std::max(square, 0.0));
    norms.push_back(std::move(item));
  }
  return norms;
}

void Merger::Fill(Model* target) const {
  const ParamRows rows = Rows();
  target->VisitParams([&](const Param& param) {
    if (param.vector != nullptr) {
      rows(param, 0, param.vector->f32());
      return;
    }
    auto* values = reinterpret_cast<float*>(param.weight->mutable_data());
    ParallelFor(param.shape[0],
                [&](size_t r, int) { rows(param, r, values + r * param.shape[1]); });
    param.weight->Touch();
  });
  target->ParamsChanged();
}

}  // namespace planish

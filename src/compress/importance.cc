// SPDX-License-Identifier: Apache-2.0
#include "compress/importance.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "compress/block_runner.h"
#include "kernels/ffn_activation.h"
#include "kernels/rounding.h"
#include "model/attention.h"
#include "model/ffn.h"
#include "model/mamba2.h"
#include "model/rows_view.h"

namespace planish {
namespace {

constexpr size_t kStrip = 64;         // columns of a task
constexpr size_t kPassTokens = 4096;  // of a pass through a block, at least one sample

// squares[c] += (mean over the rows of a sample of |x|)^2, for each sample of the layout. x: [T, ...] rows `stride` apart.
void AddSquaredMeans(const RowsView& x, size_t stride, size_t width, const SeqLayout& layout,
                     std::vector<double>* squares) {
  ParallelFor((width + kStrip - 1) / kStrip, [&](size_t strip, int) {
    const size_t begin = strip * kStrip, n = std::min(kStrip, width - begin);
    float row[kStrip];
    double sums[kStrip];
    for (size_t s = 0; s < layout.sequences(); ++s) {
      std::fill_n(sums, n, 0.0);
      for (size_t t = layout.begin(s); t < layout.begin(s) + layout.length(s); ++t) {
        const float* values = row;
        if (x.dtype == DType::kF32)
          values = x.f32() + t * stride + begin;
        else
          WidenRows(x.From(t, stride).From(1, begin).data, x.dtype, n, row);
        for (size_t i = 0; i < n; ++i) sums[i] += std::abs(static_cast<double>(values[i]));
      }
      for (size_t i = 0; i < n; ++i) {
        const double mean = sums[i] / static_cast<double>(layout.length(s));
        (*squares)[begin + i] += mean * mean;
      }
    }
  });
}

// Sums over the samples, before the roots.
struct Sums {
  std::vector<std::vector<double>> hidden;    // [blocks][D]
  std::vector<std::vector<double>> channels;  // [blocks][width of what the block is scored by]
  std::vector<double> cosines;                // [blocks]
};

// The input of down_proj from what the block kept of gate and up.
void AddFfn(const Pass& pass, const FfnConfig& ffn, const FfnSaved& saved,
            std::vector<double>* squares) {
  const Workspace::Scope scope(*pass.workspace);
  const size_t T = pass.tokens(), F = ffn.intermediate_size, n = T * F;
  const DType type = pass.row_type();
  float* up = pass.workspace->Take(n);
  float* act = pass.workspace->Take(n);  // of `type`
  WidenRows(saved.up.data(), type, n, up);
  if (ffn.kind == FfnKind::kSwiGlu) {
    float* gate = pass.workspace->Take(n);
    WidenRows(saved.gate.data(), type, n, gate);
    SiluMulForward(gate, up, n, type, nullptr, nullptr, act);
  } else {
    ReluSquaredForward(up, n, type, nullptr, act);
  }
  AddSquaredMeans({act, type}, F, F, pass.layout, squares);
}

}  // namespace

size_t ScoredWidth(const MixerConfig& mixer) {
  if (const auto* a = std::get_if<AttentionConfig>(&mixer)) return a->n_heads * a->head_dim;
  if (const auto* m = std::get_if<Mamba2Config>(&mixer)) return m->inner();
  if (const auto* f = std::get_if<FfnConfig>(&mixer)) return f->intermediate_size;
  return 0;
}

void AddBlockSquares(const Pass& pass, const MixerConfig& mixer, const Saved& saved,
                     std::vector<double>* squares) {
  if (const auto* ffn = std::get_if<FfnConfig>(&mixer)) {
    AddFfn(pass, *ffn, static_cast<const FfnSaved&>(saved), squares);
  } else if (std::holds_alternative<AttentionConfig>(mixer)) {
    const Tensor& out = static_cast<const AttentionSaved&>(saved).out;
    AddSquaredMeans(out, squares->size(), squares->size(), pass.layout, squares);
  } else if (const auto* mamba = std::get_if<Mamba2Config>(&mixer)) {
    const Tensor& zxbc = static_cast<const Mamba2Saved&>(saved).zxbc;
    const size_t d_in = mamba->inner();
    AddSquaredMeans(RowsView(zxbc).From(1, d_in), d_in + mamba->conv_dim(), d_in, pass.layout,
                    squares);
  }
}

namespace {

// Adds y to h, and each token's cosine of h before and after to *sum, in order.
void AddAndCompare(const float* y, size_t T, size_t D, float* h, double* sum) {
  std::vector<double> cosines(T);
  ParallelFor(T, [&](size_t t, int) {
    double before = 0, after = 0, dot = 0;
    for (size_t d = 0; d < D; ++d) {
      const double x = h[t * D + d];
      h[t * D + d] += y[t * D + d];
      const double next = h[t * D + d];
      before += x * x;
      after += next * next;
      dot += x * next;
    }
    cosines[t] = before > 0 && after > 0 ? dot / std::sqrt(before * after) : 1.0;
  });
  for (const double cosine : cosines) *sum += cosine;
}

class Sweep {
 public:
  Sweep(const Pretrained& parent, const ImportanceOptions& options)
      : parent_(parent), options_(options), runner_(parent.model.get()) {
    for (const BlockConfig& block : parent.config.blocks) {
      sums_.hidden.emplace_back(parent.config.hidden_size);
      sums_.channels.emplace_back(ScoredWidth(block.mixer));
      sums_.cosines.push_back(0);
    }
  }

  void Run(const CalibrationRows& calibration) {
    const size_t D = parent_.config.hidden_size, blocks = runner_.blocks(),
                 samples = calibration.rows.size();
    size_t wave = 1;
    if (samples > 0 && !calibration.rows[0].empty())
      wave = std::max<uint64_t>(1, options_.stream_bytes / (calibration.rows[0].size() * D * 4));
    for (size_t begin = 0; begin < samples; begin += wave) {
      const size_t count = std::min(wave, samples - begin);
      const std::span rows(calibration.rows.data() + begin, count);
      std::vector<int32_t> ids;
      for (const auto& row : rows) ids.insert(ids.end(), row.begin(), row.end());
      std::vector<float> h(ids.size() * D);
      runner_.Embed(ids, h.data());
      if (options_.evicts) EvictBlock(parent_, -1);
      for (size_t block = 0; block < blocks; ++block) {
        RunBlock(block, rows, h.data());
        if (options_.evicts) EvictBlock(parent_, static_cast<int>(block));
        if (options_.progress)
          options_.progress(begin * blocks + (block + 1) * count, samples * blocks);
      }
    }
  }

  Importance Result(const CalibrationRows& calibration) const {
    Importance importance;
    importance.model = parent_.name;
    importance.calibration = calibration.description;
    importance.calibration_hash = calibration.hash;
    importance.weights = WeightsMark(parent_);
    importance.hidden.assign(parent_.config.hidden_size, 0.0);
    const auto tokens = static_cast<double>(calibration.tokens());
    for (size_t block = 0; block < runner_.blocks(); ++block) {
      for (size_t d = 0; d < importance.hidden.size(); ++d)
        importance.hidden[d] += std::sqrt(sums_.hidden[block][d]);
      BlockImportance found;
      const std::vector<double>& squares = sums_.channels[block];
      if (const auto* a = std::get_if<AttentionConfig>(&parent_.config.blocks[block].mixer)) {
        found.scores.assign(a->n_heads, 0.0);
        for (size_t i = 0; i < squares.size(); ++i) found.scores[i / a->head_dim] += squares[i];
      } else {
        found.scores = squares;
      }
      for (double& score : found.scores) score = std::sqrt(score);
      found.influence = tokens > 0 ? 1.0 - sums_.cosines[block] / tokens : 0;
      importance.blocks.push_back(std::move(found));
    }
    return importance;
  }

 private:
  // All rows of the wave through one block, in passes of some samples each.
  void RunBlock(size_t block, std::span<const std::vector<int32_t>> rows, float* h) {
    const size_t D = parent_.config.hidden_size;
    const MixerConfig& mixer = parent_.config.blocks[block].mixer;
    for (size_t first = 0; first < rows.size();) {
      std::vector<size_t> lengths;
      size_t T = 0;
      for (; first + lengths.size() < rows.size();) {
        const size_t length = rows[first + lengths.size()].size();
        if (T > 0 && T + length > kPassTokens) break;
        lengths.push_back(length);
        T += length;
      }
      const SeqLayout layout = SeqLayout::Packed(lengths);
      const Workspace::Scope scope(workspace_);
      const Pass pass{.layout = layout, .workspace = &workspace_, .precision = options_.precision};
      float* x = workspace_.Take(T * D);
      float* y = workspace_.Take(T * D);
      runner_.Norm(block, h, T, x);
      AddSquaredMeans(x, D, D, layout, &sums_.hidden[block]);
      std::unique_ptr<Saved> saved;
      parent_.model->mixer(block).Forward(pass, x, y, &saved);
      AddBlockSquares(pass, mixer, *saved, &sums_.channels[block]);
      AddAndCompare(y, T, D, h, &sums_.cosines[block]);
      if (!std::isfinite(sums_.cosines[block])) {
        throw RuntimeError("{}: the output of block {} is not finite on the calibration text",
                           parent_.name, block);
      }
      h += T * D;
      first += lengths.size();
    }
  }

  const Pretrained& parent_;
  const ImportanceOptions& options_;
  BlockRunner runner_;
  Workspace workspace_;
  Sums sums_;
};

Json Numbers(const std::vector<double>& values) {
  Json list = Json::MakeArray();
  for (const double value : values) list.Append(value);
  return list;
}

std::vector<double> ReadNumbers(const JsonReader& reader, const char* key, size_t count) {
  std::vector<double> values;
  const Json::Array& items = reader.Array(key);
  if (items.size() != count) {
    throw BadFile("{} has {} numbers, expected {}: the scores of another model?",
                  reader.PathOf(key), items.size(), count);
  }
  for (const Json& item : items) {
    if (!item.is_number() || !(item.AsDouble() >= 0)) reader.Fail(key, "numbers of at least 0");
    values.push_back(item.AsDouble());
  }
  return values;
}

uint64_t ReadHash(const JsonReader& reader, const char* key) {
  const std::string hash = reader.StringOr(key, "0");
  if (hash.empty() || hash.size() > 16 ||
      hash.find_first_not_of("0123456789abcdef") != std::string::npos)
    reader.Fail(key, "up to 16 hexadecimal digits");
  return std::stoull(hash, nullptr, 16);
}

size_t ScoreCount(const MixerConfig& mixer) {
  const auto* a = std::get_if<AttentionConfig>(&mixer);
  return a != nullptr ? a->n_heads : ScoredWidth(mixer);
}

}  // namespace

uint64_t WeightsMark(const Pretrained& model) {
  uint64_t mark = 0;
  model.model->VisitParams([&](const Param& param) {
    if (param.role != ParamRole::kNorm) return;
    const std::string_view bytes(reinterpret_cast<const char*>(param.vector->data()),
                                 param.vector->bytes());
    mark = mark * 31 + Fnv1a(bytes);
  });
  return mark;
}

void EvictBlock(const Pretrained& model, int block) {
  model.model->VisitParams([&](const Param& param) {
    if (param.block == block && param.weight != nullptr && param.weight->is_mapped())
      param.weight->Evict();
  });
}

Importance MeasureImportance(const Pretrained& parent, const CalibrationRows& calibration,
                             const ImportanceOptions& options) {
  Sweep sweep(parent, options);
  sweep.Run(calibration);
  return sweep.Result(calibration);
}

Json ImportanceToJson(const Importance& importance) {
  Json json = Json::MakeObject();
  json.Set("format", "planish importance 1");
  json.Set("model", importance.model);
  json.Set("calibration", importance.calibration);
  json.Set("calibration_hash", fmt::format("{:016x}", importance.calibration_hash));
  json.Set("weights", fmt::format("{:016x}", importance.weights));
  Json removals = Json::MakeArray();
  for (const Importance::Removal& removal : importance.removals) {
    Json step = Json::MakeObject(), blocks = Json::MakeArray();
    for (const size_t block : removal.blocks) blocks.Append(static_cast<uint64_t>(block));
    step.Set("blocks", std::move(blocks));
    step.Set("logit_mse", removal.logit_mse);
    removals.Append(std::move(step));
  }
  json.Set("removals", std::move(removals));
  json.Set("hidden", Numbers(importance.hidden));
  Json blocks = Json::MakeArray();
  for (const BlockImportance& block : importance.blocks) {
    Json item = Json::MakeObject();
    item.Set("influence", block.influence);
    item.Set("scores", Numbers(block.scores));
    blocks.Append(std::move(item));
  }
  json.Set("blocks", std::move(blocks));
  return json;
}

Importance ImportanceFromJson(const Json& json, const std::string& where,
                              const ModelConfig& config) {
  const JsonReader reader(json, where);
  if (reader.String("format") != "planish importance 1")
    reader.Fail("format", "\"planish importance 1\"");
  Importance importance;
  importance.model = reader.StringOr("model", "");
  importance.calibration = reader.StringOr("calibration", "");
  importance.calibration_hash = ReadHash(reader, "calibration_hash");
  importance.weights = ReadHash(reader, "weights");
  importance.hidden = ReadNumbers(reader, "hidden", config.hidden_size);
  const Json::Array& blocks = reader.Array("blocks");
  if (blocks.size() != config.blocks.size()) {
    throw BadFile("{} has {} entries, expected {}, the model's blocks", reader.PathOf("blocks"),
                  blocks.size(), config.blocks.size());
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    const JsonReader block = reader.Element("blocks", i);
    importance.blocks.push_back({ReadNumbers(block, "scores", ScoreCount(config.blocks[i].mixer)),
                                 block.Number("influence", -1e-6, 2.1)});
  }
  if (!reader.Has("removals")) return importance;
  std::vector<bool> seen(config.blocks.size());
  for (size_t i = 0; i < reader.Array("removals").size(); ++i) {
    const JsonReader step = reader.Element("removals", i);
    Importance::Removal removal;
    removal.logit_mse = step.Number("logit_mse", 0, 1e300);
    for (const Json& item : step.Array("blocks")) {
      if (!item.is_integer() || item.AsInt() < 0 ||
          item.AsInt() >= static_cast<int64_t>(seen.size()) ||
          seen[static_cast<size_t>(item.AsInt())])
        step.Fail("blocks", "numbers of blocks, each once in the file");
      seen[static_cast<size_t>(item.AsInt())] = true;
      removal.blocks.push_back(static_cast<size_t>(item.AsInt()));
    }
    importance.removals.push_back(std::move(removal));
  }
  return importance;
}

}  // namespace planish

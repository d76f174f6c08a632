// SPDX-License-Identifier: Apache-2.0
#include "compress/child_init.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"
#include "compress/importance.h"
#include "compress/least_squares.h"
#include "kernels/ffn_activation.h"
#include "model/attention.h"
#include "model/ffn.h"
#include "model/tensor_names.h"

namespace planish {
namespace {

constexpr double kRidge = 0.01;
constexpr size_t kWidestFit =
    8192;  // of an output matrix: the fit takes width^3 operations in double

// A matrix of a parent's block as floats [out, in].
std::vector<float> MatrixOf(const Pretrained& parent, size_t block, const std::string& name) {
  const ModelConfig& config = parent.config;
  const std::string full = MixerPrefix(config.family, config.blocks[block]) + name;
  std::vector<float> values;
  parent.model->VisitParams([&](const Param& param) {
    if (param.name != full || param.weight == nullptr) return;
    const size_t in = param.shape[1];
    values.resize(param.shape.elements());
    ParallelFor(param.shape[0],
                [&](size_t r, int) { param.weight->DequantizeRow(r, values.data() + r * in); });
  });
  PLANISH_CHECK(!values.empty(), "{} is not a matrix of the model", full);
  return values;
}

// What the parent's block keeps of a pass over the sample.
std::unique_ptr<Saved> SavedOf(const Pretrained& parent, size_t block, const BlockRows& sample) {
  Workspace workspace;
  const Pass pass{.layout = *sample.layout, .workspace = &workspace, .selective = true};
  std::vector<float> y(sample.tokens() * parent.config.hidden_size);
  std::unique_ptr<Saved> saved;
  parent.model->mixer(block).Forward(pass, sample.x, y.data(), &saved);
  return saved;
}

// What Minitron scores the block's channels by, before the roots (compress/importance.h).
std::vector<double> SquaresOf(const Pretrained& parent, size_t block, const BlockRows& sample) {
  Workspace workspace;
  const Pass pass{.layout = *sample.layout, .workspace = &workspace};
  const MixerConfig& own = parent.config.blocks[block].mixer;
  std::vector<double> squares(ScoredWidth(own));
  AddBlockSquares(pass, own, *SavedOf(parent, block, sample), &squares);
  return squares;
}

// Indices of the `count` largest of scores[begin, end), ascending; of equals the first.
IndexList Largest(const std::vector<double>& scores, size_t begin, size_t end, size_t count) {
  IndexList order(end - begin);
  std::iota(order.begin(), order.end(), static_cast<uint32_t>(begin));
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
  order.resize(count);
  std::sort(order.begin(), order.end());
  return order;
}

FfnSlice NeuronsOf(const Pretrained& parent, size_t block, const FfnConfig& own,
                   const FfnConfig& child, const BlockRows& sample) {
  const size_t F = own.intermediate_size, D = parent.config.hidden_size;
  std::vector<double> scores = SquaresOf(parent, block, sample);
  const std::vector<float> down = MatrixOf(parent, block, "down_proj.weight");
  for (size_t f = 0; f < F; ++f) {
    double square = 0;
    for (size_t d = 0; d < D; ++d) square += double{down[d * F + f]} * down[d * F + f];
    scores[f] *= square;  // in squares, as the order is the same
  }
  return {Largest(scores, 0, F, child.intermediate_size)};
}

MambaSlice HeadsAndChannelsOf(const Pretrained& parent, size_t block, const Mamba2Config& own,
                              const Mamba2Config& child, const BlockRows& sample) {
  const size_t H = own.n_heads, P = own.head_dim;
  const std::vector<double> squares = SquaresOf(parent, block, sample);
  std::vector<double> channels(P), heads(H);
  for (size_t h = 0; h < H; ++h)
    for (size_t p = 0; p < P; ++p) channels[p] += squares[h * P + p];
  MambaSlice slice;
  slice.channels = Largest(channels, 0, P, child.head_dim);
  for (size_t h = 0; h < H; ++h)
    for (const uint32_t p : slice.channels) heads[h] += squares[h * P + p];
  const size_t in_group = H / own.n_groups;
  for (size_t g = 0; g < own.n_groups; ++g) {
    const IndexList chosen =
        Largest(heads, g * in_group, (g + 1) * in_group, child.n_heads / own.n_groups);
    slice.heads.insert(slice.heads.end(), chosen.begin(), chosen.end());
  }
  return slice;
}

enum class KvHeads { kMean, kBest };

// How much of the block's output each KV head gives: sum over its query heads of mean ||out_h|| ||W_o,h||.
std::vector<double> KvWeights(const Pretrained& parent, size_t block, const AttentionConfig& own,
                              const BlockRows& sample) {
  const std::unique_ptr<Saved> saved = SavedOf(parent, block, sample);
  const float* out = static_cast<const AttentionSaved&>(*saved).out.f32();
  const size_t H = own.n_heads, P = own.head_dim, D = parent.config.hidden_size;
  const std::vector<float> o_proj = MatrixOf(parent, block, "o_proj.weight");
  std::vector<double> weights(own.n_kv_heads);
  for (size_t h = 0; h < H; ++h) {
    double norm = 0, matrix = 0;
    for (size_t t = 0; t < sample.tokens(); ++t) {
      double square = 0;
      for (size_t p = 0; p < P; ++p) {
        const double value = out[(t * H + h) * P + p];
        square += value * value;
      }
      norm += std::sqrt(square);
    }
    for (size_t d = 0; d < D; ++d) {
      for (size_t p = 0; p < P; ++p) {
        const double value = o_proj[(d * H + h) * P + p];
        matrix += value * value;
      }
    }
    weights[h / (H / own.n_kv_heads)] += norm * std::sqrt(matrix);
  }
  return weights;
}

AttentionSlice KvSlice(const Pretrained& parent, size_t block, const AttentionConfig& own,
                       const AttentionConfig& child, KvHeads kind, const BlockRows& sample) {
  AttentionSlice slice;
  slice.heads.resize(own.n_heads);
  std::iota(slice.heads.begin(), slice.heads.end(), 0u);
  const size_t merged = own.n_kv_heads / child.n_kv_heads;
  const std::vector<double> weights =
      kind == KvHeads::kBest ? KvWeights(parent, block, own, sample) : std::vector<double>();
  for (size_t k = 0; k < child.n_kv_heads; ++k) {
    IndexList heads(merged);
    std::iota(heads.begin(), heads.end(), static_cast<uint32_t>(k * merged));
    if (kind == KvHeads::kBest) heads = Largest(weights, k * merged, (k + 1) * merged, 1);
    slice.kv_heads.push_back(std::move(heads));
  }
  return slice;
}

std::unique_ptr<Mixer> SlicedChild(const Pretrained& parent, size_t block, const MixerConfig& mixer,
                                   const BlockSlice& kept) {
  ConfigEdit edit;
  for (const BlockConfig& own : parent.config.blocks) edit.blocks.emplace_back(own.mixer);
  edit.blocks[block] = mixer;
  const EditedConfig edited = EditConfig(parent.config, edit);
  ModelSlice slice;
  slice.blocks.resize(parent.config.blocks.size());
  slice.blocks[block] = kept;
  const ParamRows rows = SlicedRows(parent, edited, slice);
  const std::string prefix = MixerPrefix(edited.config.family, edited.config.blocks[block]);
  std::unique_ptr<Mixer> child = NewChild(parent.config, mixer);
  FillChild(child.get(), [&](const Param& param, size_t r, float* out) {
    Param named = param;
    named.name = prefix + param.name;
    named.block = static_cast<int>(block);
    rows(named, r, out);
  });
  return child;
}

std::unique_ptr<Mixer> LinearChild(const Pretrained& parent, const std::vector<float>& matrix) {
  std::unique_ptr<Mixer> child = NewChild(parent.config, LinearConfig{});
  const size_t D = parent.config.hidden_size;
  FillChild(child.get(), [&](const Param&, size_t r, float* out) {
    std::copy_n(matrix.data() + r * D, D, out);
  });
  return child;
}

std::unique_ptr<Mixer> Better(const Pretrained& parent, std::unique_ptr<Mixer> a,
                              std::unique_ptr<Mixer> b, const BlockRows& sample) {
  Workspace workspace;
  const size_t D = parent.config.hidden_size;
  const double error_a = ErrorOf(a.get(), sample, D, Precision::kF32, &workspace).error;
  const double error_b = ErrorOf(b.get(), sample, D, Precision::kF32, &workspace).error;
  return error_b < error_a ? std::move(b) : std::move(a);
}

// What the output matrix of a child reads, [T, width], and that matrix; empty for kinds that do not keep it.
struct OutputSide {
  std::vector<float> inputs;
  size_t width = 0;
  Param matrix;
};

OutputSide OutputSideOf(Mixer* child, const MixerConfig& config, const Saved& saved) {
  OutputSide side;
  if (const auto* ffn = std::get_if<FfnConfig>(&config)) {
    const auto& kept = static_cast<const FfnSaved&>(saved);
    const size_t n = kept.up.elements();
    side.width = ffn->intermediate_size;
    side.inputs.resize(n);
    if (ffn->kind == FfnKind::kSwiGlu)
      SiluMulForward(kept.gate.f32(), kept.up.f32(), n, DType::kF32, nullptr, nullptr,
                     side.inputs.data());
    else
      ReluSquaredForward(kept.up.f32(), n, DType::kF32, nullptr, side.inputs.data());
  } else if (const auto* attention = std::get_if<AttentionConfig>(&config)) {
    const Tensor& out = static_cast<const AttentionSaved&>(saved).out;
    side.width = attention->n_heads * attention->head_dim;
    side.inputs.assign(out.f32(), out.f32() + out.elements());
  }
  for (const Param& param : ParamsOf(child))
    if (param.role == ParamRole::kOutput) side.matrix = param;
  return side;
}

// W += argmin ||A dW^T - (y - child(x))||^2 + lambda ||dW||^2 over the first sequences; undone if that errs more on the others.
void RefitOutput(Mixer* child, const MixerConfig& config, const BlockRows& sample, size_t D) {
  const SeqLayout& layout = *sample.layout;
  const size_t held_out = layout.sequences() / 4;
  if (held_out == 0) return;
  Workspace workspace;
  const Pass pass{.layout = layout, .workspace = &workspace};
  std::vector<float> residual(sample.tokens() * D);
  std::unique_ptr<Saved> saved;
  child->Forward(pass, sample.x, residual.data(), &saved);
  const size_t fitted = layout.begin(layout.sequences() - held_out);
  const auto error_behind = [&](const float* y) {
    return ErrorOf(sample.y + fitted * D, y + fitted * D, sample.tokens() - fitted, D).error;
  };
  const double before = error_behind(residual.data());
  const OutputSide side = OutputSideOf(child, config, *saved);
  if (side.width == 0 || side.width > kWidestFit) return;
  for (size_t i = 0; i < residual.size(); ++i) residual[i] = sample.y[i] - residual[i];
  const std::vector<float> change =
      RidgeMatrix(side.inputs.data(), residual.data(), fitted, side.width, D, kRidge);
  float* matrix = ValuesOf(side.matrix);
  const std::vector<float> original(matrix, matrix + change.size());
  for (size_t i = 0; i < change.size(); ++i) matrix[i] += change[i];
  side.matrix.weight->Touch();
  child->Forward(pass, sample.x, residual.data(), nullptr);
  if (error_behind(residual.data()) < before) return;
  std::copy(original.begin(), original.end(), matrix);
  side.matrix.weight->Touch();
}

}  // namespace

std::vector<float> AttentionAsMatrix(const Pretrained& parent, size_t block) {
  const auto& own = std::get<AttentionConfig>(parent.config.blocks[block].mixer);
  const size_t H = own.n_heads, P = own.head_dim, D = parent.config.hidden_size;
  const std::vector<float> o = MatrixOf(parent, block, "o_proj.weight");  // [D, H*P]
  const std::vector<float> v = MatrixOf(parent, block, "v_proj.weight");  // [K*P, D]
  std::vector<float> matrix(D * D);
  ParallelFor(D, [&](size_t d, int) {
    std::vector<double> row(D);
    for (size_t h = 0; h < H; ++h) {
      for (size_t p = 0; p < P; ++p) {
        const double weight = o[d * H * P + h * P + p];
        const float* values = v.data() + (h / (H / own.n_kv_heads) * P + p) * D;
        for (size_t i = 0; i < D; ++i) row[i] += weight * values[i];
      }
    }
    for (size_t i = 0; i < D; ++i) matrix[d * D + i] = static_cast<float>(row[i]);
  });
  return matrix;
}

BlockSlice SliceByImportance(const Pretrained& parent, size_t block, const MixerConfig& mixer,
                             const BlockRows& sample) {
  const MixerConfig& own = parent.config.blocks[block].mixer;
  if (own == mixer) return std::monostate();
  PLANISH_CHECK(own.index() == mixer.index());
  if (const auto* ffn = std::get_if<FfnConfig>(&own))
    return NeuronsOf(parent, block, *ffn, std::get<FfnConfig>(mixer), sample);
  if (const auto* mamba = std::get_if<Mamba2Config>(&own))
    return HeadsAndChannelsOf(parent, block, *mamba, std::get<Mamba2Config>(mixer), sample);
  return KvSlice(parent, block, std::get<AttentionConfig>(own), std::get<AttentionConfig>(mixer),
                 KvHeads::kMean, sample);
}

std::unique_ptr<Mixer> InitialChild(const Pretrained& parent, size_t block,
                                    const MixerConfig& mixer, const BlockRows& sample) {
  const MixerConfig& own = parent.config.blocks[block].mixer;
  const size_t D = parent.config.hidden_size;
  if (std::holds_alternative<LinearConfig>(mixer) && own != mixer) {
    auto fitted =
        LinearChild(parent, RidgeMatrix(sample.x, sample.y, sample.tokens(), D, D, kRidge));
    if (!std::holds_alternative<AttentionConfig>(own)) return fitted;
    return Better(parent, std::move(fitted), LinearChild(parent, AttentionAsMatrix(parent, block)),
                  sample);
  }
  auto child = SlicedChild(parent, block, mixer, SliceByImportance(parent, block, mixer, sample));
  if (own == mixer) return child;
  RefitOutput(child.get(), mixer, sample, D);
  if (!std::holds_alternative<AttentionConfig>(own)) return child;
  auto best = SlicedChild(parent, block, mixer,
                          KvSlice(parent, block, std::get<AttentionConfig>(own),
                                  std::get<AttentionConfig>(mixer), KvHeads::kBest, sample));
  RefitOutput(best.get(), mixer, sample, D);
  return Better(parent, std::move(child), std::move(best), sample);
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "train/train_plan.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/bf16_panels.h"
#include "kernels/panel_product.h"
#include "kernels/ssd_task.h"
#include "model/adapter.h"
#include "model/mamba2_slices.h"
#include "model/planner.h"
#include "model/projection.h"
#include "train/flat_params.h"
#include "train/gradient_sum.h"
#include "train/loss.h"

namespace planish {
namespace {

// What Workspace::Take makes of n floats, in bytes.
constexpr uint64_t Taken(uint64_t floats) { return (floats + 15) / 16 * 16 * sizeof(float); }

// What a buffer of so many bytes takes: large ones stand in huge pages (base/memory.h).
uint64_t InPages(uint64_t bytes) {
  constexpr uint64_t kHugePage = uint64_t{2} << 20;
  return bytes < 2 * kHugePage ? bytes : (bytes + kHugePage - 1) / kHugePage * kHugePage;
}

// Buffers that are kept: their bytes, and what they take.
struct Buffers {
  uint64_t bytes = 0, in_pages = 0;
  void Add(uint64_t buffer) {
    bytes += buffer;
    in_pages += InPages(buffer);
  }
  void Add(const Buffers& other) {
    bytes += other.bytes;
    in_pages += other.in_pages;
  }
};

// What a block keeps from forward to backward (Saved), and the bytes it takes from the workspace on either way: the largest
// sum of what its functions take, in their order.
struct BlockBytes {
  Buffers kept;
  uint64_t forward = 0;           // keeping
  uint64_t forward_dropping = 0;  // without Saved
  uint64_t backward = 0;
};

struct BytesVisitor {
  uint64_t T;      // tokens of the pass
  uint64_t row;    // bytes of a kept value
  bool selective;  // what is cheap to compute again is not kept
  // What a product takes beside: rows of a weight that is stored quantised, or the low-rank rows of T tokens.
  uint64_t block, low_rank_row;

  uint64_t Rows(uint64_t count, uint64_t width) const {
    return Taken((count * width * row + sizeof(float) - 1) / sizeof(float));
  }
  bool
      hands_out;  // products are handed to their readers in parts (model/projection.h), not kept whole
  uint64_t Whole(uint64_t floats) const { return hands_out ? 0 : Taken(floats); }
  uint64_t Product(uint64_t tokens) const { return std::max(block, Taken(tokens * low_rank_row)); }

  BlockBytes operator()(const AttentionConfig& m) const {
    const uint64_t q = m.n_heads * m.head_dim, kv = m.n_kv_heads * m.head_dim, H = m.n_heads;
    const uint64_t rows = 2 * Taken(T * q) + 2 * Taken(T * kv);
    const bool rounds = m.has_qk_norm && row < sizeof(float);
    const uint64_t again = m.has_qk_norm ? Taken(T * q) + Taken(T * kv) : 0;
    BlockBytes bytes;
    for (const uint64_t width : {row * q, row * q, row * kv, row * kv, 4 * H})
      bytes.kept.Add(T * width);
    bytes.forward = rows + Taken(T * H) + (rounds ? Taken(T * q) : 0) + Product(T);
    bytes.forward_dropping = bytes.forward;
    bytes.backward = rows + std::max(again, Product(T));
    return bytes;
  }
  BlockBytes operator()(const Mamba2Config& m) const {
    const uint64_t width = m.in_proj_rows(), d_in = m.inner(), conv = m.conv_dim(), H = m.n_heads;
    const uint64_t state = H * m.head_dim * m.state_size, W = m.conv_kernel;
    const uint64_t S = std::min<uint64_t>(T, Mamba2SliceTokens(width));
    const uint64_t cuts = (T + S - 1) / S - 1;
    const uint64_t cheap = Rows(S, conv) + Rows(S, d_in);  // conv's and scan's results
    BlockBytes bytes;
    bytes.kept.Add(T * row * (d_in + conv));
    bytes.kept.Add(T * 4 * H);
    bytes.kept.Add(4 * cuts * state);
    if (!selective) bytes.kept.Add(T * row * conv);
    if (!selective) bytes.kept.Add(T * row * d_in);
    bytes.forward = (selective ? cheap : 0) + Taken(S * H) + Whole(S * width) + Rows(S, d_in);
    bytes.forward_dropping = bytes.forward + Rows(W - 1 + S, d_in + conv) + Taken(S * H) +
                             Taken(state) + (selective ? 0 : cheap);
    bytes.forward += Product(S);
    bytes.forward_dropping += Product(S);
    const uint64_t sums = 3 * Taken(H) + Taken(W * conv) + Taken(conv) + Taken(d_in) +
                          Taken(state) + 2 * Taken((W - 1) * conv);
    bytes.backward =
        sums + Taken(S * H) + (selective ? cheap : 0) + Rows(S, width) + Taken(S * d_in) +
        std::max(Rows(S, d_in) + Product(S), Taken(S * conv) + Taken(S * H) + Product(S));
    return bytes;
  }
  BlockBytes operator()(const FfnConfig& m) const {
    const uint64_t inputs = m.kind == FfnKind::kSwiGlu ? 2 : 1, F = m.intermediate_size;
    const uint64_t S = std::min<uint64_t>(T, 4096);
    BlockBytes bytes;
    for (uint64_t i = 0; i < inputs; ++i) bytes.kept.Add(T * row * F);
    bytes.forward = inputs * Taken(S * F) + Whole(S * F) + Product(S);
    bytes.forward_dropping = bytes.forward;
    bytes.backward = (inputs + 1) * Taken(S * F) + Whole(S * F) + Product(S);
    return bytes;
  }
  BlockBytes operator()(const LinearConfig&) const {
    return {.forward = Product(T), .forward_dropping = Product(T), .backward = Product(T)};
  }
};

struct Counted {
  uint64_t trained = 0;  // floats of the flat space
  uint64_t vectors = 0;  // elements
  uint64_t matrices = 0;
  uint64_t rows_only = 0;  // of them, those of an embedding that only hands out rows
  std::vector<std::pair<uint64_t, uint64_t>> projections;  // [out, in] of each
};

Counted Count(const ModelConfig& config, const TrainPlanRequest& request) {
  Counted counted;
  const auto aligned = [](uint64_t n) {
    constexpr uint64_t kAlign = FlatParams::kAlignFloats;
    return (n + kAlign - 1) / kAlign * kAlign;
  };
  Model model(config);
  AdapterConfig adapter{.rank = request.lora_rank, .target_modules = request.lora_modules};
  model.VisitParams([&](const Param& param) {
    const uint64_t n = param.shape.elements();
    (param.vector != nullptr ? counted.vectors : counted.matrices) += n;
    if (request.lora_rank == 0) counted.trained += aligned(n);
    if (param.role == ParamRole::kEmbedding && !config.tie_embeddings) counted.rows_only += n;
    if (param.projection == nullptr) return;
    const uint64_t out = param.shape[0], in = param.shape[1];
    counted.projections.emplace_back(out, in);
    if (request.lora_rank == 0 || !IsTarget(adapter, param.name)) return;
    counted.trained += aligned(request.lora_rank * out) + aligned(request.lora_rank * in);
  });
  return counted;
}

// Packed operands of the largest products, sums of tasks, and what the chunks of a scan need.
uint64_t KernelBytes(const ModelConfig& config, const Counted& counted, uint64_t rank, uint64_t T,
                     uint64_t head_rows) {
  const bool is_lora = rank > 0;
  constexpr uint64_t kPackedElems = uint64_t{16} << 20;  // of gemm_bf16.cc
  const auto threads = static_cast<uint64_t>(ThreadCount());
  uint64_t left = 0, right = 0, few_left = 0;
  const auto product = [&](uint64_t M, uint64_t N, uint64_t K) {
    if (M <= kMaxLeftRows) {
      few_left = std::max(few_left, PackedElems(M, K));
      return;
    }
    const auto packed = [K](uint64_t rows) {
      const uint64_t chunk = kPackedElems / (TileCount(K) * kPanelDepth);
      return PackedElems(std::min(rows, std::max<uint64_t>(chunk / 512, 1) * 512), K);
    };
    left = std::max(left, packed(M));
    right = std::max(right, packed(N));
  };
  for (const auto& [out, in] : counted.projections) {
    const uint64_t S = std::min<uint64_t>(T, 4096);
    product(S, out, in);
    product(S, in, out);
    if (is_lora) {
      product(S, rank, in);
      product(S, rank, out);
      product(rank, in, S);
      product(out, rank, S);
    } else {
      product(out, in, S);
    }
  }
  const uint64_t V = config.vocab_size, D = config.hidden_size;
  product(head_rows, V, D);
  product(head_rows, D, V);
  if (!is_lora) product(V, D, head_rows);
  uint64_t bytes =
      2 * (left + right + few_left) + 2 * threads * TaskMemory::kFloats * sizeof(float);
  uint64_t scan = 0, terms = 0;
  for (const BlockConfig& block : config.blocks) {
    if (const auto* m = std::get_if<Mamba2Config>(&block.mixer)) {
      const SsdHeadBlocks heads({m->n_heads, m->head_dim, m->state_size, m->n_groups});
      const uint64_t S = std::min<uint64_t>(T, Mamba2SliceTokens(m->in_proj_rows()));
      const uint64_t chunks = (S + m->chunk_size - 1) / m->chunk_size;
      const uint64_t states = chunks * heads.size() * m->head_dim * m->state_size;
      scan = std::max(
          scan, threads * states + (heads.per_group() - 1) * S * 2 * m->n_groups * m->state_size);
    }
    if (const auto* m = std::get_if<AttentionConfig>(&block.mixer))
      terms = std::max<uint64_t>(terms, 2 * m->n_heads * (T + 32));
  }
  return bytes + sizeof(float) * (scan + terms);
}

// Bytes of a value of the matrices as they are stored: 4, 2 or less. Files hold some more than matrices.
double BaseValueBytes(const TrainPlanRequest& request, const Counted& counted) {
  if (request.lora_rank == 0) return 4;
  if (request.base_bytes == 0) return 2;
  const double bytes =
      static_cast<double>(request.base_bytes) / static_cast<double>(counted.matrices);
  return bytes > 3.9 ? 4 : bytes > 1.9 ? 2 : bytes;
}

struct AllBlocks {
  std::vector<Buffers> kept;
  uint64_t forward = 0, forward_dropping = 0, backward = 0;
};

AllBlocks BlocksOf(const ModelConfig& config, const TrainPlanRequest& request,
                   const Counted& counted) {
  const uint64_t row = request.precision == Precision::kF32 ? 4 : 2;
  BytesVisitor visitor{
      .T = request.micro_tokens,
      .row = row,
      .selective = request.recompute.kind != Recompute::Kind::kNone,
      .block = 0,
      .low_rank_row = request.lora_rank,
      .hands_out = request.precision == Precision::kBf16 && request.lora_rank == 0};
  if (BaseValueBytes(request, counted) < 2) {
    for (const auto& [out, in] : counted.projections)
      visitor.block =
          std::max(visitor.block, Taken((FrozenBlockRows(out, in) * in * row + 3) / sizeof(float)));
  }
  AllBlocks all;
  for (const BlockConfig& block : config.blocks) {
    const BlockBytes bytes = std::visit(visitor, block.mixer);
    all.kept.push_back(bytes.kept);
    all.forward = std::max(all.forward, bytes.forward);
    all.forward_dropping = std::max(all.forward_dropping, bytes.forward_dropping);
    all.backward = std::max(all.backward, bytes.backward);
  }
  return all;
}

// Kept after Forward, and the most while segments go back one after the other.
struct Kept {
  Buffers after_forward;
  uint64_t in_backward = 0;  // in pages
};

Kept KeptOf(const ModelConfig& config, const TrainPlanRequest& request, const AllBlocks& blocks) {
  const uint64_t L = config.blocks.size(), every = request.recompute.every;
  const uint64_t stream = 4 * request.micro_tokens * config.hidden_size;
  const auto streams = [stream](uint64_t count) {
    Buffers all;
    for (uint64_t i = 0; i < count; ++i) all.Add(stream);
    return all;
  };
  const auto saved = [&](uint64_t begin, uint64_t end) {
    Buffers all;
    for (uint64_t i = begin; i < end; ++i) all.Add(blocks.kept[i]);
    return all;
  };
  Kept kept;
  if (request.recompute.kind != Recompute::Kind::kFull) {
    kept.after_forward = saved(0, L);
    kept.in_backward = kept.after_forward.in_pages + streams(L).in_pages;
    kept.after_forward.Add(streams(L + 1));
    return kept;
  }
  const uint64_t segments = (L + every - 1) / every;
  kept.after_forward = streams(segments + 1);
  for (uint64_t s = 0; s < segments; ++s) {
    const uint64_t begin = s * every, end = std::min(begin + every, L);
    kept.in_backward =
        std::max(kept.in_backward, saved(begin, end).in_pages + streams(s + end - begin).in_pages);
  }
  return kept;
}

}  // namespace

TrainPlan PlanTraining(const ModelConfig& config, const TrainPlanRequest& request) {
  const uint64_t T = request.micro_tokens, D = config.hidden_size, V = config.vocab_size;
  const bool is_full = request.recompute.kind == Recompute::Kind::kFull;
  const bool is_lora = request.lora_rank > 0;
  const uint64_t row = request.precision == Precision::kF32 ? 4 : 2;
  const Counted counted = Count(config, request);
  const AllBlocks blocks = BlocksOf(config, request, counted);
  const Kept kept = KeptOf(config, request, blocks);
  const uint64_t stream = Taken(T * D);

  TrainPlan plan;
  plan.trained = counted.trained;
  if (is_lora) {
    const uint64_t bytes = request.base_bytes > 0 ? request.base_bytes : 2 * counted.matrices;
    // Rows of an embedding that is not the head are read where they stand.
    const double share =
        static_cast<double>(counted.rows_only) / static_cast<double>(counted.matrices);
    plan.weights = bytes - static_cast<uint64_t>(share * static_cast<double>(bytes)) +
                   4 * (counted.vectors + counted.trained);
  } else {
    plan.weights = 4 * (counted.matrices + counted.vectors);
  }
  plan.gradients = GradientSum::Bytes(counted.trained, request.micro_batches, /*ranks=*/1);
  plan.moments = 8 * counted.trained;
  // Adapters are saved from where they are.
  plan.snapshot = request.has_async_checkpoints && !is_lora ? 12 * counted.trained : 0;
  // hidden and d_hidden while the loss is computed, d_hidden on the way back.
  const uint64_t hidden = InPages(4 * T * D);
  plan.activations = std::max(kept.after_forward.in_pages + 2 * hidden, kept.in_backward + hidden);
  // The workspace serves one after the other: forward (h, normed and the block's output), head, backward (dh, x, dx, h and,
  // where a block is computed again, its output).
  const uint64_t rows = std::min<uint64_t>(LossChunkRows(V), (T + 31) / 32 * 32);
  const bool converts_head = BaseValueBytes(request, counted) != static_cast<double>(row);
  const uint64_t head = Taken(rows * D * row / 4) + Taken(rows * V) + Taken(rows * D) +
                        (request.has_teacher_logits ? Taken(rows * V) : 0) +
                        (converts_head ? Taken(V * D * row / 4) : 0);
  const uint64_t forward = is_full ? blocks.forward_dropping : blocks.forward;
  plan.workspace = std::max({3 * stream + forward, head, 4 * stream + blocks.backward,
                             is_full ? 5 * stream + blocks.forward : 0});
  plan.kernels = KernelBytes(config, counted, request.lora_rank, T, rows);
  plan.teacher = request.teacher_bytes;
  plan.program = uint64_t{48} << 20;
  return plan;
}

uint64_t KeptBytes(const ModelConfig& config, const TrainPlanRequest& request) {
  const AllBlocks blocks = BlocksOf(config, request, Count(config, request));
  return KeptOf(config, request, blocks).after_forward.bytes;
}

std::string Describe(const TrainPlan& plan) {
  const std::string teacher = plan.teacher == 0 ? "" : ", teacher " + GiB(plan.teacher);
  return fmt::format(
      "{} in all: weights {}, gradients {}, moments {}, checkpoint {}, activations {}, scratch "
      "{}{}",
      GiB(plan.total()), GiB(plan.weights), GiB(plan.gradients), GiB(plan.moments),
      GiB(plan.snapshot), GiB(plan.activations), GiB(plan.workspace + plan.kernels), teacher);
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "train/train_cost.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "model/mixer.h"
#include "model/planner.h"
#include "train/gradient_sum.h"
#include "train/loss.h"

namespace planish {
namespace {

// What a buffer of so many bytes takes: large ones stand in huge pages (base/memory.h).
uint64_t InPages(uint64_t bytes) {
  constexpr uint64_t kHugePage = uint64_t{2} << 20;
  return bytes < 2 * kHugePage ? bytes : (bytes + kHugePage - 1) / kHugePage * kHugePage;
}

// Bytes that a block keeps from forward to backward (Saved), and takes from the workspace on either way. Slices are those of
// model/ffn.cc and model/mamba2_training.cc.
struct BlockBytes {
  uint64_t kept = 0;
  uint64_t forward = 0, backward = 0;
};

struct BytesVisitor {
  uint64_t T;      // tokens of the pass
  uint64_t row;    // bytes of a kept value
  bool selective;  // what is cheap to compute again is not kept

  BlockBytes operator()(const AttentionConfig& m) const {
    const uint64_t q = m.n_heads * m.head_dim, kv = m.n_kv_heads * m.head_dim, H = m.n_heads;
    const uint64_t again = m.has_qk_norm ? 4 * (q + kv) : 0;
    return {.kept = T * (row * (2 * q + 2 * kv) + 4 * H),
            .forward = T * (4 * (2 * q + 2 * kv + H) + again),
            .backward = T * (4 * (2 * q + 2 * kv) + again)};
  }
  BlockBytes operator()(const Mamba2Config& m) const {
    const uint64_t width = m.in_proj_rows(), d_in = m.inner(), conv = m.conv_dim(), H = m.n_heads;
    const uint64_t S = std::min<uint64_t>(T, std::clamp<uint64_t>((1u << 24) / width, 512, 4096));
    const uint64_t cheap = row * (conv + d_in);  // conv's and scan's results
    const uint64_t slice_cheap = selective ? S * cheap : 0;
    return {.kept = T * (row * (d_in + conv) + 4 * H + (selective ? 0 : cheap)),
            .forward = S * (4 * width + 4 * H + row * d_in) + slice_cheap,
            .backward = S * (row * width + 4 * d_in + 4 * conv + 8 * H) + slice_cheap};
  }
  BlockBytes operator()(const FfnConfig& m) const {
    const uint64_t inputs = m.kind == FfnKind::kSwiGlu ? 2 : 1, F = m.intermediate_size;
    const uint64_t S = std::min<uint64_t>(T, 4096);
    return {.kept = T * row * inputs * F,
            .forward = 4 * S * (inputs + 1) * F,
            .backward = 4 * S * (inputs + 2) * F};
  }
  BlockBytes operator()(const LinearConfig&) const { return {}; }
};

}  // namespace

ForwardFlops ForwardFlopsOf(const ModelConfig& config) {
  const double D = static_cast<double>(config.hidden_size);
  ForwardFlops flops{.per_token = 2.0 * static_cast<double>(config.vocab_size) * D};
  for (const BlockConfig& block : config.blocks) {
    const MixerCost cost = CostOf(block.mixer, config.hidden_size);
    flops.per_token += cost.flops_per_token;
    flops.per_context += cost.attention_flops_per_token_and_context;
    if (const auto* m = std::get_if<Mamba2Config>(&block.mixer)) {
      // Chunks in place of the recurrence's 5 P N H: half of 2 Q N G + 2 Q P H, and 4 P N H.
      const double state = static_cast<double>(m->inner() * m->state_size);
      const double chunk = static_cast<double>(m->chunk_size);
      flops.per_token += 4.0 * state - 5.0 * state +
                         chunk * static_cast<double>(m->state_size * m->n_groups + m->inner());
    }
  }
  return flops;
}

TrainPlan PlanTraining(const ModelConfig& config, const TrainPlanRequest& request) {
  const uint64_t T = request.micro_tokens, D = config.hidden_size, L = config.blocks.size();
  const uint64_t parameters = MakePlan(config, {}).parameters;
  const uint64_t row_bytes = request.precision == Precision::kF32 ? 4 : 2;
  const bool is_full = request.recompute.kind == Recompute::Kind::kFull;
  const uint64_t every = is_full ? request.recompute.every : 1;

  const bool is_selective = request.recompute.kind != Recompute::Kind::kNone;
  std::vector<uint64_t> kept;  // of each block
  uint64_t forward = 0, backward = 0;
  for (const BlockConfig& block : config.blocks) {
    const BlockBytes bytes = std::visit(BytesVisitor{T, row_bytes, is_selective}, block.mixer);
    kept.push_back(InPages(bytes.kept));
    forward = std::max(forward, bytes.forward);
    backward = std::max(backward, bytes.backward);
  }
  uint64_t all_kept = 0;
  for (size_t i = 0; i < L; i += is_full ? every : L) {
    // Under kFull the blocks of one segment are kept while it is computed again.
    const size_t end = is_full ? std::min<size_t>(i + every, L) : L;
    all_kept = std::max(all_kept,
                        std::accumulate(kept.begin() + static_cast<ptrdiff_t>(i),
                                        kept.begin() + static_cast<ptrdiff_t>(end), uint64_t{0}));
  }
  const uint64_t streams = (L + every - 1) / every + 1 + (every > 1 ? every : 0);
  const uint64_t stream_bytes = InPages(4 * T * D);

  TrainPlan plan;
  plan.masters = 4 * parameters;
  plan.gradients = GradientSum::Bytes(parameters, request.micro_batches, /*ranks=*/1);
  plan.moments = 8 * parameters;
  plan.snapshot = request.has_async_checkpoints ? 12 * parameters : 0;
  plan.activations = all_kept + streams * stream_bytes;
  // The workspace serves one after the other: forward (h, normed and the block's output), head, backward (dh, x, dx, h and,
  // where a block is computed again, its output). hidden and d_hidden live beside it.
  const uint64_t rows = std::min<uint64_t>(T, LossChunkRows(config.vocab_size));
  const uint64_t head = 4 * rows * (config.vocab_size + 2 * D) + row_bytes * config.vocab_size * D;
  const uint64_t workspace =
      std::max({3 * stream_bytes + forward, head, 4 * stream_bytes + backward,
                is_full ? 5 * stream_bytes + forward : 0});
  // Its blocks double as it grows, and what does not fit in the rest of one begins in the next.
  plan.scratch = 2 * stream_bytes + 2 * workspace;
  plan.program = uint64_t{48} << 20;
  return plan;
}

std::string Describe(const TrainPlan& plan) {
  return fmt::format(
      "{} in all: weights {}, gradients {}, moments {}, checkpoint {}, activations {}, scratch {}",
      GiB(plan.total()), GiB(plan.masters), GiB(plan.gradients), GiB(plan.moments),
      GiB(plan.snapshot), GiB(plan.activations), GiB(plan.scratch));
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "model/planner.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/memory.h"
#include "kernels/kv_page.h"
#include "model/mixer.h"

namespace planish {
namespace {

uint64_t BytesRoundedUp(DType dtype, uint64_t elements) {
  const DTypeTraits& traits = Traits(dtype);
  return (elements + traits.block_elems - 1) / traits.block_elems * traits.block_bytes;
}

// Products of numbers that are each within their limits can exceed 64 bits: they stop at the largest value.
uint64_t Product(uint64_t a, uint64_t b) {
  uint64_t result;
  return __builtin_mul_overflow(a, b, &result) ? std::numeric_limits<uint64_t>::max() : result;
}
uint64_t Sum(uint64_t a, uint64_t b) {
  uint64_t result;
  return __builtin_add_overflow(a, b, &result) ? std::numeric_limits<uint64_t>::max() : result;
}

uint64_t CacheBytes(const Plan& plan, size_t context, size_t batch) {
  return Product(batch, Sum(Product(plan.kv_bytes_per_token, context), plan.state_bytes));
}

// Rows of floats that a step takes from its workspace: residual stream, norm, mixer's output and hidden states, and what the
// widest mixer needs beside them; then the activations of the widest product in bf16, and the logits of the batch.
uint64_t StepBytes(const ModelConfig& config, size_t batch) {
  size_t widest = 0, widest_input = config.hidden_size;
  for (const BlockConfig& block : config.blocks) {
    size_t width = 0, input = 0;
    if (const auto* attention = std::get_if<AttentionConfig>(&block.mixer)) {
      input = attention->n_heads * attention->head_dim;
      width = 2 * (attention->n_heads + attention->n_kv_heads) * attention->head_dim;
    } else if (const auto* mamba = std::get_if<Mamba2Config>(&block.mixer)) {
      input = mamba->inner();
      width = mamba->in_proj_rows() + mamba->inner();
    } else if (const auto* ffn = std::get_if<FfnConfig>(&block.mixer)) {
      input = ffn->intermediate_size;
      width = ffn->intermediate_size * (ffn->kind == FfnKind::kSwiGlu ? 2 : 1);
    }
    widest = std::max(widest, width);
    widest_input = std::max(widest_input, input);
  }
  const uint64_t floats = kPlannedStepRows * (4 * config.hidden_size + widest);
  return 4 * floats + 2 * kPlannedStepRows * widest_input + 4 * batch * config.vocab_size;
}

// Packed copies of 4 MiB and more stand in huge pages: one of them is on average half empty at the end.
uint64_t HugePageSlack(const ModelConfig& config, DType dtype) {
  if (!IsQuantised(dtype)) return 0;
  constexpr uint64_t kHugePage = uint64_t{2} << 20;
  static constexpr size_t kMatrices[] = {4, 2, 3, 1};  // by MixerConfig::index()
  uint64_t slack = 0;
  for (const BlockConfig& block : config.blocks) {
    const uint64_t matrices = kMatrices[block.mixer.index()];
    const uint64_t bytes =
        BytesRoundedUp(dtype, CostOf(block.mixer, config.hidden_size).parameters);
    if (bytes / matrices >= 2 * kHugePage) slack += matrices * kHugePage / 2;
  }
  return slack;
}

// What look-ups of a step leave mapped of an embedding in a file: the system maps 16 pages around each row.
uint64_t LookupBytes(const ModelConfig& config, DType dtype) {
  constexpr uint64_t kAround = 16 * 4096;
  const uint64_t table = BytesRoundedUp(dtype, uint64_t{config.vocab_size} * config.hidden_size);
  return std::min<uint64_t>(table, kPlannedStepRows * kAround);
}

constexpr uint64_t kProgramBytes = uint64_t{24} << 20;  // code, tables, tokenizer, heap

}  // namespace

std::string GiB(uint64_t bytes) {
  if (bytes < (uint64_t{1} << 30) / 10)
    return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
  return fmt::format("{:.2f} GiB",
                     static_cast<double>(bytes) / static_cast<double>(uint64_t{1} << 30));
}

Plan MakePlan(const ModelConfig& config, const PlanRequest& request) {
  const uint64_t D = config.hidden_size, V = config.vocab_size;
  Plan plan;
  plan.embedding_parameters = V * D * (config.tie_embeddings ? 1 : 2);
  plan.parameters = plan.embedding_parameters + D;
  plan.flops_per_token = 2.0 * static_cast<double>(V * D);
  uint64_t ssm_elements = 0, conv_elements = 0;
  for (const BlockConfig& block : config.blocks) {
    const MixerCost cost = CostOf(block.mixer, D);
    uint64_t* const kinds[] = {&plan.attention_parameters, &plan.mamba_parameters,
                               &plan.ffn_parameters, &plan.linear_parameters};
    *kinds[block.mixer.index()] += cost.parameters + D;  // the block's norm
    plan.parameters += cost.parameters + D;
    if (const auto* attention = std::get_if<AttentionConfig>(&block.mixer)) {
      const KvLayout layout{request.kv_dtype, attention->n_kv_heads, attention->head_dim};
      plan.kv_bytes_per_token += layout.PageBytes() / kKvPagePositions;
    }
    ssm_elements += cost.ssm_elements;
    conv_elements += cost.conv_elements;
    plan.flops_per_token += cost.flops_per_token + cost.attention_flops_per_token_and_context *
                                                       static_cast<double>(request.context);
  }
  plan.weight_bytes = BytesRoundedUp(request.weight_dtype, plan.parameters);
  plan.ssm_state_bytes = BytesRoundedUp(request.ssm_dtype, ssm_elements);
  plan.conv_state_bytes = BytesRoundedUp(request.conv_dtype, conv_elements);
  plan.state_bytes = plan.ssm_state_bytes + plan.conv_state_bytes;
  plan.cache_bytes = CacheBytes(plan, request.context, request.batch);
  plan.total_bytes = Sum(plan.weight_bytes, plan.cache_bytes);
  // The embedding is read one row a token; only an untied table is left out of the traffic.
  const uint64_t streamed = plan.parameters - (config.tie_embeddings ? 0 : V * D);
  const size_t paged_context = KvPageCount(request.context) * kKvPagePositions;
  const uint64_t float_conv = Product(4, conv_elements);
  const uint64_t sequence_bytes =
      Sum(Product(plan.kv_bytes_per_token, paged_context), plan.ssm_state_bytes + float_conv);
  plan.resident_bytes = Sum(
      Sum(BytesRoundedUp(request.weight_dtype, streamed), Product(request.batch, sequence_bytes)),
      StepBytes(config, request.batch) + HugePageSlack(config, request.weight_dtype) +
          LookupBytes(config, request.weight_dtype) + kProgramBytes);
  plan.decode_bytes_per_step =
      static_cast<double>(BytesRoundedUp(request.weight_dtype, streamed)) +
      static_cast<double>(request.batch) *
          (static_cast<double>(plan.kv_bytes_per_token) * static_cast<double>(request.context) +
           2.0 * static_cast<double>(plan.state_bytes));
  return plan;
}

size_t LargestContext(const ModelConfig& config, const PlanRequest& request, uint64_t memory) {
  const Plan plan = MakePlan(config, request);
  const uint64_t fixed = Sum(plan.weight_bytes, Product(request.batch, plan.state_bytes));
  if (fixed > memory) return 0;
  if (plan.kv_bytes_per_token == 0) return config.max_position;
  return std::min<size_t>(config.max_position,
                          (memory - fixed) / Product(request.batch, plan.kv_bytes_per_token));
}

size_t LargestBatch(const ModelConfig& config, const PlanRequest& request, uint64_t memory) {
  const Plan plan = MakePlan(config, request);
  const uint64_t each = CacheBytes(plan, request.context, 1);
  if (Sum(plan.weight_bytes, each) > memory) return 0;
  return each == 0 ? limits::kBatch : (memory - plan.weight_bytes) / each;
}

uint64_t MemoryBudget(uint64_t usable_bytes, double buffer_fraction, uint64_t reserved_bytes) {
  const auto kept =
      static_cast<uint64_t>(static_cast<double>(usable_bytes) * (1.0 - buffer_fraction));
  return kept > reserved_bytes ? kept - reserved_bytes : 0;
}

PlanRequest EngineRequest(size_t context, size_t batch, const StateTypes& types) {
  return {.context = context,
          .batch = batch,
          .kv_dtype = types.kv,
          .ssm_dtype = types.ssm,
          .conv_dtype = DType::kF32};
}

void CheckMemory(const ModelConfig& config, const std::string& name, uint64_t file_bytes,
                 size_t context, const StateTypes& types, uint64_t memory_limit) {
  const uint64_t available = memory_limit != 0 ? memory_limit : AvailableBytes();
  const Plan plan = MakePlan(config, EngineRequest(context, 1, types));
  const uint64_t needed = Sum(file_bytes, plan.cache_bytes);
  if (needed <= available) return;
  const uint64_t fixed = Sum(file_bytes, plan.state_bytes);
  std::string hint;
  const uint64_t fitting = fixed < available && plan.kv_bytes_per_token > 0
                               ? (available - fixed) / plan.kv_bytes_per_token
                               : 0;
  if (fitting > 0) {
    hint = fmt::format("--ctx {}, which fits", fitting);
  } else {
    const uint64_t q4 = plan.parameters / 32 * 18;
    hint =
        q4 + plan.state_bytes < std::min(available, file_bytes)
            ? fmt::format("the model converted to q4_0, which needs {}", GiB(q4 + plan.state_bytes))
            : fmt::format("a model of at most {:.0f} million parameters in q4_0",
                          static_cast<double>(available) / 18 * 32 / 1e6);
  }
  throw Error(
      ExitCode::kNoMemory,
      fmt::format("{}: needs {} (weights {}, states {} at {} tokens), but {} is available", name,
                  GiB(needed), GiB(file_bytes), GiB(plan.cache_bytes), context, GiB(available)),
      hint);
}

}  // namespace planish

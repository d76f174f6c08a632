// SPDX-License-Identifier: Apache-2.0
// What a model needs and gives, from its config alone: parameters, weights, KV, states, work. Formulas and checked tables:
// models.md sections 5-7 (Nano-9B-v2: 8,888,227,328 parameters; 2.00 GiB of bf16 KV at 131,072 tokens).
#pragma once

#include <string>

#include "model/config.h"
#include "model/mixer.h"

namespace planish {

inline constexpr size_t kPlannedStepRows = 512;

struct PlanRequest {
  size_t context = 0;  // tokens in the cache of each sequence; 0: none
  size_t batch = 1;
  DType weight_dtype = DType::kBF16;
  DType kv_dtype = DType::kBF16;
  DType ssm_dtype = DType::kF32;
  DType conv_dtype = DType::kBF16;  // the papers' budget; this program keeps f32
};

struct Plan {
  uint64_t parameters = 0;
  uint64_t embedding_parameters = 0;  // embedding, and head if untied
  uint64_t attention_parameters = 0, mamba_parameters = 0, ffn_parameters = 0,
           linear_parameters = 0;  // norms included
  uint64_t weight_bytes = 0;
  uint64_t kv_bytes_per_token = 0;  // of one sequence
  uint64_t ssm_state_bytes = 0;     // of one sequence
  uint64_t conv_state_bytes = 0;
  uint64_t state_bytes = 0;  // ssm + conv, one sequence
  uint64_t cache_bytes = 0;  // batch * (kv * context + state)
  uint64_t total_bytes = 0;  // weights + cache
  // What a running engine holds: matrices that products stream (an embedding that only hands out rows stays in the file),
  // caches in whole pages, the buffers of a step of kPlannedStepRows rows, the program itself.
  uint64_t resident_bytes = 0;
  double flops_per_token = 0;  // forward at this context, head included
  double decode_bytes_per_step =
      0;  // traffic: weights once, KV read, states read and written, for the whole batch
};
Plan MakePlan(const ModelConfig& config, const PlanRequest& request);

// Tokens a sequence may have, and sequences of `request.context`, within `memory` bytes; 0 if not even one fits.
size_t LargestContext(const ModelConfig& config, const PlanRequest& request, uint64_t memory);
size_t LargestBatch(const ModelConfig& config, const PlanRequest& request, uint64_t memory);

// Throws Error(kNoMemory), saying what is needed, what there is and what would fit, if weights of `file_bytes` and the
// states of one sequence of `context` tokens (in this engine's types) exceed `memory_limit` (0: what the machine has).
void CheckMemory(const ModelConfig& config, const std::string& name, uint64_t file_bytes,
                 size_t context, const StateTypes& types, uint64_t memory_limit);

// What a card or machine leaves for a model: usable * (1 - buffer) - reserved. Nemotron Nano 2's target (its report,
// section 4): 22.06 GiB, 5 % for the framework, 1.3 GiB for a vision encoder: 19.66 GiB.
uint64_t MemoryBudget(uint64_t usable_bytes, double buffer_fraction, uint64_t reserved_bytes);

// Types in which the engine keeps KV, SSM and conv states.
PlanRequest EngineRequest(size_t context, size_t batch, const StateTypes& types);

std::string GiB(uint64_t bytes);  // "16.56 GiB"; below a tenth of one "10.0 MiB"

}  // namespace planish

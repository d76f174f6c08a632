// SPDX-License-Identifier: Apache-2.0
// generation_config.json: the sampling defaults and end-of-sequence ids that a model's makers chose. A GGUF file that
// planish writes carries the same object in the key planish.hf.generation_config, because GGUF has no place for it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace planish {

// Unset fields fall back to the program's defaults.
struct GenerationDefaults {
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k;
  std::optional<bool> do_sample;
  bool operator==(const GenerationDefaults&) const = default;
};

struct GenerationConfig {
  GenerationDefaults defaults;
  std::optional<std::vector<int32_t>>
      eos_ids;  // set if the object has them: they replace those of config.json
};

// Error(kBadFile) naming `where` for numbers out of range and token ids outside [0, vocab_size).
GenerationConfig ParseGenerationConfig(const Json& json, const std::string& where,
                                       size_t vocab_size);
Json GenerationConfigToJson(const GenerationDefaults& defaults, std::optional<int32_t> bos_id,
                            const std::vector<int32_t>& eos_ids);

}  // namespace planish

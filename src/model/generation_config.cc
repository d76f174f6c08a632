// SPDX-License-Identifier: Apache-2.0
#include "model/generation_config.h"

#include <algorithm>

#include "base/error.h"

namespace planish {

GenerationConfig ParseGenerationConfig(const Json& json, const std::string& where,
                                       size_t vocab_size) {
  const JsonReader reader(json, where);
  GenerationConfig config;
  GenerationDefaults& defaults = config.defaults;
  if (reader.Has("temperature")) defaults.temperature = reader.Number("temperature", 0.0, 100.0);
  if (reader.Has("top_p")) defaults.top_p = reader.Number("top_p", 0.0, 1.0);
  if (reader.Has("min_p")) defaults.min_p = reader.Number("min_p", 0.0, 1.0);
  if (reader.Has("repetition_penalty"))
    defaults.repetition_penalty = reader.Number("repetition_penalty", 1e-3, 100.0);
  if (reader.Has("top_k"))
    defaults.top_k = std::max<int64_t>(
        0, reader.Int("top_k", -1, static_cast<int64_t>(limits::kVocabSize)));  // -1: off
  if (reader.Has("do_sample")) defaults.do_sample = reader.BoolOr("do_sample", false);
  if (!reader.Has("eos_token_id")) return config;
  const Json& eos = *json.Find("eos_token_id");
  const Json::Array ids = eos.is_array() ? eos.AsArray() : Json::Array{eos};
  config.eos_ids.emplace();
  for (const Json& id : ids) {
    if (!id.is_integer() || id.AsInt() < 0 || id.AsInt() >= static_cast<int64_t>(vocab_size)) {
      reader.Fail("eos_token_id", fmt::format("token ids in [0, {})", vocab_size));
    }
    config.eos_ids->push_back(static_cast<int32_t>(id.AsInt()));
  }
  return config;
}

Json GenerationConfigToJson(const GenerationDefaults& defaults, std::optional<int32_t> bos_id,
                            const std::vector<int32_t>& eos_ids) {
  Json json = Json::MakeObject();
  if (bos_id) json.Set("bos_token_id", int64_t{*bos_id});
  if (eos_ids.size() == 1) {
    json.Set("eos_token_id", int64_t{eos_ids[0]});
  } else if (!eos_ids.empty()) {
    Json ids = Json::MakeArray();
    for (const int32_t id : eos_ids) ids.Append(int64_t{id});
    json.Set("eos_token_id", std::move(ids));
  }
  if (defaults.do_sample) json.Set("do_sample", *defaults.do_sample);
  if (defaults.temperature) json.Set("temperature", *defaults.temperature);
  if (defaults.top_p) json.Set("top_p", *defaults.top_p);
  if (defaults.top_k) json.Set("top_k", *defaults.top_k);
  if (defaults.min_p) json.Set("min_p", *defaults.min_p);
  if (defaults.repetition_penalty) json.Set("repetition_penalty", *defaults.repetition_penalty);
  return json;
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "model/gguf_text.h"

#include <algorithm>

#include "base/error.h"

namespace planish {

GgufVocabulary VocabularyFromGguf(const GgufFile& file) {
  const std::string model = file.String("tokenizer.ggml.model");
  if (model != "gpt2")
    throw BadFile("{}: tokenizer.ggml.model is {}, expected gpt2 (byte-level BPE)", file.where(),
                  Quoted(model));
  GgufVocabulary vocabulary;
  vocabulary.pre = file.StringOr("tokenizer.ggml.pre", "default");
  vocabulary.tokens = file.Strings("tokenizer.ggml.tokens");
  vocabulary.types = file.Has("tokenizer.ggml.token_type")
                         ? file.Ints("tokenizer.ggml.token_type")
                         : std::vector<int64_t>(vocabulary.tokens.size(), 1);
  vocabulary.merges = file.Strings("tokenizer.ggml.merges");
  const auto id = [&](const char* key) -> std::optional<TokenId> {
    const std::string name = std::string("tokenizer.ggml.") + key + "_token_id";
    if (!file.Has(name)) return std::nullopt;
    return static_cast<TokenId>(
        file.Int(name, 0, static_cast<int64_t>(vocabulary.tokens.size()) - 1));
  };
  vocabulary.bos = id("bos");
  vocabulary.eos = id("eos");
  vocabulary.unk = id("unknown");
  vocabulary.pad = id("padding");
  // Files that do not say rely on llama.cpp's defaults: Llama 3's family and tekken begin with BOS (published Nemotron Nano 2
  // files name their pre-tokenizer pixtral).
  constexpr std::string_view kAddBos[] = {"llama-bpe", "llama3", "llama-v3", "pixtral", "tekken"};
  const bool is_bos_family =
      std::find(std::begin(kAddBos), std::end(kAddBos), vocabulary.pre) != std::end(kAddBos);
  vocabulary.add_bos = file.BoolOr("tokenizer.ggml.add_bos_token", is_bos_family);
  vocabulary.add_eos = file.BoolOr("tokenizer.ggml.add_eos_token", false);
  return vocabulary;
}

GgufMetadata VocabularyToGguf(const GgufVocabulary& vocabulary) {
  GgufMetadata keys = {
      {"tokenizer.ggml.model", GgufValue::String("gpt2")},
      {"tokenizer.ggml.pre", GgufValue::String(vocabulary.pre)},
      {"tokenizer.ggml.tokens", GgufValue::Strings(vocabulary.tokens)},
      {"tokenizer.ggml.token_type", GgufValue::I32s(vocabulary.types)},
      {"tokenizer.ggml.merges", GgufValue::Strings(vocabulary.merges)},
  };
  const auto add_id = [&](const char* key, std::optional<TokenId> id) {
    if (id)
      keys.emplace_back(std::string("tokenizer.ggml.") + key + "_token_id",
                        GgufValue::U32(static_cast<uint32_t>(*id)));
  };
  add_id("bos", vocabulary.bos);
  add_id("eos", vocabulary.eos);
  add_id("unknown", vocabulary.unk);
  add_id("padding", vocabulary.pad);
  keys.emplace_back("tokenizer.ggml.add_bos_token", GgufValue::Bool(vocabulary.add_bos));
  if (vocabulary.add_eos) keys.emplace_back("tokenizer.ggml.add_eos_token", GgufValue::Bool(true));
  return keys;
}

}  // namespace planish

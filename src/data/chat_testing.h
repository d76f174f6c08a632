// SPDX-License-Identifier: Apache-2.0
// For tests only: one tokenizer that knows the special tokens of all chat templates of the golden set.
#pragma once

#include <memory>
#include <string>

#include "base/file.h"
#include "base/limits.h"
#include "base/testing.h"
#include "data/chat_encoder.h"

namespace planish::testing {

inline std::shared_ptr<const Tokenizer> ChatTokenizer() {
  const std::string path = GoldenDir() + "/tokenizer/bpe_qwen_style/tokenizer.json";
  Json json = ParseJson(ReadFile(path, limits::kTokenizerBytes), path,
                        {.max_values = limits::kTokenizerJsonValues});
  Json added = *json.Find("added_tokens");
  int id = 1202;
  for (const char* content :
       {"<SPECIAL_10>", "<SPECIAL_11>", "<SPECIAL_12>", "<|begin_of_text|>", "<|start_header_id|>",
        "<|end_header_id|>", "<|eot_id|>", "<|User|>", "<|Assistant|>", "<|end|>"}) {
    Json token = Json::MakeObject();
    token.Set("id", id++);
    token.Set("content", content);
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"})
      token.Set(flag, false);
    token.Set("special", true);
    added.Append(std::move(token));
  }
  json.Set("added_tokens", std::move(added));
  return Tokenizer::FromJson(DumpJson(json), path);
}

// "chat/nano2" of the golden set, or "jinja/qwen3_style" of the source tree.
inline ChatFormat TestFormat(const std::string& name) {
  const std::string folder =
      name.starts_with("jinja/") ? PLANISH_SOURCE_DIR "/tests/golden" : GoldenDir();
  const std::string path = folder + "/" + name + ".jinja";
  ChatFormat format;
  format.tokenizer = ChatTokenizer();
  format.chat_template = ChatTemplate::Parse(ReadFile(path, limits::kTemplateBytes), path);
  format.thinking = format.chat_template->DetectThinking();
  if (name.find("llama31") != std::string::npos) format.bos_token = "<|begin_of_text|>";
  return format;
}

}  // namespace planish::testing

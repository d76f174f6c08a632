// SPDX-License-Identifier: Apache-2.0
// Chat templates: Jinja source rendered over messages and tools the way Hugging Face transformers does it (trim_blocks,
// lstrip_blocks, tojson as Python's json.dumps(ensure_ascii=False)). The interpreter keeps for every piece of output where
// it came from, so that special tokens are matched only in the template's own text and SFT masks follow from the same spans.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace planish {

// Where a span of rendered text came from.
struct Origin {
  enum class Kind { kTemplate, kMessage, kTools, kOther };  // kOther: bos_token, kwargs, computed values
  Kind kind = Kind::kTemplate;
  int message = -1;  // index into messages for kMessage
  bool operator==(const Origin&) const = default;
};
struct RenderedSpan {
  std::string text;
  Origin origin;
  bool in_generation = false;  // inside {% generation %}
};
struct Rendered {
  std::vector<RenderedSpan> spans;  // adjacent spans differ in origin or in_generation
  std::string Text() const;
};

struct ChatInput {
  Json messages = Json::MakeArray();  // objects with role, content (string, null or list of parts), tool_calls, ...
  Json tools;                         // null or a list
  bool add_generation_prompt = false;
  std::string bos_token, eos_token;
  Json kwargs = Json::MakeObject();   // further template variables, e.g. enable_thinking
};

// How a template switches thinking, found by rendering probes (never by matching its source text).
struct ThinkingSupport {
  enum class Toggle { kNone, kSlashCommand, kKwarg, kDetailedThinking };
  bool supported = false;
  Toggle toggle = Toggle::kNone;
  bool default_on = false;
  bool prefills_open_tag = false;  // the generation prompt ends inside <think>
};

class ChatTemplate {
 public:
  // Error(kBadFile) "WHERE: template line 3: ..." for a template that does not parse or breaks a limit.
  static std::shared_ptr<const ChatTemplate> Parse(std::string source, const std::string& where);
  ~ChatTemplate();

  const std::string& source() const;
  // Error(kBadFile) with the template line for failures while rendering (raise_exception included).
  Rendered Render(const ChatInput& input) const;
  ThinkingSupport DetectThinking() const;

 private:
  ChatTemplate();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace planish

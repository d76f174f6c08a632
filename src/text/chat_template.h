// SPDX-License-Identifier: Apache-2.0
// Chat templates: Jinja source rendered over messages and tools the way Hugging Face transformers
// does it (trim_blocks, lstrip_blocks, tojson as Python's json.dumps(ensure_ascii=False)). The
// interpreter keeps for every piece of output where it came from, so that special tokens are
// matched only in the template's own text and SFT masks follow from the same spans.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace planish {

// Where a span of rendered text came from.
struct Origin {
  // kTemplate: literals, bos_token and eos_token, and the usual role names (templates write '<|' +
  // role + '|>', and a role is glue, not content). kOther: kwargs, numbers and times the template
  // computed.
  enum class Kind { kTemplate, kMessage, kTools, kOther };
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
  Json messages = Json::
      MakeArray();  // objects with role, content (string, null or list of parts), tool_calls, ...
  Json tools;       // null or a list
  bool add_generation_prompt = false;
  std::string bos_token, eos_token;
  Json kwargs = Json::MakeObject();  // further template variables, e.g. enable_thinking
};

// How a template switches thinking, found by rendering probes (never by matching its source text).
// A template that merely passes the system prompt on to a model trained on "detailed thinking
// on|off" (Llama-Nemotron Nano and Super v1) renders like one that knows nothing of thinking, so it
// is reported as not supported; one that writes the phrase itself when there is no system message
// (Ultra) is recognised.
struct ThinkingSupport {
  enum class Toggle {
    kNone,              // cannot be switched
    kSlashCommand,      // "/think" and "/no_think" in a system or user message
    kKwarg,             // template variable `kwarg`, true or false
    kDetailedThinking,  // system message "detailed thinking on|off"
  };
  bool supported = false;
  Toggle toggle = Toggle::kNone;
  std::string kwarg;  // kKwarg: "enable_thinking" or "thinking"
  bool default_on = false;
  bool prefills_open_tag = false;  // with thinking on, the generation prompt ends inside <think>
};

// Checks messages as they come from a request or a data file and maps role "developer" to "system".
// Error(kBadFile) names the place, e.g. "messages[2].role is missing, expected a string". Content
// may be a string, null, absent or a list of parts.
Json NormalizeMessages(Json messages);

class ChatTemplate {
 public:
  // Error(kBadFile) "WHERE: template line 3: ..." for a template that does not parse or breaks a
  // limit.
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

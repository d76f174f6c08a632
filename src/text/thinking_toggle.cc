// SPDX-License-Identifier: Apache-2.0
#include "text/thinking_toggle.h"

namespace planish {

void SetThinking(const ThinkingSupport& support, bool on, ChatInput* input) {
  using Toggle = ThinkingSupport::Toggle;
  if (!support.supported || support.toggle == Toggle::kNone) return;
  if (support.toggle == Toggle::kKwarg) {
    input->kwargs.Set(support.kwarg, on);
    return;
  }
  const std::string command = support.toggle == Toggle::kSlashCommand
                                  ? (on ? "/think" : "/no_think")
                                  : (on ? "detailed thinking on" : "detailed thinking off");
  Json::Array& messages = input->messages.AsArray();
  const bool has_system = !messages.empty() && messages[0].is_object() &&
                          messages[0].Find("role") != nullptr &&
                          *messages[0].Find("role") == Json("system");
  if (!has_system) {
    Json system = Json::MakeObject();
    system.Set("role", "system");
    system.Set("content", command);
    messages.insert(messages.begin(), std::move(system));
    return;
  }
  const Json* content = messages[0].Find("content");
  const std::string text = content != nullptr && content->is_string() ? content->AsString() : "";
  messages[0].Set("content", command + "\n" + text);
}

}  // namespace planish

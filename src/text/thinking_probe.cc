// SPDX-License-Identifier: Apache-2.0
// ChatTemplate::DetectThinking: renders small conversations with every known switch in both
// positions and looks at what the template writes behind the user's words. The source of the
// template is never looked at.
#include <optional>

#include "base/error.h"
#include "text/chat_template.h"

namespace planish {
namespace {

// Stands last in every probe's user message; what follows it is the template's own frame.
constexpr std::string_view kMark = "zq7marker";

struct Probe {
  std::string system, user;
  std::string kwarg;  // empty: none
  bool kwarg_value = false;
};

// Nothing if the template refuses the conversation.
std::optional<std::string> RenderProbe(const ChatTemplate& chat, const Probe& probe) {
  const auto message = [](std::string_view role, std::string content) {
    Json object = Json::MakeObject();
    object.Set("role", Json(role));
    object.Set("content", Json(std::move(content)));
    return object;
  };
  ChatInput input;
  input.add_generation_prompt = true;
  if (!probe.system.empty()) input.messages.Append(message("system", probe.system));
  input.messages.Append(message("user", probe.user + std::string(kMark)));
  if (!probe.kwarg.empty()) input.kwargs.Set(probe.kwarg, Json(probe.kwarg_value));
  try {
    return chat.Render(input).Text();
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string Tail(const std::string& text) {
  const size_t mark = text.rfind(kMark);
  return mark == std::string::npos ? text : text.substr(mark + kMark.size());
}

bool EndsInsideThinking(const std::string& text) {
  const std::string tail = Tail(text);
  const size_t open = tail.rfind("<think>"), close = tail.rfind("</think>");
  return open != std::string::npos && (close == std::string::npos || close < open);
}

bool Has(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

ThinkingSupport Found(ThinkingSupport::Toggle toggle, bool default_on, const std::string& on) {
  ThinkingSupport result;
  result.supported = true;
  result.toggle = toggle;
  result.default_on = default_on;
  result.prefills_open_tag = EndsInsideThinking(on);
  return result;
}

}  // namespace

ThinkingSupport ChatTemplate::DetectThinking() const {
  using Toggle = ThinkingSupport::Toggle;
  const std::optional<std::string> plain = RenderProbe(*this, {});
  if (!plain) return {};

  for (const char* name : {"enable_thinking", "thinking"}) {
    const auto on = RenderProbe(*this, {.kwarg = name, .kwarg_value = true});
    const auto off = RenderProbe(*this, {.kwarg = name, .kwarg_value = false});
    if (!on || !off || *on == *off) continue;
    ThinkingSupport result = Found(Toggle::kKwarg, *plain != *off, *on);
    result.kwarg = name;
    return result;
  }

  // The commands stand before the marker, so the text behind it differs only if the template acted
  // on them.
  for (const bool in_system : {false, true}) {
    const auto with = [&](const std::string& command) {
      return RenderProbe(*this,
                         in_system ? Probe{.system = command} : Probe{.user = command + " "});
    };
    const auto on = with("/think"), off = with("/no_think"), neutral = with("Hello");
    if (!on || !off || !neutral || Tail(*on) == Tail(*off)) continue;
    return Found(Toggle::kSlashCommand, Tail(*neutral) != Tail(*off), *on);
  }

  const auto on = RenderProbe(*this, {.system = "detailed thinking on"});
  const auto off = RenderProbe(*this, {.system = "detailed thinking off"});
  if (on && off) {
    const bool writes_on = Has(*plain, "detailed thinking on"),
               writes_off = Has(*plain, "detailed thinking off");
    if (writes_on || writes_off) return Found(Toggle::kDetailedThinking, writes_on, *on);
    if (Tail(*on) != Tail(*off))
      return Found(Toggle::kDetailedThinking, Tail(*plain) != Tail(*off), *on);
  }
  // Always opens the tag (DeepSeek-R1's way): thinks, but cannot be switched.
  if (EndsInsideThinking(*plain)) return Found(Toggle::kNone, /*default_on=*/true, *plain);
  return {};
}

}  // namespace planish

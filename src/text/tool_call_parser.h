// SPDX-License-Identifier: Apache-2.0
// Reads tool calls out of streamed text. Content is held back only while it may become an opening tag, and white space while
// only calls may follow it; a name is reported when complete, arguments as fragments. The events' texts, joined, depend on
// the whole text only, not on how it was cut.
// Takes: a missing closing tag, one object for a list, trailing commas, `parameters` for `arguments`, arguments as a JSON
// string, text or a Markdown fence around the list, OpenAI's {"function": {...}}. Markup that cannot be read is content.
// A call whose arguments break after its name was reported keeps what came, up to the closing tag, and counts as a failure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/json_relay.h"
#include "text/reasoning.h"  // the opening tags

namespace planish {

struct ToolEvent {
  enum class Kind {
    kContent,
    kCall,       // a call begins: text is its name
    kArguments,  // a fragment of its arguments
    kCallEnd,    // text is empty, or "broken"
  };
  Kind kind = Kind::kContent;
  size_t index = 0;  // of the call
  std::string text;
  bool operator==(const ToolEvent&) const = default;
};

inline constexpr std::string_view kToolcallEndTag = "</TOOLCALL>";
inline constexpr std::string_view kToolCallEndTag = "</tool_call>";

class ToolCallParser {
 public:
  // `tools`: null or the list of the request; copied.
  explicit ToolCallParser(Json tools = Json()) : tools_(std::move(tools)) {}
  std::vector<ToolEvent> Push(std::string_view text);
  std::vector<ToolEvent> Finish();
  size_t calls() const { return calls_; }
  size_t failures() const { return failures_; }

 private:
  enum class State {
    kText,
    kSeek,       // after an opening tag: a list, an object or <function=
    kListStart,  // after '['
    kKeyOrEnd,   // in an element: a key, a comma or '}'
    kKey,
    kColon,
    kValue,  // the first byte of a value decides how it is read
    kName,
    kSkipped,  // the value of a key we do not know
    kArguments,
    kArgumentText,  // arguments as a JSON string
    kAfterElement,
    kAfterList,  // only blanks, a fence or the closing tag belong to the call still
    kBroken,     // to the closing tag: the rest of broken arguments
    kTagName,    // <function=...
    kTagBody,
    kParameterName,  // <parameter=...
    kParameterValue,
    kAfterTags,
  };
  void Step(char c);
  void Text(char c);
  void Seek(char c);
  void Element(char c);
  void Value(char c);
  void Arguments(char c);
  void ArgumentText(char c);
  void AfterElement(char c);
  void AfterList(char c);
  void Tags(char c);
  void ParameterEnds();
  void TagCallEnds();

  void Content(std::string_view text);
  void Emit(ToolEvent::Kind kind, std::string_view text);
  void ArgumentsOut(std::string_view text);
  void BeginElement();
  bool Announce();  // reports the call; false if it has no usable name
  void EndCall();
  void Break();
  void Fail();  // what was read of this element is content after all
  void BreakArguments(char c);
  void Reread(std::string text);

  Json tools_;
  std::vector<ToolEvent> events_;
  State state_ = State::kText;
  std::string_view end_tag_;
  bool in_list_ = false;
  size_t calls_ = 0, failures_ = 0;

  std::string held_;   // kText, kAfterList, kBroken: what may become a tag
  std::string blank_;  // white space that is content only if content follows
  bool has_content_ = false;
  std::string raw_;  // since the opening tag, or since this element began
  JsonRelay relay_, inner_;
  JsonStringDecoder decoder_;
  std::string scratch_, key_, name_;
  size_t nested_ = 0;  // "function": {...} around name and arguments
  bool has_name_ = false, has_arguments_ = false, is_announced_ = false;
  std::string arguments_;  // while the name is not known yet
  bool has_parameters_ = false;
};

}  // namespace planish

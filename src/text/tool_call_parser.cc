// SPDX-License-Identifier: Apache-2.0
#include "text/tool_call_parser.h"

#include <algorithm>

#include "base/error.h"
#include "text/tool_format.h"

namespace planish {
namespace {

using Kind = ToolEvent::Kind;

constexpr size_t kNameBytes = 256;
constexpr std::string_view kFunctionTag = "<function=";
constexpr std::string_view kFunctionEndTag = "</function>";
constexpr std::string_view kParameterTag = "<parameter=";
constexpr std::string_view kParameterEndTag = "</parameter>";

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string Trimmed(std::string_view text) {
  while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
  return std::string(text);
}

// The text of a JSON string; empty if it is none.
std::string StringOf(const std::string& json) {
  try {
    const Json value = ParseJson(json, "tool call");
    return value.is_string() ? value.AsString() : std::string();
  } catch (const Error&) {  // e.g. a lone surrogate
    return {};
  }
}

// A value of the tag format as JSON: text if the schema says so, else what it reads as.
std::string ParameterJson(const std::string& text, const Json* schema) {
  const Json* type = schema != nullptr ? schema->Find("type") : nullptr;
  const bool is_text = type != nullptr && type->is_string() && type->AsString() == "string";
  if (!is_text) {
    std::string json;
    JsonRelay relay;
    bool is_value = true;
    for (const char c : Trimmed(text))
      is_value = is_value && relay.Push(c, &json) <= JsonRelay::Status::kDone;
    if (is_value && relay.Finish(&json) == JsonRelay::Status::kDone) return json;
  }
  std::string json;
  AppendJsonString(text, &json);
  return json;
}

}  // namespace

void ToolCallParser::Emit(Kind kind, std::string_view text) {
  const size_t index = kind == Kind::kContent ? 0 : calls_ - 1;
  const bool joins = !events_.empty() && events_.back().kind == kind &&
                     (kind == Kind::kContent || kind == Kind::kArguments) &&
                     events_.back().index == index;
  if (joins) {
    events_.back().text += text;
  } else {
    events_.push_back({kind, index, std::string(text)});
  }
}

// White space before the first content and after a call is kept back: it is no content if only calls stand around it.
void ToolCallParser::Content(std::string_view text) {
  for (const char c : text) {
    if (!has_content_ && IsBlank(c)) {
      blank_ += c;
      continue;
    }
    if (!blank_.empty()) Emit(Kind::kContent, blank_);
    blank_.clear();
    has_content_ = true;
    Emit(Kind::kContent, std::string_view(&c, 1));
  }
}

std::vector<ToolEvent> ToolCallParser::Push(std::string_view text) {
  for (const char c : text) Step(c);
  return std::exchange(events_, {});
}

void ToolCallParser::Reread(std::string text) {
  for (const char c : text) Step(c);
}

void ToolCallParser::Step(char c) {
  switch (state_) {
    case State::kText:
      return Text(c);
    case State::kSeek:
    case State::kListStart:
      return Seek(c);
    case State::kKeyOrEnd:
    case State::kKey:
    case State::kColon:
      return Element(c);
    case State::kValue:
    case State::kName:
    case State::kSkipped:
      return Value(c);
    case State::kArguments:
      return Arguments(c);
    case State::kArgumentText:
      return ArgumentText(c);
    case State::kAfterElement:
      return AfterElement(c);
    case State::kAfterList:
    case State::kBroken:
      return AfterList(c);
    case State::kTagName:
    case State::kTagBody:
    case State::kParameterName:
    case State::kParameterValue:
    case State::kAfterTags:
      return Tags(c);
  }
}

void ToolCallParser::Text(char c) {
  held_ += c;
  for (const std::string_view tag : {kToolcallTag, kToolCallTag}) {
    if (held_ != tag) continue;
    end_tag_ = tag == kToolcallTag ? kToolcallEndTag : kToolCallEndTag;
    raw_ = std::exchange(held_, {});
    in_list_ = false;
    state_ = State::kSeek;
    return;
  }
  // Both tags begin with their only '<', so a beginning can only stand at the last '<'.
  if (kToolcallTag.starts_with(held_) || kToolCallTag.starts_with(held_)) return;
  const std::string text = std::exchange(held_, {});
  if (c != '<') return Content(text);
  Content(std::string_view(text).substr(0, text.size() - 1));
  held_ = "<";
}

void ToolCallParser::BeginElement() {
  relay_ = inner_ = JsonRelay();
  decoder_ = JsonStringDecoder();
  scratch_.clear();
  name_.clear();
  arguments_.clear();
  has_name_ = has_arguments_ = is_announced_ = has_parameters_ = false;
  nested_ = 0;
  state_ = State::kKeyOrEnd;
}

void ToolCallParser::Seek(char c) {
  if (state_ == State::kListStart) {
    if (IsBlank(c)) {
      raw_ += c;
      return;
    }
    if (c == '{') {
      in_list_ = true;
      raw_ += c;
      return BeginElement();
    }
    if (c == ']') {
      state_ = State::kAfterList;
      return;
    }
    state_ = State::kSeek;  // the bracket was part of the stray text
  }
  raw_ += c;
  if (c == '[') {
    state_ = State::kListStart;
  } else if (c == '{') {
    BeginElement();
  } else if (raw_.ends_with(kFunctionTag)) {
    BeginElement();
    state_ = State::kTagName;
  } else if (raw_.ends_with(end_tag_)) {
    Fail();
  }
}

void ToolCallParser::Fail() {
  ++failures_;
  state_ = State::kText;
  Content(std::exchange(raw_, {}));
}

void ToolCallParser::Element(char c) {
  raw_ += c;
  if (state_ == State::kKey) {
    const JsonRelay::Status status = relay_.Push(c, &scratch_);
    if (status == JsonRelay::Status::kMore) return;
    if (status != JsonRelay::Status::kDone) return Break();
    key_ = StringOf(scratch_);
    state_ = State::kColon;
    return;
  }
  if (IsBlank(c)) return;
  if (state_ == State::kColon && c == ':') {
    relay_ = JsonRelay();
    scratch_.clear();
    state_ = State::kValue;
  } else if (state_ == State::kKeyOrEnd && (c == '"' || c == '\'')) {
    relay_ = JsonRelay();
    scratch_.clear();
    relay_.Push(c, &scratch_);
    state_ = State::kKey;
  } else if (state_ == State::kKeyOrEnd && c == ',') {
    return;
  } else if (state_ == State::kKeyOrEnd && c == '}' && nested_ > 0) {
    --nested_;
  } else if (state_ == State::kKeyOrEnd && (c == '}' || c == ']' || c == '<')) {
    if (!is_announced_ && !Announce()) return Fail();
    EndCall();
    if (c != '}') Step(c);  // the brace was left out
  } else {
    Break();
  }
}

bool ToolCallParser::Announce() {
  if (!has_name_ || name_.empty() || name_.size() > kNameBytes) return false;
  for (const char c : name_) {
    if (static_cast<unsigned char>(c) < 0x20) return false;
  }
  blank_.clear();
  has_content_ = false;
  ++calls_;
  Emit(Kind::kCall, name_);
  is_announced_ = true;
  if (!has_arguments_) arguments_ = "{}";
  if (!arguments_.empty()) Emit(Kind::kArguments, std::exchange(arguments_, {}));
  return true;
}

void ToolCallParser::ArgumentsOut(std::string_view text) {
  if (text.empty()) return;
  if (is_announced_) return Emit(Kind::kArguments, text);
  arguments_ += text;
  has_arguments_ = true;
}

void ToolCallParser::EndCall() {
  Emit(Kind::kCallEnd, "");
  state_ = State::kAfterElement;
}

// What cannot be read before the name was reported is content; after it, it stays with the call.
void ToolCallParser::Break() {
  if (!is_announced_) return Fail();
  ++failures_;
  state_ = State::kBroken;
}

void ToolCallParser::Value(char c) {
  raw_ += c;
  if (state_ == State::kValue) {
    if (IsBlank(c)) return;
    const bool is_arguments = key_ == "arguments" || key_ == "parameters";
    if (key_ == "function" && c == '{' && nested_ == 0) {
      ++nested_;
      state_ = State::kKeyOrEnd;
      return;
    }
    if (is_arguments && !has_arguments_ && (c == '{' || c == '"')) {
      state_ = c == '{' ? State::kArguments : State::kArgumentText;
      has_arguments_ = true;
      if (has_name_ && !Announce()) return Fail();
      if (c == '{') {
        std::string out;
        inner_.Push(c, &out);
        ArgumentsOut(out);
      }
      return;
    }
    if (is_arguments && !has_arguments_ && c != 'n' && c != 'N') return Break();
    const bool is_name = key_ == "name" || (key_ == "function" && c == '"');
    state_ = is_name && !has_name_ ? State::kName : State::kSkipped;
  }
  const JsonRelay::Status status = relay_.Push(c, &scratch_);
  if (status == JsonRelay::Status::kMore) return;
  if (status == JsonRelay::Status::kBroken) return Break();
  if (state_ == State::kName) {
    name_ = StringOf(scratch_);
    has_name_ = true;
    if (has_arguments_ && !Announce()) return Fail();
  }
  state_ = State::kKeyOrEnd;
  if (status == JsonRelay::Status::kDoneBefore) {
    raw_.pop_back();
    Step(c);
  }
}

void ToolCallParser::BreakArguments(char c) {
  const bool was_announced = is_announced_;
  Break();
  if (was_announced) Step(c);  // else it is part of the content already
}

void ToolCallParser::Arguments(char c) {
  std::string out;
  const JsonRelay::Status status = inner_.Push(c, &out);
  ArgumentsOut(out);
  if (status == JsonRelay::Status::kBroken) {
    if (!is_announced_) raw_ += c;
    return BreakArguments(c);
  }
  if (status != JsonRelay::Status::kMore) state_ = State::kKeyOrEnd;
  if (status == JsonRelay::Status::kDoneBefore) return Step(c);
  if (!is_announced_) raw_ += c;
}

void ToolCallParser::ArgumentText(char c) {
  if (!is_announced_) raw_ += c;
  std::string bytes, out;
  const bool goes_on = decoder_.Push(c, &bytes);
  JsonRelay::Status status = JsonRelay::Status::kMore;
  for (const char b : bytes) {
    const bool begins = !inner_.started() && !IsBlank(b);
    status = begins && b != '{' ? JsonRelay::Status::kBroken : inner_.Push(b, &out);
    if (status == JsonRelay::Status::kDoneBefore && IsBlank(b)) status = JsonRelay::Status::kMore;
    if (status > JsonRelay::Status::kDone) break;
  }
  ArgumentsOut(out);
  if (status > JsonRelay::Status::kDone) return BreakArguments(c);
  if (goes_on) return;
  if (!inner_.started()) {
    ArgumentsOut("{}");  // an empty string
  } else if (inner_.Finish(&out) != JsonRelay::Status::kDone) {
    return Break();
  }
  state_ = State::kKeyOrEnd;
}

void ToolCallParser::AfterElement(char c) {
  if (IsBlank(c)) return;
  if (in_list_ && c == ',') return;
  if (in_list_ && c == '{') {
    raw_ = "{";
    return BeginElement();
  }
  state_ = State::kAfterList;
  if (!(in_list_ && c == ']')) Step(c);
}

// kAfterList: only blanks, a fence and the closing tag are left; anything else means that the closing tag is missing and
// content goes on. kBroken: everything to the closing tag belongs to the broken arguments.
void ToolCallParser::AfterList(char c) {
  held_ += c;
  if (held_.ends_with(end_tag_)) {
    held_.erase(held_.size() - end_tag_.size());
    if (state_ == State::kBroken) {
      if (!held_.empty()) Emit(Kind::kArguments, held_);
      Emit(Kind::kCallEnd, "broken");
    }
    held_.clear();
    state_ = State::kText;
    return;
  }
  const size_t tag = held_.rfind('<');
  const bool may_be_tag =
      tag != std::string::npos && end_tag_.starts_with(std::string_view(held_).substr(tag));
  if (state_ == State::kBroken) {
    const size_t keep = may_be_tag ? tag : held_.size();
    if (keep > 0) Emit(Kind::kArguments, std::string_view(held_).substr(0, keep));
    held_.erase(0, keep);
    return;
  }
  const auto is_filler = [](char x) { return IsBlank(x) || x == '`'; };
  const size_t fill = may_be_tag ? tag : held_.size();
  if (std::all_of(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(fill), is_filler)) return;
  state_ = State::kText;
  Reread(std::exchange(held_, {}));
}

void ToolCallParser::ParameterEnds() {
  std::string_view value = scratch_;
  if (value.starts_with('\n')) value.remove_prefix(1);
  if (value.ends_with('\n')) value.remove_suffix(1);
  const Json* schema = ToolParameters(tools_, name_);
  const Json* properties = schema != nullptr ? schema->Find("properties") : nullptr;
  const Json* property = properties != nullptr ? properties->Find(key_) : nullptr;
  std::string out = has_parameters_ ? ", " : "";
  AppendJsonString(key_, &out);
  out += ": " + ParameterJson(std::string(value), property);
  Emit(Kind::kArguments, out);
  has_parameters_ = true;
  scratch_.clear();
}

void ToolCallParser::TagCallEnds() {
  Emit(Kind::kArguments, "}");
  EndCall();
  scratch_.clear();
}

void ToolCallParser::Tags(char c) {
  if (!is_announced_) raw_ += c;
  scratch_ += c;
  const auto ends_with = [&](std::string_view tag) {
    if (!scratch_.ends_with(tag)) return false;
    scratch_.erase(scratch_.size() - tag.size());
    return true;
  };
  switch (state_) {
    case State::kTagName:
      if (scratch_.size() > kNameBytes) return Fail();
      if (c != '>') return;
      scratch_.pop_back();
      name_ = Trimmed(scratch_);
      has_name_ = has_arguments_ = true;
      arguments_ = "{";
      if (!Announce()) return Fail();
      scratch_.clear();
      state_ = State::kTagBody;
      return;
    case State::kTagBody:
      if (ends_with(kParameterTag)) {
        scratch_.clear();
        state_ = State::kParameterName;
      } else if (ends_with(kFunctionEndTag)) {
        TagCallEnds();
        state_ = State::kAfterTags;
      } else if (ends_with(end_tag_)) {
        TagCallEnds();
        state_ = State::kText;
      }
      return;
    case State::kParameterName:
      if (c != '>' && scratch_.size() <= kNameBytes) return;
      if (c != '>') return Break();
      scratch_.pop_back();
      key_ = Trimmed(scratch_);
      scratch_.clear();
      state_ = State::kParameterValue;
      return;
    case State::kParameterValue:
      if (ends_with(kParameterEndTag)) {
        ParameterEnds();
        state_ = State::kTagBody;
      } else if (ends_with("\n<parameter=")) {  // closing tags that were left out
        ParameterEnds();
        state_ = State::kParameterName;
      } else if (ends_with("\n</function>")) {
        ParameterEnds();
        TagCallEnds();
        state_ = State::kAfterTags;
      } else if (ends_with(end_tag_)) {
        ParameterEnds();
        TagCallEnds();
        state_ = State::kText;
      }
      return;
    default:  // kAfterTags: another function, or the end
      if (ends_with(kFunctionTag)) {
        raw_ = kFunctionTag;
        scratch_.clear();
        BeginElement();
        state_ = State::kTagName;
      } else if (ends_with(end_tag_)) {
        scratch_.clear();
        state_ = State::kText;
      } else if (!IsBlank(c)) {
        const std::string_view rest = std::string_view(scratch_).substr(
            std::min(scratch_.find_first_not_of(" \t\r\n"), scratch_.size()));
        if (kFunctionTag.starts_with(rest) || end_tag_.starts_with(rest)) return;
        state_ = State::kText;  // the closing tag is missing
        Reread(std::exchange(scratch_, {}));
      }
  }
}

std::vector<ToolEvent> ToolCallParser::Finish() {
  switch (state_) {
    case State::kText:
      Content(std::exchange(held_, {}));
      break;
    case State::kAfterElement:
    case State::kAfterList:
    case State::kAfterTags:
      break;
    case State::kBroken:
      if (!held_.empty()) Emit(Kind::kArguments, std::exchange(held_, {}));
      Emit(Kind::kCallEnd, "broken");
      break;
    case State::kTagBody:
      TagCallEnds();  // only closing tags are missing
      break;
    case State::kKeyOrEnd:
      if (!is_announced_ && !(has_arguments_ && Announce())) {
        Fail();
      } else {
        EndCall();  // only brackets are missing
      }
      break;
    default:
      Break();
      // Cut off: closing it would make up what the model did not say.
      if (state_ == State::kBroken) Emit(Kind::kCallEnd, "broken");
  }
  state_ = State::kText;
  if (calls_ == 0 && !blank_.empty()) Emit(Kind::kContent, blank_);
  blank_.clear();
  return std::exchange(events_, {});
}

}  // namespace planish

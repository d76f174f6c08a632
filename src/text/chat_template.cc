// SPDX-License-Identifier: Apache-2.0
#include "text/chat_template.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/limits.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parser.h"

namespace planish {
namespace {

using jinja::Failure;
using jinja::OriginId;
using jinja::Value;

constexpr int kMaxJsonDepth = 100;  // above limits::kJsonDepth, below what printing a value allows

// Role names that no text of a user can hide in.
bool IsUsualRole(std::string_view role) {
  static constexpr std::array<std::string_view, 7> kRoles = {
      "system", "user", "assistant", "tool", "ipython", "developer", "function"};
  return std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end();
}

// Texts are viewed, not copied: the Json must outlive the heap.
Value FromJson(jinja::Heap* heap, const Json& json, OriginId origin, int depth = 0) {
  if (depth > kMaxJsonDepth)
    throw Failure{fmt::format("input is nested deeper than {} levels", kMaxJsonDepth)};
  switch (json.type()) {
    case Json::Type::kNull:
      return Value::None(origin);
    case Json::Type::kBool:
      return Value::Bool(json.AsBool(), origin);
    case Json::Type::kInt:
      return Value::Integer(json.AsInt(), origin);
    case Json::Type::kUint:
      return Value::Integer(json.AsUint(), origin);
    case Json::Type::kDouble:
      return Value::Float(json.AsDouble(), origin);
    case Json::Type::kString:
      return heap->View(json.AsString(), origin);
    case Json::Type::kArray: {
      std::vector<Value> items;
      items.reserve(json.AsArray().size());
      for (const Json& item : json.AsArray())
        items.push_back(FromJson(heap, item, origin, depth + 1));
      return heap->List(std::move(items), origin);
    }
    case Json::Type::kObject: {
      jinja::Dict* dict = heap->NewDict(origin);
      for (const auto& [key, value] : json.AsObject()) {
        heap->Set(dict, heap->View(key, origin), FromJson(heap, value, origin, depth + 1));
      }
      return Value::Of(dict);
    }
  }
  return Value();
}

Value MessagesFromJson(jinja::Heap* heap, const Json& messages) {
  if (!messages.is_array())
    throw Failure{fmt::format("messages is {}, expected a list", messages.type_name())};
  std::vector<Value> items;
  for (size_t i = 0; i < messages.AsArray().size(); ++i) {
    const Json& message = messages.AsArray()[i];
    const Value value = FromJson(heap, message, jinja::kFromMessage0 + static_cast<OriginId>(i));
    const Json* role = message.Find("role");
    if (role != nullptr && role->is_string() && IsUsualRole(role->AsString())) {
      heap->Set(value.dict, heap->View("role", jinja::kFromTemplate),
                heap->View(role->AsString(), jinja::kFromTemplate));
    }
    items.push_back(value);
  }
  return heap->List(std::move(items));
}

void SetGlobals(jinja::Interpreter* interpreter) {
  static constexpr std::pair<const char*, jinja::Function> kFunctions[] = {
      {"range", jinja::Function::kRange},
      {"dict", jinja::Function::kDict},
      {"namespace", jinja::Function::kNamespace},
      {"cycler", jinja::Function::kCycler},
      {"joiner", jinja::Function::kJoiner},
      {"raise_exception", jinja::Function::kRaise},
      {"strftime_now", jinja::Function::kStrftimeNow}};
  for (const auto& [name, function] : kFunctions) {
    jinja::Callable* callable = interpreter->heap()->NewCallable(jinja::Callable::Kind::kFunction);
    callable->function = function;
    interpreter->SetVariable(name, Value::Of(callable));
  }
}

Origin ToOrigin(OriginId id) {
  id &= ~jinja::kGenerationBit;
  if (id == jinja::kFromTemplate) return {Origin::Kind::kTemplate, -1};
  if (id == jinja::kFromTools) return {Origin::Kind::kTools, -1};
  if (id == jinja::kFromOther) return {Origin::Kind::kOther, -1};
  return {Origin::Kind::kMessage, static_cast<int>(id - jinja::kFromMessage0)};
}

Rendered ToRendered(const jinja::TextBuilder& out) {
  Rendered rendered;
  size_t begin = 0;
  for (const jinja::Run& run : out.runs()) {
    RenderedSpan& span = rendered.spans.emplace_back();
    span.text = out.text().substr(begin, run.end - begin);
    span.origin = ToOrigin(run.origin);
    span.in_generation = (run.origin & jinja::kGenerationBit) != 0;
    begin = run.end;
  }
  return rendered;
}

// Templates quote what they were given in their messages: one line, no control characters, not
// endless.
Error ToError(const std::string& where, int line, const std::string& message) {
  const std::string quoted = Quoted(message, 500);
  return BadFile("{}: template line {}: {}", where, line, quoted.substr(1, quoted.size() - 2));
}

}  // namespace

struct ChatTemplate::Impl {
  std::string source, where;
  std::unique_ptr<const jinja::Template> parsed;
};

ChatTemplate::ChatTemplate() : impl_(std::make_unique<Impl>()) {}
ChatTemplate::~ChatTemplate() = default;

const std::string& ChatTemplate::source() const { return impl_->source; }

std::shared_ptr<const ChatTemplate> ChatTemplate::Parse(std::string source,
                                                        const std::string& where) {
  if (source.size() > limits::kTemplateBytes) {
    throw BadFile("{}: template has {} bytes, at most {} are allowed", where, source.size(),
                  limits::kTemplateBytes);
  }
  if (!jinja::IsValidUtf8(source)) throw BadFile("{}: template is not valid UTF-8", where);
  std::shared_ptr<ChatTemplate> result(new ChatTemplate);
  result->impl_->source = std::move(source);
  result->impl_->where = where;
  try {
    result->impl_->parsed = jinja::ParseTemplate(result->impl_->source);
  } catch (const Failure& failure) {
    throw ToError(where, failure.line, failure.message);
  }
  return result;
}

Rendered ChatTemplate::Render(const ChatInput& input) const {
  jinja::Heap heap;
  jinja::Interpreter interpreter(*impl_->parsed, &heap);
  jinja::TextBuilder out(&heap);
  try {
    SetGlobals(&interpreter);
    interpreter.SetVariable("documents", Value::None());
    interpreter.SetVariable("bos_token", heap.View(input.bos_token, jinja::kFromTemplate));
    interpreter.SetVariable("eos_token", heap.View(input.eos_token, jinja::kFromTemplate));
    if (input.kwargs.is_object()) {
      for (const auto& [name, value] : input.kwargs.AsObject()) {
        interpreter.SetVariable(name, FromJson(&heap, value, jinja::kFromOther));
      }
    }
    interpreter.SetVariable("messages", MessagesFromJson(&heap, input.messages));
    interpreter.SetVariable("tools", FromJson(&heap, input.tools, jinja::kFromTools));
    interpreter.SetVariable("add_generation_prompt", Value::Bool(input.add_generation_prompt));
    interpreter.Run(&out);
  } catch (const Failure& failure) {
    throw ToError(impl_->where, failure.line != 0 ? failure.line : interpreter.line(),
                  failure.message);
  }
  return ToRendered(out);
}

std::string Rendered::Text() const {
  std::string text;
  for (const RenderedSpan& span : spans) text += span.text;
  return text;
}

}  // namespace planish

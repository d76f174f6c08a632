// SPDX-License-Identifier: Apache-2.0
#include "text/jinja_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/limits.h"
#include "text/jinja_string.h"

namespace planish::jinja {
namespace {

constexpr size_t kIndexFrom = 8;     // dictionaries beyond this many items get an index
constexpr int kMaxValueDepth = 128;  // JSON may nest 64 deep; templates may wrap it

void CheckDepth(int depth) {
  if (depth > kMaxValueDepth) {
    throw Failure{fmt::format("value is nested deeper than {} levels", kMaxValueDepth)};
  }
}

}  // namespace

Value Value::None(OriginId origin) {
  Value v;
  v.type = Type::kNone;
  v.origin = origin;
  return v;
}
Value Value::Bool(bool value, OriginId origin) {
  Value v;
  v.type = Type::kBool;
  v.origin = origin;
  v.boolean = value;
  return v;
}
Value Value::Integer(Int value, OriginId origin) {
  Value v;
  v.type = Type::kInt;
  v.origin = origin;
  v.integer = value;
  return v;
}
Value Value::Float(double value, OriginId origin) {
  Value v;
  v.type = Type::kFloat;
  v.origin = origin;
  v.number = value;
  return v;
}
Value Value::Of(Str* value) {
  Value v;
  v.type = Type::kString;
  v.text = value;
  return v;
}
Value Value::Of(Seq* value) {
  Value v;
  v.type = Type::kSeq;
  v.seq = value;
  return v;
}
Value Value::Of(Dict* value) {
  Value v;
  v.type = Type::kDict;
  v.dict = value;
  return v;
}
Value Value::Of(Namespace* value) {
  Value v;
  v.type = Type::kNamespace;
  v.space = value;
  return v;
}
Value Value::Of(Callable* value) {
  Value v;
  v.type = Type::kCallable;
  v.callable = value;
  return v;
}
Value Value::Of(Loop* value) {
  Value v;
  v.type = Type::kLoop;
  v.loop = value;
  return v;
}
Value Value::Of(Cycler* value) {
  Value v;
  v.type = Type::kCycler;
  v.cycler = value;
  return v;
}

const Value* Scope::FindHere(int symbol) const {
  for (const auto& [name, value] : variables) {
    if (name == symbol) return &value;
  }
  return nullptr;
}

const Value* Scope::Find(int symbol) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent) {
    if (const Value* found = scope->FindHere(symbol)) return found;
  }
  return nullptr;
}

void Scope::Set(int symbol, const Value& value) {
  for (auto& [name, old] : variables) {
    if (name == symbol) {
      old = value;
      return;
    }
  }
  variables.emplace_back(symbol, value);
}

Heap::Heap() : max_steps_(limits::kTemplateSteps), max_bytes_(limits::kTemplateMemoryBytes) {}

void Heap::FailSteps() const {
  throw Failure{fmt::format("template takes more than {} steps", max_steps_)};
}

void Heap::FailBytes() const {
  if (steps_ > max_steps_) FailSteps();
  throw Failure{fmt::format("template takes more than {} MiB of memory", max_bytes_ >> 20)};
}

Str* Heap::NewStr() {
  Charge(sizeof(Str));
  return &strs_.emplace_back();
}

Value Heap::String(std::string text, OriginId origin) {
  Charge(text.size());
  Str* str = NewStr();
  str->owned = std::move(text);
  str->view = str->owned;
  str->bytes = str->view.size();
  str->origin = origin;
  return Value::Of(str);
}

Value Heap::View(std::string_view text, OriginId origin) {
  Str* str = NewStr();
  str->view = text;
  str->bytes = text.size();
  str->origin = origin;
  return Value::Of(str);
}

Value Heap::Slice(Str* text, size_t begin, size_t end) {
  const std::string_view whole = Text(text);
  if (begin == 0 && end == whole.size()) return Value::Of(text);
  Str* str = NewStr();
  str->view = whole.substr(begin, end - begin);
  str->bytes = end - begin;
  str->origin = text->origin;
  if (!text->runs.empty()) {
    auto run = std::upper_bound(text->runs.begin(), text->runs.end(), begin,
                                [](size_t at, const Run& r) { return at < r.end; });
    if (run != text->runs.end()) str->origin = run->origin;
    if (run != text->runs.end() && run->end < end) {
      for (; run != text->runs.end(); ++run) {
        const size_t stop = std::min<size_t>(run->end, end);
        str->runs.push_back({static_cast<uint32_t>(stop - begin), run->origin});
        if (stop == end) break;
      }
      Charge(str->runs.size() * sizeof(Run));
    }
  }
  return Value::Of(str);
}

Value Heap::Concat(Str* a, Str* b) {
  if (a->bytes == 0) return Value::Of(b);
  if (b->bytes == 0) return Value::Of(a);
  if (a->bytes + b->bytes > limits::kTemplateOutputBytes) {
    throw Failure{fmt::format("text grows beyond {} bytes", limits::kTemplateOutputBytes)};
  }
  Str* str = NewStr();
  str->left = a;
  str->right = b;
  str->bytes = a->bytes + b->bytes;
  return Value::Of(str);
}

void Heap::Flatten(Str* text) {
  TextBuilder builder(this);
  builder.Append(text);
  builder.MoveTo(text);
  text->left = text->right = nullptr;
}

std::string_view Heap::Text(Str* text) {
  if (text->left != nullptr) Flatten(text);
  return text->view;
}

int64_t Heap::Length(Str* text) {
  if (text->points < 0) {
    const std::string_view view = Text(text);
    Tick(view.size() / 64);
    text->points = CountPoints(view);
  }
  return text->points;
}

size_t Heap::OffsetOf(Str* text, int64_t index) {
  const std::string_view view = Text(text);
  const int64_t length = Length(text);
  if (length == static_cast<int64_t>(view.size())) return static_cast<size_t>(index);
  if (index >= length) return view.size();
  Tick(static_cast<uint64_t>(index) / 32);
  size_t at = 0;
  for (; index > 0; --index) at += PointBytes(view, at);
  return at;
}

Value Heap::Undefined(std::string why) {
  Value v;
  v.text = String(std::move(why), kFromOther).text;
  return v;
}

Seq* Heap::NewSeq(Seq::Kind kind, OriginId origin) {
  Charge(sizeof(Seq));
  Seq* seq = &seqs_.emplace_back();
  seq->kind = kind;
  seq->origin = origin;
  return seq;
}

Value Heap::List(std::vector<Value> items, OriginId origin) {
  Charge(items.size() * sizeof(Value));
  Seq* seq = NewSeq(Seq::Kind::kList, origin);
  seq->items = std::move(items);
  return Value::Of(seq);
}

Value Heap::Tuple(std::vector<Value> items) {
  const Value list = List(std::move(items));
  list.seq->kind = Seq::Kind::kTuple;
  return list;
}

Dict* Heap::NewDict(OriginId origin) {
  Charge(sizeof(Dict));
  Dict* dict = &dicts_.emplace_back();
  dict->origin = origin;
  return dict;
}

Namespace* Heap::NewNamespace() {
  Charge(sizeof(Namespace));
  return &spaces_.emplace_back();
}

Callable* Heap::NewCallable(Callable::Kind kind) {
  Charge(sizeof(Callable));
  Callable* callable = &callables_.emplace_back();
  callable->kind = kind;
  return callable;
}

Loop* Heap::NewLoop() {
  Charge(sizeof(Loop));
  return &loops_.emplace_back();
}

Cycler* Heap::NewCycler() {
  Charge(sizeof(Cycler));
  return &cyclers_.emplace_back();
}

Scope* Heap::NewScope(Scope* parent) {
  Charge(sizeof(Scope));
  Scope* scope = &scopes_.emplace_back();
  scope->parent = parent;
  return scope;
}

const Value* Heap::Find(Dict* dict, std::string_view key) {
  if (dict->items.size() > kIndexFrom) {
    const auto found = dict->index.find(key);
    return found == dict->index.end() ? nullptr : &dict->items[found->second].second;
  }
  for (const auto& [name, value] : dict->items) {
    if (name.is_string() && Text(name.text) == key) return &value;
  }
  return nullptr;
}

const Value* Heap::Find(Dict* dict, const Value& key) {
  if (key.is_string()) return Find(dict, Text(key.text));
  Tick(dict->items.size() / 8);
  for (const auto& [name, value] : dict->items) {
    if (!name.is_string() && Equals(this, name, key)) return &value;
  }
  return nullptr;
}

void Heap::Set(Dict* dict, const Value& key, const Value& value) {
  if (const Value* old = Find(dict, key)) {
    *const_cast<Value*>(old) = value;
    return;
  }
  Charge(2 * sizeof(Value));
  dict->items.emplace_back(key, value);
  if (dict->items.size() <= kIndexFrom) return;
  // Once the index exists only the new key is missing from it.
  const size_t first = dict->items.size() == kIndexFrom + 1 ? 0 : dict->items.size() - 1;
  for (size_t i = first; i < dict->items.size(); ++i) {
    const Value& name = dict->items[i].first;
    if (name.is_string()) dict->index.emplace(Text(name.text), i);
  }
}

bool IsTrue(const Value& value) {
  switch (value.type) {
    case Type::kUndefined:
    case Type::kNone:
      return false;
    case Type::kBool:
      return value.boolean;
    case Type::kInt:
      return value.integer != 0;
    case Type::kFloat:
      return value.number != 0;
    case Type::kString:
      return value.text->bytes != 0;
    case Type::kSeq:
      return value.seq->is_iterator() || !value.seq->items.empty();
    case Type::kDict:
      return !value.dict->items.empty();
    case Type::kLoop:
      return !value.loop->items->empty();
    default:
      return true;
  }
}

bool IsIdentical(const Value& a, const Value& b) {
  if (a.type != b.type) return false;
  switch (a.type) {
    case Type::kUndefined:
    case Type::kNone:
      return true;
    case Type::kBool:
      return a.boolean == b.boolean;
    case Type::kInt:
      return a.integer == b.integer;
    case Type::kFloat:
      return a.number == b.number;
    case Type::kString:
      return a.text == b.text || (a.text->view == b.text->view && a.text->bytes < 2);
    default:
      return a.seq == b.seq;
  }
}

bool Equals(Heap* heap, const Value& a, const Value& b, int depth) {
  heap->Tick();
  CheckDepth(depth);
  if (a.is_number() && b.is_number()) {
    if (a.type == Type::kFloat || b.type == Type::kFloat) return a.AsDouble() == b.AsDouble();
    return a.AsInt() == b.AsInt();
  }
  if (a.type != b.type) return false;
  switch (a.type) {
    case Type::kUndefined:
    case Type::kNone:
      return true;
    case Type::kString:
      if (a.text->bytes != b.text->bytes) return false;
      heap->Tick(a.text->bytes / 64);
      return heap->Text(a.text) == heap->Text(b.text);
    case Type::kSeq: {
      if (a.seq == b.seq) return true;
      if (a.seq->kind != b.seq->kind || a.seq->is_iterator()) return false;
      if (a.seq->items.size() != b.seq->items.size()) return false;
      for (size_t i = 0; i < a.seq->items.size(); ++i) {
        if (!Equals(heap, a.seq->items[i], b.seq->items[i], depth + 1)) return false;
      }
      return true;
    }
    case Type::kDict: {
      if (a.dict == b.dict) return true;
      if (a.dict->items.size() != b.dict->items.size()) return false;
      for (const auto& [key, value] : a.dict->items) {
        const Value* other = heap->Find(b.dict, key);
        if (other == nullptr || !Equals(heap, value, *other, depth + 1)) return false;
      }
      return true;
    }
    default:
      return a.seq == b.seq;
  }
}

int Compare(Heap* heap, const Value& a, const Value& b, const char* op, int depth) {
  heap->Tick();
  CheckDepth(depth);
  if (a.is_undefined()) FailUndefined(a);
  if (b.is_undefined()) FailUndefined(b);
  if (a.is_number() && b.is_number()) {
    if (a.type == Type::kFloat || b.type == Type::kFloat) {
      const double x = a.AsDouble(), y = b.AsDouble();
      return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
    }
    return a.AsInt() < b.AsInt() ? -1 : a.AsInt() > b.AsInt() ? 1 : 0;
  }
  if (a.is_string() && b.is_string()) {
    heap->Tick(std::min(a.text->bytes, b.text->bytes) / 64);
    const int order = heap->Text(a.text).compare(heap->Text(b.text));  // UTF-8 sorts as code points
    return order < 0 ? -1 : order > 0 ? 1 : 0;
  }
  if (a.type == Type::kSeq && b.type == Type::kSeq && a.seq->kind == b.seq->kind &&
      a.seq->kind <= Seq::Kind::kTuple) {
    const auto &x = a.seq->items, &y = b.seq->items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!Equals(heap, x[i], y[i])) return Compare(heap, x[i], y[i], op, depth + 1);
    }
    return x.size() < y.size() ? -1 : x.size() > y.size() ? 1 : 0;
  }
  throw Failure{fmt::format("'{}' not supported between instances of '{}' and '{}'", op,
                            TypeName(a), TypeName(b))};
}

bool Contains(Heap* heap, const Value& container, const Value& item) {
  switch (container.type) {
    case Type::kUndefined:
      return false;
    case Type::kString:
      if (!item.is_string()) {
        throw Failure{
            fmt::format("'in <string>' requires string as left operand, not {}", TypeName(item))};
      }
      heap->Tick(container.text->bytes / 16);
      return heap->Text(container.text).find(heap->Text(item.text)) != std::string_view::npos;
    case Type::kSeq:
      if (container.seq->is_iterator()) {
        const std::vector<Value> items = ItemsOf(heap, container);
        return std::any_of(items.begin(), items.end(),
                           [&](const Value& v) { return Equals(heap, v, item); });
      }
      for (const Value& each : container.seq->items) {
        if (Equals(heap, each, item)) return true;
      }
      return false;
    case Type::kDict:
      CheckHashable(item);
      return heap->Find(container.dict, item) != nullptr;
    default:
      throw Failure{fmt::format("argument of type '{}' is not iterable", TypeName(container))};
  }
}

void CheckHashable(const Value& value, int depth) {
  CheckDepth(depth);
  const bool is_hashable = value.type == Type::kSeq ? value.seq->kind != Seq::Kind::kList &&
                                                          value.seq->kind != Seq::Kind::kKeys &&
                                                          value.seq->kind != Seq::Kind::kItems
                                                    : value.type != Type::kDict;
  if (!is_hashable) throw Failure{fmt::format("unhashable type: '{}'", TypeName(value))};
  if (value.type == Type::kSeq && value.seq->kind == Seq::Kind::kTuple) {
    for (const Value& item : value.seq->items) CheckHashable(item, depth + 1);
  }
}

const char* TypeName(const Value& value) {
  static constexpr const char* kSeqNames[] = {"list",        "tuple",      "range",    "dict_keys",
                                              "dict_values", "dict_items", "reversed", "generator"};
  switch (value.type) {
    case Type::kUndefined:
      return "Undefined";
    case Type::kNone:
      return "NoneType";
    case Type::kBool:
      return "bool";
    case Type::kInt:
      return "int";
    case Type::kFloat:
      return "float";
    case Type::kString:
      return "str";
    case Type::kSeq:
      return kSeqNames[static_cast<size_t>(value.seq->kind)];
    case Type::kDict:
      return "dict";
    case Type::kNamespace:
      return "Namespace";
    case Type::kCallable:
      return value.callable->kind == Callable::Kind::kMacro ? "Macro" : "function";
    case Type::kLoop:
      return "LoopContext";
    case Type::kCycler:
      return value.cycler->is_joiner ? "Joiner" : "Cycler";
  }
  return "object";
}

int64_t LengthOf(Heap* heap, const Value& value) {
  switch (value.type) {
    case Type::kUndefined:
      return 0;
    case Type::kString:
      return heap->Length(value.text);
    case Type::kSeq:
      if (!value.seq->is_iterator()) return static_cast<int64_t>(value.seq->items.size());
      break;
    case Type::kDict:
      return static_cast<int64_t>(value.dict->items.size());
    case Type::kLoop:
      return static_cast<int64_t>(value.loop->items->size());
    default:
      break;
  }
  throw Failure{fmt::format("object of type '{}' has no len()", TypeName(value))};
}

bool IsIterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.type == Type::kSeq ||
         value.type == Type::kDict;
}

std::vector<Value> ItemsOf(Heap* heap, const Value& value) {
  std::vector<Value> items;
  switch (value.type) {
    case Type::kUndefined:
      break;
    case Type::kString: {
      const std::string_view text = heap->Text(value.text);
      for (size_t at = 0; at < text.size();) {
        const size_t size = PointBytes(text, at);
        items.push_back(heap->Slice(value.text, at, at + size));
        at += size;
      }
      break;
    }
    case Type::kSeq: {
      Seq* seq = value.seq;
      heap->Charge(seq->items.size() * sizeof(Value) / 4);  // a passing copy
      if (!seq->is_iterator()) return seq->items;
      items.assign(seq->items.begin() + static_cast<std::ptrdiff_t>(seq->next), seq->items.end());
      seq->next = seq->items.size();
      break;
    }
    case Type::kDict:
      heap->Charge(value.dict->items.size() * sizeof(Value) / 4);
      for (const auto& item : value.dict->items) items.push_back(item.first);
      break;
    default:
      throw Failure{fmt::format("'{}' object is not iterable", TypeName(value))};
  }
  return items;
}

void FailUndefined(const Value& value) {
  std::string why = "value is undefined";
  if (value.text != nullptr) why = std::string(value.text->view);
  throw Failure{std::move(why)};
}

void RequireDefined(const Value& value) {
  if (value.is_undefined()) FailUndefined(value);
}

}  // namespace planish::jinja

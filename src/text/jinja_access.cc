// SPDX-License-Identifier: Apache-2.0
// Attributes, items and slices, in the order jinja2's sandbox looks them up: x.name tries Python's
// attribute first, then the key; x['name'] the other way round. What the sandbox refuses is
// undefined; nothing of the host can be reached.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_methods.h"

namespace planish::jinja {
namespace {

std::string ObjectName(const Value& value) {
  switch (value.type) {
    case Type::kNone:
      return "None";
    case Type::kNamespace:
      return "jinja2.utils.Namespace object";
    case Type::kLoop:
      return "jinja2.runtime.LoopContext object";
    default:
      return fmt::format("{} object", TypeName(value));
  }
}

std::optional<Value> LoopAttr(Heap* heap, const Loop& loop, std::string_view name) {
  const Int size = static_cast<Int>(loop.items->size()), index0 = static_cast<Int>(loop.index0);
  if (name == "index") return Value::Integer(index0 + 1);
  if (name == "index0") return Value::Integer(index0);
  if (name == "revindex") return Value::Integer(size - index0);
  if (name == "revindex0") return Value::Integer(size - index0 - 1);
  if (name == "first") return Value::Bool(index0 == 0);
  if (name == "last") return Value::Bool(index0 + 1 == size);
  if (name == "length") return Value::Integer(size);
  if (name == "depth") return Value::Integer(loop.depth0 + 1);
  if (name == "depth0") return Value::Integer(loop.depth0);
  if (name == "previtem") {
    return index0 > 0 ? (*loop.items)[loop.index0 - 1]
                      : heap->Undefined("there is no previous item");
  }
  if (name == "nextitem") {
    return index0 + 1 < size ? (*loop.items)[loop.index0 + 1]
                             : heap->Undefined("there is no next item");
  }
  return std::nullopt;
}

std::optional<Value> CallableAttr(Heap* heap, const Callable& callable, std::string_view name) {
  if (callable.kind != Callable::Kind::kMacro) return std::nullopt;
  const Stmt& macro = *callable.macro;
  if (name == "name")
    return macro.name.empty() ? Value::None() : heap->View(macro.name, kFromTemplate);
  if (name == "catch_kwargs") return Value::Bool(macro.uses_kwargs);
  if (name == "catch_varargs") return Value::Bool(macro.uses_varargs);
  if (name == "caller") return Value::Bool(macro.uses_caller);
  if (name == "arguments") {
    std::vector<Value> names;
    for (const std::string& param : macro.param_names)
      names.push_back(heap->View(param, kFromTemplate));
    return heap->Tuple(std::move(names));
  }
  return std::nullopt;
}

// What getattr(object, name) would find, methods and refused attributes included.
std::optional<Value> Attribute(Heap* heap, const Value& object, std::string_view name) {
  switch (object.type) {
    case Type::kNamespace:
      if (const Value* found = heap->Find(&object.space->dict, name)) return *found;
      break;
    case Type::kLoop:
      if (auto found = LoopAttr(heap, *object.loop, name)) return found;
      break;
    case Type::kCallable:
      if (auto found = CallableAttr(heap, *object.callable, name)) return found;
      break;
    case Type::kCycler:
      if (object.cycler->is_joiner) break;
      if (name == "current") return object.cycler->items[object.cycler->position];
      if (name == "pos") return Value::Integer(static_cast<Int>(object.cycler->position));
      break;
    case Type::kSeq:
      if (object.seq->is_group && name == "grouper") return object.seq->items[0];
      if (object.seq->is_group && name == "list") return object.seq->items[1];
      break;
    default:
      break;
  }
  if (const std::optional<Method> method = FindMethod(object, name)) {
    Callable* callable = heap->NewCallable(Callable::Kind::kMethod);
    callable->method = *method;
    callable->self = object;
    return Value::Of(callable);
  }
  if (IsUnsafeAttribute(object, name)) {
    return heap->Undefined(fmt::format("access to attribute {} of '{}' object is unsafe.",
                                       Quoted(name), TypeName(object)));
  }
  return std::nullopt;
}

std::optional<Value> Item(Heap* heap, const Value& object, const Value& key) {
  switch (object.type) {
    case Type::kDict: {
      if (key.type == Type::kSeq || key.type == Type::kDict)
        return std::nullopt;  // Python's TypeError: unhashable, mostly
      const Value* found = heap->Find(object.dict, key);
      return found != nullptr ? std::optional<Value>(*found) : std::nullopt;
    }
    case Type::kSeq: {
      if (!object.seq->is_indexable() || !key.is_integer()) return std::nullopt;
      const Int size = static_cast<Int>(object.seq->items.size());
      Int index = key.AsInt();
      if (index < -size || index >= size) return std::nullopt;
      if (index < 0) index += size;
      return object.seq->items[static_cast<size_t>(index)];
    }
    case Type::kString: {
      if (!key.is_integer()) return std::nullopt;
      const Int size = heap->Length(object.text);
      Int index = key.AsInt();
      if (index < -size || index >= size) return std::nullopt;
      if (index < 0) index += size;
      const size_t at = heap->OffsetOf(object.text, static_cast<int64_t>(index));
      return heap->Slice(object.text, at, at + PointBytes(object.text->view, at));
    }
    default:
      return std::nullopt;
  }
}

}  // namespace

Value Interpreter::GetAttr(const Value& object, std::string_view name) {
  if (object.is_undefined()) {
    if (name == "__class__" || name == "__init__" || name == "__dict__" || name == "__doc__") {
      return heap_->Undefined(
          fmt::format("access to attribute {} of 'Undefined' object is unsafe.", Quoted(name)));
    }
    FailUndefined(object);
  }
  if (auto found = Attribute(heap_, object, name)) return *found;
  if (object.type == Type::kDict) {
    if (const Value* found = heap_->Find(object.dict, name)) return *found;
  }
  return heap_->Undefined(
      fmt::format("'{}' has no attribute {}", ObjectName(object), Quoted(name)));
}

Value Interpreter::GetItem(const Value& object, const Value& key) {
  RequireDefined(object);
  if (auto found = Item(heap_, object, key)) return *found;
  if (!key.is_string()) {
    TextBuilder shown(heap_);
    AppendRepr(key, &shown);
    return heap_->Undefined(
        fmt::format("{} has no element {}", ObjectName(object), shown.text().substr(0, 80)));
  }
  const std::string_view name = heap_->Text(key.text);
  if (auto found = Attribute(heap_, object, name)) return *found;
  return heap_->Undefined(
      fmt::format("'{}' has no attribute {}", ObjectName(object), Quoted(name)));
}

Value Interpreter::GetSlice(const Value& object, const Value& start, const Value& stop,
                            const Value& step) {
  RequireDefined(object);
  const bool is_text = object.is_string();
  if (!is_text && !(object.type == Type::kSeq && object.seq->is_indexable())) {
    throw Failure{fmt::format("'{}' object cannot be sliced", TypeName(object))};
  }
  for (const Value* bound : {&start, &stop, &step}) {
    if (!bound->is_none() && !bound->is_integer())
      throw Failure{"slice indices must be integers or None"};
  }
  const Int size =
      is_text ? Int{heap_->Length(object.text)} : static_cast<Int>(object.seq->items.size());
  const Int stride = step.is_none() ? Int{1} : step.AsInt();
  if (stride == 0) throw Failure{"slice step cannot be zero"};
  // Python's slice.indices: bounds count from the end if negative and are clamped to what exists.
  const auto clamp = [&](const Value& bound, Int fallback) {
    if (bound.is_none()) return fallback;
    Int index = bound.AsInt();
    if (index < 0)
      index = index < -size ? Int{-1} : index + size;
    else if (index > size)
      index = size;
    if (bound.AsInt() < 0 && index < 0) return stride > 0 ? Int{0} : Int{-1};
    return stride < 0 ? std::min(index, size - 1) : index;
  };
  const Int first = clamp(start, stride > 0 ? Int{0} : size - 1);
  const Int end = clamp(stop, stride > 0 ? size : Int{-1});
  // At most `size` picks; stops before an addition could overflow.
  std::vector<int64_t> picks;
  if (!is_text || stride != 1) {
    heap_->Tick(static_cast<uint64_t>(size) / 4);
    const Int limit = size + 1;
    const Int walk = std::clamp(stride, -limit, limit);
    for (Int i = first; stride > 0 ? i < end : i > end; i += walk)
      picks.push_back(static_cast<int64_t>(i));
  }
  if (!is_text) {
    std::vector<Value> items;
    for (const int64_t i : picks) items.push_back(object.seq->items[static_cast<size_t>(i)]);
    const Value result = heap_->List(std::move(items), object.seq->origin);
    result.seq->kind = object.seq->kind;
    if (object.seq->kind == Seq::Kind::kRange) {
      // Only for printing; the bounds of a range near the ends of 128 bits may wrap.
      const Seq& range = *object.seq;
      Seq* slice = result.seq;
      __builtin_mul_overflow(first, range.step, &slice->start);
      __builtin_add_overflow(slice->start, range.start, &slice->start);
      __builtin_mul_overflow(end, range.step, &slice->stop);
      __builtin_add_overflow(slice->stop, range.start, &slice->stop);
      __builtin_mul_overflow(stride, range.step, &slice->step);
    }
    return result;
  }
  if (stride == 1) {
    if (first >= end) return heap_->View("", object.text->origin);
    return heap_->Slice(object.text, heap_->OffsetOf(object.text, static_cast<int64_t>(first)),
                        heap_->OffsetOf(object.text, static_cast<int64_t>(end)));
  }
  const std::string_view view = heap_->Text(object.text);
  std::vector<uint32_t> offsets;
  heap_->Charge(view.size() * sizeof(uint32_t) / 4);
  for (size_t at = 0; at < view.size(); at += PointBytes(view, at))
    offsets.push_back(static_cast<uint32_t>(at));
  TextBuilder out(heap_);
  for (const int64_t i : picks) {
    const size_t at = offsets[static_cast<size_t>(i)];
    out.AppendRange(object.text, at, at + PointBytes(view, at));
  }
  return out.Finish();
}

}  // namespace planish::jinja

// SPDX-License-Identifier: Apache-2.0
#include "text/jinja_methods.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/limits.h"
#include "text/jinja_interpreter.h"

namespace planish::jinja {
namespace {

struct NamedMethod {
  std::string_view name;
  Method method;
};

constexpr NamedMethod kTextMethods[] = {{"capitalize", Method::kCapitalize},
                                        {"casefold", Method::kCasefold},
                                        {"center", Method::kCenter},
                                        {"count", Method::kCount},
                                        {"endswith", Method::kEndswith},
                                        {"expandtabs", Method::kExpandtabs},
                                        {"find", Method::kFind},
                                        {"format", Method::kFormat},
                                        {"index", Method::kIndex},
                                        {"isalnum", Method::kIsalnum},
                                        {"isalpha", Method::kIsalpha},
                                        {"isascii", Method::kIsascii},
                                        {"isdecimal", Method::kIsdecimal},
                                        {"isdigit", Method::kIsdigit},
                                        {"isidentifier", Method::kIsidentifier},
                                        {"islower", Method::kIslower},
                                        {"isnumeric", Method::kIsnumeric},
                                        {"isprintable", Method::kIsprintable},
                                        {"isspace", Method::kIsspace},
                                        {"istitle", Method::kIstitle},
                                        {"isupper", Method::kIsupper},
                                        {"join", Method::kJoin},
                                        {"ljust", Method::kLjust},
                                        {"lower", Method::kLower},
                                        {"lstrip", Method::kLstrip},
                                        {"partition", Method::kPartition},
                                        {"removeprefix", Method::kRemoveprefix},
                                        {"removesuffix", Method::kRemovesuffix},
                                        {"replace", Method::kReplace},
                                        {"rfind", Method::kRfind},
                                        {"rindex", Method::kRindex},
                                        {"rjust", Method::kRjust},
                                        {"rpartition", Method::kRpartition},
                                        {"rsplit", Method::kRsplit},
                                        {"rstrip", Method::kRstrip},
                                        {"split", Method::kSplit},
                                        {"splitlines", Method::kSplitlines},
                                        {"startswith", Method::kStartswith},
                                        {"strip", Method::kStrip},
                                        {"swapcase", Method::kSwapcase},
                                        {"title", Method::kTitle},
                                        {"upper", Method::kUpper},
                                        {"zfill", Method::kZfill}};
constexpr NamedMethod kSeqMethods[] = {
    {"count", Method::kSeqCount}, {"index", Method::kSeqIndex}, {"copy", Method::kSeqCopy}};
constexpr NamedMethod kDictMethods[] = {{"get", Method::kGet},
                                        {"items", Method::kItems},
                                        {"keys", Method::kKeys},
                                        {"values", Method::kValues},
                                        {"copy", Method::kDictCopy}};
constexpr NamedMethod kLoopMethods[] = {{"cycle", Method::kLoopCycle},
                                        {"changed", Method::kLoopChanged}};
constexpr NamedMethod kCyclerMethods[] = {{"next", Method::kCyclerNext},
                                          {"reset", Method::kCyclerReset}};

template <size_t N>
std::optional<Method> Find(const NamedMethod (&methods)[N], std::string_view name) {
  for (const NamedMethod& each : methods) {
    if (each.name == name) return each.method;
  }
  return std::nullopt;
}

Str* NeedText(const Value& value, std::string_view what) {
  RequireDefined(value);
  if (!value.is_string())
    throw Failure{fmt::format("{}: expected a string, got {}", what, TypeName(value))};
  return value.text;
}

Int NeedInt(const Value& value, std::string_view what) {
  RequireDefined(value);
  if (!value.is_integer())
    throw Failure{fmt::format("{}: expected an integer, got {}", what, TypeName(value))};
  return value.AsInt();
}

using Bound = std::vector<std::optional<Value>>;

bool IsGiven(const std::optional<Value>& value) { return value && !value->is_none(); }

// [start, end) in bytes from Python's optional code point bounds; start > end: Python finds
// nothing, not even "".
std::pair<size_t, size_t> ByteRange(Heap* heap, Str* text, const std::optional<Value>& start,
                                    const std::optional<Value>& end) {
  const Int size = heap->Length(text);
  const auto clamp = [&](const std::optional<Value>& bound, Int fallback, bool is_start) {
    if (!IsGiven(bound)) return fallback;
    Int at = NeedInt(*bound, "bound");
    if (at < 0) at = at < -size ? Int{0} : at + size;
    return is_start ? std::min(at, size + 1) : std::min(at, size);
  };
  const Int first = clamp(start, 0, true), last = clamp(end, size, false);
  if (first > last) return {1, 0};
  return {heap->OffsetOf(text, static_cast<int64_t>(first)),
          heap->OffsetOf(text, static_cast<int64_t>(last))};
}

bool HasAffix(Heap* heap, Str* text, const Bound& args, bool at_end) {
  const auto [begin, end] = ByteRange(heap, text, args[1], args[2]);
  if (begin > end) return false;
  const std::string_view view = heap->Text(text).substr(begin, end - begin);
  const auto matches = [&](const Value& affix) {
    const std::string_view wanted = heap->Text(NeedText(affix, at_end ? "endswith" : "startswith"));
    heap->Tick(1 + wanted.size() / 64);
    return at_end ? view.ends_with(wanted) : view.starts_with(wanted);
  };
  if (args[0]->type == Type::kSeq && args[0]->seq->kind == Seq::Kind::kTuple) {
    return std::any_of(args[0]->seq->items.begin(), args[0]->seq->items.end(), matches);
  }
  return matches(*args[0]);
}

// Code point position of the first or last occurrence, -1 if none.
Int FindText(Heap* heap, Str* text, const Bound& args, bool last) {
  const std::string_view wanted = heap->Text(NeedText(*args[0], "find"));
  const auto [begin, end] = ByteRange(heap, text, args[1], args[2]);
  if (begin > end) return -1;
  const std::string_view view = heap->Text(text);
  heap->Tick(view.size() / 16);
  const std::string_view part = view.substr(begin, end - begin);
  const size_t found = last ? part.rfind(wanted) : part.find(wanted);
  return found == std::string_view::npos ? Int{-1}
                                         : Int{CountPoints(view.substr(0, begin + found))};
}

Int CountText(Heap* heap, Str* text, const Bound& args) {
  Str* wanted_text = NeedText(*args[0], "count");
  const std::string_view wanted = heap->Text(wanted_text);
  const auto [begin, end] = ByteRange(heap, text, args[1], args[2]);
  if (begin > end) return 0;
  const std::string_view part = heap->Text(text).substr(begin, end - begin);
  heap->Tick(part.size() / 16);
  if (wanted.empty()) return CountPoints(part) + 1;
  Int count = 0;
  for (size_t at = part.find(wanted); at != std::string_view::npos;
       at = part.find(wanted, at + wanted.size()))
    ++count;
  return count;
}

Value Partition(Heap* heap, Str* text, const Value& separator, bool from_right) {
  Str* wanted = NeedText(separator, "partition");
  const std::string_view view = heap->Text(text), needle = heap->Text(wanted);
  if (needle.empty()) throw Failure{"empty separator"};
  heap->Tick(view.size() / 16);
  const size_t found = from_right ? view.rfind(needle) : view.find(needle);
  const Value empty = heap->View("", kFromTemplate);
  if (found == std::string_view::npos) {
    return from_right ? heap->Tuple({empty, empty, Value::Of(text)})
                      : heap->Tuple({Value::Of(text), empty, empty});
  }
  return heap->Tuple({heap->Slice(text, 0, found), separator,
                      heap->Slice(text, found + needle.size(), view.size())});
}

Value Strip(Heap* heap, Str* text, const std::optional<Value>& chars, Side side) {
  const std::string_view view = heap->Text(text);
  heap->Tick(view.size() / 64);
  std::string_view set;
  if (IsGiven(chars)) set = heap->Text(NeedText(*chars, "strip"));
  const auto [begin, end] = StripRange(view, IsGiven(chars) ? &set : nullptr, side);
  heap->Tick((view.size() - (end - begin)) * (1 + set.size()) / 16);
  return heap->Slice(text, begin, end);
}

Value Join(Heap* heap, Str* separator, const Value& items) {
  TextBuilder out(heap);
  bool is_first = true;
  size_t index = 0;
  RequireDefined(items);
  for (const Value& item : ItemsOf(heap, items)) {
    if (!item.is_string()) {
      throw Failure{
          fmt::format("sequence item {}: expected str instance, {} found", index, TypeName(item))};
    }
    if (!is_first) out.Append(separator);
    is_first = false;
    ++index;
    heap->Tick();
    out.Append(item.text);
  }
  return out.Finish();
}

Value ExpandTabs(Heap* heap, Str* text, Int size) {
  if (size > static_cast<Int>(limits::kTemplateStringBytes))
    throw Failure{"expandtabs: tab size is too large"};
  const std::string_view view = heap->Text(text);
  TextBuilder out(heap);
  Int column = 0;
  for (size_t at = 0; at < view.size();) {
    const size_t bytes = PointBytes(view, at);
    if (view[at] == '\t') {
      const Int spaces = size > 0 ? size - column % size : Int{0};
      out.Append(std::string(static_cast<size_t>(spaces), ' '), kFromTemplate);
      column += spaces;
    } else {
      out.AppendRange(text, at, at + bytes);
      column = view[at] == '\n' || view[at] == '\r' ? Int{0} : column + 1;
    }
    heap->Tick();
    at += bytes;
  }
  return out.Finish();
}

Value ZeroFill(Heap* heap, Str* text, Int width) {
  const std::string_view view = heap->Text(text);
  const Int length = heap->Length(text);
  if (width <= length) return Value::Of(text);
  const Int missing = width - length;
  const size_t sign = !view.empty() && (view[0] == '+' || view[0] == '-') ? 1 : 0;
  TextBuilder out(heap);
  out.AppendRange(text, 0, sign);
  out.Append(Repeat(heap, heap->View("0", kFromTemplate).text, missing).text);
  out.AppendRange(text, sign, view.size());
  return out.Finish();
}

std::optional<Class> ClassOf(Method method) {
  switch (method) {
    case Method::kIsalnum:
      return Class::kAlnum;
    case Method::kIsalpha:
      return Class::kAlpha;
    case Method::kIsascii:
      return Class::kAscii;
    case Method::kIsdecimal:
      return Class::kDecimal;
    case Method::kIsdigit:
      return Class::kDigit;
    case Method::kIsidentifier:
      return Class::kIdentifier;
    case Method::kIslower:
      return Class::kLower;
    case Method::kIsnumeric:
      return Class::kNumeric;
    case Method::kIsprintable:
      return Class::kPrintable;
    case Method::kIsspace:
      return Class::kSpace;
    case Method::kIstitle:
      return Class::kTitle;
    case Method::kIsupper:
      return Class::kUpper;
    default:
      return std::nullopt;
  }
}

Value CallText(Interpreter& interpreter, Method method, Str* text, Args& args) {
  Heap* heap = interpreter.heap();
  if (const auto wanted = ClassOf(method)) {
    args.Bind("str method", {}, 0);
    heap->Tick(text->bytes / 8);
    return Value::Bool(IsAll(heap->Text(text), *wanted));
  }
  switch (method) {
    case Method::kCapitalize:
      return args.Bind("capitalize", {}, 0), ChangeCase(heap, text, Case::kCapitalize);
    case Method::kCasefold:
      return args.Bind("casefold", {}, 0), ChangeCase(heap, text, Case::kLower);
    case Method::kLower:
      return args.Bind("lower", {}, 0), ChangeCase(heap, text, Case::kLower);
    case Method::kUpper:
      return args.Bind("upper", {}, 0), ChangeCase(heap, text, Case::kUpper);
    case Method::kTitle:
      return args.Bind("title", {}, 0), ChangeCase(heap, text, Case::kTitle);
    case Method::kSwapcase:
      return args.Bind("swapcase", {}, 0), ChangeCase(heap, text, Case::kSwap);
    case Method::kFormat:
      return BraceFormat(interpreter, text, args);
    case Method::kJoin:
      return Join(heap, text, *args.Bind("join", {"iterable"}, 1)[0]);
    case Method::kCenter:
    case Method::kLjust:
    case Method::kRjust: {
      const auto bound = args.Bind("just", {"width", "fillchar"}, 1);
      Str* fill = bound[1] ? NeedText(*bound[1], "fillchar") : heap->View(" ", kFromTemplate).text;
      const Align align = method == Method::kCenter  ? Align::kCenter
                          : method == Method::kLjust ? Align::kLeft
                                                     : Align::kRight;
      return Pad(heap, text, NeedInt(*bound[0], "width"), fill, align);
    }
    case Method::kCount:
      return Value::Integer(CountText(heap, text, args.Bind("count", {"sub", "start", "end"}, 1)));
    case Method::kStartswith:
    case Method::kEndswith: {
      const auto bound = args.Bind("startswith", {"prefix", "start", "end"}, 1);
      return Value::Bool(HasAffix(heap, text, bound, method == Method::kEndswith));
    }
    case Method::kFind:
    case Method::kRfind:
    case Method::kIndex:
    case Method::kRindex: {
      const auto bound = args.Bind("find", {"sub", "start", "end"}, 1);
      const Int found =
          FindText(heap, text, bound, method == Method::kRfind || method == Method::kRindex);
      if (found < 0 && (method == Method::kIndex || method == Method::kRindex))
        throw Failure{"substring not found"};
      return Value::Integer(found);
    }
    case Method::kExpandtabs: {
      const auto bound = args.Bind("expandtabs", {"tabsize"}, 0);
      return ExpandTabs(heap, text, bound[0] ? NeedInt(*bound[0], "tabsize") : Int{8});
    }
    case Method::kStrip:
      return Strip(heap, text, args.Bind("strip", {"chars"}, 0)[0], Side::kBoth);
    case Method::kLstrip:
      return Strip(heap, text, args.Bind("lstrip", {"chars"}, 0)[0], Side::kLeft);
    case Method::kRstrip:
      return Strip(heap, text, args.Bind("rstrip", {"chars"}, 0)[0], Side::kRight);
    case Method::kPartition:
      return Partition(heap, text, *args.Bind("partition", {"sep"}, 1)[0], false);
    case Method::kRpartition:
      return Partition(heap, text, *args.Bind("rpartition", {"sep"}, 1)[0], true);
    case Method::kRemoveprefix:
    case Method::kRemovesuffix: {
      const auto bound = args.Bind("removeprefix", {"prefix"}, 1);
      const std::string_view view = heap->Text(text),
                             affix = heap->Text(NeedText(*bound[0], "removeprefix"));
      if (method == Method::kRemoveprefix) {
        return view.starts_with(affix) ? heap->Slice(text, affix.size(), view.size())
                                       : Value::Of(text);
      }
      return view.ends_with(affix) ? heap->Slice(text, 0, view.size() - affix.size())
                                   : Value::Of(text);
    }
    case Method::kReplace: {
      const auto bound = args.Bind("replace", {"old", "new", "count"}, 2);
      return Replace(heap, text, NeedText(*bound[0], "replace"), NeedText(*bound[1], "replace"),
                     bound[2] ? NeedInt(*bound[2], "replace") : Int{-1});
    }
    case Method::kSplit:
    case Method::kRsplit: {
      const auto bound = args.Bind("split", {"sep", "maxsplit"}, 0);
      Str* separator = IsGiven(bound[0]) ? NeedText(*bound[0], "split") : nullptr;
      const Int limit = bound[1] ? NeedInt(*bound[1], "split") : Int{-1};
      return heap->List(Split(heap, text, separator, limit, method == Method::kRsplit),
                        text->origin);
    }
    case Method::kSplitlines: {
      const auto bound = args.Bind("splitlines", {"keepends"}, 0);
      return heap->List(SplitLines(heap, text, bound[0] && IsTrue(*bound[0])), text->origin);
    }
    case Method::kZfill:
      return ZeroFill(heap, text, NeedInt(*args.Bind("zfill", {"width"}, 1)[0], "zfill"));
    default:
      throw Failure{"unknown string method"};
  }
}

Value CallSeq(Heap* heap, Method method, const Value& self, Args& args) {
  const std::vector<Value>& items = self.seq->items;
  if (method == Method::kSeqCopy) {
    args.Bind("copy", {}, 0);
    return heap->List(items, self.seq->origin);
  }
  const auto bound = args.Bind("index", {"value", "start", "stop"}, 1);
  if (method == Method::kSeqCount) {
    if (args.positional.size() != 1) throw Failure{"count() takes exactly one argument"};
    Int count = 0;
    for (const Value& item : items) count += Equals(heap, item, *bound[0]) ? 1 : 0;
    return Value::Integer(count);
  }
  const Int size = static_cast<Int>(items.size());
  const auto clamp = [&](const std::optional<Value>& value, Int fallback) {
    if (!value) return fallback;
    const Int at = NeedInt(*value, "index");
    return std::clamp(at < 0 && at >= -size ? at + size : at, Int{0}, size);
  };
  for (Int i = clamp(bound[1], 0); i < clamp(bound[2], size); ++i) {
    if (Equals(heap, items[static_cast<size_t>(i)], *bound[0])) return Value::Integer(i);
  }
  throw Failure{"value is not in the list"};
}

Value CallDict(Heap* heap, Method method, const Value& self, Args& args) {
  Dict* dict = self.dict;
  if (method == Method::kGet) {
    if (!args.named.empty()) throw Failure{"get() takes no keyword arguments"};
    const auto bound = args.Bind("get", {"key", "default"}, 1);
    CheckHashable(*bound[0]);
    const Value* found = heap->Find(dict, *bound[0]);
    return found != nullptr ? *found : bound[1] ? *bound[1] : Value::None();
  }
  args.Bind("dict method", {}, 0);
  if (method == Method::kDictCopy) {
    Dict* copy = heap->NewDict(dict->origin);
    for (const auto& [key, value] : dict->items) heap->Set(copy, key, value);
    return Value::Of(copy);
  }
  std::vector<Value> items;
  for (const auto& [key, value] : dict->items) {
    items.push_back(method == Method::kKeys     ? key
                    : method == Method::kValues ? value
                                                : heap->Tuple({key, value}));
  }
  const Value view = heap->List(std::move(items), dict->origin);
  view.seq->kind = method == Method::kKeys     ? Seq::Kind::kKeys
                   : method == Method::kValues ? Seq::Kind::kValues
                                               : Seq::Kind::kItems;
  return view;
}

Value CallLoop(Heap* heap, Method method, Loop* loop, Args& args) {
  if (!args.named.empty()) throw Failure{"loop methods take no keyword arguments"};
  if (method == Method::kLoopCycle) {
    if (args.positional.empty()) throw Failure{"no items for cycling given"};
    return args.positional[loop->index0 % args.positional.size()];
  }
  bool is_same = loop->has_changed_value && loop->changed_value.size() == args.positional.size();
  for (size_t i = 0; is_same && i < args.positional.size(); ++i) {
    is_same = Equals(heap, loop->changed_value[i], args.positional[i]);
  }
  loop->has_changed_value = true;
  loop->changed_value = args.positional;
  return Value::Bool(!is_same);
}

Value CallCycler(Method method, Cycler* cycler, Args& args) {
  args.Bind("cycler", {}, 0);
  if (method == Method::kCyclerReset) {
    cycler->position = 0;
    return Value::None();
  }
  const Value current = cycler->items[cycler->position];
  cycler->position = (cycler->position + 1) % cycler->items.size();
  return current;
}

}  // namespace

std::optional<Method> FindMethod(const Value& self, std::string_view name) {
  switch (self.type) {
    case Type::kString:
      return Find(kTextMethods, name);
    case Type::kDict:
      return Find(kDictMethods, name);
    case Type::kLoop:
      return Find(kLoopMethods, name);
    case Type::kCycler:
      return self.cycler->is_joiner ? std::nullopt : Find(kCyclerMethods, name);
    case Type::kSeq:
      if (!self.seq->is_indexable() || (name == "copy" && self.seq->kind != Seq::Kind::kList))
        return std::nullopt;
      return Find(kSeqMethods, name);
    default:
      return std::nullopt;
  }
}

bool IsUnsafeAttribute(const Value& self, std::string_view name) {
  static constexpr std::string_view kDict[] = {"clear",      "pop",    "popitem",
                                               "setdefault", "update", "fromkeys"};
  static constexpr std::string_view kList[] = {"append", "clear", "pop",    "reverse",
                                               "insert", "sort",  "extend", "remove"};
  static constexpr std::string_view kText[] = {"encode", "maketrans", "translate", "format_map"};
  // What every Python object has.
  static constexpr std::string_view kObject[] = {
      "__class__",   "__delattr__", "__dir__",           "__doc__",         "__eq__",
      "__format__",  "__ge__",      "__getattribute__",  "__getstate__",    "__gt__",
      "__hash__",    "__init__",    "__init_subclass__", "__le__",          "__lt__",
      "__ne__",      "__new__",     "__reduce__",        "__reduce_ex__",   "__repr__",
      "__setattr__", "__sizeof__",  "__str__",           "__subclasshook__"};
  const auto has = [&](const auto& names) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
  };
  if (has(kObject)) return true;
  switch (self.type) {
    case Type::kDict:
      return has(kDict);
    case Type::kSeq:
      return self.seq->kind == Seq::Kind::kList && has(kList);
    case Type::kString:
      return has(kText);
    default:
      return false;
  }
}

Value Interpreter::CallMethod(Method method, const Value& self, Args& args) {
  switch (self.type) {
    case Type::kString:
      return CallText(*this, method, self.text, args);
    case Type::kSeq:
      return CallSeq(heap_, method, self, args);
    case Type::kDict:
      return CallDict(heap_, method, self, args);
    case Type::kLoop:
      return planish::jinja::CallLoop(heap_, method, self.loop, args);
    case Type::kCycler:
      return CallCycler(method, self.cycler, args);
    default:
      throw Failure{"value has no methods"};
  }
}

}  // namespace planish::jinja

// SPDX-License-Identifier: Apache-2.0
// Filters on texts, numbers and single values; those on lists and mappings are in
// jinja_sequence_filters.cc.
#include "text/jinja_filters.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/limits.h"
#include "text/jinja_interpreter.h"

namespace planish::jinja {
namespace {

bool IsGiven(const std::optional<Value>& value) { return value && !value->is_none(); }

Int IntOr(const std::optional<Value>& value, Int fallback, const char* what) {
  if (!value) return fallback;
  RequireDefined(*value);
  if (!value->is_integer())
    throw Failure{fmt::format("{} must be an integer, not {}", what, TypeName(*value))};
  return value->AsInt();
}

template <Case to>
Value FilterCase(Interpreter& interpreter, Args& args) {
  Heap* heap = interpreter.heap();
  return ChangeCase(heap, ToText(heap, *args.Bind("filter", {"s"}, 1)[0]).text, to);
}

// Jinja's own rule, other than str.title: words begin after white space or one of -({[<, not after
// every non-letter.
Value FilterTitle(Interpreter& interpreter, Args& args) {
  Heap* heap = interpreter.heap();
  Str* text = ToText(heap, *args.Bind("title", {"s"}, 1)[0]).text;
  const std::string_view view = heap->Text(text);
  const auto is_break = [&](size_t at) {
    const char32_t c = PointAt(view, at);
    return IsSpace(c) || (c < 0x80 && std::string_view("-({[<").find(static_cast<char>(c)) !=
                                          std::string_view::npos);
  };
  TextBuilder out(heap);
  for (size_t at = 0; at < view.size();) {
    const size_t size = PointBytes(view, at);
    if (is_break(at)) {
      out.AppendRange(text, at, at + size);
      at += size;
      continue;
    }
    size_t end = at + size;
    while (end < view.size() && !is_break(end)) end += PointBytes(view, end);
    out.Append(ChangeCase(heap, heap->Slice(text, at, at + size).text, Case::kUpper).text);
    out.Append(ChangeCase(heap, heap->Slice(text, at + size, end).text, Case::kLower).text);
    at = end;
  }
  return out.Finish();
}

Value FilterTrim(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("trim", {"value", "chars"}, 1);
  Heap* heap = interpreter.heap();
  Args strip;
  if (IsGiven(bound[1])) strip.positional.push_back(*bound[1]);
  const Value text = ToText(heap, *bound[0]);
  const Value method = interpreter.GetAttr(text, "strip");
  return interpreter.Call(method, strip);
}

Value FilterReplace(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("replace", {"s", "old", "new", "count"}, 3);
  Heap* heap = interpreter.heap();
  return Replace(heap, ToText(heap, *bound[0]).text, ToText(heap, *bound[1]).text,
                 ToText(heap, *bound[2]).text,
                 IsGiven(bound[3]) ? IntOr(bound[3], -1, "count") : Int{-1});
}

Value FilterIndent(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("indent", {"s", "width", "first", "blank"}, 1);
  Heap* heap = interpreter.heap();
  RequireDefined(*bound[0]);
  if (!bound[0]->is_string())
    throw Failure{fmt::format("indent needs a string, not {}", TypeName(*bound[0]))};
  Str* indent =
      bound[1] && bound[1]->is_string()
          ? bound[1]->text
          : Repeat(heap, heap->View(" ", kFromTemplate).text, IntOr(bound[1], 4, "width")).text;
  const bool first = bound[2] && IsTrue(*bound[2]), blank = bound[3] && IsTrue(*bound[3]);
  const Value ended =
      heap->Concat(bound[0]->text, heap->View("\n", kFromTemplate).text);  // as jinja2 does
  const std::vector<Value> lines = SplitLines(heap, ended.text, /*keep_ends=*/false);
  TextBuilder out(heap);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.Append("\n", lines[i].text->origin);
    if (i == 0 ? first : blank || lines[i].text->bytes > 0) out.Append(indent);
    out.Append(lines[i].text);
  }
  return out.Finish();
}

Value FilterTruncate(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("truncate", {"s", "length", "killwords", "end", "leeway"}, 1);
  Heap* heap = interpreter.heap();
  const Int length = IntOr(bound[1], 255, "length");
  const Value end = bound[3] ? ToText(heap, *bound[3]) : heap->View("...", kFromTemplate);
  const Int end_length = heap->Length(end.text),
            leeway = IsGiven(bound[4]) ? IntOr(bound[4], 5, "leeway") : Int{5};
  if (length < end_length)
    throw Failure{fmt::format("expected length >= {}, got {}", end_length, length)};
  if (leeway < 0) throw Failure{fmt::format("expected leeway >= 0, got {}", leeway)};
  const Int size = LengthOf(heap, *bound[0]);
  if (leeway >= size || length >= size - leeway) return *bound[0];
  if (!bound[0]->is_string())
    throw Failure{fmt::format("truncate needs a string, not {}", TypeName(*bound[0]))};
  Str* text = bound[0]->text;
  const Value kept =
      heap->Slice(text, 0, heap->OffsetOf(text, static_cast<int64_t>(length - end_length)));
  if (bound[2] && IsTrue(*bound[2])) return heap->Concat(kept.text, end.text);
  Str* space = heap->View(" ", kFromTemplate).text;
  return heap->Concat(Split(heap, kept.text, space, 1, /*from_right=*/true)[0].text, end.text);
}

Value FilterWordCount(Interpreter& interpreter, Args& args) {
  Heap* heap = interpreter.heap();
  const std::string_view text = heap->Text(ToText(heap, *args.Bind("wordcount", {"s"}, 1)[0]).text);
  heap->Tick(text.size() / 8);
  Int count = 0;
  bool in_word = false;
  for (size_t at = 0; at < text.size(); at += PointBytes(text, at)) {
    const std::string_view point = text.substr(at, PointBytes(text, at));
    const bool is_word = point == "_" || IsAll(point, Class::kAlnum);
    count += is_word && !in_word ? 1 : 0;
    in_word = is_word;
  }
  return Value::Integer(count);
}

Value FilterCenter(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("center", {"value", "width"}, 1);
  Heap* heap = interpreter.heap();
  return Pad(heap, ToText(heap, *bound[0]).text, IntOr(bound[1], 80, "width"),
             heap->View(" ", kFromTemplate).text, Align::kCenter);
}

Value FilterString(Interpreter& interpreter, Args& args) {
  return ToText(interpreter.heap(), *args.Bind("string", {"value"}, 1)[0]);
}

// Appends every code point of text as `map` gives it, with its origin.
template <typename Map>
Value MapPoints(Heap* heap, Str* text, Map map) {
  const std::string_view view = heap->Text(text);
  heap->Tick(view.size() / 8);
  TextBuilder out(heap);
  size_t begin = 0;
  for (size_t run = 0; run < std::max<size_t>(text->runs.size(), 1); ++run) {
    const size_t end = text->runs.empty() ? view.size() : text->runs[run].end;
    std::string piece;
    for (size_t at = begin; at < end; at += PointBytes(view, at))
      map(view.substr(at, PointBytes(view, at)), &piece);
    out.Append(piece, text->runs.empty() ? text->origin : text->runs[run].origin);
    begin = end;
  }
  return out.Finish();
}

Value FilterEscape(Interpreter& interpreter, Args& args) {
  Heap* heap = interpreter.heap();
  return MapPoints(heap, ToText(heap, *args.Bind("escape", {"s"}, 1)[0]).text,
                   [](std::string_view c, std::string* out) {
                     *out += c == "&"    ? "&amp;"
                             : c == "<"  ? "&lt;"
                             : c == ">"  ? "&gt;"
                             : c == "'"  ? "&#39;"
                             : c == "\"" ? "&#34;"
                                         : c;
                   });
}

// In a query string "/" is escaped too and a space becomes "+".
Value UrlQuote(Heap* heap, const Value& value, bool in_query) {
  return MapPoints(
      heap, ToText(heap, value).text, [in_query](std::string_view point, std::string* out) {
        for (const char c : point) {
          const bool is_plain =
              (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              std::string_view("_.-~").find(c) != std::string_view::npos || (c == '/' && !in_query);
          if (is_plain)
            *out += c;
          else if (c == ' ' && in_query)
            *out += '+';
          else
            *out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
      });
}

Value FilterUrlEncode(Interpreter& interpreter, Args& args) {
  const Value value = *args.Bind("urlencode", {"value"}, 1)[0];
  Heap* heap = interpreter.heap();
  if (value.type != Type::kDict && value.type != Type::kSeq)
    return UrlQuote(heap, value, /*in_query=*/false);
  TextBuilder out(heap);
  std::vector<std::vector<Value>> pairs;
  if (value.type == Type::kDict) {
    for (const auto& [key, item] : value.dict->items) pairs.push_back({key, item});
  } else {
    for (const Value& item : ItemsOf(heap, value)) pairs.push_back(ItemsOf(heap, item));
  }
  for (const std::vector<Value>& pair : pairs) {
    if (pair.size() != 2) throw Failure{"urlencode needs pairs of key and value"};
    if (out.size() > 0) out.Append("&", kFromTemplate);
    out.Append(UrlQuote(heap, pair[0], /*in_query=*/true).text);
    out.Append("=", kFromTemplate);
    out.Append(UrlQuote(heap, pair[1], /*in_query=*/true).text);
  }
  return out.Finish();
}

Value FilterDefault(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("default", {"value", "default_value", "boolean"}, 1);
  const bool replaces =
      bound[0]->is_undefined() || (bound[2] && IsTrue(*bound[2]) && !IsTrue(*bound[0]));
  if (!replaces) return *bound[0];
  return bound[1] ? *bound[1] : interpreter.heap()->View("", kFromTemplate);
}

Value FilterLength(Interpreter& interpreter, Args& args) {
  return Value::Integer(LengthOf(interpreter.heap(), *args.Bind("length", {"object"}, 1)[0]));
}

// Python's int(text, base).
std::optional<Int> ParseInt(std::string_view text, Int base) {
  const auto [begin, end] = StripRange(text, nullptr, Side::kBoth);
  text = text.substr(begin, end - begin);
  const bool is_negative = text.starts_with('-');
  if (is_negative || text.starts_with('+')) text.remove_prefix(1);
  bool after_prefix = false;
  if (text.size() > 1 && text[0] == '0') {
    const char mark = static_cast<char>(text[1] | 0x20);
    const Int marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked != 0 && (base == 0 || base == marked)) {
      base = marked;
      text.remove_prefix(2);
      after_prefix = true;
    }
  }
  if (base == 0) {
    base = 10;
    if (text.size() > 1 && text[0] == '0' && text.find_first_not_of("0_") != std::string_view::npos)
      return std::nullopt;
  }
  Int value = 0;
  bool digit_before = after_prefix;
  for (const char c : text) {
    if (c == '_') {
      if (!digit_before) return std::nullopt;
      digit_before = false;
      continue;
    }
    const char lower = static_cast<char>(c | 0x20);
    const int digit = c >= '0' && c <= '9'           ? c - '0'
                      : lower >= 'a' && lower <= 'z' ? lower - 'a' + 10
                                                     : 99;
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, base, &value) ||
        __builtin_add_overflow(value, Int{digit}, &value)) {
      throw Failure{"integer overflow"};
    }
    digit_before = true;
  }
  if (text.empty() || !digit_before || text.back() == '_') return std::nullopt;
  return is_negative ? -value : value;
}

// Python's float(text).
std::optional<double> ParseFloat(std::string_view text) {
  const auto [begin, end] = StripRange(text, nullptr, Side::kBoth);
  std::string plain;
  for (size_t i = begin; i < end; ++i) {
    const auto is_digit = [&](size_t at) {
      return at < end && at >= begin && text[at] >= '0' && text[at] <= '9';
    };
    if (text[i] != '_')
      plain += static_cast<char>(text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 0x20 : text[i]);
    else if (i == begin || !is_digit(i - 1) || !is_digit(i + 1))
      return std::nullopt;
  }
  std::string_view rest = plain;
  const bool is_negative = rest.starts_with('-');
  if (is_negative || rest.starts_with('+')) rest.remove_prefix(1);
  double value = 0;
  if (rest == "inf" || rest == "infinity")
    value = std::numeric_limits<double>::infinity();
  else if (rest == "nan")
    value = std::numeric_limits<double>::quiet_NaN();
  else {
    if (rest.empty() || rest.find_first_not_of("0123456789.e+-") != std::string_view::npos)
      return std::nullopt;
    if (rest[0] == '-' || rest[0] == '+') return std::nullopt;
    const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (parsed.ptr != rest.data() + rest.size()) return std::nullopt;
    if (parsed.ec == std::errc::result_out_of_range) {
      value =
          rest.find("e-") != std::string_view::npos ? 0.0 : std::numeric_limits<double>::infinity();
    } else if (parsed.ec != std::errc()) {
      return std::nullopt;
    }
  }
  return is_negative ? -value : value;
}

std::optional<Int> TruncateFloat(double value) {
  if (!(std::fabs(value) < 1.7e38)) return std::nullopt;
  return static_cast<Int>(value);
}

Value FilterInt(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("int", {"value", "default", "base"}, 1);
  const Value& value = *bound[0];
  RequireDefined(value);
  const Value fallback = bound[1] ? *bound[1] : Value::Integer(0);
  if (value.is_integer()) return Value::Integer(value.AsInt(), value.origin);
  if (value.type == Type::kFloat) {
    if (std::isnan(value.number)) return fallback;
    const auto truncated = TruncateFloat(value.number);
    if (!truncated) throw Failure{"cannot convert this float to an integer"};
    return Value::Integer(*truncated, value.origin);
  }
  if (!value.is_string()) return fallback;
  const std::string_view text = interpreter.heap()->Text(value.text);
  const Int base = IntOr(bound[2], 10, "base");
  if (base < 0 || base == 1 || base > 36) throw Failure{"int() base must be >= 2 and <= 36, or 0"};
  interpreter.heap()->Tick(text.size() / 16);
  if (const auto parsed = ParseInt(text, base)) return Value::Integer(*parsed, value.text->origin);
  if (const auto parsed = ParseFloat(text)) {
    if (const auto truncated = TruncateFloat(*parsed))
      return Value::Integer(*truncated, value.text->origin);
  }
  return fallback;
}

Value FilterFloat(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("float", {"value", "default"}, 1);
  const Value& value = *bound[0];
  RequireDefined(value);
  if (value.is_number()) return Value::Float(value.AsDouble(), value.origin);
  if (value.is_string()) {
    interpreter.heap()->Tick(value.text->bytes / 16);
    if (const auto parsed = ParseFloat(interpreter.heap()->Text(value.text))) {
      return Value::Float(*parsed, value.text->origin);
    }
  }
  return bound[1] ? *bound[1] : Value::Float(0);
}

// round() to `digits` decimals, ties to even on the exact binary value, as Python does.
Value RoundCommon(const Value& value, int digits) {
  if (value.is_integer()) {
    const Int number = value.AsInt();
    if (digits >= 0) return Value::Integer(number);
    if (digits < -38) return Value::Integer(0);
    Int unit = 1;
    for (int i = 0; i < -digits; ++i) unit *= 10;
    Int quotient = number / unit, rest = number % unit;
    if (rest < 0) rest = -rest;
    if (rest > unit - rest || (rest == unit - rest && quotient % 2 != 0))
      quotient += number < 0 ? -1 : 1;
    Int result;
    if (__builtin_mul_overflow(quotient, unit, &result)) throw Failure{"integer overflow"};
    return Value::Integer(result);
  }
  const double number = value.number;
  if (!std::isfinite(number) || digits > 330) return value;
  if (digits < 0) {
    const double unit = std::pow(10.0, -digits);
    if (!std::isfinite(unit)) return Value::Float(std::copysign(0.0, number));
    return Value::Float(std::nearbyint(number / unit) * unit);
  }
  const std::string text = fmt::format("{:.{}f}", number, digits);
  double rounded = 0;
  std::from_chars(text.data(), text.data() + text.size(), rounded);
  return Value::Float(rounded);
}

Value FilterRound(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("round", {"value", "precision", "method"}, 1);
  const Value& value = *bound[0];
  const std::string_view method =
      bound[2] && bound[2]->is_string() ? interpreter.heap()->Text(bound[2]->text) : "common";
  if (method != "common" && method != "ceil" && method != "floor") {
    throw Failure{"method must be common, ceil or floor"};
  }
  RequireDefined(value);
  if (!value.is_number())
    throw Failure{fmt::format("type {} doesn't define __round__ method", TypeName(value))};
  const int digits =
      static_cast<int>(std::clamp(IntOr(bound[1], 0, "precision"), Int{-1000}, Int{1000}));
  if (method == "common") return RoundCommon(value, digits);
  const double unit = std::pow(10.0, digits), scaled = value.AsDouble() * unit;
  if (!std::isfinite(scaled) || unit == 0)
    throw Failure{"cannot convert float infinity or NaN to integer"};
  // Python's ceil and floor give integers, which have no negative zero.
  return Value::Float(((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) + 0.0) / unit);
}

Value FilterAbs(Interpreter& interpreter, Args& args) {
  const Value value = *args.Bind("abs", {"x"}, 1)[0];
  RequireDefined(value);
  if (!value.is_number())
    throw Failure{fmt::format("bad operand type for abs(): '{}'", TypeName(value))};
  if (value.type == Type::kFloat) return Value::Float(std::fabs(value.number));
  return value.AsInt() < 0 ? interpreter.Negate(value) : Value::Integer(value.AsInt());
}

Value FilterFormat(Interpreter& interpreter, Args& args) {
  Heap* heap = interpreter.heap();
  if (args.positional.size() > 1 && !args.named.empty()) {
    throw Failure{"can't handle positional and keyword arguments at the same time"};
  }
  Str* format = ToText(heap, args.positional[0]).text;
  if (args.named.empty()) {
    return PercentFormat(heap, format,
                         heap->Tuple({args.positional.begin() + 1, args.positional.end()}));
  }
  Dict* named = heap->NewDict();
  for (const auto& [name, value] : args.named)
    heap->Set(named, heap->View(name, kFromTemplate), value);
  return PercentFormat(heap, format, Value::Of(named));
}

Value FilterAttr(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("attr", {"obj", "name"}, 2);
  if (!bound[1]->is_string()) throw Failure{"attr needs a name"};
  const std::string_view name = interpreter.heap()->Text(bound[1]->text);
  // Attributes only: the keys of a mapping are not attributes.
  if (bound[0]->type == Type::kDict &&
      !interpreter.GetAttr(Value::Of(interpreter.heap()->NewDict()), name).is_undefined()) {
    return interpreter.GetAttr(*bound[0], name);
  }
  if (bound[0]->type == Type::kDict) {
    return interpreter.heap()->Undefined(
        fmt::format("'dict object' has no attribute {}", Quoted(name)));
  }
  return interpreter.GetAttr(*bound[0], name);
}

Value FilterToJson(Interpreter& interpreter, Args& args) {
  const auto bound =
      args.Bind("tojson", {"x", "ensure_ascii", "indent", "separators", "sort_keys"}, 1);
  Heap* heap = interpreter.heap();
  JsonForm form;
  form.ensure_ascii = bound[1] && IsTrue(*bound[1]);
  form.sort_keys = bound[4] && IsTrue(*bound[4]);
  if (IsGiven(bound[2])) {
    if (bound[2]->is_string()) {
      form.indent = std::string(heap->Text(bound[2]->text));
    } else {
      const Int width = IntOr(bound[2], 0, "indent");
      if (width > static_cast<Int>(limits::kTemplateStringBytes)) {
        throw Failure{
            fmt::format("tojson: indent is larger than {}", limits::kTemplateStringBytes)};
      }
      form.indent = std::string(static_cast<size_t>(std::max(width, Int{0})), ' ');
    }
    form.item_separator = ",";
  }
  if (IsGiven(bound[3])) {
    const std::vector<Value> parts = ItemsOf(heap, *bound[3]);
    if (parts.size() != 2 || !parts[0].is_string() || !parts[1].is_string()) {
      throw Failure{"tojson: separators must be two strings"};
    }
    form.item_separator = heap->Text(parts[0].text);
    form.key_separator = heap->Text(parts[1].text);
  }
  TextBuilder out(heap);
  AppendJson(*bound[0], form, &out);
  return out.Finish();
}

struct NamedFilter {
  std::string_view name;
  Filter filter;
};

constexpr NamedFilter kFilters[] = {
    {"abs", FilterAbs},
    {"attr", FilterAttr},
    {"capitalize", FilterCase<Case::kCapitalize>},
    {"center", FilterCenter},
    {"count", FilterLength},
    {"d", FilterDefault},
    {"default", FilterDefault},
    {"e", FilterEscape},
    {"escape", FilterEscape},
    {"float", FilterFloat},
    {"forceescape", FilterEscape},
    {"format", FilterFormat},
    {"indent", FilterIndent},
    {"int", FilterInt},
    {"length", FilterLength},
    {"lower", FilterCase<Case::kLower>},
    {"replace", FilterReplace},
    {"round", FilterRound},
    {"safe", FilterString},
    {"string", FilterString},
    {"title", FilterTitle},
    {"tojson", FilterToJson},
    {"trim", FilterTrim},
    {"truncate", FilterTruncate},
    {"upper", FilterCase<Case::kUpper>},
    {"urlencode", FilterUrlEncode},
    {"wordcount", FilterWordCount},
};

}  // namespace

Filter FindTextFilter(std::string_view name) {
  for (const NamedFilter& each : kFilters) {
    if (each.name == name) return each.filter;
  }
  return nullptr;
}

Filter FindFilter(std::string_view name) {
  const Filter filter = FindTextFilter(name);
  return filter != nullptr ? filter : FindSequenceFilter(name);
}

}  // namespace planish::jinja

// SPDX-License-Identifier: Apache-2.0
// Python's two string formatting languages: "%5.2f" % x and "{:>10}".format(x). Literal text and
// inserted texts keep their origins; padding belongs to the format.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "base/limits.h"
#include "text/jinja_interpreter.h"

namespace planish::jinja {
namespace {

constexpr int kMaxPrecision = 1000;

// What stands behind "%" or ":".
struct Spec {
  std::string fill = " ";
  char align = '\0';  // '<', '>', '^', '='
  char sign = '-';    // '-', '+', ' '
  bool alternate = false;
  char grouping = '\0';  // ',' or '_'
  int64_t width = 0;
  int precision = -1;
  char type = '\0';
};

int64_t ReadNumber(std::string_view text, size_t* at, int64_t limit, const char* what) {
  int64_t value = 0;
  for (; *at < text.size() && text[*at] >= '0' && text[*at] <= '9'; ++*at) {
    value = value * 10 + (text[*at] - '0');
    if (value > limit) throw Failure{fmt::format("{} in a format is larger than {}", what, limit)};
  }
  return value;
}

// Sign and digits of a number, before padding.
struct Digits {
  std::string prefix, body;
};

std::string Group(const std::string& body, char separator, size_t every) {
  size_t end = 0;
  while (end < body.size() && std::isalnum(static_cast<unsigned char>(body[end])) &&
         body[end] != 'e')
    ++end;
  std::string out;
  for (size_t i = 0; i < end; ++i) {
    if (i > 0 && (end - i) % every == 0) out += separator;
    out += body[i];
  }
  return out + body.substr(end);
}

Digits IntDigits(Int value, const Spec& spec) {
  Digits out;
  const bool is_negative = value < 0;
  const unsigned __int128 magnitude = is_negative ? ~static_cast<unsigned __int128>(value) + 1
                                                  : static_cast<unsigned __int128>(value);
  switch (spec.type) {
    case 'x':
      out.body = fmt::format("{:x}", magnitude);
      break;
    case 'X':
      out.body = fmt::format("{:X}", magnitude);
      break;
    case 'o':
      out.body = fmt::format("{:o}", magnitude);
      break;
    case 'b':
      out.body = fmt::format("{:b}", magnitude);
      break;
    default:
      out.body = fmt::format("{}", magnitude);
  }
  const bool is_decimal = spec.type == 'd' || spec.type == '\0' || spec.type == 'n';
  if (spec.grouping != '\0') out.body = Group(out.body, spec.grouping, is_decimal ? 3 : 4);
  out.prefix = is_negative ? "-" : spec.sign != '-' ? std::string(1, spec.sign) : "";
  if (spec.alternate && !is_decimal) out.prefix += std::string("0") + spec.type;
  return out;
}

Digits FloatDigits(double value, const Spec& spec) {
  Digits out;
  const bool is_negative = std::signbit(value) && !std::isnan(value);
  const double magnitude = std::fabs(value);
  const char type = spec.type == 'n' ? 'g' : spec.type;
  const bool is_upper = type == 'F' || type == 'E' || type == 'G';
  if (!std::isfinite(value)) {
    out.body = std::isnan(value) ? "nan" : "inf";
    if (is_upper) out.body = std::isnan(value) ? "NAN" : "INF";
    if (type == '%') out.body += '%';
  } else if (type == '\0' && spec.precision < 0) {
    out.body = FloatText(magnitude);
  } else {
    const double scaled = type == '%' ? magnitude * 100 : magnitude;
    const char conversion = type == '%' ? 'f' : type == '\0' ? 'g' : type;
    const std::string format = std::string("%") + (spec.alternate ? "#" : "") + ".*" + conversion;
    const int precision = spec.precision < 0 ? 6 : spec.precision;
    const int size = std::snprintf(nullptr, 0, format.c_str(), precision, scaled);
    out.body.resize(static_cast<size_t>(size) + 1);
    std::snprintf(out.body.data(), out.body.size(), format.c_str(), precision, scaled);
    out.body.pop_back();
    if (type == '\0' && out.body.find_first_of(".e") == std::string::npos) out.body += ".0";
    if (type == '%') out.body += '%';
  }
  if (spec.grouping != '\0') out.body = Group(out.body, spec.grouping, 3);
  out.prefix = is_negative ? "-" : spec.sign != '-' ? std::string(1, spec.sign) : "";
  return out;
}

void AppendPadded(const Digits& digits, Spec spec, OriginId origin, TextBuilder* out) {
  const int64_t missing =
      spec.width - static_cast<int64_t>(digits.prefix.size() + digits.body.size());
  const auto pad = [&](int64_t count) {
    for (int64_t i = 0; i < count; ++i) out->Append(spec.fill, origin);
  };
  const char align = spec.align == '\0' ? '>' : spec.align;
  if (align == '>') pad(missing);
  if (align == '^') pad(missing / 2);
  out->Append(digits.prefix, origin);
  if (align == '=') pad(missing);
  out->Append(digits.body, origin);
  if (align == '<') pad(missing);
  if (align == '^') pad(missing - missing / 2);
}

// Text cut to the precision and padded to the width.
void AppendTextPadded(Str* text, const Spec& spec, OriginId origin, TextBuilder* out) {
  Heap* heap = out->heap();
  int64_t length = heap->Length(text);
  size_t end = heap->Text(text).size();
  if (spec.precision >= 0 && spec.precision < length) {
    end = heap->OffsetOf(text, spec.precision);
    length = spec.precision;
  }
  const int64_t missing = spec.width > length ? spec.width - length : 0;
  const int64_t left = spec.align == '>' ? missing : spec.align == '^' ? missing / 2 : 0;
  for (int64_t i = 0; i < left; ++i) out->Append(spec.fill, origin);
  out->AppendRange(text, 0, end);
  for (int64_t i = left; i < missing; ++i) out->Append(spec.fill, origin);
}

Value ReprText(Heap* heap, const Value& value, bool to_ascii) {
  TextBuilder out(heap);
  AppendRepr(value, &out);
  if (!to_ascii) return out.Finish();
  std::string ascii;
  for (size_t at = 0; at < out.text().size(); at += PointBytes(out.text(), at)) {
    const uint32_t c = PointAt(out.text(), at);
    ascii += c < 0x80      ? std::string(1, static_cast<char>(c))
             : c < 0x100   ? fmt::format("\\x{:02x}", c)
             : c < 0x10000 ? fmt::format("\\u{:04x}", c)
                           : fmt::format("\\U{:08x}", c);
  }
  return heap->String(std::move(ascii), kFromOther);
}

// ---- "%"

class PercentFormatter {
 public:
  PercentFormatter(Heap* heap, Str* format, const Value& values)
      : out_(heap), format_(format), values_(values) {
    if (values.type == Type::kSeq && values.seq->kind == Seq::Kind::kTuple) {
      args_ = values.seq->items;
    } else {
      args_.push_back(values);
    }
  }

  Value Run() {
    const std::string_view text = out_.heap()->Text(format_);
    size_t at = 0;
    while (at < text.size()) {
      const size_t percent = std::min(text.find('%', at), text.size());
      out_.AppendRange(format_, at, percent);
      if (percent == text.size()) break;
      at = Conversion(text, percent + 1);
    }
    // Python lets anything with a __getitem__ that is no tuple and no text pass unused.
    const bool is_mapping = values_.type == Type::kDict || values_.is_undefined() ||
                            (values_.type == Type::kSeq && values_.seq->is_indexable() &&
                             values_.seq->kind != Seq::Kind::kTuple);
    if (next_ < args_.size() && !used_mapping_ && !is_mapping) {
      throw Failure{"not all arguments converted during string formatting"};
    }
    return out_.Finish();
  }

 private:
  const Value& Next() {
    if (next_ >= args_.size()) throw Failure{"not enough arguments for format string"};
    return args_[next_++];
  }

  size_t Conversion(std::string_view text, size_t at) {
    Spec spec;
    const Value* value = nullptr;
    if (at < text.size() && text[at] == '(') {
      const size_t close = text.find(')', at);
      if (close == std::string_view::npos) throw Failure{"incomplete format key"};
      if (values_.type != Type::kDict) throw Failure{"format requires a mapping"};
      const std::string_view key = text.substr(at + 1, close - at - 1);
      value = out_.heap()->Find(values_.dict, key);
      if (value == nullptr)
        throw Failure{fmt::format("key {} is missing in format arguments", Quoted(key))};
      used_mapping_ = true;
      at = close + 1;
    }
    bool zero = false;
    for (; at < text.size() && std::string_view("-+ #0").find(text[at]) != std::string_view::npos;
         ++at) {
      if (text[at] == '-') spec.align = '<';
      if (text[at] == '+' || (text[at] == ' ' && spec.sign != '+')) spec.sign = text[at];
      if (text[at] == '#') spec.alternate = true;
      if (text[at] == '0') zero = true;
    }
    spec.width =
        ReadNumber(text, &at, static_cast<int64_t>(limits::kTemplateStringBytes), "a width");
    if (at < text.size() && text[at] == '.') {
      ++at;
      spec.precision = static_cast<int>(ReadNumber(text, &at, kMaxPrecision, "a precision"));
    }
    if (at >= text.size()) throw Failure{"incomplete format"};
    spec.type = text[at];
    if (spec.type == '%') {
      out_.Append("%", format_->origin);
      return at + 1;
    }
    if (value == nullptr) value = &Next();
    if (zero && spec.align == '\0') {
      spec.align = '=';
      spec.fill = "0";
    }
    Append(*value, spec);
    return at + 1;
  }

  void Append(const Value& value, Spec spec) {
    Heap* heap = out_.heap();
    switch (spec.type) {
      case 's':
      case 'r':
      case 'a': {
        spec.fill = " ";
        spec.align = spec.align == '<' ? '<' : '>';
        const Value text =
            spec.type == 's' ? ToText(heap, value) : ReprText(heap, value, spec.type == 'a');
        return AppendTextPadded(text.text, spec, format_->origin, &out_);
      }
      case 'c': {
        if (!value.is_string() || heap->Length(value.text) != 1)
          throw Failure{"%c requires int or char"};
        spec.align = spec.align == '<' ? '<' : '>';
        return AppendTextPadded(value.text, spec, format_->origin, &out_);
      }
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o': {
        RequireDefined(value);
        const bool is_decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
        if (!value.is_number() || (value.type == Type::kFloat && !is_decimal)) {
          throw Failure{
              fmt::format("%{} format: a number is required, not {}", spec.type, TypeName(value))};
        }
        if (value.type == Type::kFloat && !(std::fabs(value.number) < 1e30))
          throw Failure{"cannot convert float to integer"};
        if (is_decimal) spec.type = 'd';
        const Int integer =
            value.type == Type::kFloat ? static_cast<Int>(value.number) : value.AsInt();
        Digits digits = IntDigits(integer, spec);
        if (spec.precision > static_cast<int>(digits.body.size())) {
          digits.body.insert(0, static_cast<size_t>(spec.precision) - digits.body.size(), '0');
        }
        return AppendPadded(digits, spec, value.origin, &out_);
      }
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        RequireDefined(value);
        if (!value.is_number())
          throw Failure{fmt::format("must be real number, not {}", TypeName(value))};
        return AppendPadded(FloatDigits(value.AsDouble(), spec), spec, value.origin, &out_);
      default:
        throw Failure{
            fmt::format("unsupported format character {}", Quoted(std::string(1, spec.type)))};
    }
  }

  TextBuilder out_;
  Str* format_;
  const Value& values_;
  std::vector<Value> args_;
  size_t next_ = 0;
  bool used_mapping_ = false;
};

// ---- str.format

class BraceFormatter {
 public:
  BraceFormatter(Interpreter& interpreter, Str* format, const Args& args)
      : interpreter_(interpreter), heap_(interpreter.heap()), format_(format), args_(args) {}

  Value Run() {
    TextBuilder out(heap_);
    const std::string_view text = heap_->Text(format_);
    for (size_t at = 0; at < text.size();) {
      const size_t brace = std::min(text.find_first_of("{}", at), text.size());
      out.AppendRange(format_, at, brace);
      if (brace == text.size()) break;
      if (brace + 1 < text.size() && text[brace + 1] == text[brace]) {
        out.AppendRange(format_, brace, brace + 1);
        at = brace + 2;
        continue;
      }
      if (text[brace] == '}') throw Failure{"Single '}' encountered in format string"};
      const size_t end = FieldEnd(text, brace + 1);
      Field(text.substr(brace + 1, end - brace - 1), &out);
      at = end + 1;
    }
    return out.Finish();
  }

 private:
  static size_t FieldEnd(std::string_view text, size_t at) {
    int depth = 1;
    for (; at < text.size(); ++at) {
      if (text[at] == '{') ++depth;
      if (text[at] == '}' && --depth == 0) return at;
    }
    throw Failure{"expected '}' before end of string"};
  }

  // name[!conversion][:spec]
  void Field(std::string_view field, TextBuilder* out) {
    size_t end = 0;
    for (bool in_brackets = false; end < field.size(); ++end) {
      if (field[end] == '[') in_brackets = true;
      if (field[end] == ']') in_brackets = false;
      if (!in_brackets && (field[end] == '!' || field[end] == ':')) break;
    }
    Value value = Lookup(field.substr(0, end));
    if (end < field.size() && field[end] == '!') {
      const char conversion = end + 1 < field.size() ? field[end + 1] : '\0';
      if (conversion == 's')
        value = ToText(heap_, value);
      else if (conversion == 'r' || conversion == 'a')
        value = ReprText(heap_, value, conversion == 'a');
      else
        throw Failure{"unknown conversion in a format string"};
      end += 2;
      if (end < field.size() && field[end] != ':')
        throw Failure{"expected ':' after conversion specifier"};
    }
    std::string spec(end < field.size() ? field.substr(end + 1) : std::string_view());
    if (spec.find_first_of("{}") != std::string::npos) spec = Nested(spec);
    Append(value, spec, out);
  }

  // A specification may itself hold fields, one level deep.
  std::string Nested(const std::string& spec) {
    std::string out;
    for (size_t at = 0; at < spec.size();) {
      if (spec[at] != '{') {
        out += spec[at++];
        continue;
      }
      const size_t end = FieldEnd(spec, at + 1);
      const Value value =
          ToText(heap_, Lookup(std::string_view(spec).substr(at + 1, end - at - 1)));
      out += heap_->Text(value.text);
      at = end + 1;
    }
    return out;
  }

  Value Lookup(std::string_view name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    const std::string_view first = name.substr(0, end);
    Value value;
    const bool is_index =
        !first.empty() && first.find_first_not_of("0123456789") == std::string_view::npos;
    if (first.empty() || is_index) {
      if (first.empty() ? manual_ : next_ > 0) {
        throw Failure{
            "cannot switch between automatic field numbering and manual field specification"};
      }
      size_t index = next_;
      if (is_index) {
        size_t at = 0;
        index = static_cast<size_t>(ReadNumber(first, &at, 1 << 20, "an index"));
        manual_ = true;
      } else {
        ++next_;
      }
      if (index >= args_.positional.size()) {
        throw Failure{
            fmt::format("Replacement index {} out of range for positional args tuple", index)};
      }
      value = args_.positional[index];
    } else {
      const auto found = std::find_if(args_.named.begin(), args_.named.end(),
                                      [&](const auto& named) { return named.first == first; });
      if (found == args_.named.end())
        throw Failure{fmt::format("format string names {}, which was not given", Quoted(first))};
      value = found->second;
    }
    for (size_t at = end; at < name.size();) {
      if (name[at] == '.') {
        const size_t stop = std::min(name.find_first_of(".[", at + 1), name.size());
        value = interpreter_.GetAttr(value, name.substr(at + 1, stop - at - 1));
        at = stop;
      } else if (name[at] == '[') {
        const size_t stop = name.find(']', at);
        if (stop == std::string_view::npos) throw Failure{"Missing ']' in format string"};
        const std::string_view key = name.substr(at + 1, stop - at - 1);
        size_t digit = 0;
        const bool is_number =
            !key.empty() && key.find_first_not_of("0123456789") == std::string_view::npos;
        value = interpreter_.GetItem(
            value, is_number ? Value::Integer(ReadNumber(key, &digit, 1 << 30, "an index"))
                             : heap_->String(std::string(key), kFromTemplate));
        at = stop + 1;
      } else {
        throw Failure{"Only '.' or '[' may follow ']' in format field specifier"};
      }
    }
    return value;
  }

  static Spec ParseSpec(std::string_view text) {
    Spec spec;
    size_t at = 0;
    const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
    if (!text.empty()) {
      const size_t size = PointBytes(text, 0);
      if (size < text.size() && is_align(text[size])) {
        spec.fill = text.substr(0, size);
        spec.align = text[size];
        at = size + 1;
      } else if (is_align(text[0])) {
        spec.align = text[0];
        at = 1;
      }
    }
    const auto is = [&](std::string_view set) {
      return at < text.size() && set.find(text[at]) != std::string_view::npos;
    };
    if (is("-+ ")) spec.sign = text[at++];
    if (is("#")) spec.alternate = (++at, true);
    if (is("0")) {
      ++at;
      if (spec.align == '\0') {
        spec.fill = "0";
        spec.align = '=';
      }
    }
    spec.width =
        ReadNumber(text, &at, static_cast<int64_t>(limits::kTemplateStringBytes), "a width");
    if (is(",_")) spec.grouping = text[at++];
    if (is(".")) {
      ++at;
      if (!is("0123456789")) throw Failure{"Format specifier missing precision"};
      spec.precision = static_cast<int>(ReadNumber(text, &at, kMaxPrecision, "a precision"));
    }
    if (at < text.size()) spec.type = text[at++];
    if (at < text.size()) throw Failure{fmt::format("Invalid format specifier {}", Quoted(text))};
    return spec;
  }

  void Append(const Value& value, const std::string& text, TextBuilder* out) {
    if (text.empty()) return AppendText(value, out);
    Spec spec = ParseSpec(text);
    const auto fail = [&] {
      throw Failure{fmt::format("Unknown format code {} for object of type '{}'",
                                Quoted(std::string(1, spec.type)), TypeName(value))};
    };
    if (value.is_string()) {
      if (spec.type != 's' && spec.type != '\0') fail();
      if (spec.align == '=') {
        if (spec.fill != "0") throw Failure{"'=' alignment not allowed in string format specifier"};
        spec.align = '<';
      }
      return AppendTextPadded(value.text, spec, format_->origin, out);
    }
    if (!value.is_number()) {
      throw Failure{
          fmt::format("unsupported format string passed to {}.__format__", TypeName(value))};
    }
    if (value.type == Type::kBool && spec.type == '\0') {
      // Python formats a bool as its number as soon as there is a specification.
      return AppendPadded(IntDigits(value.AsInt(), spec), spec, value.origin, out);
    }
    const bool is_float_type =
        spec.type != '\0' && std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos;
    if (value.is_integer() && !is_float_type) {
      if (spec.type != '\0' && std::string_view("bdoxXn").find(spec.type) == std::string_view::npos)
        fail();
      if (spec.precision >= 0) throw Failure{"Precision not allowed in integer format specifier"};
      return AppendPadded(IntDigits(value.AsInt(), spec), spec, value.origin, out);
    }
    if (!is_float_type && spec.type != '\0' && spec.type != 'n') fail();
    AppendPadded(FloatDigits(value.AsDouble(), spec), spec, value.origin, out);
  }

  Interpreter& interpreter_;
  Heap* heap_;
  Str* format_;
  const Args& args_;
  size_t next_ = 0;
  bool manual_ = false;
};

}  // namespace

Value PercentFormat(Heap* heap, Str* format, const Value& values) {
  return PercentFormatter(heap, format, values).Run();
}

Value BraceFormat(Interpreter& interpreter, Str* format, Args& args) {
  return BraceFormatter(interpreter, format, args).Run();
}

}  // namespace planish::jinja

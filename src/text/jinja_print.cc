// SPDX-License-Identifier: Apache-2.0
// Values as text: str(), repr() and json.dumps() as Python writes them, with the origin of every
// piece kept. Quotes and escapes belong to the text they quote, brackets and separators to the
// container.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/jinja_interpreter.h"

namespace planish::jinja {
namespace {

constexpr int kMaxPrintDepth = 128;

void CheckPrintDepth(int depth) {
  if (depth > kMaxPrintDepth)
    throw Failure{fmt::format("value is nested deeper than {} levels", kMaxPrintDepth)};
}

// Writes text between quotes; `escape` appends the form of one code point.
template <typename Escape>
void AppendQuoted(Str* text, char quote, TextBuilder* out, Escape escape) {
  const std::string_view view = out->heap()->Text(text);
  const auto& runs = text->runs;
  const std::string mark(1, quote);
  out->Append(mark, runs.empty() ? text->origin : runs.front().origin);
  std::string piece;
  size_t begin = 0;
  for (size_t run = 0; run < std::max<size_t>(runs.size(), 1); ++run) {
    const size_t end = runs.empty() ? view.size() : runs[run].end;
    piece.clear();
    for (size_t at = begin; at < end; at += PointBytes(view, at)) {
      escape(PointAt(view, at), view.substr(at, PointBytes(view, at)), &piece);
    }
    out->Append(piece, runs.empty() ? text->origin : runs[run].origin);
    begin = end;
  }
  out->Append(mark, runs.empty() ? text->origin : runs.back().origin);
}

void AppendStringRepr(Str* text, TextBuilder* out) {
  const std::string_view view = out->heap()->Text(text);
  const bool has_single = view.find('\'') != std::string_view::npos;
  const char quote = has_single && view.find('"') == std::string_view::npos ? '"' : '\'';
  AppendQuoted(text, quote, out, [quote](char32_t c, std::string_view bytes, std::string* piece) {
    const uint32_t code = c;
    if (c == static_cast<unsigned char>(quote) || c == '\\') {
      *piece += '\\';
      *piece += static_cast<char>(c);
    } else if (c == '\n') {
      *piece += "\\n";
    } else if (c == '\r') {
      *piece += "\\r";
    } else if (c == '\t') {
      *piece += "\\t";
    } else if (IsPrintable(c)) {
      *piece += bytes;
    } else {
      *piece += code < 0x100     ? fmt::format("\\x{:02x}", code)
                : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                 : fmt::format("\\U{:08x}", code);
    }
  });
}

void AppendItemsRepr(const Seq& seq, std::string_view open, std::string_view close,
                     TextBuilder* out, int depth) {
  out->Append(open, seq.origin);
  for (size_t i = 0; i < seq.items.size(); ++i) {
    if (i > 0) out->Append(", ", seq.origin);
    AppendRepr(seq.items[i], out, depth + 1);
  }
  out->Append(close, seq.origin);
}

void AppendSeqRepr(const Seq& seq, TextBuilder* out, int depth) {
  switch (seq.kind) {
    case Seq::Kind::kList:
      return AppendItemsRepr(seq, "[", "]", out, depth);
    case Seq::Kind::kTuple:
      return AppendItemsRepr(seq, "(", seq.items.size() == 1 ? ",)" : ")", out, depth);
    case Seq::Kind::kKeys:
      return AppendItemsRepr(seq, "dict_keys([", "])", out, depth);
    case Seq::Kind::kValues:
      return AppendItemsRepr(seq, "dict_values([", "])", out, depth);
    case Seq::Kind::kItems:
      return AppendItemsRepr(seq, "dict_items([", "])", out, depth);
    case Seq::Kind::kRange:
      out->Append(seq.step == 1 ? fmt::format("range({}, {})", seq.start, seq.stop)
                                : fmt::format("range({}, {}, {})", seq.start, seq.stop, seq.step),
                  kFromOther);
      return;
    case Seq::Kind::kReversed:
      return out->Append("<list_reverseiterator object>", kFromOther);
    case Seq::Kind::kGenerator:
      return out->Append("<generator object>", kFromOther);
  }
}

void AppendDictRepr(const Dict& dict, TextBuilder* out, int depth) {
  out->Append("{", dict.origin);
  bool is_first = true;
  for (const auto& [key, value] : dict.items) {
    if (!is_first) out->Append(", ", dict.origin);
    is_first = false;
    AppendRepr(key, out, depth + 1);
    out->Append(": ", dict.origin);
    AppendRepr(value, out, depth + 1);
  }
  out->Append("}", dict.origin);
}

void AppendJsonText(Str* text, const JsonForm& form, TextBuilder* out) {
  AppendQuoted(text, '"', out, [&](char32_t c, std::string_view bytes, std::string* piece) {
    static constexpr std::string_view kFrom = "\"\\\n\r\t\f\b", kTo = "\"\\nrtfb";
    const size_t simple = c < 0x80 ? kFrom.find(static_cast<char>(c)) : std::string_view::npos;
    if (simple != std::string_view::npos) {
      *piece += '\\';
      *piece += kTo[simple];
    } else if (c < 0x20 || (form.ensure_ascii && c >= 0x7F && c < 0x10000)) {
      *piece += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else if (form.ensure_ascii && c >= 0x10000) {
      const uint32_t rest = static_cast<uint32_t>(c) - 0x10000;
      *piece += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    } else {
      *piece += bytes;
    }
  });
}

std::string JsonFloat(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return FloatText(value);
}

void AppendJsonKey(const Value& key, const JsonForm& form, TextBuilder* out) {
  if (key.is_string()) return AppendJsonText(key.text, form, out);
  std::string text;
  switch (key.type) {
    case Type::kNone:
      text = "null";
      break;
    case Type::kBool:
      text = key.boolean ? "true" : "false";
      break;
    case Type::kInt:
      text = fmt::format("{}", key.integer);
      break;
    case Type::kFloat:
      text = JsonFloat(key.number);
      break;
    default:
      throw Failure{
          fmt::format("keys must be str, int, float, bool or None, not {}", TypeName(key))};
  }
  out->Append("\"" + text + "\"", key.origin);
}

// A line break and `level` indents, if the form has indents.
void AppendJsonBreak(const JsonForm& form, int level, OriginId origin, TextBuilder* out) {
  if (!form.indent) return;
  out->Append("\n", origin);
  for (int i = 0; i < level; ++i) out->Append(*form.indent, origin);
}

void AppendJsonDict(const Dict& dict, const JsonForm& form, TextBuilder* out, int depth) {
  if (dict.items.empty()) return out->Append("{}", dict.origin);
  std::vector<const std::pair<Value, Value>*> items;
  for (const auto& item : dict.items) items.push_back(&item);
  if (form.sort_keys) {
    // Compare fails for keys of mixed types before an inconsistent order could arise from them.
    std::stable_sort(items.begin(), items.end(), [&](const auto* a, const auto* b) {
      return Compare(out->heap(), a->first, b->first) == -1;
    });
  }
  out->Append("{", dict.origin);
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out->Append(form.item_separator, dict.origin);
    AppendJsonBreak(form, depth + 1, dict.origin, out);
    AppendJsonKey(items[i]->first, form, out);
    out->Append(form.key_separator, dict.origin);
    AppendJson(items[i]->second, form, out, depth + 1);
  }
  AppendJsonBreak(form, depth, dict.origin, out);
  out->Append("}", dict.origin);
}

}  // namespace

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

Value ToText(Heap* heap, const Value& value) {
  if (value.is_string()) return value;
  TextBuilder out(heap);
  AppendText(value, &out);
  return out.Finish();
}

void AppendText(const Value& value, TextBuilder* out, OriginId also) {
  switch (value.type) {
    case Type::kUndefined:
      return;
    case Type::kString:
      return out->Append(value.text, also);
    default:
      return AppendRepr(value, out);
  }
}

void AppendRepr(const Value& value, TextBuilder* out, int depth) {
  CheckPrintDepth(depth);
  out->heap()->Tick();
  switch (value.type) {
    case Type::kUndefined:
      return out->Append("Undefined", kFromOther);
    case Type::kNone:
      return out->Append("None", value.origin);
    case Type::kBool:
      return out->Append(value.boolean ? "True" : "False", value.origin);
    case Type::kInt:
      return out->Append(fmt::format("{}", value.integer), value.origin);
    case Type::kFloat:
      return out->Append(FloatText(value.number), value.origin);
    case Type::kString:
      return AppendStringRepr(value.text, out);
    case Type::kSeq:
      return AppendSeqRepr(*value.seq, out, depth);
    case Type::kDict:
      return AppendDictRepr(*value.dict, out, depth);
    case Type::kNamespace:
      out->Append("<Namespace ", kFromOther);
      AppendDictRepr(value.space->dict, out, depth);
      return out->Append(">", kFromOther);
    case Type::kLoop:
      return out->Append(
          fmt::format("<LoopContext {}/{}>", value.loop->index0 + 1, value.loop->items->size()),
          kFromOther);
    case Type::kCallable: {
      const Callable& callable = *value.callable;
      if (callable.kind != Callable::Kind::kMacro) return out->Append("<function>", kFromOther);
      return out->Append(callable.macro->name.empty()
                             ? "<Macro anonymous>"
                             : fmt::format("<Macro '{}'>", callable.macro->name),
                         kFromOther);
    }
    case Type::kCycler:
      return out->Append(value.cycler->is_joiner ? "<Joiner>" : "<Cycler>", kFromOther);
  }
}

void AppendJson(const Value& value, const JsonForm& form, TextBuilder* out, int depth) {
  CheckPrintDepth(depth);
  out->heap()->Tick();
  switch (value.type) {
    case Type::kNone:
      return out->Append("null", value.origin);
    case Type::kBool:
      return out->Append(value.boolean ? "true" : "false", value.origin);
    case Type::kInt:
      return out->Append(fmt::format("{}", value.integer), value.origin);
    case Type::kFloat:
      return out->Append(JsonFloat(value.number), value.origin);
    case Type::kString:
      return AppendJsonText(value.text, form, out);
    case Type::kDict:
      return AppendJsonDict(*value.dict, form, out, depth);
    case Type::kSeq: {
      const Seq& seq = *value.seq;
      if (seq.kind > Seq::Kind::kTuple) break;
      if (seq.items.empty()) return out->Append("[]", seq.origin);
      out->Append("[", seq.origin);
      for (size_t i = 0; i < seq.items.size(); ++i) {
        if (i > 0) out->Append(form.item_separator, seq.origin);
        AppendJsonBreak(form, depth + 1, seq.origin, out);
        AppendJson(seq.items[i], form, out, depth + 1);
      }
      AppendJsonBreak(form, depth, seq.origin, out);
      return out->Append("]", seq.origin);
    }
    default:
      break;
  }
  throw Failure{fmt::format("Object of type {} is not JSON serializable", TypeName(value))};
}

}  // namespace planish::jinja

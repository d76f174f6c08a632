// SPDX-License-Identifier: Apache-2.0
#include "text/jinja_string.h"

#include <fmt/format.h>
#include <unicode/uchar.h>
#include <unicode/ustring.h>

#include <algorithm>

#include "base/limits.h"

namespace planish::jinja {
namespace {

void CheckTextSize(uint64_t bytes) {
  if (bytes > limits::kTemplateOutputBytes) {
    throw Failure{fmt::format("text grows beyond {} bytes", limits::kTemplateOutputBytes)};
  }
}

bool IsCased(char32_t c) { return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_CASED); }

// Full (possibly longer) case mapping of one code point.
std::string MapPoint(char32_t point, Case to) {
  UChar source[2], result[8];
  int32_t n = 0;
  UErrorCode status = U_ZERO_ERROR;
  U16_APPEND_UNSAFE(source, n, point);
  int32_t size = 0;
  if (to == Case::kUpper) {
    size = u_strToUpper(result, 8, source, n, "", &status);
  } else if (to == Case::kLower) {
    size = u_strToLower(result, 8, source, n, "", &status);
  } else {
    // Only characters that grow (sharp s, ligatures) need the full title mapping.
    size = u_strToUpper(result, 8, source, n, "", &status);
    const UChar32 simple = u_totitle(static_cast<UChar32>(point));
    if (size == n || simple != static_cast<UChar32>(point)) {
      size = 0;
      U16_APPEND_UNSAFE(result, size, simple);
    } else {
      size = u_strToTitle(result, 8, source, n, nullptr, "", &status);
    }
  }
  std::string out;
  if (U_FAILURE(status)) {
    AppendPoint(point, &out);
    return out;
  }
  for (int32_t i = 0; i < size;) {
    UChar32 c;
    U16_NEXT(result, i, size, c);
    AppendPoint(static_cast<char32_t>(c), &out);
  }
  return out;
}

// Greek capital sigma lowers to its final form after a cased letter and before none (Unicode's
// Final_Sigma).
bool IsFinalSigma(std::string_view text, size_t at) {
  const auto ignorable = [](char32_t c) {
    return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_CASE_IGNORABLE);
  };
  bool before = false;
  for (size_t i = at; i > 0;) {
    do --i;
    while (i > 0 && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80);
    const char32_t c = PointAt(text, i);
    if (ignorable(c)) continue;
    before = IsCased(c);
    break;
  }
  if (!before) return false;
  for (size_t i = at + 2; i < text.size(); i += PointBytes(text, i)) {
    const char32_t c = PointAt(text, i);
    if (!ignorable(c)) return !IsCased(c);
  }
  return true;
}

bool IsLineEnd(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

void TextBuilder::Append(std::string_view text, OriginId origin, OriginId also) {
  if (text.empty()) return;
  CheckTextSize(text_.size() + text.size());
  heap_->Charge(text.size());
  text_ += text;
  const uint32_t end = static_cast<uint32_t>(text_.size());
  origin |= also;
  if (!runs_.empty() && runs_.back().origin == origin) {
    runs_.back().end = end;
  } else {
    heap_->Charge(sizeof(Run));
    runs_.push_back({end, origin});
  }
}

void TextBuilder::Append(Str* text, OriginId also) {
  std::vector<Str*> pending = {text};  // not recursive: concatenations may be a million deep
  while (!pending.empty()) {
    Str* top = pending.back();
    pending.pop_back();
    if (top->left != nullptr) {
      heap_->Tick();
      pending.push_back(top->right);
      pending.push_back(top->left);
    } else if (top->runs.empty()) {
      Append(top->view, top->origin, also);
    } else {
      size_t begin = 0;
      for (const Run& run : top->runs) {
        Append(top->view.substr(begin, run.end - begin), run.origin, also);
        begin = run.end;
      }
    }
  }
}

void TextBuilder::AppendRange(Str* text, size_t begin, size_t end) {
  const std::string_view view = heap_->Text(text);
  if (text->runs.empty()) return Append(view.substr(begin, end - begin), text->origin);
  auto run = std::upper_bound(text->runs.begin(), text->runs.end(), begin,
                              [](size_t at, const Run& r) { return at < r.end; });
  for (; run != text->runs.end() && begin < end; ++run) {
    const size_t stop = std::min<size_t>(run->end, end);
    Append(view.substr(begin, stop - begin), run->origin);
    begin = stop;
  }
}

void TextBuilder::MoveTo(Str* text) {
  text->owned = std::move(text_);
  text->view = text->owned;
  text->bytes = text->view.size();
  text->origin = runs_.empty() ? kFromTemplate : runs_[0].origin;
  text->runs.clear();
  if (runs_.size() > 1) text->runs = std::move(runs_);
}

Value TextBuilder::Finish() {
  Str* str = heap_->NewStr();
  MoveTo(str);
  return Value::Of(str);
}

size_t PointBytes(std::string_view text, size_t at) {
  const unsigned char lead = static_cast<unsigned char>(text[at]);
  const size_t size = lead < 0xC2 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 1;
  if (at + size > text.size()) return 1;
  for (size_t i = 1; i < size; ++i) {
    if ((static_cast<unsigned char>(text[at + i]) & 0xC0) != 0x80) return 1;
  }
  return size;
}

char32_t PointAt(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[at + i]));
  };
  switch (PointBytes(text, at)) {
    case 2:
      return (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
    case 3:
      return (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    case 4:
      return (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 |
             (byte(3) & 0x3F);
    default:
      return byte(0) < 0x80 ? byte(0) : 0xFFFD;
  }
}

int64_t CountPoints(std::string_view text) {
  int64_t count = 0;
  for (size_t at = 0; at < text.size(); at += PointBytes(text, at)) ++count;
  return count;
}

void AppendPoint(char32_t point, std::string* out) {
  if (point < 0x80) {
    *out += static_cast<char>(point);
  } else if (point < 0x800) {
    *out += static_cast<char>(0xC0 | point >> 6);
    *out += static_cast<char>(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    *out += static_cast<char>(0xE0 | point >> 12);
    *out += static_cast<char>(0x80 | (point >> 6 & 0x3F));
    *out += static_cast<char>(0x80 | (point & 0x3F));
  } else {
    *out += static_cast<char>(0xF0 | point >> 18);
    *out += static_cast<char>(0x80 | (point >> 12 & 0x3F));
    *out += static_cast<char>(0x80 | (point >> 6 & 0x3F));
    *out += static_cast<char>(0x80 | (point & 0x3F));
  }
}

bool IsValidUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t size = PointBytes(text, at);
    if (size == 1 && static_cast<unsigned char>(text[at]) >= 0x80) return false;
    const char32_t c = PointAt(text, at);
    if ((size == 3 && c < 0x800) || (size == 4 && (c < 0x10000 || c > 0x10FFFF))) return false;
    if (c >= 0xD800 && c < 0xE000) return false;
    at += size;
  }
  return true;
}

bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool IsPrintable(char32_t c) {
  if (c == ' ') return true;
  constexpr uint32_t kNot = U_GC_C_MASK | U_GC_Z_MASK;  // controls, unassigned, private, separators
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & kNot) == 0;
}

std::pair<size_t, size_t> StripRange(std::string_view text, const std::string_view* chars,
                                     Side side) {
  const auto strips = [&](size_t at, size_t size) {
    if (chars == nullptr) return IsSpace(PointAt(text, at));
    for (size_t i = 0; i < chars->size(); i += PointBytes(*chars, i)) {
      if (chars->substr(i, PointBytes(*chars, i)) == text.substr(at, size)) return true;
    }
    return false;
  };
  size_t begin = 0, end = text.size();
  if (side != Side::kRight) {
    while (begin < end && strips(begin, PointBytes(text, begin))) begin += PointBytes(text, begin);
  }
  if (side != Side::kLeft) {
    while (begin < end) {
      size_t last = end - 1;
      while (last > begin && end - last < 4 &&
             (static_cast<unsigned char>(text[last]) & 0xC0) == 0x80)
        --last;
      if (PointBytes(text, last) != end - last) last = end - 1;
      if (!strips(last, end - last)) break;
      end = last;
    }
  }
  return {begin, end};
}

Value ChangeCase(Heap* heap, Str* text, Case to) {
  const std::string_view view = heap->Text(text);
  heap->Tick(view.size() / 8);
  TextBuilder out(heap);
  bool after_cased = false, is_first = true;
  std::string ascii;  // gathers a stretch of one origin's ASCII
  size_t run = 0, stretch = 0;
  const auto origin_at = [&](size_t at) {
    if (text->runs.empty()) return text->origin;
    while (text->runs[run].end <= at) ++run;
    return text->runs[run].origin;
  };
  OriginId stretch_origin = 0;
  const auto flush = [&] {
    out.Append(ascii, stretch_origin);
    ascii.clear();
  };
  for (size_t at = 0; at < view.size();) {
    const size_t size = PointBytes(view, at);
    const char32_t c = PointAt(view, at);
    const OriginId origin = origin_at(at);
    if (origin != stretch_origin || stretch == 0) {
      flush();
      stretch_origin = origin;
      stretch = 1;
    }
    Case want = to;
    if (to == Case::kTitle) want = after_cased ? Case::kLower : Case::kTitle;
    if (to == Case::kCapitalize) want = is_first ? Case::kTitle : Case::kLower;
    const bool is_cased = IsCased(c);
    if (to == Case::kSwap) {
      const bool is_upper = u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_UPPERCASE);
      const bool is_lower = u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_LOWERCASE);
      want = is_upper ? Case::kLower : is_lower ? Case::kUpper : Case::kSwap;
    }
    if (c < 0x80) {
      const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      const char upper = static_cast<char>(c & ~0x20u), lower = static_cast<char>(c | 0x20);
      ascii += !is_letter || want == Case::kSwap ? static_cast<char>(c)
               : want == Case::kLower            ? lower
                                                 : upper;
    } else if (size == 1 || want == Case::kSwap) {
      ascii += view.substr(at, size);
    } else if (c == 0x3A3 && want == Case::kLower) {
      heap->Tick(view.size() / 64);
      AppendPoint(IsFinalSigma(view, at) ? 0x3C2 : 0x3C3, &ascii);
    } else {
      ascii += MapPoint(c, want);
    }
    after_cased = is_cased;
    is_first = false;
    at += size;
  }
  flush();
  return out.Finish();
}

bool IsAll(std::string_view text, Class wanted) {
  if (text.empty()) return wanted == Class::kAscii || wanted == Class::kPrintable;
  bool any_cased = false, after_cased = false, is_first = true;
  for (size_t at = 0; at < text.size(); at += PointBytes(text, at)) {
    const char32_t point = PointAt(text, at);
    const UChar32 c = static_cast<UChar32>(point);
    const bool is_upper =
        u_hasBinaryProperty(c, UCHAR_UPPERCASE) || u_charType(c) == U_TITLECASE_LETTER;
    const bool is_lower = u_hasBinaryProperty(c, UCHAR_LOWERCASE);
    const bool is_alpha = (U_GET_GC_MASK(c) & U_GC_L_MASK) != 0;
    const int numeric = u_getIntPropertyValue(c, UCHAR_NUMERIC_TYPE);
    switch (wanted) {
      case Class::kLower:
        if (is_upper) return false;
        any_cased |= is_lower;
        break;
      case Class::kUpper:
        if (is_lower || u_charType(c) == U_TITLECASE_LETTER) return false;
        any_cased |= is_upper;
        break;
      case Class::kTitle:
        if ((is_upper && after_cased) || (is_lower && !after_cased)) return false;
        after_cased = is_upper || is_lower;
        any_cased |= after_cased;
        break;
      case Class::kSpace:
        if (!IsSpace(point)) return false;
        break;
      case Class::kAlpha:
        if (!is_alpha) return false;
        break;
      case Class::kDecimal:
        if (numeric != U_NT_DECIMAL) return false;
        break;
      case Class::kDigit:
        if (numeric != U_NT_DECIMAL && numeric != U_NT_DIGIT) return false;
        break;
      case Class::kNumeric:
        if (numeric == U_NT_NONE) return false;
        break;
      case Class::kAlnum:
        if (!is_alpha && numeric == U_NT_NONE) return false;
        break;
      case Class::kAscii:
        if (point >= 0x80) return false;
        break;
      case Class::kPrintable:
        if (!IsPrintable(point)) return false;
        break;
      case Class::kIdentifier:
        if (c != '_' && !u_hasBinaryProperty(c, is_first ? UCHAR_XID_START : UCHAR_XID_CONTINUE))
          return false;
        break;
    }
    is_first = false;
  }
  return wanted > Class::kTitle || any_cased;
}

Value Replace(Heap* heap, Str* text, Str* old, Str* with, Int count) {
  const std::string_view view = heap->Text(text), needle = heap->Text(old);
  heap->Tick(view.size() / 16);
  if (count == 0) return Value::Of(text);
  TextBuilder out(heap);
  size_t at = 0;
  Int done = 0;
  if (needle.empty()) {  // Python inserts before every code point and at the end
    while (done != count) {
      out.Append(with);
      ++done;
      if (at >= view.size()) return out.Finish();
      const size_t size = PointBytes(view, at);
      out.AppendRange(text, at, at + size);
      at += size;
      heap->Tick();
    }
  } else {
    while (done != count) {
      const size_t found = view.find(needle, at);
      if (found == std::string_view::npos) break;
      out.AppendRange(text, at, found);
      out.Append(with);
      at = found + needle.size();
      ++done;
      heap->Tick();
    }
    if (done == 0) return Value::Of(text);
  }
  out.AppendRange(text, at, view.size());
  return out.Finish();
}

namespace {

std::vector<Value> SplitAtSpace(Heap* heap, Str* text, Int limit, bool from_right) {
  const std::string_view view = heap->Text(text);
  std::vector<std::pair<size_t, size_t>> words;
  for (size_t at = 0; at < view.size();) {
    if (IsSpace(PointAt(view, at))) {
      at += PointBytes(view, at);
      continue;
    }
    const size_t begin = at;
    while (at < view.size() && !IsSpace(PointAt(view, at))) at += PointBytes(view, at);
    words.emplace_back(begin, at);
  }
  // Beyond the limit the rest stays one piece that keeps its inner space; its outer end is trimmed.
  if (limit >= 0 && static_cast<Int>(words.size()) > limit + 1) {
    const size_t keep = static_cast<size_t>(limit);
    if (from_right) {
      words.erase(words.begin() + 1, words.end() - static_cast<std::ptrdiff_t>(keep));
      const size_t next = words.size() > 1 ? words[1].first : view.size();
      words[0] = {0, StripRange(view.substr(0, next), nullptr, Side::kRight).second};
    } else {
      words.resize(keep + 1);
      words[keep].second = view.size();
    }
  }
  std::vector<Value> out;
  for (const auto& [begin, end] : words) out.push_back(heap->Slice(text, begin, end));
  return out;
}

}  // namespace

std::vector<Value> Split(Heap* heap, Str* text, Str* separator, Int limit, bool from_right) {
  const std::string_view view = heap->Text(text);
  heap->Tick(view.size() / 16);
  if (separator == nullptr) return SplitAtSpace(heap, text, limit, from_right);
  const std::string_view needle = heap->Text(separator);
  if (needle.empty()) throw Failure{"empty separator"};
  if (limit < 0) limit = static_cast<Int>(view.size()) + 1;  // never reached
  std::vector<Value> out;
  if (from_right) {
    size_t end = view.size();
    while (limit != 0) {
      const size_t found =
          end < needle.size() ? std::string_view::npos : view.rfind(needle, end - needle.size());
      if (found == std::string_view::npos) break;
      out.push_back(heap->Slice(text, found + needle.size(), end));
      end = found;
      --limit;
    }
    out.push_back(heap->Slice(text, 0, end));
    std::reverse(out.begin(), out.end());
    return out;
  }
  size_t at = 0;
  while (limit != 0) {
    const size_t found = view.find(needle, at);
    if (found == std::string_view::npos) break;
    out.push_back(heap->Slice(text, at, found));
    at = found + needle.size();
    --limit;
  }
  out.push_back(heap->Slice(text, at, view.size()));
  return out;
}

std::vector<Value> SplitLines(Heap* heap, Str* text, bool keep_ends) {
  const std::string_view view = heap->Text(text);
  heap->Tick(view.size() / 16);
  std::vector<Value> out;
  for (size_t at = 0; at < view.size();) {
    size_t end = at;
    while (end < view.size() && !IsLineEnd(PointAt(view, end))) end += PointBytes(view, end);
    size_t next = end;
    if (end < view.size()) {
      next += view.substr(end, 2) == "\r\n" ? 2 : PointBytes(view, end);
    }
    out.push_back(heap->Slice(text, at, keep_ends ? next : end));
    at = next;
  }
  return out;
}

Value Repeat(Heap* heap, Str* text, Int count) {
  if (count <= 0 || text->bytes == 0) return heap->View("", text->origin);
  if (count == 1) return Value::Of(text);
  if (count > static_cast<Int>(limits::kTemplateStringBytes / text->bytes)) {
    throw Failure{
        fmt::format("repeated text is longer than {} bytes", limits::kTemplateStringBytes)};
  }
  heap->Text(text);
  TextBuilder out(heap);
  for (Int i = 0; i < count; ++i) out.Append(text);
  return out.Finish();
}

Value Pad(Heap* heap, Str* text, Int points, Str* fill, Align align) {
  const Int length = heap->Length(text);
  if (points <= length) return Value::Of(text);
  const Int missing = points - length;
  if (heap->Length(fill) != 1)
    throw Failure{"The fill character must be exactly one character long"};
  // CPython's center puts the odd one left when both the gap and the width are odd.
  const Int left = align == Align::kLeft    ? Int{0}
                   : align == Align::kRight ? missing
                                            : missing / 2 + (missing & points & 1);
  TextBuilder out(heap);
  out.Append(Repeat(heap, fill, left).text);
  out.Append(text);
  out.Append(Repeat(heap, fill, missing - left).text);
  return out.Finish();
}

}  // namespace planish::jinja

// SPDX-License-Identifier: Apache-2.0
// Python's string operations on texts that keep the origin of every byte: cutting, joining,
// replacing, changing case. Positions are byte offsets unless a name says points (code points).
// Bytes that are not valid UTF-8 count as one code point each, so nothing here can run off the end.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace planish::jinja {

// Collects pieces with their origins; fails beyond limits::kTemplateOutputBytes.
class TextBuilder {
 public:
  explicit TextBuilder(Heap* heap) : heap_(heap) {}

  void Append(std::string_view text, OriginId origin, OriginId also = 0);
  void Append(Str* text, OriginId also = 0);  // `also` is or-ed into every origin
  void AppendRange(Str* text, size_t begin, size_t end);

  size_t size() const { return text_.size(); }
  Heap* heap() const { return heap_; }
  Value Finish();
  void MoveTo(Str* text);
  const std::string& text() const { return text_; }
  const std::vector<Run>& runs() const { return runs_; }

 private:
  Heap* heap_;
  std::string text_;
  std::vector<Run> runs_;
};

// UTF-8
size_t PointBytes(std::string_view text, size_t at);  // bytes of the code point at `at`, at least 1
char32_t PointAt(std::string_view text, size_t at);
int64_t CountPoints(std::string_view text);
void AppendPoint(char32_t point, std::string* out);
bool IsValidUtf8(std::string_view text);

// Character classes as Python's str methods see them.
bool IsSpace(char32_t point);
bool IsPrintable(char32_t point);

// [begin, end) that remains of text after strip; null `chars` strips white space.
enum class Side { kBoth, kLeft, kRight };
std::pair<size_t, size_t> StripRange(std::string_view text, const std::string_view* chars,
                                     Side side);

enum class Case { kUpper, kLower, kTitle, kCapitalize, kSwap };
Value ChangeCase(Heap* heap, Str* text, Case to);
// str.islower and its kin: at least one character, and all (or all cased ones) of the class.
enum class Class {
  kLower,
  kUpper,
  kTitle,
  kSpace,
  kAlpha,
  kDigit,
  kDecimal,
  kNumeric,
  kAlnum,
  kAscii,
  kPrintable,
  kIdentifier
};
bool IsAll(std::string_view text, Class wanted);

Value Replace(Heap* heap, Str* text, Str* old, Str* with, Int count);  // count < 0: all
// Pieces between separators; null separator splits at runs of white space. limit < 0: no limit.
std::vector<Value> Split(Heap* heap, Str* text, Str* separator, Int limit, bool from_right);
std::vector<Value> SplitLines(Heap* heap, Str* text, bool keep_ends);
Value Repeat(Heap* heap, Str* text, Int count);
// To `points` wide; fills with `fill` on the left and/or right as str.ljust, rjust and center do.
enum class Align { kLeft, kRight, kCenter };
Value Pad(Heap* heap, Str* text, Int points, Str* fill, Align align);

}  // namespace planish::jinja

// SPDX-License-Identifier: Apache-2.0
// Numbers as people write them in answers, read exactly: "1,234.50", "$5", "-3/4", "1 1/2", "\frac{3}{4}", "25 %", ".5".
// Values are rationals of 64-bit integers, so that 0.1 is one tenth and 1/2 equals 0.5.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace planish {

// In lowest terms, den > 0.
struct Rational {
  int64_t num = 0, den = 1;
  bool operator==(const Rational&) const = default;
};
// Empty if a part does not fit 63 bits, or `den` is 0.
std::optional<Rational> MakeRational(int64_t num, int64_t den);
std::optional<Rational> Sum(const Rational& a, const Rational& b);
std::optional<Rational> Product(const Rational& a, const Rational& b);

struct NumberSpan {
  Rational value;
  size_t begin = 0, end = 0;  // bytes of the text, sign and currency sign included
  bool has_currency = false;  // $, euro or pound before it
};

// The number that begins at byte `begin`, if one does. Commas group thousands only: "1,2,3" begins with 1.
std::optional<NumberSpan> NumberAt(std::string_view text, size_t begin);
// All numbers of a text from left to right. Parts of words ("B12"), of times ("2:30") and of dates ("2024-03-05") are none.
std::vector<NumberSpan> FindNumbers(std::string_view text);

// LaTeX and Markdown around an answer taken away: \boxed{x}, \text{x}, \( \), $ as a pair, **, `, "\$", "\%", "{,}"; blanks
// of Unicode become spaces, the minus sign U+2212 becomes "-".
std::string WithoutMarkup(std::string_view text);
// What the last \boxed{...} (or \fbox) holds, braces balanced.
std::optional<std::string> LastBoxed(std::string_view text);

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// For tests only: reads the arithmetic out of a trace and recomputes it, knowing nothing of how it was written. Statements
// are "a+b-c*d=e", "a/b=q", "a/b=qrR" and "a<b"; what stands in ( ) or [ ] is checked by itself and then left out.
#pragma once

#include <cstdint>
#include <regex>
#include <string>

namespace planish::testing {

// Hundredths of a number: exact for all that traces say.
inline int64_t Hundredths(const std::string& number) {
  const size_t point = number.find('.');
  return std::stoll(number.substr(0, point)) * 100 +
         (point == number.npos ? 0 : std::stoll(number.substr(point + 1)));
}

// Sums of products, left to right; in hundredths. A quotient stands alone.
inline int64_t Value(const std::string& expression) {
  int64_t sum = 0, product = 0;
  char sign = '+', operation = ' ';
  for (size_t i = 0; i < expression.size();) {
    size_t end = expression.find_first_of("+-*", i);
    if (end == expression.npos) end = expression.size();
    const std::string number = expression.substr(i, end - i);
    if (operation == '*') {
      product = product * Hundredths(number) / 100;
    } else {
      product = Hundredths(number);
    }
    if (end == expression.size() || expression[end] != '*') {
      sum += sign == '+' ? product : -product;
      if (end < expression.size()) sign = expression[end];
    }
    operation = end < expression.size() ? expression[end] : ' ';
    i = end + 1;
  }
  return sum;
}

// The first statement that does not hold, or nothing; adds their number to *count.
inline std::string FalseStatement(std::string text, size_t* count = nullptr) {
  static const std::regex kStatement(R"(([0-9.]+(?:[-+*/][0-9.]+)+)=([0-9.]*[0-9])(?:r([0-9]+))?)");
  static const std::regex kOrder(R"((^|[^0-9.=])([0-9]+)([<>])([0-9]+))");
  static const std::regex kInner(R"(\([^()\[\]]*\)|\[[^()\[\]]*\])");
  static const std::regex kClock(R"([0-9]+:[0-9][0-9])");
  text = std::regex_replace(text, kClock, "");
  while (true) {
    // Outer statements are read once what stands inside is gone: here, those without a bracket in them.
    for (std::sregex_iterator m(text.begin(), text.end(), kStatement), end; m != end; ++m) {
      if (count != nullptr) ++*count;
      const std::string expression = (*m)[1], result = (*m)[2];
      const size_t slash = expression.find('/');
      bool holds = false;
      if (slash == expression.npos) {
        holds = Value(expression) == Hundredths(result);
      } else {
        const int64_t a = Hundredths(expression.substr(0, slash));
        const int64_t b = Hundredths(expression.substr(slash + 1));
        const int64_t rest = (*m)[3].matched ? Hundredths((*m)[3]) : 0;
        holds = a * 100 == b * Hundredths(result) + rest * 100 && rest < b;
      }
      if (!holds) return m->str();
    }
    for (std::sregex_iterator m(text.begin(), text.end(), kOrder), end; m != end; ++m) {
      if (count != nullptr) ++*count;
      const int64_t a = std::stoll((*m)[2]), b = std::stoll((*m)[4]);
      if ((*m)[3] == "<" ? a >= b : a <= b) return m->str();
    }
    const std::string outer = std::regex_replace(text, kInner, "");
    if (outer == text) return {};
    text = outer;
  }
}

}  // namespace planish::testing

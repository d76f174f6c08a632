// SPDX-License-Identifier: Apache-2.0
#include "problems/worked.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace planish {
namespace {

// Digits from the right; 0 beyond the number.
std::vector<int> DigitsOf(int64_t value) {
  std::vector<int> digits;
  do digits.push_back(static_cast<int>(value % 10));
  while ((value /= 10) > 0);
  return digits;
}

std::string Joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : ",") + part;
  return out;
}

std::string SumColumns(int64_t a, int64_t b) {
  const std::vector<int> x = DigitsOf(a), y = DigitsOf(b);
  std::vector<std::string> columns;
  int carry = 0;
  for (size_t i = 0; i < std::max(x.size(), y.size()); ++i) {
    const int p = i < x.size() ? x[i] : 0, q = i < y.size() ? y[i] : 0;
    columns.push_back(fmt::format("{}+{}{}={}", p, q, carry ? "+1" : "", p + q + carry));
    carry = (p + q + carry) / 10;
  }
  return Joined(columns);
}

std::string DifferenceColumns(int64_t a, int64_t b) {
  const std::vector<int> x = DigitsOf(a), y = DigitsOf(b);
  std::vector<std::string> columns;
  int borrow = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const int q = i < y.size() ? y[i] : 0;
    const bool raised = x[i] - q - borrow < 0;
    const int top = x[i] + (raised ? 10 : 0);
    columns.push_back(fmt::format("{}-{}{}={}", top, q, borrow ? "-1" : "", top - q - borrow));
    borrow = raised;
  }
  return Joined(columns);
}

// Zeros at the end, as a power of ten.
int64_t ZerosOf(int64_t value) {
  int64_t power = 1;
  while (value > 0 && value % (power * 10) == 0) power *= 10;
  return power;
}

// One step of the multiplication tables, with zeros behind: 47*30.
bool IsDirectProduct(int64_t a, int64_t b) {
  if (a == 0 || b == 0) return true;
  const int64_t p = a / ZerosOf(a), q = b / ZerosOf(b);
  return (p < 10 && q < 100) || (p < 100 && q < 10) || p == 1 || q == 1;
}

std::string ProductColumns(int64_t a, int64_t digit) {
  std::vector<std::string> columns;
  int64_t carry = 0;
  for (const int p : DigitsOf(a)) {
    const int64_t product = p * digit + carry;
    columns.push_back(carry ? fmt::format("{}*{}+{}={}", p, digit, carry, product)
                            : fmt::format("{}*{}={}", p, digit, product));
    carry = product / 10;
  }
  return Joined(columns);
}

std::string DivisionColumns(int64_t a, int64_t b) {
  std::vector<int> digits = DigitsOf(a);
  std::reverse(digits.begin(), digits.end());
  std::vector<std::string> columns;
  int64_t rest = 0;
  for (size_t i = 0; i < digits.size(); ++i) {
    rest = rest * 10 + digits[i];
    if (columns.empty() && rest < b && i + 1 < digits.size()) continue;
    columns.push_back(fmt::format("{}/{}={}r{}", rest, b, rest / b, rest % b));
    rest %= b;
  }
  return Joined(columns);
}

}  // namespace

int DigitCount(int64_t value) {
  int count = 1;
  for (value = value < 0 ? -value : value; value > 9; value /= 10) ++count;
  return count;
}

std::string DecimalText(int64_t value, int decimals) {
  if (decimals == 0) return std::to_string(value);
  int64_t unit = 1;
  for (int i = 0; i < decimals; ++i) unit *= 10;
  return fmt::format("{}.{:0{}}", value / unit, value % unit, decimals);
}

std::string WorkedSum(int64_t a, int64_t b, int decimals) {
  PLANISH_CHECK(a >= 0 && b >= 0);
  const std::string columns = a < 100 && b < 100 ? "" : "(" + SumColumns(a, b) + ")";
  return fmt::format("{}+{}{}={}", DecimalText(a, decimals), DecimalText(b, decimals), columns,
                     DecimalText(a + b, decimals));
}

std::string WorkedDifference(int64_t a, int64_t b, int decimals) {
  PLANISH_CHECK(a >= b && b >= 0, "{} {}", a, b);
  const std::string columns = a < 100 ? "" : "(" + DifferenceColumns(a, b) + ")";
  return fmt::format("{}-{}{}={}", DecimalText(a, decimals), DecimalText(b, decimals), columns,
                     DecimalText(a - b, decimals));
}

std::string WorkedProduct(int64_t a, int64_t b, int decimals) {
  PLANISH_CHECK(a >= 0 && b >= 0);
  std::string work;
  if (!IsDirectProduct(a, b)) {
    const int64_t zeros = ZerosOf(b);
    if (b / zeros < 10) {  // one digit and zeros: the columns are those of the digit
      work = "(" + ProductColumns(a, b / zeros) + ")";
    } else if (a < 10 && decimals == 0) {
      work = "(" + ProductColumns(b, a) + ")";
    } else {
      std::vector<std::string> parts;
      int64_t sum = 0, place = 1;
      for (const int digit : DigitsOf(b)) {
        if (digit > 0) {
          const int64_t part = a * digit * place;
          parts.push_back(WorkedProduct(a, digit * place, decimals));
          if (sum > 0) parts.push_back(WorkedSum(sum, part, decimals));
          sum += part;
        }
        place *= 10;
      }
      work = "[" + Joined(parts) + "]";
    }
  }
  return fmt::format("{}*{}{}={}", DecimalText(a, decimals), b, work, DecimalText(a * b, decimals));
}

std::string WorkedQuotient(int64_t a, int64_t b, int decimals) {
  PLANISH_CHECK(a >= 0 && b > 0);
  PLANISH_CHECK(decimals == 0 || a % b == 0);
  const bool is_table = a / b < 10 && ((a < 100 && b <= 12) || (a % b == 0 && b / ZerosOf(b) < 10));
  const bool is_direct = is_table || (b == ZerosOf(b) && a % b == 0);
  const std::string columns = is_direct ? "" : DivisionColumns(a, b);
  // A single column says nothing that the result does not.
  const bool is_single = columns.find(',') == std::string::npos;
  const std::string work = is_single ? "" : "(" + columns + ")";
  return fmt::format("{}/{}{}={}{}", DecimalText(a, decimals), b, work,
                     DecimalText(a / b, decimals), a % b ? fmt::format("r{}", a % b) : "");
}

}  // namespace planish

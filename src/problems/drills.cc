// SPDX-License-Identifier: Apache-2.0
#include "problems/drills.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "problems/draw.h"
#include "problems/lexicon.h"
#include "problems/phrase.h"
#include "problems/worked.h"

namespace planish {
namespace {

constexpr uint64_t kDrillStream = uint64_t{7} << 61;

// Of 1 to `digits` digits, short ones as likely as long ones.
int64_t Number(Draw* draw, int digits) {
  int64_t limit = 10;
  for (int64_t n = draw->Between(1, digits); n > 1; --n) limit *= 10;
  return draw->Between(limit == 10 ? 0 : limit / 10, limit - 1);
}

std::string SumLine(Draw* draw) {
  return WorkedSum(Number(draw, 5), Number(draw, 5), draw->Chance(20) ? 2 : 0);
}

std::string DifferenceLine(Draw* draw) {
  const int64_t a = Number(draw, 5), b = Number(draw, 5);
  return WorkedDifference(std::max(a, b), std::min(a, b), draw->Chance(20) ? 2 : 0);
}

std::string ProductLine(Draw* draw) {
  const int64_t b = draw->Chance(60) ? draw->Between(2, 12) : Number(draw, 2);
  return WorkedProduct(Number(draw, 4), b, draw->Chance(15) ? 2 : 0);
}

std::string QuotientLine(Draw* draw) {
  const int64_t b = draw->Chance(75) ? draw->Between(2, 12) : draw->Between(2, 40);
  const int64_t q = Number(draw, 3);
  return WorkedQuotient(b * q + (draw->Chance(25) ? draw->Between(0, b - 1) : 0), b);
}

std::string TableLine(Draw* draw) {
  const int64_t a = draw->Between(1, 12), b = draw->Between(1, 12);
  switch (draw->Index(4)) {
    case 0:
      return WorkedSum(draw->Between(0, 99), draw->Between(0, 99));
    case 1:
      return WorkedQuotient(a * b, a);
    case 2: {
      const int64_t high = draw->Between(0, 99);
      return WorkedDifference(high, draw->Between(0, high));
    }
    default:
      return WorkedProduct(a, b);
  }
}

std::string WordsLine(Draw* draw) {
  const int64_t n = Number(draw, 4);
  return draw->Chance(50) ? fmt::format("{} = {}", n, NumberWords(n))
                          : fmt::format("{} = {}", NumberWords(n), n);
}

std::string ComparisonLine(Draw* draw) {
  const int64_t a = Number(draw, 4);
  const int64_t b =
      draw->Chance(40) ? std::max<int64_t>(0, a + draw->Between(-20, 20)) : Number(draw, 4);
  return fmt::format("{} {} {}", a, a < b ? "<" : a > b ? ">" : "=", b);
}

std::string SortedLine(Draw* draw) {
  std::vector<int64_t> numbers;
  for (int64_t n = draw->Between(3, 6); n > 0; --n) numbers.push_back(Number(draw, 3));
  const std::string given = fmt::format("{}", fmt::join(numbers, ", "));
  std::sort(numbers.begin(), numbers.end());
  return fmt::format("{}: sorted {}", given, fmt::join(numbers, ", "));
}

std::string CalendarLine(Draw* draw) {
  const auto days = Weekdays();
  const auto months = Months();
  if (draw->Chance(50)) {
    const size_t day = draw->Index(7);
    switch (draw->Index(3)) {
      case 0:
        return fmt::format("the day after {} is {}", days[day], days[(day + 1) % 7]);
      case 1:
        return fmt::format("the day before {} is {}", days[day], days[(day + 6) % 7]);
      default: {
        const int64_t n = draw->Between(1, 30);
        return fmt::format("{}+{} days: {}={}*7+{}: {}", days[day], n, n, n / 7, n % 7,
                           days[(day + static_cast<size_t>(n)) % 7]);
      }
    }
  }
  const size_t month = draw->Index(12);
  switch (draw->Index(3)) {
    case 0:
      return fmt::format("{} is month {}", months[month], month + 1);
    case 1:
      return fmt::format("after {} comes {}", months[month], months[(month + 1) % 12]);
    default:
      return fmt::format("{} has {} days", months[month], DaysInMonth(static_cast<int>(month) + 1));
  }
}

struct UnitFact {
  const char* big;
  const char* small;
  int64_t factor;
};
constexpr UnitFact kUnits[] = {
    {"m", "cm", 100},         {"km", "m", 1000},         {"cm", "mm", 10},
    {"kg", "g", 1000},        {"hours", "minutes", 60},  {"minutes", "seconds", 60},
    {"days", "hours", 24},    {"weeks", "days", 7},      {"years", "months", 12},
    {"liters", "ml", 1000},   {"feet", "inches", 12},    {"yards", "feet", 3},
    {"dozens", "pieces", 12}, {"dollars", "cents", 100}, {"tons", "kg", 1000},
    {"pounds", "ounces", 16}};

std::string UnitLine(Draw* draw) {
  const UnitFact& unit = draw->Of(kUnits);
  const int64_t n = draw->Between(1, 20);
  return draw->Chance(60) ? fmt::format("{} {} = {} {}", n, unit.big, n * unit.factor, unit.small)
                          : fmt::format("{} {} = {} {}", n * unit.factor, unit.small, n, unit.big);
}

std::string SpellingLine(Draw* draw) {
  const std::string word = draw->Of(Words());
  std::string letters;
  for (const char c : word) {
    if (!letters.empty()) letters += ' ';
    letters += c;
  }
  return fmt::format("{}: {}", word, letters);
}

struct Kind {
  std::string (*line)(Draw*);
  int weight;
  int lines;  // at most, of a document
};
constexpr Kind kKinds[] = {{TableLine, 18, 12},     {SumLine, 14, 6},      {DifferenceLine, 14, 6},
                           {ProductLine, 14, 5},    {QuotientLine, 14, 5}, {WordsLine, 5, 8},
                           {ComparisonLine, 5, 10}, {SortedLine, 3, 5},    {CalendarLine, 5, 8},
                           {UnitLine, 4, 8},        {SpellingLine, 4, 8}};

}  // namespace

std::string DrillRow(uint64_t seed, uint64_t index) {
  Draw draw(seed, kDrillStream + index);
  int64_t rest = draw.Between(0, 99);
  std::string text;
  for (const Kind& kind : kKinds) {
    if ((rest -= kind.weight) >= 0) continue;
    for (int64_t n = draw.Between(2, kind.lines); n > 0; --n)
      text += (text.empty() ? "" : "\n") + kind.line(&draw);
    break;
  }
  Json row = Json::MakeObject();
  row.Set("text", std::move(text));
  return DumpJson(row);
}

}  // namespace planish

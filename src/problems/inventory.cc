// SPDX-License-Identifier: Apache-2.0
#include "problems/inventory.h"

#include <numeric>

#include "problems/lexicon.h"
#include "problems/settings.h"
#include "problems/worked.h"

namespace planish {
namespace {

constexpr const char* kStart[] = {"{S} <has|had> {n} {o}.",
                                  "[At first|To begin with], {S} <has|had> {n} {o}.",
                                  "{S} <starts|started> [the day|the week|out] with {n} {o}.",
                                  "{S} <owns|owned> {n} {o}.",
                                  "There <are|were> {n} {o} in {S}'s [room|house|garage].",
                                  "At the start, {S} <has|had> {n} {o}.",
                                  "{S} <begins|began> with {n} {o}."};
constexpr const char* kGain[] = {"{t}, {S.he} {v} {n} more[| {o}]{v.tail}.",
                                 "{S.he} {v} {n} more[| {o}]{v.tail}.",
                                 "Then {S.he} {v} {n} {o}{v.tail}.",
                                 "{t}, {S} {v} {n} {o}{v.tail}.",
                                 "After that, {S.he} {v} another {n} {o}{v.tail}.",
                                 "Then {S} {v} {n} more {o}{v.tail}."};
constexpr const char* kLoss[] = {"{t}, {S.he} {v} {n}[| of them| {o}]{v.tail}.",
                                 "{S.he} {v} {n}[| of them]{v.tail}.",
                                 "Then {S.he} {v} {n} {o}{v.tail}.",
                                 "{t}, {S} {v} {n} {o}{v.tail}.",
                                 "After that, {S.he} {v} {n}[| {o}]{v.tail}.",
                                 "Then {S} {v} {n} of the {o}{v.tail}."};
constexpr const char* kGainGroups[] = {
    "{t}, {S.he} <gets|got> {n} {c} with {m} {o} in each.",
    "{S.he} <buys|bought> {n} {c} of {o}. Each {c.1} <has|had> {m} {o}.",
    "Then {S.he} <buys|bought> {n} {c} with {m} {o} each.",
    "{n} [friends|neighbors] each <give|gave> {S.him} {m} {o}.",
    "For {n} days, {S.he} <gets|got> {m} {o} every day.",
    "Then {S.he} <gets|got> {n} {c} with {m} {o} in each {c.1}.",
    "After that, {S.he} <buys|bought> {m} {o} a day for {n} days.",
    "{S.he} <receives|received> {n} {c} of {m} {o}."};
constexpr const char* kLoseGroups[] = {
    "{t}, {S.he} <gives|gave> {m} {o} to each of {n} {w}.",
    "Then {S.he} <gives|gave> {n} {w} {m} {o} each.",
    "{S.he} <sells|sold> {n} {c} with {m} {o} in each.",
    "For {n} days, {S.he} <uses|used> {m} {o} every day.",
    "{n} {w} <get|got> {m} {o} each from {S.him}.",
    "Then {S.he} <gives|gave> {m} {o} to each of {n} {w}.",
    "After that, {S.he} <sells|sold> {m} {o} a day for {n} days."};
constexpr const char* kTimes[] = {
    "{t}, the number of {o} <doubles|doubled>.",
    "Then the number of {o} <doubles|doubled>.",
    "After that, {S.he} <has|had> twice as many {o} as before.",
    "{t}, {S} <gets|got> as many {o} again as {S.he} already <has|had>.",
    "Then {S.he} <doubles|doubled> the number of {o}.",
    "After that, the number of {o} <doubles|doubled>."};
constexpr const char* kPartGoes[] = {
    "{t}, {S.he} {v} {part} of [the {o}|them]{v.tail}.",
    "Then {S.he} {v} {part} of them{v.tail}.",
    "{S} then {v} {part} of {S.his} {o}{v.tail}.",
    "After that, {part} of the {o} <are|were> [sold|lost|given away].",
    "{part} of the {o} <are|were> given away [later|after that].",
    "Then {S} {v} {part} of the {o}{v.tail}.",
    "{t}, {part} of the {o} <are|were> sold."};
constexpr const char* kPartStays[] = {
    "{t}, {S.he} <keeps|kept> only {part} of the {o}.",
    "Then only {part} of the {o} <are|were> left.",
    "{S.he} <keeps|kept> {part} of them and <gives|gave> away the rest.",
    "After that, {S.he} <has|had> only {part} of the {o}.",
    "{t}, only {part} of them <are|were> left.",
    "Then {S.he} <keeps|kept> only {part} of them."};
constexpr const char* kNow[] = {"How many {o} does {S} have [now|left|in the end]?",
                                "How many {o} does {S.he} have [now|in the end|at the end]?",
                                "How many {o} are [left|there in the end]?",
                                "How many {o} remain?",
                                "What is the number of {o} [now|at the end]?",
                                "How many {o} does {S} have at the end?",
                                "Find the number of {o} that {S} has [now|at the end]."};
constexpr const char* kShareEnd[] = {
    "The rest is shared equally among {n} {w}. How many {o} does each [get|{w.1} get]?",
    "{S.he} <shares|shared> what is left equally among {n} {w}. How many does each get?",
    "Finally, {S.he} <divides|divided> the {o} equally into {n} {c}. How many {o} are in each "
    "{c.1}?",
    "In the end, {n} {w} <share|shared> all the {o} equally. How many does each {w.1} get?",
    "At last {S.he} <puts|put> all the {o} into {n} {c}, the same number in each. How many are in "
    "one {c.1}?",
    "Finally, {S.he} <shares|shared> all the {o} equally among {n} {w}. How many {o} does each "
    "get?"};
constexpr const char* kSellEnd[] = {
    "Then {S.he} <sells|sold> all the {o} for {n} dollars each. How many dollars does {S.he} get?",
    "{S.he} <sells|sold> [the rest|all of them] at ${n.d} each. How much money does {S.he} get?",
    "At the end, {S.he} <sells|sold> every one of them for ${n.d}. How many dollars is that?",
    "Each of the {o} left is worth ${n.d}. How many dollars are they worth in all?",
    "The {o} that are left <are|were> sold for {n} dollars each. How much money does {S.he} get?",
    "Finally, {S.he} <sells|sold> all the {o} for ${n.d} each. How many dollars does {S.he} get?"};

int64_t Changed(Story* story, int64_t count, std::span<const VerbForms> gains,
                std::span<const VerbForms> losses) {
  Slots& slots = story->slots();
  const bool gain = count < 6 || story->draw().Chance(50);
  const int64_t change = gain ? story->Number() : story->NumberBelow(count);
  slots.Set("n", change);
  slots.Set("v", story->draw().Of(gain ? gains : losses));
  story->Say(gain ? Frames(kGain) : Frames(kLoss));
  const std::string label = story->Fill("{v} {n.d}");
  return gain ? story->Add(label, count, change) : story->Subtract(label, count, change);
}

int64_t Grouped(Story* story, int64_t count) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const int64_t groups = story->Small();
  story->Operand(groups);
  const bool gain = count < 3 * groups || draw.Chance(55);
  const int64_t size = gain ? story->NumberBelow(count < 100    ? 30
                                                 : count < 1000 ? 100
                                                                : 400)
                            : story->NumberBelow(std::min<int64_t>(count / groups, 400));
  slots.Set("n", groups);
  slots.Set("m", size);
  slots.Set("w", draw.Of(Workers()));
  story->Say(gain ? Frames(kGainGroups) : Frames(kLoseGroups));
  const int64_t all = story->Multiply("groups", size, groups);
  return gain ? story->Add("now", count, all) : story->Subtract("now", count, all);
}

int64_t PartTaken(Story* story, int64_t count, bool is_percent, bool goes,
                  std::span<const VerbForms> losses) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  std::string label, work;
  int64_t part = 0;
  if (is_percent) {
    const int64_t percent = ChoosePercent(&draw, count);
    if (percent == 0) return story->GiveUp(), 0;
    label = fmt::format("{}% of {}", percent, count);
    work = WorkedPercent(percent, count, &part);
    slots.Set("part", fmt::format("{}%", percent));
    story->Operand(percent);
  } else {
    int64_t a = 0, b = 0;
    if (!ChooseFraction(&draw, count, &a, &b)) return story->GiveUp(), 0;
    label = fmt::format("{}/{} of {}", a, b, count);
    work = WorkedFraction(a, b, count, &part);
    slots.Set("part", FractionText(&draw, a, b));
    story->Key(a * 100 + b);
  }
  slots.Set("v", draw.Of(losses));
  story->Say(goes ? Frames(kPartGoes) : Frames(kPartStays));
  story->Line(label + ": " + work, true);
  return goes ? story->Subtract("left", count, part) : part;
}

}  // namespace

std::string WorkedPercent(int64_t percent, int64_t of, int64_t* value) {
  if (percent * of % 100 != 0) return {};
  *value = percent * of / 100;
  if (percent == 50) return WorkedQuotient(of, 2);
  if (percent == 25) return WorkedQuotient(of, 4);
  if (percent == 75 && of % 4 == 0) return WorkedQuotient(of, 4) + "," + WorkedProduct(of / 4, 3);
  if (percent % 10 == 0 && of % 10 == 0) {
    return WorkedQuotient(of, 10) +
           (percent > 10 ? "," + WorkedProduct(of / 10, percent / 10) : "");
  }
  if (percent % 20 == 0 && of % 5 == 0) {
    return WorkedQuotient(of, 5) + (percent > 20 ? "," + WorkedProduct(of / 5, percent / 20) : "");
  }
  if (percent % 5 == 0 && of % 20 == 0) {
    return WorkedQuotient(of, 20) + (percent > 5 ? "," + WorkedProduct(of / 20, percent / 5) : "");
  }
  if (of % 100 == 0) return WorkedQuotient(of, 100) + "," + WorkedProduct(percent, of / 100);
  return WorkedProduct(of, percent) + "," + WorkedQuotient(of * percent, 100);
}

std::string WorkedFraction(int64_t a, int64_t b, int64_t of, int64_t* value) {
  *value = of / b * a;
  return WorkedQuotient(of, b) + (a > 1 ? "," + WorkedProduct(of / b, a) : "");
}

int64_t ChoosePercent(Draw* draw, int64_t of) {
  std::vector<int64_t> fitting;
  for (const int64_t percent : {10, 20, 50, 25, 30, 40, 60, 75, 80, 70, 90, 5, 15, 35, 45})
    if (percent * of % 100 == 0 && percent * of / 100 > 1) fitting.push_back(percent);
  if (of % 100 == 0 && draw->Chance(30)) return draw->Between(2, 49);
  return fitting.empty() ? 0 : fitting[draw->Index(fitting.size())];
}

bool ChooseFraction(Draw* draw, int64_t of, int64_t* a, int64_t* b) {
  std::vector<int64_t> fitting;
  for (int64_t d = 2; d <= 10; ++d)
    if (of % d == 0 && of / d > 1) fitting.push_back(d);
  if (fitting.empty()) return false;
  *b = fitting[draw->Index(fitting.size())];
  *a = *b == 2 || draw->Chance(40) ? 1 : draw->Between(2, *b - 1);
  return std::gcd(*a, *b) == 1;
}

std::string FractionText(Draw* draw, int64_t a, int64_t b) {
  static constexpr const char* kParts[] = {"half",    "third",  "quarter", "fifth", "sixth",
                                           "seventh", "eighth", "ninth",   "tenth"};
  if (draw->Chance(a == 1 ? 15 : 65)) return fmt::format("{}/{}", a, b);
  if (b == 2) return draw->Chance(80) ? "half" : "one half";
  if (a == 1)
    return draw->Chance(60) ? WithArticle(kParts[b - 2]) : fmt::format("one {}", kParts[b - 2]);
  return fmt::format("{} {}s", NumberWords(a), kParts[b - 2]);
}

void InventoryProblem(Story* story, const InventoryMix& mix) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const Setting& setting = ChooseSetting(&slots, &draw);
  const std::string_view thing = setting.thing.one;
  const bool is_own = *setting.holder || *setting.place || thing == "point" || thing == "dollar";
  if (is_own) {  // a person with some small things instead
    const auto people = story->Names(3);
    slots.Set("S", people[0]);
    slots.Set("C", people[1]);
    slots.Set("D", people[2]);
    slots.Set("o", draw.Of(SmallThings()));
  }
  static constexpr VerbForms kGains[] = {{"buy", "buys", "bought", "buying"},
                                         {"get", "gets", "got", "getting"},
                                         {"find", "finds", "found", "finding"},
                                         {"collect", "collects", "collected", "collecting"}};
  static constexpr VerbForms kLosses[] = {{"sell", "sells", "sold", "selling"},
                                          {"give away", "gives away", "gave away", "giving away"},
                                          {"give", "gives", "gave", "giving", " to [{C}|{D}]"},
                                          {"lose", "loses", "lost", "losing"},
                                          {"use", "uses", "used", "using"}};
  const std::span<const VerbForms> gains = is_own ? std::span(kGains) : setting.gains;
  const std::span<const VerbForms> losses = is_own ? std::span(kLosses) : setting.losses;
  slots.Set("c", draw.Of(Containers()));
  int64_t count = story->Longest();
  if (mix.percents > 0 && draw.Chance(80)) count = std::max<int64_t>(20, count / 20 * 20);
  if (mix.fractions > 0 && draw.Chance(60)) count = std::max<int64_t>(12, count / 12 * 12);
  story->Operand(count);
  slots.Set("n", count);
  story->Say(kStart);
  story->Given("start", count);
  const bool ends = story->steps() > 1 && draw.Chance(mix.endings);
  const int body = story->steps() - (ends ? 1 : 0);
  bool used_special = mix.percents + mix.fractions == 0;
  while (story->done_steps() < body && !story->gave_up()) {
    const int left = body - story->done_steps();
    static constexpr const char* kTimesOfDay[] = {"Later",      "In the evening", "The next day",
                                                  "On Tuesday", "On Friday",      "A week later",
                                                  "Afterwards"};
    slots.Set("t", std::string(draw.Of(kTimesOfDay)));
    int64_t kind =
        draw.Between(1, mix.changes + mix.groups + mix.times + mix.fractions + mix.percents);
    if (!used_special && left <= 2)  // a percentage problem has at least one
      kind = mix.changes + mix.groups + mix.times + 1 +
             draw.Between(0, mix.fractions + mix.percents - 1);
    if ((kind -= mix.changes) <= 0) {
      count = Changed(story, count, gains, losses);
    } else if ((kind -= mix.groups) <= 0) {
      if (left < 2) continue;
      count = Grouped(story, count);
    } else if ((kind -= mix.times) <= 0) {
      if (count > 20000) return story->GiveUp();
      story->Say(kTimes);
      count = story->Multiply("double", count, 2);
    } else {
      kind -= mix.fractions;
      const bool goes = left >= 2 && draw.Chance(70);
      count = PartTaken(story, count, kind > 0, goes, losses);
      used_special = true;
    }
  }
  if (story->gave_up() || count < 1) return story->GiveUp();
  if (!ends) {
    story->Ask(kNow);
    return story->AnswerInteger(count);
  }
  slots.Set("w", draw.Of(Workers()));
  int64_t factor = story->Small();
  const bool shares = count % factor == 0;
  if (!shares && count > 10000) return story->GiveUp();
  slots.Set("n", factor);
  story->Operand(factor);
  if (shares) {
    story->Ask(kShareEnd);
    return story->AnswerInteger(story->Divide("each", count, factor));
  }
  story->Ask(kSellEnd);
  story->AnswerMoney(100 * story->Multiply("dollars", count, factor));
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Dates and times as chains of "so much later" and "so much earlier": clock times, weekdays, dates, years, and how long
// something takes. Clock times are H:MM on a day of 24 hours; years have 365 days here.
#include "problems/lexicon.h"
#include "problems/skills.h"
#include "problems/worked.h"

namespace planish {
namespace {

// Clock.
constexpr const char* kClockStart[] = {"[A train|A bus|{A}] leaves at {t}.",
                                       "[The film|The show|The lesson] starts at {t}.",
                                       "{A} gets up at {t}.",
                                       "It is {t} now.",
                                       "{A} starts to work at {t}.",
                                       "{A} leaves home at {t}.",
                                       "The clock shows {t}.",
                                       "School begins at {t}."};
constexpr const char* kClockLater[] = {
    "{d} later, [{A} has a break|it stops|there is a break].",
    "After {d}, [{A} has a rest|the next part begins|there is a stop].",
    "Then {d} pass.",
    "[The next part|The first part|What follows] takes {d}.",
    "{A} [reads|waits|works|walks] for {d} after that.",
    "Then {A} [waits|works|rests] for {d}.",
    "The next thing takes {d}.",
    "{d} after that, [something new begins|{A} stops]."};
constexpr const char* kClockEnd[] = {"What time is it [then|after that]?",
                                     "At what time is [that|it over]?",
                                     "When is this over?",
                                     "What does the clock show then?",
                                     "What is the time at the end?",
                                     "What time is it at the end?",
                                     "What time is it in the end?"};
constexpr const char* kClockShort[] = {
    "A [film|show|lesson|game] starts at {t} and lasts {d}. [When|At what time] does it end?",
    "{A} leaves home at {t} and [walks|rides|drives] for {d}. What time is it then?",
    "It is {t}. What time will it be in {d}?",
    "What time is it {d} after {t}?",
    "A cake goes into the oven at {t}. It bakes for {d}. At what time is it ready?",
    "A lesson begins at {t} and takes {d}. When does it end?",
    "A train leaves at {t}. The trip takes {d}. [When|At what time] does it arrive?",
    "If it is {t} now, what time is it {d} from now?"};
constexpr const char* kClockBefore[] = {
    "A [film|show|lesson] ends at {t}. It lasts {d}. [When|At what time] did it start?",
    "{A} must be at school at {t}. The way takes {d}. When must {A.he} leave?",
    "It is {t}. What time was it {d} ago?",
    "What time is it {d} before {t}?",
    "A bus arrives at {t} after a trip of {d}. When did it leave?",
    "A lesson ends at {t} and takes {d}. When did it begin?"};
constexpr const char* kClockBetween[] = {
    "A [film|show|lesson] starts at {t} and ends at {u}. How many minutes does it last?",
    "{A} works from {t} to {u}. How many minutes is that?",
    "How many minutes are there from {t} to {u}?",
    "{A} leaves at {t} and arrives at {u}. How many minutes does the trip take?",
    "A train leaves at {t} and arrives at {u}. How long is the trip in minutes?",
    "A lesson starts at {t} and ends at {u}. How long is it in minutes?"};

// Weekdays.
constexpr const char* kDayStart[] = {"Today is {t}.",
                                     "It is {t} today.",
                                     "{A}'s trip begins on [a |]{t}.",
                                     "{A} plants a seed on [a |]{t}.",
                                     "The first day is a {t}.",
                                     "Today it is {t}.",
                                     "{A} starts on a {t}."};
constexpr const char* kDayLater[] = {
    "{n} days later, [there is a test|it rains|{A} has a party].",
    "Then {n} days go by.",
    "After {n} [more |]days, [{B} comes to visit|the sun shines|a letter comes].",
    "{n} days after that, [there is a game|{A} goes home].",
    "[{A}|{B}] waits {n} days[| more].",
    "Then {n} days pass.",
    "{n} days after that, it rains."};
constexpr const char* kDayEnd[] = {
    "What day of the week is it then?", "What day of the week is that?",
    "Which weekday is that?",           "On what day of the week is that?",
    "What weekday is it then?",         "Which day of the week is it then?"};
constexpr const char* kDayShort[] = {
    "If today is {t}, what day [of the week |]will it be in {n} days?",
    "Today is {t}. What day of the week is it {n} days from now?",
    "{A}'s birthday is in {n} days. Today is {t}. On which day of the week is {A.his} birthday?",
    "It is {t} today. Which weekday comes {n} days later?",
    "What day of the week is {n} days after a {t}?",
    "Today is {t}. Which day of the week is it in {n} days?"};
constexpr const char* kDayBefore[] = {
    "If today is {t}, what day [of the week |]was it {n} days ago?",
    "Today is {t}. What day of the week was it {n} days ago?",
    "{A} came {n} days ago. Today is {t}. On which day of the week did {A.he} come?",
    "What day of the week is {n} days before a {t}?",
    "It is {t} today. Which weekday was it {n} days before?",
    "Today is {t}. Which day of the week was it {n} days ago?"};

// Dates.
constexpr const char* kDateStart[] = {"Today is {t}.",
                                      "{A} [borrows a book|starts a trip|orders a parcel] on {t}.",
                                      "The [fair|course|trip] begins on {t}.",
                                      "It is {t} [today|now].",
                                      "On {t}, {A} plants a tree.",
                                      "The [school year|game|story] starts on {t}.",
                                      "{A} starts a trip on {t}."};
constexpr const char* kDateEnd[] = {"What is the date then?",     "What date is that?",
                                    "On what date is that?",      "Which date is it then?",
                                    "Give the date of that day.", "What date is it then?"};
constexpr const char* kDateShort[] = {
    "What date is {n} days after {t}?",
    "Today is {t}. What is the date in {n} days?",
    "{A} borrows a book on {t} and must bring it back in {n} days. On what date is that?",
    "A trip starts on {t} and ends {n} days later. On what date does it end?",
    "If today is {t}, what will the date be {n} days from now?",
    "Today is {t}. What date is it {n} days later?"};

// Years.
constexpr const char* kYearStart[] = {"A [house|bridge|school|church] was built in {t}.",
                                      "{A} was born in {t}.",
                                      "A [town|club|company] was founded in {t}.",
                                      "A [ship|tower|road] was finished in {t}.",
                                      "In {t}, [a tree was planted|a book was written].",
                                      "The [story|journey] begins in the year {t}.",
                                      "A school was founded in {t}."};
constexpr const char* kYearLater[] = {
    "{n} years later, [there was a big party|a new road came|a big change came].",
    "After {n} [more |]years, [a party was held|a storm came|a museum opened].",
    "Then {n} years went by.",
    "{n} years after that, [a bridge was opened|there was a fire].",
    "Another {n} years passed.",
    "Then {n} years passed.",
    "{n} years after that, a new king came."};
constexpr const char* kYearEnd[] = {
    "In what year was that?",  "Which year was it then?",          "What year was that?",
    "In which year was that?", "Find the year of the last event.", "Which year was that?"};
constexpr const char* kAge[] = {
    "{A} was born in {t}. How old was {A.he} in {u}?",
    "A house was built in {t}. How old was it in {u}?",
    "How many years are there from {t} to {u}?",
    "{A} moved to town in {t} and left in {u}. How many years was {A.he} there?",
    "A club was founded in {t}. How old was it in {u}?",
    "A bridge was built in {t}. How many years old was it in {u}?"};

std::string Clock(int64_t minutes) { return fmt::format("{}:{:02}", minutes / 60, minutes % 60); }

int64_t DrawMinutes(Story* story, bool is_long) {
  Draw& draw = story->draw();
  return is_long           ? draw.Between(100, 240)
         : draw.Chance(50) ? draw.Between(1, 11) * 5
                           : draw.Between(5, 59);
}

void SetDuration(Story* story, int64_t minutes) {
  Draw& draw = story->draw();
  if (minutes >= 60 && minutes < 100) {
    const int64_t hours = minutes / 60, rest = minutes % 60;
    story->slots().Set(
        "d", rest ? fmt::format("{} hour{} and {} minutes", hours, hours > 1 ? "s" : "", rest)
                  : fmt::format("{} hour{}", hours, hours > 1 ? "s" : ""));
    story->Operand(hours);
    story->Operand(rest);
    return;
  }
  story->slots().Set("d", fmt::format("{} {}", minutes, draw.Chance(15) ? "min" : "minutes"));
  story->Operand(minutes);
}

// One step: minutes on, or back.
int64_t MoveClock(Story* story, int64_t now, int64_t minutes, bool on) {
  std::string line = fmt::format("{} {}: ", Clock(now),
                                 on ? fmt::format("+{}", minutes) : fmt::format("-{}", minutes));
  int64_t hours = now / 60, rest = now % 60, add = minutes;
  if (add >= 60) {
    line += WorkedQuotient(add, 60) + ",";
    line += fmt::format("{}{}{}={},", hours, on ? "+" : "-", add / 60,
                        on ? hours + add / 60 : hours - add / 60);
    hours += on ? add / 60 : -(add / 60);
    add %= 60;
  }
  if (on) {
    line += fmt::format("{}+{}={}", rest, add, rest + add);
    rest += add;
    if (rest >= 60) {
      line += fmt::format(",{}-60={},{}+1={}", rest, rest - 60, hours, hours + 1);
      rest -= 60;
      ++hours;
    }
  } else {
    if (rest < add) {
      line += fmt::format("{}+60={},{}-1={},", rest, rest + 60, hours, hours - 1);
      rest += 60;
      --hours;
    }
    line += fmt::format("{}-{}={}", rest, add, rest - add);
    rest -= add;
  }
  if (hours < 0 || hours > 23) return story->GiveUp(), 0;
  const int64_t then = hours * 60 + rest;
  story->Line(line + " " + Clock(then), true);
  return then;
}

void ClockChain(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  int64_t now = draw.Between(6 * 12, 20 * 12) * 5;
  if (draw.Chance(30)) now += draw.Between(1, 4);
  slots.Set("t", Clock(now));
  story->Key(now);
  const bool is_long = story->digits() == 3;
  if (story->steps() == 1) {
    const bool on = draw.Chance(65);
    const int64_t minutes = is_long           ? DrawMinutes(story, true)
                            : draw.Chance(30) ? draw.Between(61, 99)
                                              : DrawMinutes(story, false);
    SetDuration(story, minutes);
    story->Ask(on ? Frames(kClockShort) : Frames(kClockBefore));
    now = MoveClock(story, now, minutes, on);
    return story->Answer(AnswerType::kTime, Clock(now));
  }
  story->Say(kClockStart);
  story->Line("start " + Clock(now));
  for (int i = 0; i < story->steps() && !story->gave_up(); ++i) {
    const int64_t minutes = DrawMinutes(story, is_long && (i == 0 || draw.Chance(20)));
    SetDuration(story, minutes);
    story->Say(kClockLater);
    now = MoveClock(story, now, minutes, true);
  }
  story->Ask(kClockEnd);
  story->Answer(AnswerType::kTime, Clock(now));
}

// Whole hours in minutes, the minutes of the end more, those of the start fewer.
void ClockBetween(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const int64_t from = draw.Between(6 * 12, 18 * 12) * 5, to = from + draw.Between(3, 40) * 5;
  slots.Set("t", Clock(from));
  slots.Set("u", Clock(to));
  story->Key(from);
  story->Key(to);
  story->Ask(kClockBetween);
  int64_t hours = to / 60 - from / 60, a = from % 60, b = to % 60;
  story->Line(fmt::format("hours: {}-{}={},{}*60={}", to / 60, from / 60, hours, hours, hours * 60),
              true);
  int64_t minutes = hours * 60;
  if (b > 0) minutes = story->Add("plus", minutes, b);
  if (a > 0) minutes = story->Subtract("minus", minutes, a);
  story->AnswerInteger(minutes);
}

int64_t MoveWeekday(Story* story, int64_t day, int64_t n, bool on) {
  const auto days = Weekdays();
  std::string line = fmt::format("{} {}{}: ", days[static_cast<size_t>(day)], on ? "+" : "-", n);
  int64_t rest = n;
  if (n >= 7) {
    line += WorkedQuotient(n, 7) + ",";
    rest = n % 7;
  }
  line += fmt::format("{}{}", on ? "+" : "-", rest);
  for (int64_t i = 0; i < rest; ++i) {
    day = (day + (on ? 1 : 6)) % 7;
    line += fmt::format(" {}", days[static_cast<size_t>(day)]);
  }
  if (rest == 0) line += fmt::format(" {}", days[static_cast<size_t>(day)]);
  story->Line(line, true);
  return day;
}

void WeekdayChain(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  int64_t day = draw.Between(0, 6);
  slots.Set("t", std::string(Weekdays()[static_cast<size_t>(day)]));
  story->Key(day);
  if (story->steps() == 1) {
    const bool on = draw.Chance(65);
    const int64_t n =
        story->digits() == 2 && draw.Chance(60) ? draw.Between(2, 30) : story->Longest();
    story->Operand(n);
    slots.Set("n", n);
    story->Ask(on ? Frames(kDayShort) : Frames(kDayBefore));
    day = MoveWeekday(story, day, n, on);
    return story->Answer(AnswerType::kWord, Weekdays()[static_cast<size_t>(day)]);
  }
  story->Say(kDayStart);
  for (int i = 0; i < story->steps(); ++i) {
    const int64_t n = i == 0 && story->digits() > 2 ? story->Longest() : draw.Between(2, 30);
    story->Operand(n);
    slots.Set("n", n);
    story->Say(kDayLater);
    day = MoveWeekday(story, day, n, true);
  }
  story->Ask(kDayEnd);
  story->Answer(AnswerType::kWord, Weekdays()[static_cast<size_t>(day)]);
}

std::string DateText(int month, int64_t day) {
  return fmt::format("{} {}", Months()[static_cast<size_t>(month - 1)], day);
}

void DateChain(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  int month = static_cast<int>(draw.Between(1, 12));
  int64_t day = draw.Between(1, DaysInMonth(month));
  slots.Set("t", DateText(month, day));
  story->Key(month * 100 + day);
  const bool is_short = story->steps() == 1;
  if (!is_short) story->Say(kDateStart);
  for (int i = 0; i < story->steps(); ++i) {
    const int64_t n = i == 0 && story->digits() == 3 ? draw.Between(100, 130)
                      : story->steps() < 3           ? draw.Between(2, 60)
                                                     : draw.Between(2, 30);
    story->Operand(n);
    slots.Set("n", n);
    is_short ? story->Ask(kDateShort) : story->Say(kDayLater);
    std::string line = fmt::format("{} +{}: {}", DateText(month, day), n, WorkedSum(day, n));
    day += n;
    while (day > DaysInMonth(month)) {
      const int days = DaysInMonth(month);
      line += fmt::format(",{} {},{}", Months()[static_cast<size_t>(month - 1)], days,
                          WorkedDifference(day, days));
      day -= days;
      month = month % 12 + 1;
    }
    story->Line(line + " " + DateText(month, day), true);
  }
  if (!is_short) story->Ask(kDateEnd);
  story->Answer(AnswerType::kDate, DateText(month, day));
}

void YearChain(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  int64_t year = draw.Between(story->steps() == 1 ? 1700 : 1500, 1990);
  story->Operand(year);
  slots.voice.has_commas = false;
  slots.Set("t", std::to_string(year));
  if (story->steps() == 1 && draw.Chance(50)) {
    const int64_t then = year + draw.Between(5, 99);
    story->Operand(then);
    slots.Set("u", std::to_string(then));
    story->Ask(kAge);
    return story->AnswerInteger(story->Subtract("years", then, year));
  }
  story->Say(kYearStart);
  story->Given("start", year);
  for (int i = 0; i < story->steps(); ++i) {
    const int64_t n = draw.Between(2, story->steps() > 4 ? 40 : 99);
    story->Operand(n);
    slots.Set("n", n);
    story->Say(kYearLater);
    year = story->Add(fmt::format("+{}", n), year, n);
  }
  story->Ask(kYearEnd);
  story->AnswerInteger(year);
}

}  // namespace

void CalendarProblem(Story* story) {
  const auto people = story->Names(2);
  story->slots().Set("A", people[0]);
  story->slots().Set("B", people[1]);
  const int64_t kind = story->draw().Between(0, 99);
  if (story->digits() == 4) return kind < 60 ? YearChain(story) : WeekdayChain(story);
  if (story->digits() == 2 && (story->steps() == 2 || story->steps() == 3) && kind < 25)
    return ClockBetween(story);
  if (kind < 45) return ClockChain(story);
  if (kind < 75) return WeekdayChain(story);
  DateChain(story);
}

}  // namespace planish

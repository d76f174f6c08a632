// SPDX-License-Identifier: Apache-2.0
// Prices, bills, change, savings. Amounts are whole dollars, or cents worked with two decimals.
#include "problems/lexicon.h"
#include "problems/settings.h"
#include "problems/skills.h"
#include "problems/worked.h"

namespace planish {
namespace {

constexpr const char* kBuyOne[] = {"{A} <buys|bought> {ware.a} for {p.$}.",
                                   "{A} <pays|paid> {p.$} for {ware.a}.",
                                   "{A} <spends|spent> {p.$} on {ware.a}.",
                                   "{ware.a} <costs|cost> {p.$}, and {A} <buys|bought> one.",
                                   "{A} <gets|got> {ware.a}, which <costs|cost> {p.$}.",
                                   "For {ware.a}, {A} <pays|paid> {p.$}.",
                                   "{A} <buys|bought> {ware.a}. It <costs|cost> {p.$}."};
constexpr const char* kBuySeveral[] = {
    "{A} <buys|bought> {n} {ware} for {p.$} each.",
    "{A} <buys|bought> {n} {ware} at {p.$} each.",
    "{n} {ware} <cost|cost> {p.$} each, and {A} <buys|bought> all of them.",
    "{A} <buys|bought> {n} {ware}. Each [one|{ware.1}] <costs|cost> {p.$}.",
    "One {ware.1} <costs|cost> {p.$}. {A} <buys|bought> {n} of them.",
    "{A} <pays|paid> {p.$} each for {n} {ware}.",
    "{A} <gets|got> {n} {ware} that <cost|cost> {p.$} each.",
    "{A} <needs|needed> {n} {ware}, and one {ware.1} <costs|cost> {p.$}."};
constexpr const char* kAlsoOne[] = {"{A.he} also <buys|bought> {ware.a} for {p.$}.",
                                    "Then {A.he} <pays|paid> {p.$} for {ware.a}.",
                                    "{A.he} <takes|took> {ware.a} for {p.$}, too.",
                                    "{ware.a} for {p.$} <is|was> also on the bill.",
                                    "{A.he} <spends|spent> {p.$} on {ware.a} as well.",
                                    "Then {A.he} <buys|bought> {ware.a} for {p.$}."};
constexpr const char* kAlsoSeveral[] = {
    "{A.he} also <buys|bought> {n} {ware} for {p.$} each.",
    "Then {A.he} <buys|bought> {n} {ware} at {p.$} each.",
    "{A.he} <takes|took> {n} {ware}, too, at {p.$} each.",
    "{A.he} <adds|added> {n} {ware} that <cost|cost> {p.$} each.",
    "{A.he} also <gets|got> {n} {ware}. One {ware.1} <costs|cost> {p.$}.",
    "Then {A.he} also <buys|bought> {n} {ware} for {p.$} each."};
constexpr const char* kFee[] = {"[Shipping|Delivery] <costs|cost> {p.$} [more|extra].",
                                "There <is|was> a fee of {p.$}.",
                                "{A.he} <adds|added> a tip of {p.$}.",
                                "A bag <costs|cost> {p.$} extra.",
                                "{A.he} <pays|paid> {p.$} for delivery.",
                                "There <is|was> also a fee of {p.$}."};
constexpr const char* kCoupon[] = {"{A.he} <has|had> a coupon for {p.$} off.",
                                   "A coupon <takes|took> {p.$} off the price.",
                                   "The shop <takes|took> {p.$} off.",
                                   "{A.he} <gets|got> a discount of {p.$}.",
                                   "{p.$} <is|was> taken off the bill.",
                                   "A coupon <gives|gave> {A.him} a discount of {p.$}."};
constexpr const char* kCost[] = {"How much does {A} pay [|in all|in total|altogether]?",
                                 "How much money does {A.he} spend[| in total| altogether]?",
                                 "What is the total cost?",
                                 "How much does {A.he} have to pay?",
                                 "What is the total price?",
                                 "How much does {A} spend in all?",
                                 "[Find|Work out] the total cost."};
constexpr const char* kChange[] = {
    "{A.he} <pays|paid> with {p.$}. How much change does {A.he} get?",
    "How much change does {A.he} get from {p.$}?",
    "If {A.he} <has|had> {p.$}, how much money is left?",
    "{A.he} <gives|gave> the cashier {p.$}. How much money does {A.he} get back?",
    "{A} <had|had> {p.$} before. How much is left now?",
    "{A.he} <gives|gave> the cashier {p.$}. How much change does {A.he} get?"};
constexpr const char* kSplit[] = {
    "{n} friends <share|shared> the cost equally. How much does each [one |]pay?",
    "{A} and {B} with others, {n} people in all, <split|split> the bill evenly. How much does each "
    "pay?",
    "The bill <is|was> shared equally by {n} people. How much does each person pay?",
    "{n} people <split|split> the bill equally. What does each of them pay?",
    "The cost <is|was> divided equally among {n} friends. What is the part of each?",
    "The bill <is|was> split equally by {n} people. How much does each pay?"};
constexpr const char* kHas[] = {"{A} <has|had> {p.$}.",
                                "{A} <starts|started> with {p.$}.",
                                "{A} <has|had> {p.$} in {A.his} [wallet|pocket|purse].",
                                "There <is|was> {p.$} in {A}'s piggy bank.",
                                "{A}'s savings <are|were> {p.$}.",
                                "At first, {A} <has|had> {p.$}."};
constexpr const char* kEarns[] = {
    "{A.he} <earns|earned> {p.$} [|more ]by [washing cars|walking dogs|helping {B}].",
    "{B} <gives|gave> {A.him} {p.$}.",
    "{A.he} <gets|got> {p.$} from {B}.",
    "Then {A.he} <saves|saved> another {p.$}.",
    "{A.he} <finds|found> {p.$} [on the street|in a drawer].",
    "Then {A.he} <gets|got> {p.$} from {B}.",
    "{A.he} <sells|sold> an old [toy|book|bike] for {p.$}."};
constexpr const char* kPays[] = {"{A.he} <spends|spent> {p.$} on {ware}.",
                                 "Then {A.he} <pays|paid> {p.$} for {ware.a}.",
                                 "{A.he} <pays|paid> {p.$} for {ware.a}.",
                                 "{A.he} <gives|gave> {p.$} to {B}.",
                                 "{A.he} <loses|lost> {p.$}.",
                                 "Then {A.he} <buys|bought> {ware.a} for {p.$}.",
                                 "{A.he} <uses|used> {p.$} for {ware}."};
constexpr const char* kMoneyNow[] = {"How much money does {A} have [now|left|in the end]?",
                                     "How much does {A.he} have [now|left]?",
                                     "How much money is left?",
                                     "What amount does {A} have now?",
                                     "How much money does {A.he} have in the end?",
                                     "How much money does {A} have at the end?"};
constexpr const char* kWants[] = {"{A} <wants|wanted> to buy {ware.a} that <costs|cost> {p.$}.",
                                  "{A} <is|was> saving for {ware.a} that <costs|cost> {p.$}.",
                                  "{ware.a} <costs|cost> {p.$}, and {A} <wants|wanted> to buy it.",
                                  "{A} <needs|needed> {p.$} for {ware.a}.",
                                  "The price of {ware.a} that {A} <wants|wanted> <is|was> {p.$}.",
                                  "{A} <wants|wanted> {ware.a} for {p.$}."};
constexpr const char* kMissing[] = {
    "How much more money does {A} need?",    "How much more does {A.he} need?",
    "How much [money is|is] still missing?", "How much does {A.he} still have to save?",
    "How much more must {A} save?",          "How much more does {A} need to buy it?"};
constexpr const char* kUnitPrice[] = {
    "{n} {ware} cost {p.$} [in all|together]. How much does one {ware.1} cost?",
    "{A} pays {p.$} for {n} {ware}. What is the price of one {ware.1}?",
    "A pack of {n} {ware} costs {p.$}. How much is that for each {ware.1}?",
    "If {n} {ware} cost {p.$}, what does one cost?",
    "What is the price of one {ware.1} if {n} of them cost {p.$}?",
    "{A} buys {n} {ware} for {p.$} in all. How much does one {ware.1} cost?"};

constexpr Noun kWares[] = {{"book", "books"},
                           {"pen", "pens"},
                           {"shirt", "shirts"},
                           {"cup", "cups"},
                           {"toy", "toys"},
                           {"ball", "balls"},
                           {"hat", "hats"},
                           {"bag", "bags"},
                           {"sandwich", "sandwiches"},
                           {"cake", "cakes"},
                           {"notebook", "notebooks"},
                           {"ticket", "tickets"},
                           {"lamp", "lamps"},
                           {"plant", "plants"},
                           {"game", "games"},
                           {"puzzle", "puzzles"},
                           {"pizza", "pizzas"},
                           {"melon", "melons"},
                           {"ruler", "rulers"},
                           {"scarf", "scarves"},
                           {"poster", "posters"},
                           {"candle", "candles"},
                           {"plate", "plates"},
                           {"brush", "brushes"},
                           {"umbrella", "umbrellas"},
                           {"apple pie", "apple pies"},
                           {"towel", "towels"},
                           {"chair", "chairs"}};

// Amounts of one problem: in dollars (decimals 0) or in cents (decimals 2), of the length asked for.
struct Prices {
  Story* story;
  int decimals;
  bool has_longest = false;

  explicit Prices(Story* s) : story(s) {
    decimals = s->digits() > 2 && s->draw().Chance(65) ? 2 : 0;
  }
  // In units of the last decimal; shown by {key.$}.
  int64_t Draw(const char* key, int64_t limit = 1000000) {
    int64_t value = 0;
    if (decimals == 0) {
      value = limit < 1000000 ? story->NumberBelow(limit) : story->Number();
    } else {
      const bool is_long = !has_longest || story->draw().Chance(50);
      const int64_t low = story->digits() == 4 && is_long ? 1000 : 105;
      const int64_t high =
          std::min<int64_t>(story->digits() == 4 && is_long ? 9995 : 995, limit - 1);
      value = story->draw().Between(low, high);
      if (story->draw().Chance(75)) value = value / 5 * 5;
      if (story->draw().Chance(15)) value = value / 100 * 100;
      if (value < 1 || value >= limit) story->GiveUp();
      story->Operand(value);
      has_longest = true;
    }
    Show(key, value);
    return value;
  }
  void Show(const char* key, int64_t value) const {
    story->slots().Set(key, decimals ? value : value * 100);
  }
  void Answer(int64_t value) const { story->AnswerMoney(decimals ? value : value * 100); }
};

void NewWare(Story* story) { story->slots().Set("ware", story->draw().Of(kWares)); }

// A shopping list, perhaps a fee and a coupon, then the bill, the change, or the share of each.
void Shopping(Story* story) {
  Draw& draw = story->draw();
  Slots& slots = story->slots();
  Prices prices(story);
  const int steps = story->steps();
  // 0: what it costs, 1: change, 2: split
  const int64_t ending = steps == 1 ? draw.Between(0, 1) : draw.Between(0, 2);
  const int body = steps - (ending == 0 ? 0 : 1);
  int64_t total = 0;
  bool is_first = true;
  do {
    const int left = body - story->done_steps();
    NewWare(story);
    const bool several = is_first ? left > 0 && draw.Chance(55) : left >= 2 && draw.Chance(60);
    if (!is_first && draw.Chance(25)) {
      const bool fee = total < 200 || draw.Chance(50);
      const int64_t p = prices.Draw("p", fee ? 1000000 : total);
      story->Say(fee ? Frames(kFee) : Frames(kCoupon));
      total = fee ? story->Add("total", total, p, prices.decimals)
                  : story->Subtract("coupon", total, p, prices.decimals);
    } else {
      const int64_t p = prices.Draw("p");
      int64_t cost = p;
      if (several) {
        const int64_t n = story->Small();
        story->Operand(n);
        slots.Set("n", n);
        story->Say(is_first ? Frames(kBuySeveral) : Frames(kAlsoSeveral));
        cost = story->Multiply(story->Fill("{ware}"), p, n, prices.decimals);
      } else {
        story->Say(is_first ? Frames(kBuyOne) : Frames(kAlsoOne));
        if (is_first) story->Given(story->Fill("{ware.1}"), p, prices.decimals);
      }
      total = is_first ? cost : story->Add("total", total, cost, prices.decimals);
    }
    is_first = false;
  } while (story->done_steps() < body && !story->gave_up());
  if (story->gave_up()) return;
  if (ending == 0) {
    story->Ask(kCost);
    return prices.Answer(total);
  }
  if (ending == 1) {
    const int64_t unit = prices.decimals ? 100 : 1;
    static constexpr int64_t kNotes[] = {5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000};
    std::vector<int64_t> fitting;
    for (const int64_t note : kNotes)
      if (note * unit > total && note * unit < 12 * total) fitting.push_back(note * unit);
    if (fitting.empty()) return story->GiveUp();
    const int64_t paid = fitting[draw.Index(fitting.size())];
    prices.Show("p", paid);
    story->Operand(prices.decimals ? paid / 100 : paid);
    story->Ask(kChange);
    return prices.Answer(story->Subtract("change", paid, total, prices.decimals));
  }
  int64_t n = story->Small();
  for (int i = 0; i < 8 && total % n != 0; ++i) n = n == 9 ? 2 : n + 1;
  slots.Set("n", n);
  story->Operand(n);
  story->Ask(kSplit);
  prices.Answer(story->Divide("each", total, n, prices.decimals));
}

void Wallet(Story* story, bool has_goal) {
  Prices prices(story);
  int64_t goal = 0;
  if (has_goal) {
    NewWare(story);
    goal = prices.Draw("p");
    story->Say(kWants);
    story->Given("price", goal, prices.decimals);
  }
  int64_t money = prices.Draw("p", has_goal ? goal : 1000000);
  story->Say(kHas);
  story->Given("start", money, prices.decimals);
  const int body = story->steps() - has_goal;
  for (int i = 0; i < body && !story->gave_up(); ++i) {
    NewWare(story);
    const bool gains =
        money < (prices.decimals ? 300 : 6) || story->draw().Chance(has_goal ? 70 : 45);
    const int64_t p =
        prices.Draw("p", gains ? has_goal ? std::max<int64_t>(goal - money, 3) : 1000000 : money);
    story->Say(gains ? Frames(kEarns) : Frames(kPays));
    money = gains ? story->Add("gets", money, p, prices.decimals)
                  : story->Subtract("pays", money, p, prices.decimals);
  }
  if (!has_goal) {
    story->Ask(kMoneyNow);
    return prices.Answer(money);
  }
  story->Ask(kMissing);
  prices.Answer(story->Subtract("missing", goal, money, prices.decimals));
}

void UnitPrice(Story* story) {
  Prices prices(story);
  NewWare(story);
  const int64_t n = story->Small();
  int64_t p = prices.Draw("p");
  p -= p % n;
  if (p < n) return story->GiveUp();
  prices.Show("p", p);
  story->Operand(p);
  story->Operand(n);
  story->slots().Set("n", n);
  story->Ask(kUnitPrice);
  prices.Answer(story->Divide("one", p, n, prices.decimals));
}

}  // namespace

void MoneyProblem(Story* story) {
  const auto people = story->Names(2);
  story->slots().Set("A", people[0]);
  story->slots().Set("B", people[1]);
  const int64_t kind = story->draw().Between(0, 99);
  if (story->steps() == 1 && kind < 20) return UnitPrice(story);
  if (kind < 58) return Shopping(story);
  Wallet(story, kind >= 82);
}

}  // namespace planish

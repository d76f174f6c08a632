// SPDX-License-Identifier: Apache-2.0
#include "problems/settings.h"

#include "problems/lexicon.h"

namespace planish {
namespace {

constexpr VerbForms kPersonGains[] = {
    {"buy", "buys", "bought", "buying"},
    {"get", "gets", "got", "getting", "[| from {B}]"},
    {"find", "finds", "found", "finding"},
    {"receive", "receives", "received", "receiving", "[| from {B}]"},
    {"collect", "collects", "collected", "collecting"},
    {"win", "wins", "won", "winning", "[| in a game]"},
    {"pick up", "picks up", "picked up", "picking up"},
    {"borrow", "borrows", "borrowed", "borrowing", " from {B}"},
    {"make", "makes", "made", "making"},
    {"add", "adds", "added", "adding"}};
constexpr VerbForms kPersonLosses[] = {{"give", "gives", "gave", "giving", " to {B}"},
                                       {"give away", "gives away", "gave away", "giving away"},
                                       {"lose", "loses", "lost", "losing"},
                                       {"sell", "sells", "sold", "selling"},
                                       {"trade away", "trades away", "traded away", "trading away"},
                                       {"lend", "lends", "lent", "lending", " to {B}"},
                                       {"throw away", "throws away", "threw away", "throwing away"},
                                       {"donate", "donates", "donated", "donating"},
                                       {"hand", "hands", "handed", "handing", " to {B}"},
                                       {"use", "uses", "used", "using"},
                                       {"leave", "leaves", "left", "leaving", " at school"}};
constexpr VerbForms kFoodGains[] = {{"buy", "buys", "bought", "buying"},
                                    {"get", "gets", "got", "getting", " from {B}"},
                                    {"bake", "bakes", "baked", "baking"},
                                    {"pick", "picks", "picked", "picking"},
                                    {"make", "makes", "made", "making"},
                                    {"bring home", "brings home", "brought home", "bringing home"},
                                    {"receive", "receives", "received", "receiving"}};
constexpr VerbForms kFoodLosses[] = {{"eat", "eats", "ate", "eating"},
                                     {"give", "gives", "gave", "giving", " to {B}"},
                                     {"sell", "sells", "sold", "selling"},
                                     {"share", "shares", "shared", "sharing", " with {B}"},
                                     {"drop", "drops", "dropped", "dropping"},
                                     {"use", "uses", "used", "using", " for a recipe"},
                                     {"throw away", "throws away", "threw away", "throwing away"}};
constexpr VerbForms kShopGains[] = {{"buy", "buys", "bought", "buying"},
                                    {"receive", "receives", "received", "receiving"},
                                    {"order", "orders", "ordered", "ordering"},
                                    {"make", "makes", "made", "making"},
                                    {"get", "gets", "got", "getting"}};
constexpr VerbForms kShopLosses[] = {{"sell", "sells", "sold", "selling"},
                                     {"give away", "gives away", "gave away", "giving away"},
                                     {"donate", "donates", "donated", "donating"},
                                     {"ship", "ships", "shipped", "shipping"}};
constexpr VerbForms kLibraryLosses[] = {{"lend out", "lends out", "lent out", "lending out"},
                                        {"sell", "sells", "sold", "selling"},
                                        {"give away", "gives away", "gave away", "giving away"}};
constexpr VerbForms kPoints[] = {{"win", "wins", "won", "winning"},
                                 {"score", "scores", "scored", "scoring"},
                                 {"earn", "earns", "earned", "earning"},
                                 {"gain", "gains", "gained", "gaining"}};
constexpr VerbForms kPointLosses[] = {{"lose", "loses", "lost", "losing"},
                                      {"give up", "gives up", "gave up", "giving up"}};
constexpr VerbForms kSavings[] = {{"save", "saves", "saved", "saving"},
                                  {"earn", "earns", "earned", "earning"},
                                  {"get", "gets", "got", "getting", " from {B}"},
                                  {"find", "finds", "found", "finding"}};
constexpr VerbForms kSpendings[] = {{"spend", "spends", "spent", "spending"},
                                    {"give", "gives", "gave", "giving", " to {B}"},
                                    {"lose", "loses", "lost", "losing"},
                                    {"pay", "pays", "paid", "paying"}};
constexpr VerbForms kArrive[] = {{"arrive", "arrives", "arrived", "arriving"},
                                 {"come", "comes", "came", "coming"},
                                 {"come in", "comes in", "came in", "coming in"},
                                 {"enter", "enters", "entered", "entering"}};
constexpr VerbForms kLeave[] = {{"leave", "leaves", "left", "leaving"},
                                {"go away", "goes away", "went away", "going away"},
                                {"drive off", "drives off", "drove off", "driving off"}};
constexpr VerbForms kGetOn[] = {{"get on", "gets on", "got on", "getting on"},
                                {"board", "boards", "boarded", "boarding"},
                                {"climb on", "climbs on", "climbed on", "climbing on"}};
constexpr VerbForms kGetOff[] = {{"get off", "gets off", "got off", "getting off"},
                                 {"leave", "leaves", "left", "leaving"}};
constexpr VerbForms kJoin[] = {{"join", "joins", "joined", "joining"},
                               {"arrive", "arrives", "arrived", "arriving"},
                               {"come", "comes", "came", "coming"}};
constexpr VerbForms kGoHome[] = {{"go home", "goes home", "went home", "going home"},
                                 {"leave", "leaves", "left", "leaving"},
                                 {"go away", "goes away", "went away", "going away"}};
constexpr VerbForms kFlyIn[] = {{"land", "lands", "landed", "landing"},
                                {"join them", "joins them", "joined them", "joining them"},
                                {"come", "comes", "came", "coming"},
                                {"arrive", "arrives", "arrived", "arriving"}};
constexpr VerbForms kFlyOff[] = {{"fly away", "flies away", "flew away", "flying away"},
                                 {"leave", "leaves", "left", "leaving"}};

constexpr Setting kSettings[] = {
    {"", {"", ""}, kPersonGains, kPersonLosses},
    {"", {"", ""}, kPersonGains, kPersonLosses},
    {"", {"", ""}, kPersonGains, kPersonLosses},
    {"", {"food", ""}, kFoodGains, kFoodLosses},
    {"", {"food", ""}, kFoodGains, kFoodLosses},
    {"the library", {"book", "books"}, kShopGains, kLibraryLosses},
    {"the shop", {"bottle", "bottles"}, kShopGains, kShopLosses},
    {"the store", {"shirt", "shirts"}, kShopGains, kShopLosses},
    {"the bakery", {"loaf of bread", "loaves of bread"}, kShopGains, kShopLosses},
    {"the factory", {"machine part", "machine parts"}, kShopGains, kShopLosses},
    {"the farm", {"sheep", "sheep"}, {kShopGains, 1}, {kShopLosses, 3}},
    {"the farm", {"hen", "hens"}, {kShopGains, 2}, {kShopLosses, 3}},
    {"the flower shop", {"rose", "roses"}, kShopGains, kShopLosses},
    {"the school", {"chair", "chairs"}, {kShopGains, 3}, kShopLosses},
    {"the toy store", {"toy", "toys"}, kShopGains, kShopLosses},
    {"", {"point", "points"}, kPoints, kPointLosses},
    {"the team", {"point", "points"}, kPoints, kPointLosses},
    {"", {"dollar", "dollars"}, kSavings, kSpendings},
    {"", {"dollar", "dollars"}, kSavings, kSpendings},
    {"", {"car", "cars"}, kArrive, kLeave, "in the parking lot"},
    {"", {"passenger", "passengers"}, kGetOn, kGetOff, "on the bus"},
    {"", {"passenger", "passengers"}, kGetOn, kGetOff, "on the train"},
    {"", {"student", "students"}, kJoin, kGoHome, "in the gym"},
    {"", {"guest", "guests"}, kJoin, kGoHome, "at the party"},
    {"", {"visitor", "visitors"}, {kArrive, 4}, kGoHome, "in the museum"},
    {"", {"bird", "birds"}, kFlyIn, kFlyOff, "in the tree"},
    {"", {"duck", "ducks"}, kFlyIn, kFlyOff, "on the pond"},
    {"", {"child", "children"}, kJoin, kGoHome, "in the playground"}};

constexpr const char* kChange[] = {
    "{S.he} {v} {n}[| {o}]{v.tail}.",
    "Then {S.he} {v} {n}[| {o}]{v.tail}.",
    "{t}, {S.he} {v} {n} {o}{v.tail}.",
    "{t}, {S} {v} {n} {o}{v.tail}.",
    "After that, {S.he} {v} {n} {o}{v.tail}.",
    "Next, {S.he} {v} [another |]{n}[| {o}]{v.tail}.",
    "{S} then {v} {n} {o}{v.tail}.",
    "{t} {S.he} {v} {n} {o}{v.tail}.",
    "{S.he} also {v} {n} {o}{v.tail}.",
    "[Soon after|A little later|Some time later], {S.he} {v} {n}[| {o}]{v.tail}.",
    "Then {S} {v} {n} {o}{v.tail}.",
    "{t}, {S.he} {v} {n}[| {o}]{v.tail}."};

}  // namespace

Frames EventFrames() { return kChange; }

void ChooseEvent(Story* story, const Setting& setting, bool gains) {
  const auto verbs = gains ? setting.gains : setting.losses;
  story->slots().Set("v", story->draw().Of(verbs));
  static constexpr const char* kOften[] = {"Later",          "In the evening", "In the afternoon",
                                           "After lunch",    "The next day",   "On Tuesday",
                                           "On Friday",      "At noon",        "That night",
                                           "On the weekend", "Afterwards",     "A day later"};
  story->slots().Set("t", std::string(story->draw().Of(kOften)));
}

const Setting& ChooseSetting(Slots* slots, Draw* draw) {
  const Setting& setting = draw->Of(kSettings);
  const auto people = draw->Several(People(), 4);
  slots->Set("A", people[0]);
  slots->Set("B", people[1]);
  slots->Set("C", people[2]);
  slots->Set("D", people[3]);
  slots->Set("S", *setting.holder ? Person{setting.holder, Gender::kIt} : people[0]);
  Noun thing = setting.thing;
  if (std::string_view(thing.one) == "food") thing = draw->Of(Foods());
  if (*thing.one == 0) thing = draw->Of(SmallThings());
  slots->Set("o", thing);
  slots->Set("place", std::string(setting.place));
  return setting;
}

}  // namespace planish

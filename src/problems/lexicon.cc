// SPDX-License-Identifier: Apache-2.0
#include "problems/lexicon.h"

namespace planish {
namespace {

using enum Gender;

constexpr Person kPeople[] = {
    {"Anna", kShe},    {"Tom", kHe},    {"Maria", kShe},  {"Ben", kHe},     {"Lucy", kShe},
    {"Sam", kHe},      {"Emma", kShe},  {"Jack", kHe},    {"Olivia", kShe}, {"Leo", kHe},
    {"Mia", kShe},     {"Noah", kHe},   {"Sara", kShe},   {"Peter", kHe},   {"Julia", kShe},
    {"David", kHe},    {"Nina", kShe},  {"Omar", kHe},    {"Eva", kShe},    {"Carlos", kHe},
    {"Grace", kShe},   {"Henry", kHe},  {"Lily", kShe},   {"James", kHe},   {"Rosa", kShe},
    {"Daniel", kHe},   {"Amy", kShe},   {"Mark", kHe},    {"Helen", kShe},  {"Paul", kHe},
    {"Zoe", kShe},     {"Adam", kHe},   {"Kate", kShe},   {"Victor", kHe},  {"Laura", kShe},
    {"Max", kHe},      {"Alice", kShe}, {"Oscar", kHe},   {"Jane", kShe},   {"Ali", kHe},
    {"Priya", kShe},   {"Felix", kHe},  {"Ruth", kShe},   {"Simon", kHe},   {"Mei", kShe},
    {"George", kHe},   {"Clara", kShe}, {"Ivan", kHe},    {"Diana", kShe},  {"Jim", kHe},
    {"Fatima", kShe},  {"Robert", kHe}, {"Sophie", kShe}, {"Luke", kHe},    {"Betty", kShe},
    {"Kevin", kHe},    {"Linda", kShe}, {"Ryan", kHe},    {"Joy", kShe},    {"Bob", kHe},
    {"Natalia", kShe}, {"Mike", kHe},   {"Jenny", kShe},  {"John", kHe},    {"Mary", kShe},
    {"Alex", kHe},     {"Susan", kShe}, {"Eric", kHe},    {"Tina", kShe},   {"Frank", kHe}};

constexpr Noun kSmallThings[] = {{"sticker", "stickers"},
                                 {"marble", "marbles"},
                                 {"pencil", "pencils"},
                                 {"book", "books"},
                                 {"stamp", "stamps"},
                                 {"coin", "coins"},
                                 {"card", "cards"},
                                 {"shell", "shells"},
                                 {"button", "buttons"},
                                 {"bead", "beads"},
                                 {"toy car", "toy cars"},
                                 {"balloon", "balloons"},
                                 {"flower", "flowers"},
                                 {"crayon", "crayons"},
                                 {"pen", "pens"},
                                 {"notebook", "notebooks"},
                                 {"ribbon", "ribbons"},
                                 {"postcard", "postcards"},
                                 {"photo", "photos"},
                                 {"candle", "candles"},
                                 {"key", "keys"},
                                 {"badge", "badges"},
                                 {"stone", "stones"},
                                 {"ball", "balls"},
                                 {"ticket", "tickets"},
                                 {"magazine", "magazines"},
                                 {"comic book", "comic books"},
                                 {"poster", "posters"},
                                 {"block", "blocks"},
                                 {"doll", "dolls"},
                                 {"paper clip", "paper clips"},
                                 {"feather", "feathers"},
                                 {"bottle cap", "bottle caps"},
                                 {"rose", "roses"},
                                 {"envelope", "envelopes"},
                                 {"plant", "plants"},
                                 {"brush", "brushes"},
                                 {"puzzle piece", "puzzle pieces"},
                                 {"bracelet", "bracelets"},
                                 {"box of matches", "boxes of matches"}};

constexpr Noun kFoods[] = {{"apple", "apples"},
                           {"orange", "oranges"},
                           {"banana", "bananas"},
                           {"cookie", "cookies"},
                           {"muffin", "muffins"},
                           {"pear", "pears"},
                           {"peach", "peaches"},
                           {"plum", "plums"},
                           {"egg", "eggs"},
                           {"candy", "candies"},
                           {"cupcake", "cupcakes"},
                           {"strawberry", "strawberries"},
                           {"cherry", "cherries"},
                           {"grape", "grapes"},
                           {"carrot", "carrots"},
                           {"tomato", "tomatoes"},
                           {"potato", "potatoes"},
                           {"lemon", "lemons"},
                           {"mango", "mangoes"},
                           {"nut", "nuts"},
                           {"pancake", "pancakes"},
                           {"donut", "donuts"},
                           {"sandwich", "sandwiches"},
                           {"bread roll", "bread rolls"},
                           {"chocolate", "chocolates"},
                           {"brownie", "brownies"},
                           {"onion", "onions"},
                           {"slice of pizza", "slices of pizza"},
                           {"cake", "cakes"},
                           {"melon", "melons"}};

constexpr Noun kContainers[] = {{"box", "boxes"},     {"bag", "bags"},       {"basket", "baskets"},
                                {"jar", "jars"},      {"crate", "crates"},   {"pack", "packs"},
                                {"tray", "trays"},    {"bucket", "buckets"}, {"drawer", "drawers"},
                                {"shelf", "shelves"}, {"carton", "cartons"}, {"bowl", "bowls"},
                                {"case", "cases"},    {"packet", "packets"}, {"bin", "bins"}};

constexpr Noun kWorkers[] = {
    {"student", "students"}, {"friend", "friends"},      {"child", "children"},
    {"guest", "guests"},     {"worker", "workers"},      {"player", "players"},
    {"teacher", "teachers"}, {"visitor", "visitors"},    {"neighbor", "neighbors"},
    {"cousin", "cousins"},   {"classmate", "classmates"}};

constexpr const char* kWeekdays[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                     "Friday", "Saturday", "Sunday"};
constexpr const char* kMonths[] = {"January",   "February", "March",    "April",
                                   "May",       "June",     "July",     "August",
                                   "September", "October",  "November", "December"};
constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
constexpr const char* kColors[] = {"red",   "blue",   "green", "yellow", "white", "black",
                                   "brown", "orange", "pink",  "purple", "gray",  "silver"};

constexpr const char* kWords[] = {
    "apple",   "banana",  "cat",     "dog",     "house",    "garden",  "river",    "mountain",
    "table",   "window",  "school",  "teacher", "paper",    "pencil",  "letter",   "number",
    "summer",  "winter",  "spring",  "autumn",  "flower",   "butter",  "coffee",   "bottle",
    "kitchen", "bridge",  "planet",  "rocket",  "camera",   "doctor",  "farmer",   "market",
    "street",  "yellow",  "purple",  "orange",  "silver",   "golden",  "happy",    "little",
    "button",  "jacket",  "pocket",  "ladder",  "hammer",   "basket",  "rabbit",   "turtle",
    "monkey",  "tiger",   "zebra",   "horse",   "sheep",    "chicken", "eagle",    "dolphin",
    "whale",   "spider",  "insect",  "forest",  "desert",   "island",  "ocean",    "beach",
    "cloud",   "storm",   "thunder", "rain",    "snow",     "wind",    "music",    "guitar",
    "piano",   "violin",  "drum",    "dance",   "story",    "book",    "page",     "word",
    "chair",   "door",    "floor",   "wall",    "roof",     "stone",   "brick",    "glass",
    "metal",   "wood",    "cotton",  "carpet",  "mirror",   "candle",  "lamp",     "clock",
    "watch",   "phone",   "radio",   "train",   "truck",    "plane",   "boat",     "wheel",
    "engine",  "driver",  "ticket",  "station", "city",     "village", "country",  "world",
    "earth",   "moon",    "star",    "sun",     "light",    "night",   "morning",  "evening",
    "minute",  "second",  "hour",    "week",    "month",    "year",    "bread",    "cheese",
    "milk",    "water",   "juice",   "sugar",   "salt",     "pepper",  "tomato",   "potato",
    "carrot",  "onion",   "lemon",   "cherry",  "grape",    "peach",   "melon",    "berry",
    "friend",  "family",  "mother",  "father",  "sister",   "brother", "uncle",    "aunt",
    "cousin",  "child",   "baby",    "people",  "person",   "woman",   "man",      "king",
    "queen",   "prince",  "castle",  "tower",   "palace",   "church",  "museum",   "library",
    "hotel",   "office",  "factory", "simple",  "quick",    "slow",    "strong",   "weak",
    "bright",  "dark",    "sweet",   "bitter",  "warm",     "cold",    "fresh",    "clean",
    "empty",   "full",    "open",    "round",   "square",   "answer",  "question", "problem",
    "reason",  "example", "lesson",  "science", "history",  "nature",  "animal",   "plant",
    "tree",    "leaf",    "root",    "seed",    "fruit",    "grass",   "field",    "blanket",
    "pillow",  "curtain", "shower",  "towel",   "spoon",    "knife",   "plate",    "cup",
    "blue",    "green",   "white",   "brown",   "black",    "pink",    "seven",    "eleven",
    "twelve",  "balloon", "puzzle",  "cartoon", "football", "tennis",  "hockey",   "winner",
    "player",  "coach",   "apron",   "arrow",   "badge",    "barrel",  "battle",   "beetle",
    "belly",   "bench",   "blossom", "bubble",  "cabin",    "cactus",  "canyon",   "comet",
    "copper",  "coral",   "cricket", "crystal", "donkey",   "dragon",  "feather",  "ferry",
    "finger",  "giraffe", "goblin",  "hedge",   "helmet",   "hollow",  "honey",    "jelly",
    "jungle",  "kettle",  "lagoon",  "lizard",  "magnet",   "marble",  "needle",   "noodle",
    "otter",   "paddle",  "parrot",  "pebble",  "pepper",   "pigeon",  "pumpkin",  "raccoon",
    "ribbon",  "saddle",  "sailor",  "salmon",  "scissors", "shadow",  "sparrow",  "squirrel",
    "sunset",  "temple",  "tulip",   "tunnel",  "valley",   "velvet",  "walnut",   "willow",
    "yogurt"};

}  // namespace

std::span<const Person> People() { return kPeople; }
std::span<const Noun> SmallThings() { return kSmallThings; }
std::span<const Noun> Foods() { return kFoods; }
std::span<const Noun> Containers() { return kContainers; }
std::span<const Noun> Workers() { return kWorkers; }
std::span<const char* const> Weekdays() { return kWeekdays; }
std::span<const char* const> Months() { return kMonths; }
int DaysInMonth(int month) { return kDays[month - 1]; }
std::span<const char* const> Colors() { return kColors; }
std::span<const char* const> Words() { return kWords; }

}  // namespace planish

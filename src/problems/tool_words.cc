// SPDX-License-Identifier: Apache-2.0
#include "problems/tool_words.h"

#include "problems/story.h"
#include "text/demo_tools.h"

namespace planish {
namespace {

constexpr const char* kWeatherQuestionTable[] = {
    "what is the weather [like |]in {x}[| today| now| right now]?",
    "how is the weather in {x}[| today| at the moment]?",
    "what's the weather [like |]in {x}[| today| right now]?",
    "tell me the [|current ]weather in {x}.",
    "is it raining in {x}[| now| today]?",
    "how warm is it in {x}[| today| right now]?",
    "can you check the weather in {x}[| for me]?",
    "weather in {x}[| today| please]?",
    "I am going to {x}. What is the weather there?",
    "what is the temperature in {x}[| now| right now]?",
    "do I need a coat in {x} today?",
    "[please |]give me the weather for {x}.",
    "I would like to know the weather in {x}.",
    "how cold is it in {x}[| now]?",
    "what does the weather look like in {x}?",
    "my friend lives in {x}. Is it sunny there?",
    "get the [current |]weather for {x}[, please|].",
    "could you tell me how the weather is in {x}?",
    "[hello|hi]! What is the weather in {x}?",
    "do I need an umbrella in {x}?",
    "we fly to {x} today. How is the weather over there?",
    "look up the weather in {x}[| for me].",
    "is the sun shining in {x}?",
    "what is it like outside in {x} today?"};
constexpr const char* kWeatherHereTable[] = {"what is the weather like[| today| now]?",
                                             "how is the weather[| today]?",
                                             "what is the temperature outside?",
                                             "is it cold outside?",
                                             "tell me the weather, please.",
                                             "what's the weather?",
                                             "do I need an umbrella today?"};
constexpr const char* kCelsiusTable[] = {" in Celsius",         " in degrees Celsius",
                                         ", in Celsius please", " (in celsius)",
                                         " using Celsius",      " in °C"};
constexpr const char* kFahrenheitTable[] = {" in Fahrenheit",         " in degrees Fahrenheit",
                                            ", in Fahrenheit please", " (in fahrenheit)",
                                            " using Fahrenheit",      " in °F"};
constexpr const char* kCharacterTable[] = {"who is {x}?",
                                           "tell me about {x}.",
                                           "describe {x}[|, please].",
                                           "what do you know about {x}?",
                                           "who is {x} in Harry Potter?",
                                           "can you describe {x}[| from Harry Potter]?",
                                           "which house is {x} in?",
                                           "what house does {x} belong to?",
                                           "I am reading Harry Potter. Who is {x}?",
                                           "give me a [short |]description of {x}.",
                                           "what is {x} like?",
                                           "[please |]describe the character {x}.",
                                           "I forgot who {x} is. Can you help me?",
                                           "tell me something about {x}[| from the books].",
                                           "is {x} a student or a teacher?",
                                           "what kind of person is {x}?",
                                           "do you know {x} from Harry Potter?",
                                           "who was {x}[| again]?",
                                           "what role does {x} play in the story?"};
constexpr const char* kColorTable[] = {"what is the name of the color {x}?",
                                       "what color is {x}?",
                                       "name the color {x}[|, please].",
                                       "which color has the code {x}?",
                                       "what do you call the color {x}?",
                                       "can you name this color: {x}?",
                                       "tell me the name of {x}.",
                                       "{x} is what color?",
                                       "I have the color code {x}. What is it called?",
                                       "how would you call {x}?",
                                       "what is {x} called?",
                                       "my wall has the color {x}. What is its name?",
                                       "find a name for the color {x}.",
                                       "[please |]give me a name for {x}.",
                                       "what is the closest color name to {x}?",
                                       "which name fits the hex color {x}?",
                                       "hex code {x}: which color is this?",
                                       "I like {x}. Does this color have a name?"};
constexpr const char* kTwoPlacesTable[] = {"what is the weather in {x} and in {y}?",
                                           "how is the weather in {x} and {y}?",
                                           "compare the weather in {x} and {y}.",
                                           "is it warmer in {x} or in {y}?",
                                           "tell me the weather in {x} and also in {y}.",
                                           "weather for {x} and {y}, please.",
                                           "I want to know the weather in both {x} and {y}."};
constexpr const char* kTwoCharactersTable[] = {
    "who are {x} and {y}?",       "tell me about {x} and {y}.",
    "describe {x} and also {y}.", "are {x} and {y} in the same house?",
    "compare {x} with {y}.",      "what do you know about {x} and {y}?"};
constexpr const char* kTwoColorsTable[] = {
    "what are the colors {x} and {y} called?", "name the colors {x} and {y}.",
    "which colors are {x} and {y}?",           "tell me the names of {x} and {y}.",
    "give me names for {x} and {y}, please.",  "what colors are these: {x} and {y}?"};
constexpr const char* kFollowUpTable[] = {"and {x}?",           "what about {x}?",
                                          "thanks! And {x}?",   "now the same for {x}, please.",
                                          "and how about {x}?", "OK. What about {x}?"};

constexpr const char* kOtherCities[] = {
    "Vienna",       "Prague",     "Warsaw",      "Budapest",    "Zurich",      "Geneva",
    "Milan",        "Naples",     "Venice",      "Florence",    "Munich",      "Hamburg",
    "Cologne",      "Brussels",   "Lyon",        "Marseille",   "Nice",        "Bordeaux",
    "Seville",      "Valencia",   "Porto",       "Oslo",        "Bergen",      "Stockholm",
    "Riga",         "Tallinn",    "Vilnius",     "Kyiv",        "Odessa",      "Sofia",
    "Bucharest",    "Belgrade",   "Zagreb",      "Ankara",      "Tehran",      "Baghdad",
    "Doha",         "Riyadh",     "Jerusalem",   "Beirut",      "Tunis",       "Algiers",
    "Casablanca",   "Dakar",      "Accra",       "Kampala",     "Harare",      "Durban",
    "Perth",        "Melbourne",  "Brisbane",    "Auckland",    "Wellington",  "Manila",
    "Hanoi",        "Osaka",      "Kyoto",       "Seoul",       "Busan",       "Shanghai",
    "Taipei",       "Chennai",    "Kolkata",     "Karachi",     "Lahore",      "Dhaka",
    "Colombo",      "Santiago",   "Quito",       "Caracas",     "Havana",      "Panama City",
    "Toronto",      "Montreal",   "Vancouver",   "Ottawa",      "Seattle",     "Portland",
    "Phoenix",      "Dallas",     "Houston",     "Austin",      "Miami",       "Atlanta",
    "Philadelphia", "Washington", "Detroit",     "Minneapolis", "Kansas City", "Salt Lake City",
    "Las Vegas",    "San Diego",  "New Orleans", "Honolulu",    "Anchorage",   "Edinburgh",
    "Glasgow",      "Manchester", "Liverpool",   "Oxford",      "Cambridge",   "Belfast",
    "Cardiff"};
constexpr const char* kTestCities[] = {"Salzburg",  "Krakow",  "Genoa",    "Leipzig",     "Ghent",
                                       "Toulouse",  "Granada", "Turku",    "Split",       "Izmir",
                                       "Marrakesh", "Lusaka",  "Adelaide", "Nagoya",      "Da Nang",
                                       "Pune",      "Cusco",   "Calgary",  "Denver City", "Tucson"};
constexpr const char* kCountries[] = {"France", "Germany", "Italy", "Spain",  "Japan",
                                      "Canada", "Brazil",  "India", "Poland", "Norway"};
constexpr const char* kHeads[] = {"Bre", "Mor", "Tal", "Ven", "Kar", "Lin", "Os",  "Gra", "Hel",
                                  "Sto", "Wil", "Nor", "Ash", "Dun", "Fal", "Riv", "Ked", "Pel"};
constexpr const char* kMiddles[] = {"", "", "a", "en", "or", "il", "ver", "man", "ber", "in"};
constexpr const char* kTails[] = {"ton",  "burg",  "ville", "ford", "dorf", "stad", "grad",
                                  "wick", "field", "mouth", "port", "sund", "nik",  "holm"};

// Invented places and colours: a sixteenth of them is for tests.
bool IsTestText(const std::string& text) {
  uint64_t hash = 1469598103934665603u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return (hash >> 20) % 16 == 0;
}

}  // namespace

const WordFrames kWeatherQuestions = kWeatherQuestionTable, kWeatherHere = kWeatherHereTable,
                 kCelsiusClauses = kCelsiusTable, kFahrenheitClauses = kFahrenheitTable,
                 kCharacterQuestions = kCharacterTable, kColorQuestions = kColorTable,
                 kTwoPlaces = kTwoPlacesTable, kTwoCharacters = kTwoCharactersTable,
                 kTwoColors = kTwoColorsTable, kFollowUps = kFollowUpTable;

size_t FrameIndex(size_t count, Split split, Draw* draw) {
  for (;;) {
    const size_t index = draw->Index(count);
    if (Story::IsTestFrame(index, count) == (split == Split::kTest)) return index;
  }
}

std::string PlaceName(Split split, Draw* draw) {
  const int64_t kind = draw->Between(0, 99);
  std::string name;
  if (kind < 60) {
    name = draw->Of(DemoCities());
  } else if (kind < 80) {
    name = split == Split::kTest ? draw->Of(kTestCities) : draw->Of(kOtherCities);
  } else {
    do {
      name = draw->Of(kHeads);
      name.append(draw->Of(kMiddles)).append(draw->Of(kTails));
    } while (IsTestText(name) != (split == Split::kTest));
  }
  if (draw->Chance(8)) name.append(", ").append(draw->Of(kCountries));
  return name;
}

std::string HexColor(Split split, Draw* draw) {
  for (;;) {
    const bool is_short = draw->Chance(12);
    std::string hex = "#";
    for (int i = 0; i < (is_short ? 3 : 6); ++i) hex += "0123456789abcdef"[draw->Index(16)];
    if (draw->Chance(10)) {
      for (char& c : hex) c = c >= 'a' ? static_cast<char>(c - 'a' + 'A') : c;
    }
    if (IsTestText(hex) == (split == Split::kTest)) return hex;
  }
}

std::string CalledName(const std::string& full_name, Draw* draw) {
  const std::string first = full_name.substr(0, full_name.find(' '));
  const std::string last = full_name.substr(full_name.rfind(' ') + 1);
  const int64_t kind = draw->Between(0, 99);
  if (kind < 30) return full_name;
  if (kind < 55) return first + " " + last;
  if (kind < 80 || last == "Weasley") return first;
  return last;
}

std::string ConditionInWords(const std::string& condition) {
  if (condition == "rain") return "raining";
  if (condition == "snow") return "snowing";
  return condition;
}

}  // namespace planish

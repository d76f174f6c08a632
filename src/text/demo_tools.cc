// SPDX-License-Identifier: Apache-2.0
#include "text/demo_tools.h"

#include <cmath>

#include "base/error.h"
#include "base/hash.h"
#include "base/nearest.h"
#include "base/random.h"
#include "text/color_name.h"
#include "text/tool_format.h"

namespace planish {
namespace {

struct City {
  const char* name;
  const char* country;
  int8_t mean[12];   // of the day, in degrees Celsius, January first; rounded climate normals
  uint8_t wet_days;  // a year
};
constexpr City kCities[] = {
    {"Amsterdam", "Netherlands", {4, 4, 6, 10, 13, 16, 18, 18, 15, 12, 7, 5}, 130},
    {"Athens", "Greece", {10, 11, 13, 16, 21, 26, 29, 29, 25, 20, 15, 12}, 60},
    {"Bangkok", "Thailand", {27, 28, 30, 31, 30, 29, 29, 29, 28, 28, 28, 27}, 130},
    {"Barcelona", "Spain", {10, 11, 12, 14, 18, 21, 24, 25, 22, 18, 13, 11}, 70},
    {"Beijing", "China", {-3, 0, 7, 15, 21, 25, 27, 26, 21, 14, 5, -1}, 70},
    {"Berlin", "Germany", {1, 2, 5, 10, 14, 18, 20, 19, 15, 10, 5, 2}, 105},
    {"Bogota", "Colombia", {13, 13, 14, 14, 14, 14, 13, 13, 13, 13, 13, 13}, 180},
    {"Boston", "United States", {-1, 0, 4, 9, 15, 20, 23, 23, 19, 13, 7, 2}, 125},
    {"Buenos Aires", "Argentina", {25, 24, 22, 18, 15, 12, 11, 13, 15, 18, 21, 24}, 100},
    {"Cairo", "Egypt", {14, 15, 18, 22, 25, 28, 29, 29, 27, 25, 20, 15}, 10},
    {"Cape Town", "South Africa", {21, 21, 20, 18, 15, 13, 12, 13, 14, 17, 18, 20}, 70},
    {"Chicago", "United States", {-4, -2, 4, 10, 16, 22, 24, 23, 19, 12, 5, -1}, 125},
    {"Copenhagen", "Denmark", {1, 1, 3, 8, 13, 16, 18, 18, 14, 10, 6, 3}, 120},
    {"Delhi", "India", {14, 17, 23, 29, 33, 33, 31, 30, 29, 26, 20, 15}, 55},
    {"Denver", "United States", {0, 1, 5, 9, 14, 20, 24, 23, 18, 11, 4, 0}, 85},
    {"Dubai", "United Arab Emirates", {19, 20, 23, 27, 31, 33, 35, 36, 33, 30, 25, 21}, 8},
    {"Dublin", "Ireland", {5, 5, 7, 8, 11, 14, 16, 15, 13, 11, 8, 6}, 150},
    {"Helsinki", "Finland", {-4, -5, -1, 4, 10, 15, 18, 16, 12, 6, 2, -2}, 115},
    {"Hong Kong", "China", {17, 17, 19, 23, 26, 28, 29, 29, 28, 26, 22, 18}, 135},
    {"Istanbul", "Turkey", {6, 6, 8, 12, 17, 22, 24, 25, 21, 16, 12, 8}, 115},
    {"Jakarta", "Indonesia", {27, 27, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28}, 140},
    {"Lagos", "Nigeria", {27, 29, 29, 29, 28, 27, 26, 25, 26, 27, 28, 28}, 120},
    {"Lima", "Peru", {23, 24, 23, 22, 20, 18, 17, 17, 17, 18, 19, 21}, 8},
    {"Lisbon", "Portugal", {12, 12, 14, 15, 18, 21, 23, 24, 22, 19, 15, 12}, 80},
    {"London", "United Kingdom", {5, 6, 8, 10, 13, 16, 19, 18, 16, 12, 8, 6}, 110},
    {"Los Angeles", "United States", {14, 15, 16, 17, 18, 20, 22, 23, 22, 20, 17, 14}, 35},
    {"Madrid", "Spain", {6, 8, 11, 13, 18, 23, 26, 26, 21, 15, 10, 7}, 60},
    {"Mexico City", "Mexico", {14, 16, 18, 19, 19, 19, 18, 18, 18, 17, 16, 15}, 130},
    {"Moscow", "Russia", {-6, -6, 0, 7, 14, 17, 20, 18, 12, 6, -1, -5}, 165},
    {"Mumbai", "India", {24, 25, 27, 29, 30, 29, 28, 28, 28, 29, 27, 25}, 75},
    {"Nairobi", "Kenya", {19, 20, 20, 20, 19, 18, 17, 17, 19, 20, 19, 19}, 90},
    {"New York", "United States", {1, 2, 6, 12, 17, 22, 25, 24, 21, 15, 9, 4}, 120},
    {"Paris", "France", {5, 6, 9, 12, 15, 19, 21, 21, 17, 13, 8, 6}, 110},
    {"Rio de Janeiro", "Brazil", {27, 27, 26, 25, 23, 22, 22, 23, 23, 24, 25, 26}, 100},
    {"Rome", "Italy", {8, 8, 11, 14, 18, 22, 25, 25, 21, 17, 12, 9}, 75},
    {"San Francisco", "United States", {11, 12, 13, 13, 14, 15, 16, 16, 17, 16, 13, 11}, 65},
    {"Santa Clara", "United States", {10, 12, 13, 15, 18, 20, 21, 21, 20, 17, 13, 10}, 60},
    {"Singapore", "Singapore", {27, 27, 28, 28, 28, 28, 28, 28, 28, 28, 27, 27}, 170},
    {"Sydney", "Australia", {24, 24, 22, 19, 16, 14, 13, 14, 17, 19, 21, 22}, 140},
    {"Tokyo", "Japan", {5, 6, 9, 14, 19, 22, 26, 27, 23, 18, 12, 8}, 115},
};
constexpr const char* kDefaultCity = "Santa Clara";

struct Character {
  const char* name;
  const char* house;
  const char* role;
  const char* text;  // two sentences
};
constexpr Character kCharacters[] = {
    {"Harry James Potter", "Gryffindor", "student",
     "An orphan who learns at eleven that he is a wizard, and that a lightning scar made him "
     "famous long before he knew it. He flies well, breaks rules for his friends, and ends the war "
     "that began with his parents."},
    {"Hermione Jean Granger", "Gryffindor", "student",
     "The best-read witch of her year, born to a family of dentists. She plans what her two "
     "friends improvise, and fights for those whom the wizarding world overlooks."},
    {"Ron Weasley", "Gryffindor", "student",
     "The sixth son of a large family with little money, and Harry's first friend. He is brilliant "
     "at wizard chess, funny under pressure, and braver than he believes."},
    {"Fred Weasley", "Gryffindor", "student, later shopkeeper",
     "One half of a pair of inventors who turn school into a test bench for jokes. He leaves "
     "early, opens a shop with his twin, and comes back when it matters."},
    {"George Weasley", "Gryffindor", "student, later shopkeeper",
     "The other half of the twins, a little quieter and just as inventive. He loses an ear in the "
     "war and keeps making jokes about it."},
    {"Bill Weasley", "Gryffindor", "curse breaker",
     "The eldest of the Weasley children, who opens sealed tombs for the wizarding bank. He "
     "marries a champion from France and stays cheerful after a werewolf's attack."},
    {"Percy Weasley", "Gryffindor", "official",
     "A prefect who loves rules and reports, and chooses the Ministry over his family. It takes "
     "him years, and a battle, to say that he was wrong."},
    {"Charlie Weasley", "Gryffindor", "dragon keeper",
     "The second son, who prefers dragons to offices. He works with them in Romania and once finds "
     "a home for one that had to leave school in a hurry."},
    {"Ginny Weasley", "Gryffindor", "student",
     "The youngest of the family, possessed by a diary in her first year and hard to frighten ever "
     "after. She is a gifted flyer and leads the resistance inside the school."},
    {"Molly Weasley", "Gryffindor", "mother of seven, member of the Order",
     "She feeds, knits for and scolds everyone whom she counts as family, which is more than her "
     "own children. Those who threaten them find out how well she can duel."},
    {"Arthur Weasley", "Gryffindor", "official, member of the Order",
     "He works in a tiny office on enchanted everyday things and collects plugs at home. His "
     "wonder at ordinary inventions goes with a firm belief in fair play."},
    {"Neville Longbottom", "Gryffindor", "student",
     "A shy boy with a forgetful memory and a gift for plants. He grows into the one who stands up "
     "first when standing up is dangerous."},
    {"Luna Lovegood", "Ravenclaw", "student",
     "A dreamy girl who believes in creatures that nobody else has seen and is rarely troubled by "
     "laughter. Her calm sees through people, and her loyalty is complete."},
    {"Draco Malfoy", "Slytherin", "student",
     "Harry's rival, raised to think that blood and money make a wizard. When he is given a real "
     "crime to commit he finds that he cannot."},
    {"Albus Percival Wulfric Brian Dumbledore", "Gryffindor", "headmaster",
     "The most powerful wizard of his time, fond of sweets, music and half answers. Behind the "
     "kindness stands a planner who knows what ambition once cost him."},
    {"Severus Snape", "Slytherin", "teacher of potions",
     "A bitter master of potions who serves two sides and is trusted by neither. What he did, and "
     "for whom, is understood only at the end."},
    {"Remus Lupin", "Gryffindor", "teacher of defence against the dark arts",
     "A gentle teacher in shabby robes who hides that he turns into a wolf at full moon. He shows "
     "his students that fear can be met with laughter."},
    {"Sirius Black", "Gryffindor", "member of the Order",
     "Harry's godfather, who spent twelve years in prison for a betrayal that was not his. He "
     "becomes a black dog at will and has never learnt to sit still."},
    {"Rubeus Hagrid", "Gryffindor", "gamekeeper",
     "A giant of a man with a pink umbrella and a weakness for dangerous animals. He brings Harry "
     "into the wizarding world and never stops being on his side."},
    {"Fleur Isabelle Delacour", "none (Beauxbatons)", "champion of her school",
     "The French champion of the tournament, proud and quicker than she looks. She stays in "
     "England, marries a Weasley and shelters friends by the sea."},
    {"Cho Chang", "Ravenclaw", "student",
     "A seeker with a sharp eye, and the first person Harry falls for. She joins the secret "
     "defence lessons while mourning somebody she loved."},
    {"Cedric Diggory", "Hufflepuff", "champion of his school",
     "A fair and well-liked prefect, chosen as the champion of Hogwarts. He shares the cup with "
     "his rival, and his death begins the second war."},
    {"Dolores Jane Umbridge", "Slytherin", "official, for a time headmistress",
     "She wears pink, collects plates with kittens and loves decrees. Her soft voice covers a "
     "cruelty that many find worse than open evil."},
    {"Nymphadora Tonks", "Hufflepuff", "Auror",
     "A clumsy, cheerful hunter of dark wizards who changes her face and hair at will. She insists "
     "on being called by her last name and fights for the Order."},
    {"Minerva McGonagall", "Gryffindor", "teacher of transfiguration, deputy headmistress",
     "A strict teacher who can turn into a cat and demands the same exactness of others. Under the "
     "severity there is dry humour and unshakeable courage."},
};

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

Json Problem(std::string text) {
  Json result = Json::MakeObject();
  result.Set("error", std::move(text));
  return result;
}

std::string Suggestion(const std::string& word, const std::vector<std::string>& known) {
  const std::string nearest = Nearest(word, known);
  return nearest.empty() ? std::string() : fmt::format("; did you mean {}?", nearest);
}

// "Paris", "paris, France", "San Francisco, CA".
const City* FindCity(std::string_view location) {
  const std::string wanted = Lower(location.substr(0, location.find(',')));
  for (const City& city : kCities) {
    const std::string name = Lower(city.name);
    if (wanted == name || wanted == name + " city") return &city;
  }
  return nullptr;
}

double Rounded(double value) { return std::round(value * 10) / 10; }

Json Weather(const Json& arguments, std::string_view date) {
  const Json* location = arguments.Find("location");
  const Json* format = arguments.Find("format");
  const std::string where =
      location != nullptr && location->is_string() ? location->AsString() : kDefaultCity;
  const bool is_fahrenheit =
      format != nullptr && format->is_string() && format->AsString() == "fahrenheit";
  const City* city = FindCity(where);
  if (city == nullptr)
    return Problem(fmt::format("there is no sample data for {}{}", Quoted(where),
                               Suggestion(where, DemoCities())));
  const int month = date.size() >= 7 ? (date[5] - '0') * 10 + (date[6] - '0') : 0;
  if (date.size() != 10 || month < 1 || month > 12) return Problem("the date is not YYYY-MM-DD");
  // What the day is like is drawn from city and date alone.
  const uint64_t seed = Fnv1a(fmt::format("{} {}", city->name, date));
  const double warmth = UniformAt(seed, 0, 0) + UniformAt(seed, 0, 1) - 1;  // -1 .. 1
  const double sky = UniformAt(seed, 0, 2);
  const double wet = city->wet_days / 365.0;
  const double celsius = city->mean[month - 1] + 5 * warmth + (sky < wet ? -1 : 1);
  const char* condition = sky < wet          ? (celsius < 1 ? "snow" : "rain")
                          : sky < 1.6 * wet  ? "overcast"
                          : sky < wet + 0.45 ? "partly cloudy"
                                             : "sunny";
  Json result = Json::MakeObject();
  result.Set("location", fmt::format("{}, {}", city->name, city->country));
  result.Set("date", std::string(date));
  result.Set("temperature", Rounded(is_fahrenheit ? celsius * 9 / 5 + 32 : celsius));
  result.Set("format", is_fahrenheit ? "fahrenheit" : "celsius");
  result.Set("condition", condition);
  result.Set("humidity_percent", static_cast<int64_t>(std::lround(35 + 45 * wet + 30 * (1 - sky))));
  result.Set("wind_kmh", static_cast<int64_t>(std::lround(4 + 26 * UniformAt(seed, 0, 3))));
  result.Set("source", "sample data");
  return result;
}

// The full name, or any part of it that only one character has.
const Character* FindCharacter(std::string_view name) {
  const std::string wanted = " " + Lower(name) + " ";
  const Character* found = nullptr;
  for (const Character& character : kCharacters) {
    const std::string full = " " + Lower(character.name) + " ";
    if (full == wanted) return &character;
    const std::string first_and_last =
        full.substr(0, full.find(' ', 1)) + full.substr(full.rfind(' ', full.size() - 2));
    if (full.find(wanted) == std::string::npos && first_and_last != wanted) continue;
    if (found != nullptr) return nullptr;
    found = &character;
  }
  return found;
}

Json Describe(const Json& arguments) {
  const Json* name = arguments.Find("name");
  if (name == nullptr || !name->is_string()) return Problem("name is missing, expected a string");
  const Character* character = FindCharacter(name->AsString());
  if (character == nullptr)
    return Problem(fmt::format("{} is not one of the {} known characters{}",
                               Quoted(name->AsString()), std::size(kCharacters),
                               Suggestion(name->AsString(), DemoCharacters())));
  Json result = Json::MakeObject();
  result.Set("name", character->name);
  result.Set("house", character->house);
  result.Set("role", character->role);
  result.Set("description", character->text);
  return result;
}

Json NameColor(const Json& arguments) {
  const Json* text = arguments.Find("color_hex");
  if (text == nullptr || !text->is_string())
    return Problem("color_hex is missing, expected a string such as \"#ff8800\"");
  const std::optional<uint32_t> rgb = ParseHexColor(text->AsString());
  if (!rgb)
    return Problem(fmt::format("color_hex is {}, expected #rgb or #rrggbb in hexadecimal digits",
                               Quoted(text->AsString())));
  Json result = Json::MakeObject(), nearest = Json::MakeArray();
  for (const ColorMatch& match : NearestColors(*rgb, 3)) {
    Json one = Json::MakeObject();
    one.Set("name", match.color->name);
    one.Set("hex", fmt::format("#{:06x}", match.color->rgb));
    one.Set("distance", std::round(match.distance * 100) / 100);
    nearest.Append(std::move(one));
  }
  result.Set("color_hex", fmt::format("#{:06x}", *rgb));
  result.Set("name", nearest.AsArray()[0].Find("name")->AsString());
  result.Set("nearest", std::move(nearest));
  return result;
}

Json MakeTools() {
  Json tools = ParseJson(R"([
    {"type": "function", "function": {"name": "get_current_weather",
      "description": "Get the current weather of a city. Sample data for 40 large cities.",
      "parameters": {"type": "object", "properties": {
        "location": {"type": "string", "description": "The city, e.g. San Francisco, CA"},
        "format": {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "The unit of the temperature"}},
        "required": []}}},
    {"type": "function", "function": {"name": "describe_harry_potter_character",
      "description": "Describe a character of the Harry Potter books: house, role and two sentences.",
      "parameters": {"type": "object", "properties": {
        "name": {"type": "string", "enum": [], "description": "The character's full name"}},
        "required": ["name"]}}},
    {"type": "function", "function": {"name": "name_a_color",
      "description": "Find the names of a colour given in hexadecimal digits.",
      "parameters": {"type": "object", "properties": {
        "color_hex": {"type": "string", "description": "The colour, e.g. #ff8800"}},
        "required": ["color_hex"]}}}])",
                         "demo tools");
  Json names = Json::MakeArray();
  for (const Character& character : kCharacters) names.Append(character.name);
  Json& function = *const_cast<Json*>(tools.AsArray()[1].Find("function"));
  Json* at = &function;
  for (const char* key : {"parameters", "properties", "name"})
    at = const_cast<Json*>(at->Find(key));
  at->Set("enum", std::move(names));
  return tools;
}

}  // namespace

const Json& DemoTools() {
  static const Json tools = MakeTools();
  return tools;
}

Json RunDemoTool(std::string_view name, const Json& arguments, std::string_view date) {
  if (!arguments.is_object())
    return Problem(fmt::format("the arguments are {}, expected an object", arguments.type_name()));
  if (name == "get_current_weather") return Weather(arguments, date);
  if (name == "describe_harry_potter_character") return Describe(arguments);
  if (name == "name_a_color") return NameColor(arguments);
  return Problem(fmt::format("there is no tool {}", Quoted(name)));
}

std::string RunDemoToolCall(std::string_view name, std::string_view arguments,
                            std::string_view date) {
  Json result;
  try {
    result = RunDemoTool(name, ParseJson(arguments, "arguments", {.reject_duplicate_keys = false}),
                         date);
  } catch (const Error& e) {
    result = Problem(e.what());
  }
  return DumpJson(result, JsonStyle::kPython);
}

std::vector<std::string> DemoCities() {
  std::vector<std::string> names;
  for (const City& city : kCities) names.emplace_back(city.name);
  return names;
}

std::vector<std::string> DemoCharacters() {
  std::vector<std::string> names;
  for (const Character& character : kCharacters) names.emplace_back(character.name);
  return names;
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "text/demo_tools.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/color_name.h"
#include "text/json_schema.h"
#include "text/tool_format.h"

namespace planish {
namespace {

constexpr std::string_view kDate = "2025-07-14";

Json Call(std::string_view name, const char* arguments, std::string_view date = kDate) {
  return RunDemoTool(name, ParseJson(arguments, "arguments"), date);
}
std::string Text(const Json& value, const char* key) {
  const Json* member = value.Find(key);
  return member != nullptr && member->is_string() ? member->AsString() : "(none)";
}

// The pairs of Sharma, Wu and Dalal's table 1 that reach its branches.
TEST(ColorName, Ciede2000MatchesThePublishedPairs) {
  const struct {
    Lab x, y;
    double distance;
  } pairs[] = {
      {{50, 2.6772, -79.7751}, {50, 0, -82.7485}, 2.0425},
      {{50, 3.1571, -77.2803}, {50, 0, -82.7485}, 2.8615},
      {{50, 2.8361, -74.0200}, {50, 0, -82.7485}, 3.4412},
      {{50, -1.3802, -84.2814}, {50, 0, -82.7485}, 1.0000},
      {{50, 0, 0}, {50, -1, 2}, 2.3669},
      {{50, 2.4900, -0.0010}, {50, -2.4900, 0.0009}, 7.1792},
      {{50, 2.4900, -0.0010}, {50, -2.4900, 0.0011}, 7.2195},
      {{50, 2.5, 0}, {73, 25, -18}, 27.1492},
      {{50, 2.5, 0}, {61, -5, 29}, 22.8977},
      {{50, 2.5, 0}, {56, -27, -3}, 31.9030},
      {{50, 2.5, 0}, {58, 24, 15}, 19.4535},
      {{60.2574, -34.0099, 36.2677}, {60.4626, -34.1751, 39.4387}, 1.2644},
      {{63.0109, -31.0961, -5.8663}, {62.8187, -29.7946, -4.0864}, 1.2630},
      {{22.7233, 20.0904, -46.6940}, {23.0331, 14.9730, -42.5619}, 2.0373},
      {{90.8027, -2.0831, 1.4410}, {91.1528, -1.6435, 0.0447}, 1.4441},
      {{2.0776, 0.0795, -1.1350}, {0.9033, -0.0636, -0.5514}, 0.9082},
  };
  for (const auto& pair : pairs) {
    EXPECT_NEAR(Ciede2000(pair.x, pair.y), pair.distance, 5e-5);
    EXPECT_NEAR(Ciede2000(pair.y, pair.x), pair.distance, 5e-5);
  }
}

TEST(ColorName, LabOfKnownColorsAndTheNames) {
  const Lab white = LabOf(0xFFFFFF), red = LabOf(0xFF0000);
  EXPECT_NEAR(white.l, 100, 1e-3);
  EXPECT_NEAR(white.a, 0, 1e-2);
  EXPECT_NEAR(red.l, 53.24, 1e-2);
  EXPECT_NEAR(red.a, 80.09, 1e-2);
  EXPECT_NEAR(red.b, 67.20, 1e-2);
  ASSERT_EQ(CssColors().size(), 148u);
  EXPECT_TRUE(
      std::is_sorted(CssColors().begin(), CssColors().end(),
                     [](const NamedColor& a, const NamedColor& b) { return a.name < b.name; }));
  for (const NamedColor& color : CssColors()) {
    const ColorMatch first = NearestColors(color.rgb, 1)[0];
    EXPECT_EQ(first.color->rgb, color.rgb) << color.name;
    EXPECT_EQ(first.distance, 0) << color.name;
  }
}

TEST(DemoTools, SchemasAreWholeAndTheirNamesRun) {
  ASSERT_EQ(DemoTools().AsArray().size(), 3u);
  for (const Json& tool : DemoTools().AsArray()) {
    EXPECT_EQ(Text(tool, "type"), "function");
    const std::string name = Text(*tool.Find("function"), "name");
    ASSERT_NE(ToolParameters(DemoTools(), name), nullptr);
    EXPECT_EQ(Text(Call(name, "{}"), "error").find("there is no tool"), std::string::npos);
  }
  EXPECT_EQ(CheckToolCall({"describe_harry_potter_character", R"({"name": "Luna Lovegood"})"},
                          DemoTools()),
            "");
  EXPECT_NE(CheckToolCall({"describe_harry_potter_character", R"({"name": "Frodo"})"}, DemoTools()),
            "");
  EXPECT_NE(CheckToolCall({"get_current_weather", R"({"format": "kelvin"})"}, DemoTools()), "");
  EXPECT_NE(CheckToolCall({"name_a_color", "{}"}, DemoTools()), "");
}

TEST(DemoTools, WeatherIsAFunctionOfCityAndDate) {
  EXPECT_EQ(DemoCities().size(), 40u);
  const Json paris = Call("get_current_weather", R"({"location": "paris, France"})");
  EXPECT_EQ(Text(paris, "location"), "Paris, France");
  EXPECT_EQ(Text(paris, "source"), "sample data");
  EXPECT_EQ(paris, Call("get_current_weather", R"({"location": "Paris"})"));
  EXPECT_NE(paris, Call("get_current_weather", R"({"location": "Paris"})", "2025-07-15"));
  const double celsius = paris.Find("temperature")->AsDouble();
  const Json other =
      Call("get_current_weather", R"({"location": "Paris", "format": "fahrenheit"})");
  EXPECT_NEAR(other.Find("temperature")->AsDouble(), celsius * 1.8 + 32, 0.15);
  for (const std::string& city : DemoCities()) {
    double sum = 0;
    for (int day = 1; day <= 28; ++day) {
      const Json day_of =
          RunDemoTool("get_current_weather", ParseJson("{\"location\": \"" + city + "\"}", "a"),
                      fmt::format("2025-01-{:02}", day));
      ASSERT_EQ(Text(day_of, "error"), "(none)") << city;
      sum += day_of.Find("temperature")->AsDouble();
    }
    EXPECT_LT(std::abs(sum / 28), 40) << city;
  }
  EXPECT_EQ(Text(Call("get_current_weather", "{}"), "location"), "Santa Clara, United States");
  EXPECT_EQ(Text(Call("get_current_weather", R"({"location": "Pariss"})"), "error"),
            "there is no sample data for 'Pariss'; did you mean Paris?");
  EXPECT_EQ(Text(Call("get_current_weather", "{}", "today"), "error"),
            "the date is not YYYY-MM-DD");
}

TEST(DemoTools, CharactersByFullNameOrByAPartThatIsTheirs) {
  ASSERT_EQ(DemoCharacters().size(), 25u);
  for (const std::string& name : DemoCharacters()) {
    const Json result =
        Call("describe_harry_potter_character", ("{\"name\": \"" + name + "\"}").c_str());
    EXPECT_EQ(Text(result, "name"), name);
    const std::string text = Text(result, "description");
    EXPECT_EQ(std::count(text.begin(), text.end(), '.'), 2) << name;
  }
  EXPECT_EQ(
      Text(Call("describe_harry_potter_character", R"({"name": "hermione granger"})"), "house"),
      "Gryffindor");
  EXPECT_EQ(Text(Call("describe_harry_potter_character", R"({"name": "Dumbledore"})"), "role"),
            "headmaster");
  EXPECT_NE(Text(Call("describe_harry_potter_character", R"({"name": "Weasley"})"), "error"),
            "(none)");
  EXPECT_NE(Text(Call("describe_harry_potter_character", R"({"name": ""})"), "error"), "(none)");
}

TEST(DemoTools, ColoursGetTheThreeNearestNames) {
  const Json exact = Call("name_a_color", R"({"color_hex": "#663399"})");
  EXPECT_EQ(Text(exact, "name"), "rebeccapurple");
  ASSERT_EQ(exact.Find("nearest")->AsArray().size(), 3u);
  EXPECT_EQ(exact.Find("nearest")->AsArray()[0].Find("distance")->AsDouble(), 0);
  EXPECT_EQ(Text(Call("name_a_color", R"({"color_hex": "f80"})"), "color_hex"), "#ff8800");
  EXPECT_EQ(Text(Call("name_a_color", R"({"color_hex": "#F00"})"), "name"), "red");
  for (const char* bad : {R"({"color_hex": "#12345"})", R"({"color_hex": "#ggg"})",
                          R"({"color_hex": ""})", R"({"color_hex": 7})", "{}", "[]"}) {
    EXPECT_NE(Text(Call("name_a_color", bad), "error"), "(none)") << bad;
  }
  EXPECT_EQ(RunDemoToolCall("name_a_color", "{", kDate).find("{\"error\": "), 0u);
  EXPECT_EQ(Text(Call("rm", "{}"), "error"), "there is no tool 'rm'");
}

}  // namespace
}  // namespace planish

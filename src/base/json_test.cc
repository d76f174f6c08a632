// SPDX-License-Identifier: Apache-2.0
// JSON reading under limits, Python's spelling when writing, and the messages of JsonReader.
#include "base/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <ctime>
#include <limits>

#include "base/error.h"
#include "base/random.h"

namespace planish {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The message of the error that `body` throws; empty if it throws none.
template <typename Body>
std::string MessageOf(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadFile);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos)
        << "not one line: " << error.what();
    return error.what();
  }
  return {};
}

std::string ParseMessage(std::string_view text, const JsonParseOptions& options = {}) {
  return MessageOf([&] { ParseJson(text, "f.json", options); });
}

void ExpectRefused(std::string_view text, const std::string& part,
                   const JsonParseOptions& options = {}) {
  const std::string message = ParseMessage(text, options);
  EXPECT_TRUE(message.starts_with("f.json: not valid JSON")) << text << " gave: " << message;
  EXPECT_NE(message.find(part), std::string::npos) << message << ", expected to contain " << part;
}

TEST(Json, ValuesKeepTypesAndOrderOfKeys) {
  const Json json =
      ParseJson(R"({"z": 1, "a": [true, false, null, -2, 1.5, "x"], "m": {}})", "f.json");
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json.AsObject()[0].first, "z");
  EXPECT_EQ(json.AsObject()[1].first, "a");
  EXPECT_EQ(json.AsObject()[2].first, "m");
  const Json::Array& list = json.Find("a")->AsArray();
  EXPECT_EQ(list, (Json::Array{true, false, nullptr, -2, 1.5, "x"}));
  EXPECT_EQ(json.Find("absent"), nullptr);
  EXPECT_EQ(list[0].Find("of no object"), nullptr);
  EXPECT_EQ(DumpJson(json), R"({"z":1,"a":[true,false,null,-2,1.5,"x"],"m":{}})");
}

TEST(Json, IntegersAreExactToTheEdgesOf64BitsAndLargerOnesBecomeNumbers) {
  EXPECT_EQ(ParseJson("9223372036854775807", "f").type(), Json::Type::kInt);
  EXPECT_EQ(ParseJson("-9223372036854775808", "f").AsInt(), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(ParseJson("9223372036854775808", "f").type(), Json::Type::kUint);
  EXPECT_EQ(ParseJson("18446744073709551615", "f").AsUint(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(ParseJson("18446744073709551615", "f").AsInt(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(ParseJson("18446744073709551616", "f").type(), Json::Type::kDouble);
  EXPECT_EQ(ParseJson("18446744073709551616", "f").AsDouble(), 0x1p64);
  EXPECT_EQ(Json(uint64_t{5}).AsInt(), 5);
  ExpectRefused("1e999", "1e999");
  ExpectRefused("-1e999", "-1e999");
  EXPECT_EQ(ParseJson("1e-999", "f").AsDouble(), 0.0);
}

TEST(Json, DepthOf64IsReadAndDepthOf65IsRefusedForListsObjectsAndMixtures) {
  for (const auto& [open, close] :
       {std::pair<std::string, std::string>{"[", "]"}, {R"({"a":)", "}"}}) {
    for (const size_t depth : {63, 64, 65, 100'000}) {
      std::string text;
      for (size_t i = 0; i < depth; ++i) text += open;
      text += open == "[" ? "" : "1";
      for (size_t i = 0; i < depth; ++i) text += close;
      if (depth <= 64)
        EXPECT_EQ(ParseMessage(text), "") << depth;
      else
        ExpectRefused(text, "nested deeper than 64");
    }
  }
  EXPECT_EQ(ParseMessage("[[1]]", {.max_depth = 2}), "");
  ExpectRefused("[{\"a\":[1]}]", "nested deeper than 2", {.max_depth = 2});
}

TEST(Json, DuplicateKeysAreRefusedOrTheLastOneWinsInTheFirstPlace) {
  ExpectRefused(R"({"a": 1, "b": 2, "a": 3})", "key 'a' occurs twice");
  ExpectRefused(R"({"a": 1, "\u0061": 3})", "key 'a' occurs twice");
  EXPECT_EQ(ParseMessage(R"({"a": {"a": 1}, "b": {"a": 1}})"), "");
  const Json json =
      ParseJson(R"({"a": 1, "b": 2, "a": [3]})", "f", {.reject_duplicate_keys = false});
  EXPECT_EQ(DumpJson(json), R"({"a":[3],"b":2})");
}

TEST(Json, ManyDuplicateKeysTakeLinearTime) {
  std::string text = "{";
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 40'000; ++i) text += fmt::format("\"{}\":{},", i, round);
  }
  text.back() = '}';
  const std::clock_t start = std::clock();
  const Json json = ParseJson(text, "f", {.reject_duplicate_keys = false});
  EXPECT_EQ(json.AsObject().size(), 40'000u);
  EXPECT_EQ(json.AsObject()[7].second, Json(1));
  // Quadratic removal took seconds for this; linear is milliseconds even under sanitizers.
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 2.0);
}

TEST(Json, NonFiniteNumbersAreReadOnlyWhenAllowed) {
  const std::string text = R"({"a": [NaN, Infinity, -Infinity], "b": NaN})";
  ExpectRefused(text, "byte");
  const Json json = ParseJson(text, "f", {.allow_non_finite = true});
  EXPECT_TRUE(std::isnan(json.Find("a")->AsArray()[0].AsDouble()));
  EXPECT_EQ(json.Find("a")->AsArray()[1].AsDouble(), kInfinity);
  EXPECT_EQ(json.Find("a")->AsArray()[2].AsDouble(), -kInfinity);
  EXPECT_TRUE(std::isnan(json.Find("b")->AsDouble()));
  EXPECT_EQ(DumpJson(json, JsonStyle::kPython), text);
}

TEST(Json, NoStringIsMistakenForANonFiniteNumber) {
  const std::string text =
      R"({"NaN": "NaN", "x": ["Infinity", "-Infinity", "N", "\u007fnfN", "a\"NaN\\", "\\"],
          "n": NaN, "I": "I     "})";
  const Json json = ParseJson(text, "f", {.allow_non_finite = true});
  EXPECT_EQ(*json.Find("NaN"), Json("NaN"));
  EXPECT_EQ(*json.Find("x"),
            Json(Json::Array{"Infinity", "-Infinity", "N", "\x7fnfN", "a\"NaN\\", "\\"}));
  EXPECT_TRUE(json.Find("n")->type() == Json::Type::kDouble &&
              std::isnan(json.Find("n")->AsDouble()));
  EXPECT_EQ(*json.Find("I"), Json("I     "));
  const JsonParseOptions allowed{.allow_non_finite = true};
  ExpectRefused("{NaN: 1}", "a key is NaN", allowed);
  ExpectRefused("{-Infinity: 1}", "a key is Infinity", allowed);
  for (const char* bad :
       {"NaNNaN", "+Infinity", "--Infinity", "Infinit", "nan", "[NaN NaN]", "-NaN", "1NaN"})
    ExpectRefused(bad, "byte", allowed);
  // A position after a replaced word is that of the file.
  ExpectRefused("[NaN, -Infinity, Infinity, ?]", "at byte 28", allowed);
  ExpectRefused("[123, 123456789, 12345678, ?]", "at byte 28", allowed);
}

TEST(Json, DamagedTextIsRefusedWithItsPlace) {
  for (const char* bad : {"",
                          " ",
                          "{",
                          "[1,]",
                          "{\"a\":1,}",
                          "{\"a\" 1}",
                          "{1: 2}",
                          "[1] x",
                          "tru",
                          "'a'",
                          "\"a",
                          "01",
                          "1.",
                          ".5",
                          "+1",
                          "0x10",
                          "[1 2]",
                          "// c\n1",
                          "\"\\x\"",
                          "\"\\u12\"",
                          "nul",
                          "}",
                          "-",
                          "1e",
                          "\"\\ud800\"",
                          "\"\\udc00\\ud800\""}) {
    ExpectRefused(bad, "at byte");
  }
  ExpectRefused("\xEF\xBB\xBF{}", "byte order mark");
  ExpectRefused(std::string_view("\"a\0b\"", 5), "at byte");
  ExpectRefused("\"a\nb\"", "at byte");
  ExpectRefused("\"a\x1f\"", "at byte");
  // Stray continuation, overlong, surrogate, too large, cut: all refused, and the message itself is
  // clean.
  for (const char* bad : {"\"\x80\"", "\"\xC0\xAF\"", "\"\xE0\x80\x80\"", "\"\xED\xA0\x80\"",
                          "\"\xF4\x90\x80\x80\"", "\"\xE2\x82\"", "\"\xFF\""}) {
    const std::string message = ParseMessage(bad);
    EXPECT_NE(message, "");
    for (const char c : message) EXPECT_TRUE(c >= 0x20 && c < 0x7F) << message;
  }
}

TEST(Json, EveryPrefixOfAValidTextIsRefusedAndNoDamageCrashes) {
  const std::string text =
      R"({"a": [1, -2.5e3, "xé\n\u20ac\ud83d\ude00", NaN], "b": {"c": -Infinity, "d": true}})";
  const JsonParseOptions options{.allow_non_finite = true, .reject_duplicate_keys = false};
  const Json whole = ParseJson(text, "f", options);
  EXPECT_EQ(whole.Find("a")->AsArray()[2], Json("xé\n€😀"));
  for (size_t n = 0; n < text.size(); ++n)
    ExpectRefused(std::string_view(text).substr(0, n), "", options);
  Random random(1);
  for (int i = 0; i < 5'000; ++i) {
    std::string damaged = text;
    for (int k = 0; k < 3; ++k)
      damaged[random.Below(damaged.size())] = static_cast<char>(random.Below(256));
    try {
      const Json json = ParseJson(damaged, "f", options);
      const std::string dumped = DumpJson(json, JsonStyle::kPython);
      EXPECT_EQ(DumpJson(ParseJson(dumped, "f", options), JsonStyle::kPython), dumped);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadFile);
    }
  }
}

// Left: repr() of CPython 3.11.
TEST(Json, FloatsAreSpeltAsPythonDoes) {
  const std::pair<const char*, double> known[] = {
      {"0.0", 0.0},
      {"-0.0", -0.0},
      {"1.0", 1.0},
      {"-1.0", -1.0},
      {"0.1", 0.1},
      {"0.30000000000000004", 0.1 + 0.2},
      {"1e-05", 1e-5},
      {"0.0001", 1e-4},
      {"0.00012", 1.2e-4},
      {"1.2e-05", 1.2e-5},
      {"1e+16", 1e16},
      {"1000000000000000.0", 1e15},
      {"9999999999999998.0", 9999999999999998.0},
      {"1.2345678901234568e+17", 123456789012345680.0},
      {"1e+22", 1e22},
      {"1e+100", 1e100},
      {"5e-324", 5e-324},
      {"2.2250738585072014e-308", 2.2250738585072014e-308},
      {"1.7976931348623157e+308", 1.7976931348623157e308},
      {"3.141592653589793", 3.141592653589793},
      {"500000.0", 5e5},
      {"0.3333333333333333", 1.0 / 3},
      {"123456.789", 123456.789},
      {"9007199254740992.0", 0x1p53},
      {"9.999999747378752e-06", static_cast<double>(1e-5f)},
      {"NaN", std::nan("")},
      {"Infinity", kInfinity},
      {"-Infinity", -kInfinity}};
  for (const auto& [text, value] : known) EXPECT_EQ(PythonFloat(value), text);
}

TEST(Json, EveryFloatComesBackFromItsText) {
  Random random(2);
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t bits = uint64_t{random.Bits()} << 32 | random.Bits();
    double value;
    std::memcpy(&value, &bits, sizeof value);
    if (!std::isfinite(value)) continue;
    const Json back = ParseJson(PythonFloat(value), "f");
    ASSERT_EQ(back.type(), Json::Type::kDouble) << PythonFloat(value);
    const double found = back.AsDouble();
    ASSERT_EQ(std::memcmp(&found, &value, sizeof value), 0) << PythonFloat(value);
  }
}

TEST(Json, StringsEscapeQuotesBackslashesAndControlsOnly) {
  std::string text = "a\"b\\c/", all;
  for (int c = 0; c < 0x20; ++c) all += static_cast<char>(c);
  text += all + "\x7f é€😀";
  const std::string dumped = DumpJson(Json(text));
  EXPECT_EQ(
      dumped,
      "\"a\\\"b\\\\c/"
      "\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f"
      "\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018\\u0019\\u001a\\u001b\\u001c"
      "\\u001d\\u001e\\u001f"
      "\x7f é€😀\"");
  EXPECT_EQ(ParseJson(dumped, "f").AsString(), text);
}

TEST(Json, StylesAreCompactPythonAndIndented) {
  const Json json = ParseJson(R"({"a":[1,{"b":2.0}],"c":[],"d":{}})", "f");
  EXPECT_EQ(DumpJson(json), R"({"a":[1,{"b":2.0}],"c":[],"d":{}})");
  EXPECT_EQ(DumpJson(json, JsonStyle::kPython), R"({"a": [1, {"b": 2.0}], "c": [], "d": {}})");
  EXPECT_EQ(
      DumpJson(json, JsonStyle::kPython, 2),
      "{\n  \"a\": [\n    1,\n    {\n      \"b\": 2.0\n    }\n  ],\n  \"c\": [],\n  \"d\": {}\n}");
}

TEST(Json, SetReplacesInPlaceAndRemoveForgets) {
  Json json = Json::MakeObject();
  json.Set("a", 1);
  json.Set("b", 2);
  EXPECT_EQ(json.Set("a", "x"), Json("x"));
  EXPECT_EQ(DumpJson(json), R"({"a":"x","b":2})");
  json.Remove("a");
  json.Remove("absent");
  EXPECT_EQ(DumpJson(json), R"({"b":2})");
}

class JsonReaderTest : public ::testing::Test {
 protected:
  Json json_ = ParseJson(
      R"({"n": 7, "big": 18446744073709551615, "half": 0.5, "text": "abc", "yes": true,
                            "none": null,
                            "list": [{"x": 1}, 2], "sub": {"deep": {"x": "y"}},
                            "inf": {"__float__": "Infinity"}, "odd": {"__float__": "1"}})",
      "f");
  JsonReader reader_{json_, "config.json"};
};

TEST_F(JsonReaderTest, ReadsWhatIsThere) {
  EXPECT_EQ(reader_.Int("n", 7, 7), 7);
  EXPECT_EQ(reader_.IntOr("absent", 0, 9, 3), 3);
  EXPECT_EQ(reader_.IntOr("none", 0, 9, 3), 3);
  EXPECT_EQ(reader_.Number("n", 0, 10), 7.0);
  EXPECT_EQ(reader_.Number("half", 0.5, 0.5), 0.5);
  EXPECT_EQ(reader_.Number("inf", 0, kInfinity), kInfinity);
  EXPECT_EQ(reader_.NumberOr("absent", 0, 1, 0.25), 0.25);
  EXPECT_TRUE(reader_.BoolOr("yes", false));
  EXPECT_FALSE(reader_.BoolOr("none", false));
  EXPECT_EQ(reader_.String("text"), "abc");
  EXPECT_EQ(reader_.StringOr("absent", "d"), "d");
  EXPECT_EQ(reader_.Array("list").size(), 2u);
  EXPECT_EQ(reader_.Object("sub").Object("deep").String("x"), "y");
  EXPECT_EQ(reader_.Element("list", 0).Int("x", 0, 1), 1);
  EXPECT_TRUE(reader_.Has("n"));
  EXPECT_FALSE(reader_.Has("none"));
}

TEST_F(JsonReaderTest, SaysWhatWhereFoundAndExpected) {
  const auto message = [&](auto read) { return MessageOf([&] { read(reader_); }); };
  EXPECT_EQ(message([](const JsonReader& r) { r.Int("absent", 1, 9); }),
            "config.json: absent is missing, expected an integer in [1, 9]");
  EXPECT_EQ(message([](const JsonReader& r) { r.Int("none", 1, 9); }),
            "config.json: none is 'null', expected an integer in [1, 9]");
  EXPECT_EQ(message([](const JsonReader& r) { r.Int("n", 8, 9); }),
            "config.json: n is '7', expected an integer in [8, 9]");
  EXPECT_EQ(message([](const JsonReader& r) { r.Int("n", 1, 6); }),
            "config.json: n is '7', expected an integer in [1, 6]");
  EXPECT_EQ(message([](const JsonReader& r) { r.Int("half", 0, 9); }),
            "config.json: half is '0.5', expected an integer in [0, 9]");
  EXPECT_EQ(message([](const JsonReader& r) { r.Int("text", 0, 9); }),
            "config.json: text is '\"abc\"', expected an integer in [0, 9]");
  EXPECT_NE(message([](const JsonReader& r) {
              r.Int("big", 0, std::numeric_limits<int64_t>::max());
            }).find("big is '18446744073709551615'"),
            std::string::npos);
  EXPECT_EQ(message([](const JsonReader& r) { r.Number("yes", 0, 1); }),
            "config.json: yes is 'true', expected a number in [0, 1]");
  EXPECT_EQ(message([](const JsonReader& r) { r.Number("inf", 0, 1); }),
            "config.json: inf is object, expected a number in [0, 1]");
  EXPECT_EQ(message([](const JsonReader& r) { r.Number("odd", 0, 1); }),
            "config.json: odd is object, expected a number in [0, 1]");
  EXPECT_EQ(message([](const JsonReader& r) { r.BoolOr("n", true); }),
            "config.json: n is '7', expected true or false");
  EXPECT_EQ(message([](const JsonReader& r) { r.StringOr("n", ""); }),
            "config.json: n is '7', expected a string");
  EXPECT_EQ(message([](const JsonReader& r) { r.Array("sub"); }),
            "config.json: sub is object, expected a list");
  EXPECT_EQ(message([](const JsonReader& r) { r.Object("sub").Object("deep").Int("x", 0, 1); }),
            "config.json: sub.deep.x is '\"y\"', expected an integer in [0, 1]");
  EXPECT_EQ(message([](const JsonReader& r) { r.Element("list", 1); }),
            "config.json: list[1] is integer, expected an object");
  EXPECT_EQ(message([](const JsonReader& r) { r.Element("list", 0).String("x"); }),
            "config.json: list[0].x is '1', expected a string");
  EXPECT_EQ(MessageOf([] { JsonReader(Json(1), "config.json"); }),
            "config.json: the top level is integer, expected an object");
}

TEST_F(JsonReaderTest, NanIsInNoRange) {
  const Json json = ParseJson(R"({"x": NaN})", "f", {.allow_non_finite = true});
  EXPECT_NE(MessageOf([&] { JsonReader(json, "f").Number("x", -kInfinity, kInfinity); }), "");
}

}  // namespace
}  // namespace planish

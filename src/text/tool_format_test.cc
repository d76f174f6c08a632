// SPDX-License-Identifier: Apache-2.0
#include "text/tool_format.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "text/chat_template.h"
#include "text/json_schema.h"
#include "text/reply_parser.h"

namespace planish {
namespace {

using Kind = ReplyEvent::Kind;
using Mode = ReasoningSplitter::Mode;

Json Tools() {
  return ParseJson(
      R"([{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{)"
      R"("city":{"type":"string"},"days":{"type":"integer"},"unit":{"enum":["c","f"]}},"required":["city"]}}},)"
      R"({"name":"flat","parameters":{"type":"object","properties":{"n":{"type":"number"}},"additionalProperties":false}}])",
      "tools");
}

// All events of a text given in pieces, joined where only the cut separates them.
struct Joined {
  std::string reasoning, content;
  std::vector<ToolCall> calls;
  size_t failures = 0;
  std::string order;  // r, c, ( name, a, ) as they first come
  bool operator==(const Joined&) const = default;
};

Joined Join(const std::vector<std::string>& pieces, Mode mode) {
  ReplyParser parser(mode, Tools());
  Joined joined;
  const auto note = [&](char c) {
    if (joined.order.empty() || joined.order.back() != c) joined.order += c;
  };
  const auto take = [&](const std::vector<ReplyEvent>& events) {
    for (const ReplyEvent& event : events) {
      switch (event.kind) {
        case Kind::kReasoning:
          joined.reasoning += event.text;
          note('r');
          break;
        case Kind::kContent:
          joined.content += event.text;
          note('c');
          break;
        case Kind::kCall:
          EXPECT_EQ(event.index, joined.calls.size());
          joined.calls.push_back({event.text, ""});
          joined.order += '(';
          break;
        case Kind::kArguments:
          EXPECT_EQ(event.index + 1, joined.calls.size());
          joined.calls.back().arguments += event.text;
          note('a');
          break;
        case Kind::kCallEnd:
          joined.calls.back().is_complete = event.text.empty();
          joined.order += ')';
          break;
      }
    }
  };
  for (const std::string& piece : pieces) take(parser.Push(piece));
  take(parser.Finish());
  joined.failures = parser.failures();
  return joined;
}

struct Case {
  const char* text;
  const char* content;
  std::vector<ToolCall> calls;
  size_t failures = 0;
};

const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      {R"(<TOOLCALL>[{"name": "weather", "arguments": {"city": "Paris", "days": 2}}]</TOOLCALL>)",
       "",
       {{"weather", R"({"city": "Paris", "days": 2})"}}},
      {R"(I look. <TOOLCALL>[{"name":"a","arguments":{}}, {"name":"b","arguments":{"x":[1,{"y":null}]}}]</TOOLCALL>)",
       "I look. ",
       {{"a", "{}"}, {"b", R"({"x":[1,{"y":null}]})"}}},
      // Damaged markup.
      {R"(<TOOLCALL>[{"name":"a","arguments":{"x":1}}])", "", {{"a", R"({"x":1})"}}},
      {R"(<TOOLCALL>[{"name":"a","arguments":{"x":1}})", "", {{"a", R"({"x":1})"}}},
      {R"(<TOOLCALL>[{"name":"a","arguments":{"x":1})", "", {{"a", R"({"x":1})"}}},
      {R"(<TOOLCALL>[{"name":"a","arguments":{"x":1]</TOOLCALL>)", "", {{"a", R"({"x":1})"}}},
      {R"(<TOOLCALL>[{"name":"a","arguments":{"x":[1</TOOLCALL> done)",
       " done",
       {{"a", R"({"x":[1]})"}}},
      {R"(<TOOLCALL>[{"name":"a","arguments":{"x":[1]</TOOLCALL> done)",
       " done",
       {{"a", R"({"x":[1]})"}}},
      {R"(<TOOLCALL>{"name":"a","arguments":{"x":1}}</TOOLCALL>)", "", {{"a", R"({"x":1})"}}},
      {R"(<TOOLCALL>[{"name":"a","arguments":{"x":[1,2,],},},]</TOOLCALL>)",
       "",
       {{"a", R"({"x":[1,2]})"}}},
      {R"(<TOOLCALL>[{"name":"a","parameters":{"x":1}}]</TOOLCALL>)", "", {{"a", R"({"x":1})"}}},
      {R"(<TOOLCALL>[{"arguments":{"x":1},"name":"a"}]</TOOLCALL>)", "", {{"a", R"({"x":1})"}}},
      {R"(<TOOLCALL>[{"name":"a","arguments":"{\"x\": \"q\\n\\u00e9\"}"}]</TOOLCALL>)",
       "",
       {{"a", R"({"x": "q\n\u00e9"})"}}},
      {R"(<TOOLCALL>[{"name":"a","arguments":""},{"name":"b"},{"name":"c","arguments":null}]</TOOLCALL>)",
       "",
       {{"a", "{}"}, {"b", "{}"}, {"c", "{}"}}},
      {"<TOOLCALL>Sure, these:\n```json\n[{\"name\":\"a\",\"arguments\":{}}]\n```\n</TOOLCALL>",
       "",
       {{"a", "{}"}}},
      {R"(<TOOLCALL>[{'name':'a','arguments':{'x':True,'y':None,'z':'it\'s "q"'}}]</TOOLCALL>)",
       "",
       {{"a", R"({"x":true,"y":null,"z":"it's \"q\""})"}}},
      {"<TOOLCALL>[{\"name\":\"a\",\"arguments\":{\"x\":\"1\n2\\d\"}}]</TOOLCALL>",
       "",
       {{"a", R"({"x":"1\n2\\d"})"}}},
      {R"(<TOOLCALL>[{"type":"function","function":{"name":"a","arguments":{"x":1}},"id":7}]</TOOLCALL>)",
       "",
       {{"a", R"({"x":1})"}}},
      {"<TOOLCALL>[{\"name\":\"a\",\"arguments\":{}}]\n\nThere.", "\n\nThere.", {{"a", "{}"}}},
      {R"(<TOOLCALL>[{"name":"a","arguments":{}}]</TOOLCALL><TOOLCALL>[{"name":"b","arguments":{}}]</TOOLCALL>)",
       "",
       {{"a", "{}"}, {"b", "{}"}}},
      {R"(<TOOLCALL>[{"name":"a","arguments":{}}]<TOOLCALL>[{"name":"b","arguments":{}}])",
       "",
       {{"a", "{}"}, {"b", "{}"}}},
      // A closing tag inside a string is text.
      {R"(<TOOLCALL>[{"name":"a","arguments":{"x":"</TOOLCALL>"}}]</TOOLCALL>)",
       "",
       {{"a", R"({"x":"</TOOLCALL>"})"}}},
      // Not readable: content, and counted.
      {"<TOOLCALL>hello</TOOLCALL>", "<TOOLCALL>hello</TOOLCALL>", {}, 1},
      {"<TOOLCALL>", "<TOOLCALL>", {}, 1},
      {R"(<TOOLCALL>[{"nam":"a"}]</TOOLCALL>)", R"(<TOOLCALL>[{"nam":"a"}]</TOOLCALL>)", {}, 1},
      {R"(<TOOLCALL>[{"name":"a","arguments":7}]</TOOLCALL>)",
       R"(<TOOLCALL>[{"name":"a","arguments":7}]</TOOLCALL>)",
       {},
       1},
      {R"(<TOOLCALL>[{"name":"a"?}])", R"(<TOOLCALL>[{"name":"a"?}])", {}, 1},
      {"<TOOLCALL>[]</TOOLCALL>", "", {}},
      // Cut off or broken inside the arguments: the call stays, marked.
      {R"(<TOOLCALL>[{"name":"a","arguments":{"x":"rm -rf /ho)",
       "",
       {{"a", R"({"x":"rm -rf /ho)", false}},
       1},
      {R"(<TOOLCALL>[{"name":"a","arguments":{"x":what}}]</TOOLCALL>!)",
       "!",
       {{"a", R"({"x":}}])", false}},
       1},
      // Near misses of a tag are content.
      {"a <TOOLCAL> <<TOOLCALL", "a <TOOLCAL> <<TOOLCALL", {}},
      {"  \n spaces first", "  \n spaces first", {}},
      {" \n", " \n", {}},
      {"\n<TOOLCALL>[{\"name\":\"a\"}]</TOOLCALL>\n", "", {{"a", "{}"}}},
      // One object a call (Qwen, SmolLM).
      {"<tool_call>\n{\"name\": \"a\", \"arguments\": {\"x\": "
       "1}}\n</tool_call>\n<tool_call>\n{\"name\": \"b\", \"arguments\": {}}\n</tool_call>",
       "",
       {{"a", R"({"x": 1})"}, {"b", "{}"}}},
      // Nemotron 3: values are of the type the tool's schema says.
      {"<tool_call>\n<function=weather>\n<parameter=city>\n12\n</"
       "parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>",
       "",
       {{"weather", R"({"city": "12", "days": 3})"}}},
      {"<tool_call><function=f><parameter=p>a\n\"b\"</parameter><parameter=q>[1, {\"k\": "
       "true}]</parameter></function><function=g></function></tool_call>ok",
       "ok",
       {{"f", R"({"p": "a\n\"b\"", "q": [1, {"k": true}]})"}, {"g", "{}"}}},
      {"<tool_call>\n<function=f>\n<parameter=p>\nx\n<parameter=q>\ny\n</function>\n</tool_call>",
       "",
       {{"f", R"({"p": "x", "q": "y"})"}}},
      {"<tool_call>\n<function=f>\n<parameter=p>\nx\n</parameter>\n", "", {{"f", R"({"p": "x"})"}}},
      {"<tool_call>\n<function=f>\n<parameter=p>\nx", "", {{"f", "{", false}}, 1},
  };
  return cases;
}

TEST(ToolFormat, ReadsWholeAndDamagedMarkup) {
  for (const Case& c : Cases()) {
    const ToolReply reply = ParseToolCalls(c.text, Tools());
    EXPECT_EQ(reply.content, c.content) << c.text;
    ASSERT_EQ(reply.calls.size(), c.calls.size()) << c.text;
    for (size_t i = 0; i < c.calls.size(); ++i) {
      EXPECT_EQ(reply.calls[i].name, c.calls[i].name) << c.text;
      EXPECT_EQ(reply.calls[i].arguments, c.calls[i].arguments) << c.text;
      EXPECT_EQ(reply.calls[i].is_complete, c.calls[i].is_complete) << c.text;
      if (c.calls[i].is_complete) {
        EXPECT_TRUE(ParseJson(reply.calls[i].arguments, "a").is_object()) << c.text;
      }
    }
    EXPECT_EQ(reply.failures, c.failures) << c.text;
  }
}

TEST(ToolFormat, EveryCutOfTheTextGivesTheSameEvents) {
  Random random(11, 0);
  for (const Case& c : Cases()) {
    for (const std::string& before :
         {std::string(), std::string("because <b>\n</think>\n\n"), std::string("so\n  ")}) {
      const std::string text = before + c.text;
      const Mode mode = before.empty() ? Mode::kAnswer : Mode::kThink;
      const Joined whole = Join({text}, mode);
      std::vector<std::string> bytes;
      for (const char b : text) bytes.emplace_back(1, b);
      EXPECT_EQ(Join(bytes, mode), whole) << text;
      for (size_t cut = 1; cut < text.size(); ++cut)
        EXPECT_EQ(Join({text.substr(0, cut), text.substr(cut)}, mode), whole)
            << text << " at " << cut;
      for (int round = 0; round < 20; ++round) {
        std::vector<std::string> pieces;
        for (size_t at = 0; at < text.size();) {
          const size_t n = 1 + random.Below(9);
          pieces.push_back(text.substr(at, n));
          at += n;
        }
        EXPECT_EQ(Join(pieces, mode), whole) << text;
      }
    }
  }
}

TEST(ToolFormat, HoldsBackOnlyWhatMayBecomeATagAndStreamsArguments) {
  ReplyParser parser(Mode::kAnswer, Tools());
  const auto one = [&](std::string_view text) {
    std::string shown;
    for (const ReplyEvent& event : parser.Push(text))
      shown += std::string("RC(a)"[static_cast<size_t>(event.kind)] + event.text + "|");
    return shown;
  };
  EXPECT_EQ(one("Hi <b> <"), "CHi <b> |");
  EXPECT_EQ(one("TOOL"), "");
  EXPECT_EQ(one("S and <TOOLCALL"), "C<TOOLS and |");
  EXPECT_EQ(one(">[{\"name\": \"wea"), "");
  EXPECT_EQ(
      one("ther\""),
      "");  // sent once its arguments begin, so that a call without any is not announced twice
  EXPECT_EQ(one(", \"arguments\": {\"ci"), "(weather|a{\"ci|");
  EXPECT_EQ(one("ty\": \"Pa"), "aty\": \"Pa|");
  EXPECT_EQ(one("ris\"}"), "aris\"}|");
  EXPECT_EQ(one("}]</TOOLCALL>"), ")|");
  EXPECT_TRUE(parser.Finish().empty());
}

TEST(ToolFormat, ACallAtLineStartEndsTheReasoning) {
  const std::string call = R"(<TOOLCALL>[{"name":"flat","arguments":{"n":1}}]</TOOLCALL>)";
  const Reply reply = ParseReply("I need it.\n " + call + "\n</think>\n", Mode::kThink, Tools());
  EXPECT_EQ(reply.reasoning, "I need it.\n ");
  ASSERT_EQ(reply.calls.size(), 1u);
  EXPECT_EQ(reply.calls[0].arguments, R"({"n":1})");
  EXPECT_EQ(reply.content, "");
  // In the middle of a line it is thought about, not made.
  const Reply quoted =
      ParseReply("I could write " + call + " here.</think>No.", Mode::kThink, Tools());
  EXPECT_EQ(quoted.reasoning, "I could write " + call + " here.");
  EXPECT_EQ(quoted.content, "No.");
  // Without tools markup is text.
  const Reply plain = ParseReply(call, Mode::kAnswer, Json());
  EXPECT_EQ(plain.content, call);
  const Reply thought = ParseReply("\n" + call + "</think>x", Mode::kThink, Json());
  EXPECT_EQ(thought.reasoning, "\n" + call);
}

TEST(ToolFormat, PrintedCallsAreReadBack) {
  const std::vector<ToolCall> calls = {{"f", R"({"p": "a\"<b>\n", "q": [1, 2.5, null]})"},
                                       {"g", "{}"}};
  for (const ToolFormat format :
       {ToolFormat::kToolcallList, ToolFormat::kToolCallJson, ToolFormat::kToolCallTags}) {
    const std::string text = PrintToolCalls(calls, format);
    const ToolReply reply = ParseToolCalls(text);
    EXPECT_EQ(reply.calls, calls) << text;
    EXPECT_EQ(reply.content, "");
  }
  EXPECT_EQ(PrintToolCalls({{"f", R"({"a":1})"}}, ToolFormat::kToolcallList),
            R"(<TOOLCALL>[{"name": "f", "arguments": {"a": 1}}]</TOOLCALL>)");
  EXPECT_THROW(PrintToolCalls({{"f", "[]"}}, ToolFormat::kToolcallList), Error);
}

TEST(ToolFormat, TheTemplateSaysWhichFormatItsModelWrites) {
  const auto detect = [](const std::string& source) {
    return DetectToolFormat(*ChatTemplate::Parse(source, "t"));
  };
  EXPECT_EQ(detect("{% for m in messages %}{{ m.content }}{% endfor %}"),
            ToolFormat::kToolcallList);
  EXPECT_EQ(detect("{% for m in messages %}{% for t in m.tool_calls or [] %}<TOOLCALL>{{ "
                   "t.function.name }}{% endfor %}{% endfor %}"),
            ToolFormat::kToolcallList);
  EXPECT_EQ(detect("{% for m in messages %}{% for t in m.tool_calls or [] %}<tool_call>{{ "
                   "t.function | tojson }}</tool_call>{% endfor %}{% endfor %}"),
            ToolFormat::kToolCallJson);
  EXPECT_EQ(detect("{% for m in messages %}{% for t in m.tool_calls or [] "
                   "%}<tool_call><function={{ t.function.name }}>{% endfor %}{% endfor %}"),
            ToolFormat::kToolCallTags);
}

TEST(ToolFormat, ArgumentsAreCheckedAgainstTheSchemaOfTheTool) {
  const Json tools = Tools();
  EXPECT_EQ(CheckToolCall({"weather", R"({"city":"Rom","unit":"c"})"}, tools), "");
  EXPECT_EQ(CheckToolCall({"flat", R"({})"}, tools), "");
  EXPECT_EQ(CheckToolCall({"nothing", R"({})"}, tools), "no tool is called 'nothing'");
  EXPECT_EQ(CheckToolCall({"weather", R"({"days":1})"}, tools),
            "weather: the value: 'city' is missing");
  EXPECT_EQ(CheckToolCall({"weather", R"({"city":1})"}, tools),
            "weather: /city: found '1' (integer), expected string");
  EXPECT_EQ(CheckToolCall({"flat", R"({"n":1,"m":2})"}, tools),
            "flat: the value: 'm' is no known member");
  EXPECT_NE(CheckToolCall({"weather", R"({"city":"Rom","unit":"k"})"}, tools), "");
  EXPECT_NE(CheckToolCall({"weather", R"([1])"}, tools), "");
  EXPECT_NE(CheckToolCall({"weather", R"({"city":)", false}, tools), "");
}

TEST(ToolFormat, HostileTextNeverCrashesAndCutsDoNotMatter) {
  const std::vector<std::string> atoms = {"<TOOLCALL>",
                                          "</TOOLCALL>",
                                          "<tool_call>",
                                          "</tool_call>",
                                          "<function=f>",
                                          "</function>",
                                          "<parameter=p>",
                                          "</parameter>",
                                          "[",
                                          "]",
                                          "{",
                                          "}",
                                          "\"name\"",
                                          "\"arguments\"",
                                          ":",
                                          ",",
                                          "\"f\"",
                                          "\"",
                                          "\\",
                                          "'",
                                          "1",
                                          "-",
                                          "tr",
                                          "null",
                                          " ",
                                          "\n",
                                          "</think>",
                                          "<",
                                          "x",
                                          "\\u12",
                                          "```"};
  Random random(5, 0);
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> pieces;
    std::string text;
    for (size_t n = random.Below(24); n > 0; --n)
      pieces.push_back(atoms[random.Below(atoms.size())]);
    for (const std::string& piece : pieces) text += piece;
    const Mode mode = round % 2 == 0 ? Mode::kThink : Mode::kAnswer;
    EXPECT_EQ(Join(pieces, mode), Join({text}, mode)) << text;
  }
  const std::string deep = "<TOOLCALL>[{\"name\":\"a\",\"arguments\":" + std::string(100'000, '{');
  EXPECT_EQ(ParseToolCalls(deep).failures, 1u);
  EXPECT_EQ(
      ParseToolCalls("<TOOLCALL>[{\"name\":\"a\",\"arguments\":{\"k\":" + std::string(100'000, '['))
          .calls[0]
          .is_complete,
      false);
}

TEST(JsonSchema, KeywordsHoldAndProblemsNameThePlace) {
  const auto check = [](const char* schema, const char* value) {
    return CheckJsonSchema(ParseJson(schema, "s"), ParseJson(value, "v"));
  };
  const struct {
    const char *schema, *good, *bad;
  } cases[] = {
      {R"({"type":"integer"})", "1.0", "1.5"},
      {R"({"type":["string","null"]})", "null", "0"},
      {R"({"enum":[1,"a",{"x":1,"y":2}]})", R"({"y":2,"x":1})", R"({"x":1})"},
      {R"({"const":2})", "2.0", "\"2\""},
      {R"({"minimum":1,"exclusiveMaximum":3})", "2.9", "3"},
      {R"({"multipleOf":0.1})", "0.3", "0.35"},
      {R"({"minLength":2,"maxLength":3})", "\"äöü\"", "\"ä\""},
      {R"({"pattern":"^[a-c]+$"})", "\"abc\"", "\"abd\""},
      {R"({"pattern":"b"})", "\"abc\"", "\"acc\""},
      {R"({"items":{"type":"number"},"minItems":1,"maxItems":2})", "[1]", "[1,2,3]"},
      {R"({"prefixItems":[{"type":"string"}],"items":false})", "[\"a\"]", "[\"a\",1]"},
      {R"({"uniqueItems":true})", "[1,2]", "[1,1.0]"},
      {R"({"required":["a"],"additionalProperties":{"type":"null"}})", R"({"a":null})",
       R"({"a":1})"},
      {R"({"minProperties":1,"maxProperties":1})", R"({"a":1})", "{}"},
      {R"({"anyOf":[{"type":"string"},{"minimum":5}]})", "6", "4"},
      {R"({"oneOf":[{"type":"integer"},{"minimum":5}]})", "4", "6"},
      {R"({"allOf":[{"type":"integer"},{"minimum":5}]})", "6", "4"},
      {R"({"not":{"type":"integer"}})", "\"a\"", "4"},
      {R"({"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"next":{"$ref":"#"}}}}})",
       R"({"next":{"next":{}}})", R"({"next":{"next":1}})"},
      {"true", "1", nullptr},
      {"false", nullptr, "1"},
  };
  for (const auto& c : cases) {
    if (c.good != nullptr) {
      EXPECT_EQ(check(c.schema, c.good), "") << c.schema;
    }
    if (c.bad != nullptr) {
      EXPECT_NE(check(c.schema, c.bad), "") << c.schema;
    }
  }
  EXPECT_EQ(check(R"({"properties":{"a/b":{"items":{"type":"string"}}}})", R"({"a/b":["x",7]})"),
            "/a~1b/1: found '7' (integer), expected string");
  EXPECT_NE(check(R"({"$ref":"#"})", "1"), "");
  EXPECT_NE(check(R"({"$ref":"#/no"})", "1"), "");
  EXPECT_EQ(ResolvePointer(ParseJson(R"({"a~b":[0,{"c/d":5}]})", "p"), "#/a~0b/1/c~1d")->AsInt(),
            5);
}

}  // namespace
}  // namespace planish

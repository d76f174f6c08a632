// SPDX-License-Identifier: Apache-2.0
// Grammars against texts that fit and texts that do not, the mask against asking for each token, and random schemas whose
// random outputs a validator that knows nothing of grammars judges.
#include "infer/grammar.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "infer/grammar_testing.h"
#include "text/json_schema.h"

namespace planish {
namespace {

using Mode = ReasoningSplitter::Mode;

class GrammarTest : public ::testing::Test {
 protected:
  static std::shared_ptr<const AnswerGrammar> Compile(const char* field, const std::string& json) {
    AnswerFormat format;
    Json value = ParseJson(json, "test");
    if (std::string_view(field) == "schema") {
      Json outputs = Json::MakeObject();
      outputs.Set("json", value);
      format.structured_outputs = outputs;
    } else if (std::string_view(field) == "response_format") {
      format.response_format = value;
    } else {
      Json outputs = Json::MakeObject();
      outputs.Set(field, value);
      format.structured_outputs = outputs;
    }
    return CompileAnswerGrammar(format);
  }
  bool Fits(const AnswerGrammar& answer, std::string_view text) {
    GrammarAutomaton automaton(answer.grammar, vocabulary_);
    return automaton.Push(text) && automaton.is_complete();
  }
  static std::string Problem(const char* field, const std::string& json) {
    try {
      Compile(field, json);
    } catch (const GrammarError& e) {
      return e.pointer();
    }
    return "(none)";
  }

  std::shared_ptr<const Tokenizer> tokenizer_ = GrammarTokenizer();
  std::shared_ptr<const GrammarVocabulary> vocabulary_ = GrammarVocabulary::Make(tokenizer_);
};

struct SchemaCase {
  const char* schema;
  std::vector<const char*> good, bad;
};

TEST_F(GrammarTest, SchemasTakeWhatFitsAndNothingElse) {
  const SchemaCase cases[] = {
      {"{}",
       {"1", "\"a\"", "{\"a\": [1, {}]}", "[]", "-0.5e-3", "true"},
       {"", "a", "01", "1.", "[1,]", "{\"a\" 1}", "\"\n\"", "nul", "\"\\ud800\"", "1 "}},
      {R"({"type":"integer"})",
       {"0", "-7", "12345678901234567890"},
       {"1.5", "1e3", "-", "00", "123456789012345678901"}},
      {R"({"type":"number"})",
       {"0", "-7.25", "1e9", "2.5E+07"},
       {"1e100", ".5", "+1", "NaN", "0.123456789012345678901"}},
      {R"({"type":"boolean"})", {"true", "false"}, {"null", "True"}},
      {R"({"type":["null","boolean"]})", {"true", "null"}, {"0"}},
      {R"({"type":"integer","minimum":-12,"maximum":345})",
       {"-12", "-9", "0", "9", "10", "99", "345"},
       {"-13", "346", "-0", "1000", "-99"}},
      {R"({"type":"integer","exclusiveMinimum":5})", {"6", "10", "999999"}, {"5", "0", "-6"}},
      {R"({"type":"integer","maximum":-100})", {"-100", "-101", "-5000"}, {"-99", "0", "100"}},
      {R"({"type":"integer","minimum":1.5,"exclusiveMaximum":4.0})", {"2", "3"}, {"1", "4"}},
      {R"({"type":"string","minLength":2,"maxLength":3})",
       {"\"ab\"", "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"", "\"\\n\\u00e9\""},
       {"\"a\"", "\"abcd\"", "\"\""}},
      {R"({"type":"string"})",
       {"\"\"", "\"\\\\\""},
       {"\"\t\"", "\"\xFF\"", "\"\xC3\"", "\"\\x\"", "\"\xED\xA0\x80\""}},
      {R"({"type":"string","pattern":"^[a-c]+(x|yz)?$"})",
       {"\"abc\"", "\"cx\"", "\"ayz\""},
       {"\"\"", "\"ay\"", "\"dx\"", "\"abcxx\""}},
      {R"({"type":"string","pattern":"b\\d"})", {"\"b1\"", "\"aab2cc\""}, {"\"bb\"", "\"1b\""}},
      {R"({"type":"string","pattern":"^\"\\\\\\n?$"})", {R"("\"\\")", R"("\"\\\n")"}, {R"("\"")"}},
      {R"({"type":"string","format":"date"})",
       {"\"2024-12-31\"", "\"1999-02-28\""},
       {"\"2024-13-01\"", "\"2024-04-31\"", "\"2024-02-30\"", "\"24-01-01\""}},
      {R"({"type":"string","format":"date-time"})",
       {"\"2024-12-31T23:59:59Z\"", "\"2024-01-01T00:00:00.25+01:30\""},
       {"\"2024-01-01\"", "\"2024-01-01T24:00:00Z\""}},
      {R"({"type":"string","format":"uuid"})",
       {"\"123e4567-e89b-12d3-a456-426614174000\""},
       {"\"123e4567\""}},
      {R"({"enum":["a\"b",1,{"k":[null]}]})",
       {R"("a\"b")", "1", R"({"k": [null]})"},
       {"\"a\"", "2", "10"}},
      {R"({"enum":["a",1,2],"type":"integer","minimum":2})", {"2"}, {"1", "\"a\""}},
      {R"({"const":"only"})", {"\"only\""}, {"\"onl\""}},
      {R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
       {"[1]", "[1, 2]", "[ 1 ,2\n,3 ]"},
       {"[]", "[1,2,3,4]", "[\"a\"]"}},
      {R"({"type":"array","items":{"const":1},"minItems":2})",
       {"[1,1]", "[1,1,1,1,1,1,1]"},
       {"[1]", "[]"}},
      {R"({"type":"array","maxItems":0})", {"[]", "[ ]"}, {"[1]"}},
      {R"({"prefixItems":[{"type":"string"},{"type":"null"}],"items":{"type":"boolean"},"maxItems":3})",
       {"[]", "[\"a\"]", "[\"a\",null,true]"},
       {"[null]", "[\"a\",null,true,true]", "[\"a\",true]"}},
      {R"({"prefixItems":[{"const":1}],"items":false,"minItems":1})", {"[1]"}, {"[]", "[1,1]"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},"c":{}},"required":["b"],"additionalProperties":false})",
       {R"({"b":""})", R"({"a": 1, "b": "x", "c": [1]})", R"({"b":"x","c":{}})"},
       {"{}", R"({"a":1})", R"({"b":"x","a":1})", R"({"b":"x","d":1})", R"({"b":"x",})",
        R"({,"b":"x"})"}},
      {R"({"type":"object","properties":{"ab":{"type":"integer"}},"additionalProperties":{"type":"string"}})",
       {"{}", R"({"ab":1,"a":"x","abc":"y"})", R"({"":"e","b":"y"})"},
       {R"({"ab":"x"})", R"({"a":"x","ab":"y"})", R"({"a":"x","\u0061b":"y"})", R"({"x":1})"}},
      {R"({"type":"object"})", {"{}", R"({"x": {"y": [1]}})"}, {"[]"}},
      {R"({"properties":{"never":false,"x":true}})", {"{}", R"({"x":1})"}, {R"({"never":1})"}},
      {R"({"required":["k"],"additionalProperties":{"type":"null"}})",
       {R"({"k":null})", R"({"k":null,"z":null})"},
       {"{}", R"({"z":null})"}},
      {R"({"anyOf":[{"type":"null"},{"type":"array","items":{"$ref":"#"}}]})",
       {"null", "[]", "[null,[[],null]]"},
       {"1", "[1]"}},
      {R"({"anyOf":[{"minLength":2},{"maxLength":0}],"type":"string"})",
       {"\"\"", "\"ab\""},
       {"\"a\"", "1"}},
      {R"({"oneOf":[{"type":"integer"},{"type":"string"}]})", {"1", "\"a\""}, {"null"}},
      {R"({"allOf":[{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"a":{"minimum":3},"b":{"type":"null"}},"required":["b"]}]})",
       {R"({"a":3,"b":null})"},
       {R"({"a":2,"b":null})", R"({"a":3})"}},
      {R"({"allOf":[{"type":["integer","string"]},{"type":"number"}],"maximum":1,"minimum":1})",
       {"1"},
       {"\"a\"", "2"}},
      {R"({"$ref":"#/$defs/t","$defs":{"t":{"type":"object","properties":{"kids":{"type":"array","items":{"$ref":"#/$defs/t"}}},"additionalProperties":false}}})",
       {"{}", R"({"kids":[{},{"kids":[]}]})"},
       {R"({"kids":[1]})", R"({"kid":[]})"}},
      {R"({"$ref":"#/$defs/n","minimum":3,"$defs":{"n":{"type":"integer","maximum":4}}})",
       {"3", "4"},
       {"2", "5"}},
      {R"({"title":"t","description":"d","default":1,"examples":[2],"type":"integer"})",
       {"1"},
       {"\"a\""}},
      {"true", {"1"}, {"x"}},
  };
  for (const SchemaCase& c : cases) {
    const auto answer = Compile("schema", c.schema);
    const Json schema = ParseJson(c.schema, "schema");
    for (const char* good : c.good) {
      EXPECT_TRUE(Fits(*answer, good)) << c.schema << " should take " << good;
      // The grammar may be stricter than the schema, never laxer.
      EXPECT_EQ(CheckJsonSchema(schema, ParseJson(good, "good")), "")
          << c.schema << " with " << good;
    }
    for (const char* bad : c.bad)
      EXPECT_FALSE(Fits(*answer, bad)) << c.schema << " should not take " << bad;
  }
}

TEST_F(GrammarTest, WhatIsNotSupportedIsAnErrorThatNamesThePlace) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"not":{}})", "#/not"},
      {R"({"properties":{"a/b":{"items":{"uniqueItems":true}}}})",
       "#/properties/a~1b/items/uniqueItems"},
      {R"({"type":"array","contains":{}})", "#/contains"},
      {R"({"if":{},"then":{}})", "#/if"},
      {R"({"patternProperties":{"a":{}}})", "#/patternProperties"},
      {R"({"typo":1})", "#/typo"},
      {R"({"type":"number","minimum":0})", "#/minimum"},
      {R"({"type":"integer","multipleOf":3})", "#/multipleOf"},
      {R"({"type":"strin"})", "#/type"},
      {R"({"type":[]})", "#/type"},
      {R"({"type":null})", "#/type"},
      {R"({"type":"string","format":"email"})", "#/format"},
      {R"({"type":"string","pattern":"a","minLength":2})", "#/pattern"},
      {R"s({"type":"string","pattern":"(?=a)"})s", "#/pattern"},
      {R"({"type":"string","pattern":"(a)\\1"})", "#/pattern"},
      {R"({"type":"string","pattern":"foo**"})", "#/pattern"},
      {R"({"type":"string","pattern":"((((("})", "#/pattern"},
      {R"({"type":"string","pattern":"a{0,100000}"})", "#/pattern"},
      {R"({"type":"string","pattern":"^a|b$"})", "#/pattern"},
      {R"({"type":"string","pattern":"[z-a]"})", "#/pattern"},
      {R"s({"type":"string","pattern":"a)"})s", "#/pattern"},
      {R"({"type":"string","minLength":-1})", "#/minLength"},
      {R"({"type":"array","minItems":1.5})", "#/minItems"},
      {R"({"type":"array","minItems":1e12})", "#/minItems"},
      {R"({"type":"integer","minimum":3,"maximum":2})", "#"},
      {R"({"enum":[]})", "#/enum"},
      {R"({"enum":["a"],"type":"integer"})", ""},
      {R"({"required":["a"],"properties":{},"additionalProperties":false})", "#/required"},
      {R"({"properties":{"a":{"$ref":"http://x/y"}}})", "#/properties/a/$ref"},
      {R"({"$ref":"#/$defs/no"})", "#/$ref"},
      {R"({"$ref":"#"})", ""},
      {R"({"anyOf":[{"$ref":"#/anyOf/1"},{"$ref":"#/anyOf/0"}]})", ""},
      {R"({"properties":{"a":{"$ref":"#"}},"required":["a"]})", ""},
      {R"({"allOf":[{"type":"string"},{"type":"null"}]})", ""},
      {R"({"allOf":[{"pattern":"a"},{"pattern":"b"}]})", "#/allOf/1/pattern"},
      {R"({"prefixItems":[{}],"minItems":2})", "#/minItems"},
      {R"({"properties":[]})", "#/properties"},
      {R"("x")", ""},
      {"false", ""},
  };
  for (const auto& [schema, pointer] : cases) {
    Json format = Json::MakeObject(), inner = Json::MakeObject();
    format.Set("type", "json_schema");
    inner.Set("name", "n");
    inner.Set("schema", ParseJson(schema, "s"));
    format.Set("json_schema", inner);
    EXPECT_TRUE(Problem("response_format", DumpJson(format))
                    .starts_with(std::string("response_format.json_schema.schema") + pointer))
        << schema << ": " << Problem("response_format", DumpJson(format));
  }
  EXPECT_EQ(Problem("response_format", R"({"type":"xml"})"), "response_format.type");
  EXPECT_EQ(Problem("regex", "\"(a\""), "structured_outputs.regex");
  EXPECT_EQ(Problem("choice", "[]"), "structured_outputs.choice");
  EXPECT_EQ(Problem("structural_tag", "{}"), "structured_outputs.structural_tag");
}

TEST_F(GrammarTest, ObjectsRegexesChoicesAndGrammarTexts) {
  EXPECT_TRUE(Fits(*Compile("response_format", R"({"type":"json_object"})"), "{\"a\": 1}"));
  EXPECT_FALSE(Fits(*Compile("response_format", R"({"type":"json_object"})"), "[]"));
  EXPECT_EQ(Compile("response_format", R"({"type":"text"})"), nullptr);
  const auto choice = Compile("choice", R"(["yes","yes, sir","\u00e9"])");
  for (const char* good : {"yes", "yes, sir", "\xC3\xA9"}) EXPECT_TRUE(Fits(*choice, good));
  for (const char* bad : {"", "ye", "yes,", "no"}) EXPECT_FALSE(Fits(*choice, bad));
  const auto regex = Compile("regex", R"("\\d{3}-[^a-z\\s]+(\\.x{2,})*?")");
  for (const char* good : {"123-A", "000-\xE2\x82\xAC!.xx.xxx"})
    EXPECT_TRUE(Fits(*regex, good)) << good;
  for (const char* bad : {"12-A", "123-a", "123-A.x"}) EXPECT_FALSE(Fits(*regex, bad)) << bad;
  const auto grammar = Compile(
      "grammar",
      DumpJson(Json("# arithmetic\nroot ::= term (ws [-+] ws term)*\nterm ::= number\n  | \"(\" "
                    "root \")\" # nested\nnumber ::= [1-9] [0-9]{0,2} | \"0\"\nws ::= \" \"?\n")));
  for (const char* good : {"1", "1+2", "(1 - 20)+0", "((5))"})
    EXPECT_TRUE(Fits(*grammar, good)) << good;
  for (const char* bad : {"", "01", "1+", "(1", "1000", "1  + 2"})
    EXPECT_FALSE(Fits(*grammar, bad)) << bad;
  // Ambiguity, and repeats of what may be empty.
  for (const char* text : {"(a|a)*b", "(a*)*b", "((a?)*(b?)*)*b", "(a|b)*?b", "(){3}a*b"})
    EXPECT_TRUE(Fits(*Compile("regex", DumpJson(Json(text))), "aab")) << text;
  const std::pair<const char*, const char*> bad_grammars[] = {
      {"root ::= a", "not defined"},
      {"a ::= \"x\"", "no rule 'root'"},
      {"root ::= root \"x\" | \"y\"", "leads back"},
      {"root ::= a\na ::= b\nb ::= a \"x\"", "leads back"},
      {"root ::= \"x", "closing quote"},
      {"root ::= (\"x\"", "closing parenthesis"},
      {"root ::= \"x\"\nroot ::= \"y\"", "twice"},
      {"root ::= \"x\"{5,2}", "backwards"},
      {"root \"x\"", "::="},
      {"root ::= \"x\" )", "closes nothing"},
      {"root ::= \"a\" root", "no text at all"},
      {"", "no rule 'root'"},
  };
  for (const auto& [text, problem] : bad_grammars) {
    try {
      Compile("grammar", DumpJson(Json(text)));
      ADD_FAILURE() << text;
    } catch (const GrammarError& e) {
      EXPECT_NE(std::string(e.what()).find(problem), std::string::npos) << text << ": " << e.what();
    }
  }
}

TEST_F(GrammarTest, TheMaskIsExactlyWhatEachTokenAsksFor) {
  Random random(3, 0);
  for (int round = 0; round < 40; ++round) {
    const Json schema = RandomRootSchema(&random, 2);
    std::shared_ptr<const AnswerGrammar> answer;
    try {
      answer = Compile("schema", DumpJson(schema));
    } catch (const GrammarError&) {
      continue;
    }
    GrammarAutomaton automaton(answer->grammar, vocabulary_);
    for (int step = 0; step < 30; ++step) {
      const TokenMask mask = automaton.Mask();
      std::vector<int32_t> allowed;
      for (size_t id = 0; id < tokenizer_->vocab_size(); ++id) {
        const std::string_view bytes = vocabulary_->Bytes(static_cast<int32_t>(id));
        const bool expected = !bytes.empty() && automaton.Accepts(bytes);
        ASSERT_EQ(mask.Allows(id), expected)
            << DumpJson(schema) << " step " << step << " token " << bytes;
        if (expected) allowed.push_back(static_cast<int32_t>(id));
      }
      ASSERT_TRUE(!allowed.empty() || automaton.is_complete());
      if (allowed.empty()) break;
      ASSERT_TRUE(automaton.Push(vocabulary_->Bytes(allowed[random.Below(allowed.size())])));
    }
  }
}

TEST_F(GrammarTest, LongTextsForgetOldSetsAndGoOn) {
  const auto answer =
      Compile("schema", R"({"type":"array","items":{"type":"string","maxLength":40}})");
  GrammarAutomaton automaton(answer->grammar, vocabulary_);
  ASSERT_TRUE(automaton.Push("["));
  for (int i = 0; i < 400; ++i) {
    ASSERT_TRUE(automaton.Push(std::string(i == 0 ? "" : ",") + "\"" +
                               std::string(static_cast<size_t>(i % 40), 'x')));
    automaton.Mask();
    ASSERT_TRUE(automaton.Push("\"")) << i;
  }
  EXPECT_TRUE(automaton.Push("]"));
  EXPECT_TRUE(automaton.is_complete());
  EXPECT_FALSE(automaton.can_go_on());
  EXPECT_LT(automaton.set_count(), 20'000u);
  // Deeper than the stack may be: nothing breaks, the brackets just cannot go on.
  GrammarAutomaton deep(Compile("schema", "{}")->grammar, vocabulary_);
  size_t depth = 0;
  while (depth < 10'000 && deep.Push("[")) ++depth;
  EXPECT_GE(depth, limits::kJsonDepth);
  EXPECT_LT(depth, 1'000u);
  EXPECT_TRUE(deep.Mask().AllowsAny());
}

// Compiles or is refused, within the limit of time; what compiles can be run.
TEST_F(GrammarTest, HostileRequestsEndQuickly) {
  std::vector<std::pair<const char*, std::string>> inputs;
  std::string fan = R"({"$ref":"#/$defs/a0","$defs":{)";
  for (int i = 0; i < 60; ++i)
    fan += fmt::format(
        R"("a{}":{{"type":"array","prefixItems":[{{"$ref":"#/$defs/a{}"}},{{"$ref":"#/$defs/a{}"}}]}},)",
        i, i + 1, i + 1);
  inputs.push_back({"schema", fan + R"("a60":{"type":"null"}}})"});
  std::string all = R"({"allOf":[)";
  for (int i = 0; i < 3000; ++i) all += R"({"type":"object"},)";
  inputs.push_back({"schema", all + "{}]}"});
  inputs.push_back(
      {"schema",
       R"({"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":"#/$defs/a"},{"minimum":1}]}}})"});
  inputs.push_back(
      {"schema",
       R"({"allOf":[{"$ref":"#/$defs/a"},{"properties":{"x":{"properties":{"x":{}}}}}],"$defs":{"a":{"type":"object","properties":{"x":{"$ref":"#/$defs/a"}}}}})"});
  inputs.push_back(
      {"schema",
       R"({"allOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/b"}],"$defs":{"a":{"properties":{"x":{"$ref":"#/$defs/a"}}},"b":{"properties":{"x":{"$ref":"#/$defs/b"},"y":{}}}}})"});
  inputs.push_back({"schema", R"({"type":"string","maxLength":9223372036854775807})"});
  inputs.push_back(
      {"schema",
       R"({"type":"array","minItems":999999999,"items":{"type":"array","minItems":999999999}})"});
  std::string many = R"({"enum":[)";
  for (int i = 0; i < 6000; ++i) many += fmt::format("\"value{}\",", i);
  inputs.push_back({"schema", many + "1]}"});
  std::string optional = R"({"type":"object","properties":{)";
  for (int i = 0; i < 1500; ++i) optional += fmt::format("\"p{}\":{{\"type\":\"string\"}},", i);
  inputs.push_back({"schema", optional + R"("last":{}},"additionalProperties":true})"});
  inputs.push_back({"regex", "\"((a{1,64}){1,64}){1,64}\""});
  inputs.push_back({"regex", "\"((a?){0,60}){0,60}b\""});
  inputs.push_back({"regex", "\"(((a{0,2000}){0,2000}){0,2000}){0,2000}\""});
  inputs.push_back({"regex", DumpJson(Json(std::string(4000, '(')))});
  inputs.push_back({"regex", DumpJson(Json("[^" + std::string(4000, 'a') + "]{2000}"))});
  inputs.push_back({"grammar", DumpJson(Json("root ::= " + std::string(60'000, '(')))});
  std::string chain = "root ::= r0\n";
  for (int i = 0; i < 2500; ++i) chain += fmt::format("r{} ::= r{}\n", i, i + 1);
  inputs.push_back({"grammar", DumpJson(Json(chain + "r2500 ::= \"x\""))});
  inputs.push_back({"grammar", DumpJson(Json("root ::= (\"\"*)*"))});
  inputs.push_back({"schema", R"({"description":")" + std::string(70'000, 'x') + R"("})"});
  for (const auto& [field, json] : inputs) {
    const auto begin = std::chrono::steady_clock::now();
    try {
      const auto answer = Compile(field, json);
      GrammarAutomaton automaton(answer->grammar, vocabulary_);
      for (int i = 0; i < 20; ++i) {
        automaton.Mask();
        if (!automaton.Push("a") && !automaton.Push("[") && !automaton.Push("{\"")) break;
      }
    } catch (const GrammarError&) {
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    EXPECT_LT(seconds, 20.0) << json.substr(
        0, 100);  // far above what it takes, for sanitizers on a busy machine
  }
}

struct Sample {
  Json schema;
  std::string text;
};
std::vector<Sample> RandomSamples(uint64_t seed, size_t count,
                                  const std::shared_ptr<const GrammarVocabulary>& vocabulary) {
  Random random(seed, 0);
  std::vector<Sample> samples;
  while (samples.size() < count) {
    const Json schema = RandomRootSchema(&random, 3);
    AnswerFormat format;
    format.structured_outputs = Json::MakeObject();
    format.structured_outputs.Set("json", schema);
    std::shared_ptr<const AnswerGrammar> answer;
    try {
      answer = CompileAnswerGrammar(format);
    } catch (const GrammarError& e) {
      // Contradictions only: the generator writes nothing that is not supported.
      EXPECT_TRUE(std::string(e.what()).find("not supported") == std::string::npos)
          << e.what() << " in " << DumpJson(schema);
      continue;
    }
    GrammarHook hook(answer, vocabulary, Mode::kAnswer, {EndId(vocabulary->tokenizer())});
    const RandomAnswer written = WriteAtRandom(&hook, vocabulary->tokenizer(), &random, 60, 3000);
    EXPECT_TRUE(written.ended) << DumpJson(schema) << "\n" << written.text;
    EXPECT_TRUE(hook.is_complete());
    samples.push_back({schema, written.text});
  }
  return samples;
}

TEST_F(GrammarTest, RandomOutputsOfRandomSchemasAreValid) {
  for (const Sample& sample : RandomSamples(1, 50, vocabulary_)) {
    Json value;
    ASSERT_NO_THROW(value = ParseJson(sample.text, "output",
                                      {.max_depth = 256, .reject_duplicate_keys = false}))
        << sample.text;
    EXPECT_EQ(CheckJsonSchema(sample.schema, value), "") << DumpJson(sample.schema) << "\n"
                                                         << sample.text;
  }
}

// The same judged by Python's jsonschema, over 1,000 schemas.
TEST_F(GrammarTest, RandomOutputsAreValidForAnotherValidatorSlow) {
  const std::string path =
      std::filesystem::temp_directory_path() / fmt::format("planish_grammar_{}.jsonl", ::getpid());
  std::ofstream file(path);
  for (const Sample& sample : RandomSamples(2, 1000, vocabulary_)) {
    Json line = Json::MakeObject();
    line.Set("schema", sample.schema);
    line.Set("text", sample.text);
    file << DumpJson(line) << "\n";
  }
  file.close();
  const std::string script = std::string(PLANISH_SOURCE_DIR) + "/tools/check_schemas.py";
  EXPECT_EQ(std::system(fmt::format("python3 '{}' '{}'", script, path).c_str()), 0);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace planish

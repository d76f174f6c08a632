// SPDX-License-Identifier: Apache-2.0
// The hook over scripted answers: reasoning stays free, the answer is bound from its first byte, ends are allowed only where
// the text may end, and each choice of tool_choice does what it says.
#include "infer/grammar_hook.h"

#include <gtest/gtest.h>

#include "infer/grammar_testing.h"
#include "text/json_schema.h"
#include "text/reply_parser.h"

namespace planish {
namespace {

using Mode = ReasoningSplitter::Mode;

class GrammarHookTest : public ::testing::Test {
 protected:
  std::unique_ptr<GrammarHook> Hook(const AnswerFormat& format, Mode mode) {
    return std::make_unique<GrammarHook>(CompileAnswerGrammar(format), vocabulary_, mode,
                                         std::vector<int32_t>{end_});
  }
  static AnswerFormat Schema(const char* schema) {
    AnswerFormat format;
    format.response_format = ParseJson(
        fmt::format(R"({{"type":"json_schema","json_schema":{{"name":"n","schema":{}}}}})", schema),
        "f");
    return format;
  }
  static AnswerFormat Tools(const char* choice, ToolFormat tool_format = ToolFormat::kToolcallList,
                            bool parallel = true) {
    AnswerFormat format;
    format.tools = ParseJson(
        R"([{"type":"function","function":{"name":"add","parameters":{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"required":["a","b"]}}},)"
        R"({"type":"function","function":{"name":"say","parameters":{"type":"object","properties":{"text":{"type":"string","maxLength":5},"loud":{"type":"boolean"}},"required":["text"]}}}])",
        "tools");
    format.tool_choice = ParseJson(choice, "choice");
    format.tool_format = tool_format;
    format.parallel_tool_calls = parallel;
    return format;
  }
  // Feeds text in pieces that are tokens, longest first, checking that each is allowed; the part that was taken. The action
  // after it is kept.
  std::string Feed(GrammarHook* hook, std::string_view text) {
    if (!begun_) action_ = hook->Begin();
    begun_ = true;
    size_t at = 0;
    while (at < text.size()) {
      if (!action_.forced.empty()) return std::string(text.substr(0, at));
      int32_t best = -1;
      for (size_t n = text.size() - at; n > 0 && best < 0; --n) {
        const auto id = tokenizer_->Find(text.substr(at, n));
        if (id && (action_.mask == nullptr || action_.mask->Allows(static_cast<size_t>(*id))))
          best = *id;
      }
      if (best < 0) break;
      at += tokenizer_->TokenBytes(best).size();
      action_ = hook->OnToken(best);
    }
    return std::string(text.substr(0, at));
  }
  bool MayEnd() const {
    return action_.mask == nullptr || action_.mask->Allows(static_cast<size_t>(end_));
  }
  std::string TakeForced(GrammarHook* hook) {
    if (!begun_) action_ = hook->Begin();
    begun_ = true;
    std::string text;
    const std::vector<int32_t> forced = action_.forced;
    for (const int32_t id : forced) {
      text += tokenizer_->TokenBytes(id);
      action_ = hook->OnToken(id);
    }
    return text;
  }

  std::shared_ptr<const Tokenizer> tokenizer_ = GrammarTokenizer();
  std::shared_ptr<const GrammarVocabulary> vocabulary_ = GrammarVocabulary::Make(tokenizer_);
  int32_t end_ = EndId(*tokenizer_);
  TokenHook::Action action_;
  bool begun_ = false;
};

TEST_F(GrammarHookTest, BindsTheAnswerAfterTheReasoningOnly) {
  const std::string thought = "not { json, <b> </th maybe\n";
  for (const char* close : {"</think>", "</think>\n", "</think>\n\n"}) {
    begun_ = false;
    const auto hook =
        Hook(Schema(R"({"type":"object","properties":{"x":{"type":"integer"}},"required":["x"]})"),
             Mode::kThink);
    EXPECT_EQ(Feed(hook.get(), thought), thought);
    EXPECT_FALSE(MayEnd());              // the answer is still to come
    EXPECT_EQ(hook->masks_built(), 4u);  // at "<", "</", "</t" and "</th" only
    EXPECT_EQ(Feed(hook.get(), close), close);
    EXPECT_FALSE(MayEnd());
    EXPECT_EQ(Feed(hook.get(), "Sure: "), "");
    EXPECT_EQ(Feed(hook.get(), "{\"x\": 12"), "{\"x\": 12");
    EXPECT_FALSE(MayEnd());
    EXPECT_EQ(Feed(hook.get(), "} and"), "}");
    EXPECT_TRUE(MayEnd());
    EXPECT_TRUE(hook->is_complete());
    EXPECT_FALSE(hook->is_broken());
  }
}

TEST_F(GrammarHookTest, ATokenThatClosesTheReasoningMayNotBreakTheAnswer) {
  const auto object = Hook(Schema(R"({"type":"object"})"), Mode::kThink);
  EXPECT_EQ(Feed(object.get(), "hm</think"), "hm</think");
  const auto crossing = static_cast<size_t>(tokenizer_->Find(">\n{").value()),
             wrong = static_cast<size_t>(tokenizer_->Find("><").value());
  ASSERT_NE(action_.mask, nullptr);
  EXPECT_TRUE(action_.mask->Allows(crossing));
  EXPECT_FALSE(action_.mask->Allows(wrong));
  EXPECT_TRUE(action_.mask->Allows(
      static_cast<size_t>(tokenizer_->Find("ab").value())));  // still a thought
  EXPECT_EQ(Feed(object.get(), ">\n{\"a\": 1}"), ">\n{\"a\": 1}");
  EXPECT_TRUE(object->is_complete());
}

TEST_F(GrammarHookTest, WithoutReasoningItBindsFromTheStartAndAnOpeningTagMayComeFirst) {
  const auto off = Hook(Schema(R"({"enum":["abc","</think>"]})"), Mode::kOff);
  EXPECT_EQ(Feed(off.get(), "x"), "");
  EXPECT_EQ(Feed(off.get(), "\"</think>\""), "\"</think>\"");
  EXPECT_TRUE(MayEnd());
  begun_ = false;
  const auto open = Hook(Schema(R"({"const":1})"), Mode::kOpenWait);
  EXPECT_EQ(Feed(open.get(), "no"), "");
  EXPECT_EQ(Feed(open.get(), "\n<think>anything {\n</think>\n\n1"),
            "\n<think>anything {\n</think>\n\n1");
  EXPECT_TRUE(MayEnd());
  begun_ = false;
  const auto direct = Hook(Schema(R"({"const":1})"), Mode::kOpenWait);
  EXPECT_EQ(Feed(direct.get(), "1"), "1");
  EXPECT_TRUE(MayEnd());
}

TEST_F(GrammarHookTest, RequiredAndNamedCallsAreOpenedForTheModelAfterItsReasoning) {
  for (const char* choice : {R"("required")", R"({"type":"function","function":{"name":"say"}})"}) {
    begun_ = false;
    const auto hook = Hook(Tools(choice), Mode::kThink);
    EXPECT_EQ(Feed(hook.get(), "which one?\n</think>\n\n"), "which one?\n</think>\n\n");
    EXPECT_EQ(TakeForced(hook.get()), "<TOOLCALL>[");
    EXPECT_FALSE(MayEnd());
    const bool is_named = choice[0] == '{';
    EXPECT_EQ(Feed(hook.get(), R"({"name": "add")"),
              is_named ? R"({"name": ")" : R"({"name": "add")");
    EXPECT_EQ(
        Feed(hook.get(), is_named ? R"(say", "arguments": {"text": "hellos)"
                                  : R"(, "arguments": {"a": 1, "b": "x)"),
        is_named ? R"(say", "arguments": {"text": "hello)" : R"(, "arguments": {"a": 1, "b": )");
    const char* rest = is_named
                           ? R"("}}])"
                           : R"(2}}, {"name": "say", "arguments": {"text": "hi", "loud": true}}])";
    EXPECT_EQ(Feed(hook.get(), rest), rest);
    EXPECT_FALSE(MayEnd());
    EXPECT_EQ(Feed(hook.get(), "</TOOLCALL>more"), "</TOOLCALL>");
    EXPECT_TRUE(MayEnd());
  }
}

TEST_F(GrammarHookTest, AutoBindsCallsAndLeavesTextFree) {
  const auto hook = Hook(Tools(R"("auto")"), Mode::kAnswer);
  EXPECT_EQ(Feed(hook.get(), "I <TOOL you. "), "I <TOOL you. ");
  EXPECT_TRUE(MayEnd());
  EXPECT_EQ(Feed(hook.get(), "<TOOLCALL>"), "<TOOLCALL>");
  EXPECT_FALSE(MayEnd());
  EXPECT_EQ(Feed(hook.get(), "x"), "");
  EXPECT_EQ(Feed(hook.get(), R"([{"name": "nope")"), R"([{"name": ")");
  EXPECT_EQ(Feed(hook.get(), R"(add", "arguments": {"a": 1, "b": 2}}]</TOOLCALL> done)"),
            R"(add", "arguments": {"a": 1, "b": 2}}]</TOOLCALL> done)");
  EXPECT_TRUE(MayEnd());
  // A token that goes on behind the tag is judged as a whole.
  begun_ = false;
  const auto crossing = Hook(Tools(R"("auto")"), Mode::kAnswer);
  Feed(crossing.get(), "<TOOLCALL");
  EXPECT_TRUE(action_.mask->Allows(static_cast<size_t>(tokenizer_->Find(">[{\"").value())));
  EXPECT_FALSE(action_.mask->Allows(static_cast<size_t>(tokenizer_->Find("><").value())));
}

TEST_F(GrammarHookTest, ACallInsideTheReasoningIsBoundToo) {
  const auto hook = Hook(Tools(R"("auto")"), Mode::kThink);
  EXPECT_EQ(Feed(hook.get(), "so\n"), "so\n");
  EXPECT_TRUE(MayEnd());  // nothing has to come
  EXPECT_EQ(Feed(hook.get(), "<TOOLCALL>[{\"name\": \"x"), "<TOOLCALL>[{\"name\": \"");
}

TEST_F(GrammarHookTest, NoneKeepsTheTagFromBeingCompletedAndOneCallMeansOne) {
  const auto none = Hook(Tools(R"("none")"), Mode::kAnswer);
  EXPECT_EQ(Feed(none.get(), "a <TOOLCALL> b"), "a <TOOLCALL");
  EXPECT_TRUE(MayEnd());
  EXPECT_EQ(Feed(none.get(), "S"), "S");
  begun_ = false;
  const auto single = Hook(Tools(R"("auto")", ToolFormat::kToolcallList, false), Mode::kAnswer);
  const std::string call = R"(ok <TOOLCALL>[{"name":"add","arguments":{"a":1,"b":2}})";
  EXPECT_EQ(Feed(single.get(), call + ","), call);
  EXPECT_EQ(Feed(single.get(), "]</TOOLCALL>\n and"), "]</TOOLCALL>\n ");
  EXPECT_TRUE(MayEnd());
}

TEST_F(GrammarHookTest, SchemaAndToolsTogetherLeaveTheModelTheChoice) {
  AnswerFormat format = Tools(R"("auto")");
  format.response_format = ParseJson(R"({"type":"json_object"})", "f");
  for (const char* text :
       {R"({"a": 1})", R"(<TOOLCALL>[{"name":"add","arguments":{"a":1,"b":2}}]</TOOLCALL>)"}) {
    begun_ = false;
    const auto hook = Hook(format, Mode::kAnswer);
    EXPECT_EQ(Feed(hook.get(), "text"), "");
    EXPECT_EQ(Feed(hook.get(), text), text);
    EXPECT_TRUE(MayEnd());
  }
}

TEST_F(GrammarHookTest, RandomCallsInEachFormatReadBackAndFitTheirSchemas) {
  Random random(7, 0);
  for (const ToolFormat tool_format :
       {ToolFormat::kToolcallList, ToolFormat::kToolCallJson, ToolFormat::kToolCallTags}) {
    for (int round = 0; round < 30; ++round) {
      const AnswerFormat format = Tools(R"("required")", tool_format, round % 2 == 0);
      const auto hook = Hook(format, Mode::kAnswer);
      const RandomAnswer answer =
          WriteAtRandom(hook.get(), *tokenizer_, &random, 40, 4000,
                        tool_format == ToolFormat::kToolCallTags ? "\n</parameter>\n" : "");
      ASSERT_TRUE(answer.ended) << answer.text;
      const Reply reply = ParseReply(answer.text, Mode::kAnswer, format.tools);
      EXPECT_EQ(reply.failures, 0u) << answer.text;
      EXPECT_EQ(reply.content, "") << answer.text;
      ASSERT_GE(reply.calls.size(), 1u) << answer.text;
      if (round % 2 == 1) {
        EXPECT_EQ(reply.calls.size(), 1u) << answer.text;
      }
      for (const ToolCall& call : reply.calls) {
        // Text of the tag format has no length limit.
        if (tool_format != ToolFormat::kToolCallTags || call.name == "add") {
          EXPECT_EQ(CheckToolCall(call, format.tools), "") << answer.text;
        }
      }
    }
  }
}

TEST_F(GrammarHookTest, SchemasOfToolsThatCannotBeBoundAreErrorsOnlyWhenStrict) {
  AnswerFormat format;
  const char* tool =
      R"([{"type":"function","function":{"name":"f","strict":%,"parameters":{"type":"object","properties":{"u":{"type":"string","format":"uri"}}}}}])";
  const auto with = [&](const char* strict) {
    std::string text = tool;
    text.replace(text.find('%'), 1, strict);
    format.tools = ParseJson(text, "tools");
    return CompileAnswerGrammar(format);
  };
  EXPECT_THROW(with("true"), GrammarError);
  const auto loose = with("false");
  ASSERT_EQ(loose->unbound.size(), 1u);
  EXPECT_NE(loose->unbound[0].find("#/properties/u/format"), std::string::npos)
      << loose->unbound[0];
  format.tools = Json();
  format.tool_choice = Json("required");
  EXPECT_THROW(CompileAnswerGrammar(format), GrammarError);
  format = Tools(R"({"type":"function","function":{"name":"none"}})");
  EXPECT_THROW(CompileAnswerGrammar(format), GrammarError);
  format = {};
  EXPECT_EQ(CompileAnswerGrammar(format), nullptr);
}

TEST_F(GrammarHookTest, WithoutEndTokensTheSequenceStopsWhenNothingCanFollow) {
  GrammarHook hook(CompileAnswerGrammar(Schema(R"({"const":true})")), vocabulary_, Mode::kAnswer,
                   {});
  EXPECT_EQ(Feed(&hook, "true"), "true");
  EXPECT_TRUE(action_.stop);
  EXPECT_TRUE(hook.is_complete());
}

}  // namespace
}  // namespace planish

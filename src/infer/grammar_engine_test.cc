// SPDX-License-Identifier: Apache-2.0
// Grammars in the engine, on a hybrid of random weights that knows nothing of JSON: what it writes fits all the same, after
// reasoning that is closed by itself or by the budget, and whoever shares the batch.
#include <gtest/gtest.h>

#include "infer/budget.h"
#include "infer/engine.h"
#include "infer/grammar_hook.h"
#include "model/pretrained.h"
#include "text/json_schema.h"
#include "text/reply_parser.h"

namespace planish {
namespace {

using Mode = ReasoningSplitter::Mode;

class GrammarEngineTest : public ::testing::Test {
 protected:
  Request MakeRequest(const AnswerFormat& format, Mode mode, uint64_t seed) const {
    Request request;
    request.prompt = opened_.tokenizer->Encode("Answer in JSON, please.");
    request.max_new_tokens = 420;
    request.sampling.seed = seed;
    request.sampling.temperature = seed == 0 ? 0 : 1;
    request.end_ids = opened_.eos_ids;
    if (mode == Mode::kThink)
      request.hooks.push_back(std::make_shared<ThinkingBudget>(
          opened_.tokenizer, mode,
          BudgetParams{.budget = 20, .grace = 4, .max_new_tokens = 420, .answer_reserve = 300}));
    request.hooks.push_back(std::make_shared<GrammarHook>(CompileAnswerGrammar(format), vocabulary_,
                                                          mode, request.end_ids));
    return request;
  }
  std::string Text(const RequestResult& result) const {
    std::string text;
    for (const int32_t id : result.ids) {
      if (std::find(opened_.eos_ids.begin(), opened_.eos_ids.end(), id) == opened_.eos_ids.end())
        text += opened_.tokenizer->TokenBytes(id);
    }
    return text;
  }

  Pretrained opened_ = OpenPretrained(PLANISH_SOURCE_DIR "/tests/golden/models/nemotron_h_a");
  std::shared_ptr<const GrammarVocabulary> vocabulary_ =
      GrammarVocabulary::Make(opened_.tokenizer, opened_.config.vocab_size);
};

// Every text of this schema is short, so an answer that is cut off would be a fault.
constexpr const char* kSchema =
    R"({"type":"object","properties":{"name":{"type":"string","maxLength":6},"n":{"type":"integer","minimum":0,"maximum":99},)"
    R"("kind":{"enum":["a","bc"]}},"required":["name","n"],"additionalProperties":false})";

TEST_F(GrammarEngineTest, AnswersOfARandomModelFitTheSchemaWithAndWithoutReasoning) {
  AnswerFormat format;
  format.structured_outputs = Json::MakeObject();
  format.structured_outputs.Set("json", ParseJson(kSchema, "schema"));
  std::vector<RequestResult> alone;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const Mode mode = seed % 2 == 0 ? Mode::kAnswer : Mode::kThink;
    Engine engine(opened_.model.get());
    alone.push_back(engine.Run(MakeRequest(format, mode, seed)));
    ASSERT_EQ(alone.back().finish, FinishReason::kStop) << alone.back().error << Text(alone.back());
    const Reply reply = ParseReply(Text(alone.back()), mode, Json());
    EXPECT_EQ(CheckJsonSchema(ParseJson(kSchema, "schema"), ParseJson(reply.content, "answer")), "")
        << reply.content;
    EXPECT_EQ(reply.reasoning.empty(), mode == Mode::kAnswer);
  }
  Engine engine(opened_.model.get(), {.slots = 4});
  std::vector<RequestResult> together(alone.size());
  for (uint64_t seed = 0; seed < alone.size(); ++seed)
    engine.Submit(MakeRequest(format, seed % 2 == 0 ? Mode::kAnswer : Mode::kThink, seed),
                  [&together, seed](const RequestResult& done) { together[seed] = done; });
  engine.RunUntilIdle();
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_EQ(together[i].ids, alone[i].ids) << i;
}

TEST_F(GrammarEngineTest, RequiredCallsOfARandomModelHoldAfterItsReasoning) {
  AnswerFormat format;
  format.tools = ParseJson(
      fmt::format(R"([{{"type":"function","function":{{"name":"note","parameters":{}}}}}])",
                  kSchema),
      "tools");
  format.tool_choice = Json("required");
  format.parallel_tool_calls = false;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    Engine engine(opened_.model.get());
    const RequestResult result = engine.Run(MakeRequest(format, Mode::kThink, seed));
    ASSERT_EQ(result.finish, FinishReason::kStop) << result.error << Text(result);
    const Reply reply = ParseReply(Text(result), Mode::kThink, format.tools);
    ASSERT_EQ(reply.calls.size(), 1u) << Text(result);
    EXPECT_EQ(CheckToolCall(reply.calls[0], format.tools), "") << Text(result);
    EXPECT_EQ(reply.content, "");
  }
}

}  // namespace
}  // namespace planish

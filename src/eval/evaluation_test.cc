// SPDX-License-Identifier: Apache-2.0
// A pass from items to figures and JSON, with a scripted model: what each kind of reply counts for.
#include "eval/evaluation.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"
#include "eval/eval_page.h"
#include "eval/result_json.h"
#include "eval/tasks.h"
#include "problems/generator.h"

namespace planish {
namespace {

using testing::TemporaryDir;

// Replies by thinking setting and question, given back in reverse order, as a batch may.
class ScriptedGenerator : public TextGenerator {
 public:
  std::map<std::string, std::map<std::string, TextReply>> script;
  std::vector<TextRequest> seen;
  bool has_thinking() const override { return true; }
  void Run(std::span<const TextRequest> requests, const ThinkingSetting& thinking,
           const Done& done) override {
    for (size_t i = requests.size(); i-- > 0;) {
      seen.push_back(requests[i]);
      done(i, script[Name(thinking)].at(
                  requests[i].messages.AsArray()[0].Find("content")->AsString()));
    }
  }
  Json Describe() const override { return Json::Object{{"model", "script"}, {"batch", 1}}; }
};

TextReply Off(const std::string& answer) { return {.text = answer, .answer = answer, .tokens = 5}; }
TextReply On(const std::string& reasoning, const std::string& answer, ReasoningEnd end) {
  return {.text = reasoning + "</think>\n\n" + answer,
          .reasoning = reasoning,
          .answer = answer,
          .tokens = 20,
          .reasoning_tokens = 15,
          .end = end};
}

class EvaluationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    WriteFile(
        dir_ / "p.jsonl",
        R"({"question": "a", "answer": 7, "answer_type": "integer", "skill": "plus", "steps": 1, "digits": 1})"
        "\n"
        R"({"question": "b", "answer": "2:30 pm", "answer_type": "time", "skill": "clock", "steps": 3, "digits": 2})"
        "\n\n"
        R"({"question": "c", "answer": true, "id": "third", "skill": "plus", "steps": 3})"
        "\n"
        R"({"question": "d", "answer": ["Ann", "Ben"]})"
        "\n");
    task_ = MakeTask("word-problems");
    items_ = task_->Items({.data = dir_ / "p.jsonl"});
    generator_.script["off"] = {{"a", Off("The answer is 7.")},
                                {"b", Off("<think>hm</think>The answer is 14:30.")},
                                {"c", Off("I cannot say")},
                                {"d", Off("The answer is Ben, Ann.")}};
    generator_.script["on"] = {
        {"a", On("3 + 4 = 7", "The answer is 7.", ReasoningEnd::kNatural)},
        {"b", On("  ", "The answer is 14:30.", ReasoningEnd::kNatural)},
        {"c",
         {.text = "yes yes",
          .reasoning = "The answer is yes.",
          .tokens = 9,
          .reasoning_tokens = 9,
          .end = ReasoningEnd::kUnclosed}},
        {"d", On("</think>x", "The answer is Ann and Ben.", ReasoningEnd::kReserve)}};
    generator_.script["32"] = {{"a", On("3 + 4", "The answer is 8.", ReasoningEnd::kBudget)},
                               {"b", {.is_too_long = true}},
                               {"c", On("so", "", ReasoningEnd::kBudget)},
                               {"d", {.error = "the model's logits are not finite"}}};
  }

  Evaluation Run() {
    const EvalOptions options{.settings = {{-1}, {0}, {32}}, .seed = 5};
    return Evaluate(*task_, items_, options, &generator_);
  }

  TemporaryDir dir_;
  std::unique_ptr<Task> task_;
  std::vector<EvalItem> items_;
  ScriptedGenerator generator_;
};

TEST_F(EvaluationTest, RepliesCountForWhatTheyAre) {
  const Evaluation evaluation = Run();
  ASSERT_EQ(evaluation.runs.size(), 3u);
  const auto row = [&](size_t run, size_t item) {
    const EvalSample& sample = evaluation.runs[run].samples[item];
    EXPECT_EQ(sample.item, item);
    return fmt::format("{} {}{}{}{} {}", sample.verdict.score, sample.is_well_formed ? "F" : "-",
                       sample.obeys_toggle ? "T" : "-", sample.is_forced ? "B" : "-",
                       sample.is_unfinished ? "U" : "-", sample.verdict.reason);
  };
  EXPECT_EQ(row(0, 0), "1 FT-- ");
  EXPECT_EQ(row(0, 1), "1 F--- ");  // nothing thought
  EXPECT_EQ(row(0, 2), "0 -T-U unfinished");
  EXPECT_EQ(row(0, 3), "1 -TB- ");  // two closing tags
  EXPECT_EQ(row(1, 0), "1 FT-- ");
  EXPECT_EQ(row(1, 1), "1 ---- ");  // thought although off
  EXPECT_EQ(row(1, 2), "0 -T-- no answer");
  EXPECT_EQ(row(1, 3), "0 FT-- wrong");
  EXPECT_EQ(row(2, 0), "0 FTB- wrong");
  EXPECT_EQ(row(2, 1), "0 ---- prompt too long");
  EXPECT_EQ(row(2, 2), "0 -TB- no answer");
  EXPECT_EQ(row(2, 3), "0 ---- error: the model's logits are not finite");
}

TEST_F(EvaluationTest, FiguresFollowFromTheSamples) {
  const Evaluation evaluation = Run();
  const Summary on = Summarize(evaluation, evaluation.runs[0]);
  EXPECT_EQ(on.items, 4u);
  EXPECT_DOUBLE_EQ(on.accuracy.mean, 0.75);
  EXPECT_DOUBLE_EQ(on.accuracy.interval.low, WilsonInterval(3, 4).low);
  EXPECT_DOUBLE_EQ(on.unfinished, 0.25);
  EXPECT_DOUBLE_EQ(on.forced, 0.25);
  EXPECT_DOUBLE_EQ(on.forced_well_formed, 0);
  EXPECT_DOUBLE_EQ(on.thinking_p50, 15);
  EXPECT_DOUBLE_EQ(on.thinking_mean, (3 * 15 + 9) / 4.0);
  EXPECT_EQ(on.tokens, 69u);
  ASSERT_EQ(on.by_skill.size(), 2u);  // one item has none
  EXPECT_EQ(on.by_skill.at("plus").n, 2u);
  EXPECT_DOUBLE_EQ(on.by_skill.at("plus").mean, 0.5);
  EXPECT_DOUBLE_EQ(on.by_steps.at(3).mean, 0.5);
  EXPECT_DOUBLE_EQ(on.by_digits.at(2).mean, 1);
}

TEST_F(EvaluationTest, JsonHasOurFiguresAndThoseThatLmEvalReads) {
  TaskResult result{.evaluation = Run(), .data = "p.jsonl"};
  for (const EvalRun& run : result.evaluation.runs)
    result.summaries.push_back(Summarize(result.evaluation, run));
  const std::string lines = SampleLines(result);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 12);
  ResultContext context{.model = generator_.Describe(), .limit = 4};
  std::vector<TaskResult> results;
  results.push_back(std::move(result));
  const Json json = ParseJson(DumpJson(ResultJson(results, context)), "results");
  const Json& task = *json.Find("tasks")->Find("word-problems");
  EXPECT_EQ(task.Find("accuracy")->AsDouble(), 0.75);
  EXPECT_EQ(task.Find("thinking")->AsString(), "on");
  ASSERT_EQ(task.Find("settings")->AsArray().size(), 3u);
  const Json& budget = task.Find("settings")->AsArray()[2];
  EXPECT_EQ(budget.Find("budget")->AsInt(), 32);
  EXPECT_EQ(budget.Find("too_long")->AsDouble(), 0.25);
  EXPECT_EQ(budget.Find("errors")->AsDouble(), 0.25);
  for (const char* key : {"results", "configs", "versions", "n-shot", "higher_is_better",
                          "n-samples", "config", "date", "total_evaluation_time_seconds"})
    EXPECT_NE(json.Find(key), nullptr) << key;
  EXPECT_EQ(json.Find("results")
                ->Find("word-problems[thinking=off]")
                ->Find("exact_match,answer")
                ->AsDouble(),
            0.5);
}

TEST_F(EvaluationTest, ThePageShowsEverySettingAndEscapesWhatModelsWrite) {
  generator_.script["on"]["a"].answer = "The answer is <script>8</script>.";
  TaskResult result{.evaluation = Run()};
  for (const EvalRun& run : result.evaluation.runs)
    result.summaries.push_back(Summarize(result.evaluation, run));
  std::vector<TaskResult> results;
  results.push_back(std::move(result));
  const std::string html = EvalPage(results, {.model = generator_.Describe()});
  for (const char* words :
       {"accuracy over the thinking budget", "Accuracy by skill", ">no limit<", ">off</text>",
        ">32</text>", "plus", "3 steps", "unfinished", "&lt;script&gt;8", "75.0 %"})
    EXPECT_NE(html.find(words), std::string::npos) << words;
  EXPECT_EQ(html.find("<script>8"), std::string::npos);
}

TEST_F(EvaluationTest, SeveralAnswersAreDrawnApartAndItemsAreTheUnitOfTheInterval) {
  const EvalOptions options{.settings = {{-1}, {0}}, .samples = 3, .temperature = 0.6, .seed = 5};
  const Evaluation evaluation = Evaluate(*task_, items_, options, &generator_);
  EXPECT_EQ(evaluation.runs[0].samples.size(), 12u);
  EXPECT_EQ(evaluation.runs[1].samples.size(), 4u);  // greedy: one says it all
  std::set<std::pair<uint64_t, uint64_t>> draws;
  for (const TextRequest& request : generator_.seen) draws.emplace(request.seed, request.choice);
  EXPECT_EQ(draws.size(), 12u);  // off uses the first of each
  const Summary summary = Summarize(evaluation, evaluation.runs[0]);
  EXPECT_EQ(summary.accuracy.n, 4u);
  EXPECT_DOUBLE_EQ(summary.accuracy.mean, 0.75);
  EXPECT_EQ(summary.accuracy.interval.low, BootstrapInterval({1, 1, 0, 1}).low);
}

TEST_F(EvaluationTest, BadRowsAreToldByLineAndField) {
  const std::pair<const char*, const char*> kBad[] = {
      {"{\"question\": \"a\"}", "line 1: answer is missing"},
      {"{\"answer\": 3}", "line 1: question is missing"},
      {"{\"question\": \"a\", \"answer\": {}}", "line 1: answer is object"},
      {"{\"question\": \"a\", \"answer\": 3, \"steps\": -1}", "line 1: steps is"},
      {"\n{\"question\": \"\", \"answer\": 3}", "line 2: question is"},
      {"[1]", "line 1 holds array"},
      {"nonsense", "line 1: not valid JSON"},
      {"{\"question\": \"a\", \"answer\": \"\"}", "line 1: answer is"},
      {"{\"question\": \"a\", \"answer\": 1, \"id\": 1}\n{\"question\": \"a\", \"answer\": 1, "
       "\"id\": 1}",
       "line 2: id"},
      {"\n\n", "no rows"}};
  for (const auto& [content, expected] : kBad) {
    WriteFile(dir_ / "bad.jsonl", content);
    try {
      task_->Items({.data = dir_ / "bad.jsonl"});
      ADD_FAILURE() << content;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadFile);
      EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(MakeTask("word-problem"), Error);
}

// A reply in the generator's own words is right, and the key of no other problem passes for it.
TEST(WordProblems, MadeProblemsAreThoseOfTheSeedAndTheirOwnRepliesAreRight) {
  const auto task = MakeTask("word-problems");
  const std::vector<EvalItem> items = task->Items({.seed = 11, .limit = 240});
  ASSERT_EQ(items.size(), 240u);
  size_t passes = 0, pairs = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const Problem problem = MakeProblem(11, i, Split::kTest, ShapeOf(11, i, Mix::kTest));
    ASSERT_EQ(items[i].question, problem.question);
    const std::vector<TextReply> reply = {Off(problem.reply)};
    const Verdict verdict = task->Check(items[i], reply);
    EXPECT_EQ(verdict.score, 1) << problem.reply << " against " << items[i].key << " ("
                                << AnswerTypeName(problem.answer_type) << ")";
    const EvalItem& other = items[(i + 1) % items.size()];
    if (other.key == items[i].key) continue;
    ++pairs;
    passes += task->Check(other, reply).score == 1;
  }
  EXPECT_EQ(passes, 0u) << "of " << pairs;
  EXPECT_NE(task->Items({.seed = 12, .limit = 1})[0].question, items[0].question);
}

TEST_F(EvaluationTest, ALimitKeepsTheSharesOfTheSkills) {
  std::string lines;
  for (int i = 0; i < 300; ++i)
    lines += fmt::format("{{\"question\": \"q{}\", \"answer\": {}, \"skill\": \"{}\"}}\n", i, i,
                         i % 3 == 0 ? "few" : "many");
  WriteFile(dir_ / "many.jsonl", lines);
  const ItemSource source{.data = dir_ / "many.jsonl", .seed = 3, .limit = 30};
  const std::vector<EvalItem> chosen = task_->Items(source), again = task_->Items(source);
  ASSERT_EQ(chosen.size(), 30u);
  EXPECT_EQ(std::count_if(chosen.begin(), chosen.end(),
                          [](const EvalItem& item) { return item.skill == "few"; }),
            10);
  for (size_t i = 0; i < chosen.size(); ++i) EXPECT_EQ(chosen[i].id, again[i].id);
  const auto other = task_->Items({.data = source.data, .seed = 4, .limit = 30});
  EXPECT_FALSE(std::equal(chosen.begin(), chosen.end(), other.begin(),
                          [](const auto& a, const auto& b) { return a.id == b.id; }));
}

TEST(Gsm8k, RowsWithoutANumberBehindTheMarkAreRefused) {
  const TemporaryDir dir;
  for (const char* answer : {"12", "####", "####  ", "#### twelve", "#### 1 or 2"}) {
    WriteFile(dir / "g.jsonl",
              fmt::format(R"({{"question": "How much?", "answer": "{}"}})", answer));
    EXPECT_THROW(MakeTask("gsm8k_boxed")->Items({.data = dir / "g.jsonl"}), Error) << answer;
  }
}

TEST(Gsm8k, TheLastBoxIsComparedWithTheNumberBehindTheMark) {
  const TemporaryDir dir;
  WriteFile(dir / "g.jsonl",
            R"({"question": "How much?", "answer": "3 * 4 = <<3*4=12>>12.\n#### 1,012"})");
  const auto task = MakeTask("gsm8k_boxed");
  const std::vector<EvalItem> items = task->Items({.data = dir / "g.jsonl"});
  ASSERT_EQ(items[0].key, "1,012");
  const std::pair<const char*, double> kReplies[] = {{"so \\boxed{1012}", 1},
                                                     {"\\boxed{5}, no, \\boxed{\\$1{,}012.00}", 1},
                                                     {"\\boxed{1012} then \\boxed{5}", 0},
                                                     {"The final answer is 1012.", 1},
                                                     {"nothing", 0}};
  for (const auto& [text, score] : kReplies) {
    const std::vector<TextReply> replies = {Off(text)};
    EXPECT_EQ(task->Check(items[0], replies).score, score) << text;
  }
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "eval/word_problems.h"

#include "base/error.h"
#include "base/log.h"
#include "eval/answer.h"
#include "eval/item_file.h"
#include "problems/generator.h"

namespace planish {
namespace {

constexpr size_t kMadeProblems = 500;  // without a limit

class WordProblems : public Task {
 public:
  const char* name() const override { return "word-problems"; }
  int version() const override { return 1; }

  std::vector<EvalItem> Items(const ItemSource& source) const override {
    if (source.data.empty()) return MadeItems(source);
    return ChooseItems(ReadItems(source.data, ReadRow), source.seed, source.limit);
  }

  std::vector<TextRequest> Requests(const EvalItem& item) const override {
    TextRequest request;
    request.messages = Json::Array{Json::Object{{"role", "user"}, {"content", item.question}}};
    return {request};
  }

  Verdict Check(const EvalItem& item, std::span<const TextReply> replies) const override {
    const AnswerType type = *AnswerTypeFromName(item.row.Find("answer_type")->AsString());
    Verdict verdict;
    const auto found = ExtractAnswer(replies[0].answer, type);
    if (!found) {
      verdict.reason = "no answer";
      return verdict;
    }
    verdict.has_answer = true;
    verdict.extracted = *found;
    verdict.score = SameAnswer(*found, item.key, type) ? 1 : 0;
    if (verdict.score == 0) verdict.reason = "wrong";
    return verdict;
  }

 private:
  // Of the frozen test mix: equal to what `planish data problems --split test --mix test` writes for the seed.
  static std::vector<EvalItem> MadeItems(const ItemSource& source) {
    std::vector<EvalItem> items;
    for (uint64_t i = 0; i < (source.limit == 0 ? kMadeProblems : source.limit); ++i) {
      const Problem problem =
          MakeProblem(source.seed, i, Split::kTest, ShapeOf(source.seed, i, Mix::kTest));
      EvalItem item;
      item.id = std::to_string(i);
      item.question = problem.question;
      item.key = problem.answer;
      item.skill = SkillName(problem.shape.skill);
      item.steps = problem.shape.steps;
      item.digits = problem.shape.digits;
      item.row = Json::Object{{"answer_type", AnswerTypeName(problem.answer_type)}};
      items.push_back(std::move(item));
    }
    return items;
  }

  // Other people's files name types in other words, or not at all: then the key says what it is.
  static EvalItem ReadRow(const JsonReader& row) {
    EvalItem item;
    item.question = row.String("question");
    item.key = FieldAsText(row, "answer");
    item.skill = row.StringOr("skill", "");
    item.steps = static_cast<int>(row.IntOr("steps", 0, 1000, 0));
    item.digits = static_cast<int>(row.IntOr("digits", 0, 1000, 0));
    if (item.question.empty()) row.Fail("question", "a text");
    const std::string given = row.StringOr("answer_type", "");
    auto type = AnswerTypeFromName(given);
    if (!type || !SameAnswer(item.key, item.key, *type)) {
      type = GuessAnswerType(item.key);
      if (!SameAnswer(item.key, item.key, *type)) type = AnswerType::kWord;
      if (!SameAnswer(item.key, item.key, *type)) row.Fail("answer", "a number, a word, a list");
      if (!given.empty())
        LogWarning("{}: answer \"{}\" is taken for a {}, not for answer_type \"{}\"", row.where(),
                   Quoted(item.key), AnswerTypeName(*type), Quoted(given));
    }
    item.row = Json::Object{{"answer_type", AnswerTypeName(*type)}};
    return item;
  }
};

}  // namespace

std::unique_ptr<Task> MakeWordProblems() { return std::make_unique<WordProblems>(); }

}  // namespace planish

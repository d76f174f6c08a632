// SPDX-License-Identifier: Apache-2.0
#include "eval/word_problems.h"

#include "base/error.h"
#include "base/log.h"
#include "eval/answer.h"
#include "eval/item_file.h"

namespace planish {
namespace {

class WordProblems : public Task {
 public:
  const char* name() const override { return "word-problems"; }
  int version() const override { return 1; }

  std::vector<EvalItem> Items(const ItemSource& source) const override {
    if (source.data.empty())
      throw Error(ExitCode::kUsage, "word-problems needs a file", "--data FILE.jsonl");
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
                   Quoted(item.key), Name(*type), Quoted(given));
    }
    item.row = Json::Object{{"answer_type", Name(*type)}};
    return item;
  }
};

}  // namespace

std::unique_ptr<Task> MakeWordProblems() { return std::make_unique<WordProblems>(); }

}  // namespace planish

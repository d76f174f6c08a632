// SPDX-License-Identifier: Apache-2.0
#include "eval/gsm8k.h"

#include <algorithm>

#include "base/error.h"
#include "eval/answer.h"
#include "eval/item_file.h"

namespace planish {
namespace {

// The sentence of NeMo-Skills' generic/math prompt: scores are comparable only with the same words.
constexpr const char* kInstruction =
    "Solve the following math problem. Make sure to put the answer (and only answer) inside "
    "\\boxed{}.\n\n";

class Gsm8kBoxed : public Task {
 public:
  const char* name() const override { return "gsm8k_boxed"; }
  int version() const override { return 1; }

  std::vector<EvalItem> Items(const ItemSource& source) const override {
    if (source.data.empty())
      throw Error(ExitCode::kUsage, "gsm8k_boxed needs the test file", "--data gsm8k/test.jsonl");
    return ChooseItems(ReadItems(source.data, ReadRow), source.seed, source.limit);
  }

  std::vector<TextRequest> Requests(const EvalItem& item) const override {
    TextRequest request;
    request.messages =
        Json::Array{Json::Object{{"role", "user"}, {"content", kInstruction + item.question}}};
    request.answer_tokens = 512;
    return {request};
  }

  Verdict Check(const EvalItem& item, std::span<const TextReply> replies) const override {
    Verdict verdict;
    // All keys are whole numbers; a box with an amount of money or a decimal is compared by value.
    const auto found = ExtractAnswer(replies[0].answer, AnswerType::kInteger);
    if (!found) {
      verdict.reason = "no answer";
      return verdict;
    }
    verdict.has_answer = true;
    verdict.extracted = *found;
    verdict.score = SameAnswer(*found, item.key, AnswerType::kInteger) ? 1 : 0;
    if (verdict.score == 0) verdict.reason = "wrong";
    return verdict;
  }

 private:
  static EvalItem ReadRow(const JsonReader& row) {
    EvalItem item;
    item.question = row.String("question");
    const std::string answer = row.String("answer");
    const size_t mark = answer.rfind("####");
    if (mark == std::string::npos) row.Fail("answer", "a solution that ends in \"#### n\"");
    item.key = answer.substr(std::min(answer.find_first_not_of(' ', mark + 4), answer.size()));
    if (!SameAnswer(item.key, item.key, AnswerType::kInteger))
      row.Fail("answer", "a number behind \"####\"");
    item.row = Json::MakeObject();
    return item;
  }
};

}  // namespace

std::unique_ptr<Task> MakeGsm8kBoxed() { return std::make_unique<Gsm8kBoxed>(); }

}  // namespace planish

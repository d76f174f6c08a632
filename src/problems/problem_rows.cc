// SPDX-License-Identifier: Apache-2.0
#include "problems/problem_rows.h"

#include "base/json.h"
#include "problems/draw.h"

namespace planish {
namespace {

constexpr uint64_t kLayoutStream = uint64_t{3} << 61;

void SetShape(const Problem& problem, Json* row) {
  row->Set("skill", SkillName(problem.shape.skill));
  row->Set("steps", problem.shape.steps);
  row->Set("digits", problem.shape.digits);
}

Json Message(const char* role, const std::string& content) {
  Json message = Json::MakeObject();
  message.Set("role", role);
  message.Set("content", content);
  return message;
}

}  // namespace

std::string ChatRow(const Problem& problem, bool thinks) {
  Json answer = Message("assistant", problem.reply);
  if (thinks) answer.Set("reasoning_content", problem.thinking);
  Json row = Json::MakeObject();
  row.Set("messages", Json(Json::Array{Message("user", problem.question), std::move(answer)}));
  row.Set("enable_thinking", thinks);
  SetShape(problem, &row);
  return DumpJson(row);
}

std::string TextRow(std::string text) {
  Json row = Json::MakeObject();
  row.Set("text", std::move(text));
  return DumpJson(row);
}

std::string TextRow(const Problem& problem, uint64_t seed, uint64_t index) {
  Draw draw(seed, kLayoutStream + index);
  const int64_t layout = draw.Between(0, 99);
  if (layout < 60)
    return TextRow(problem.question + "\n" + problem.thinking + "\n" + problem.reply);
  if (layout < 80) {
    return TextRow("Question: " + problem.question + "\nSolution:\n" + problem.thinking + "\n" +
                   problem.reply);
  }
  if (layout < 92)
    return TextRow("Q: " + problem.question + "\nA:\n" + problem.thinking + "\n" + problem.reply);
  return TextRow(problem.question + "\n" + problem.reply);
}

std::string TestRow(const Problem& problem) {
  Json row = Json::MakeObject();
  row.Set("question", problem.question);
  row.Set("answer", problem.answer);
  row.Set("answer_type", AnswerTypeName(problem.answer_type));
  SetShape(problem, &row);
  return DumpJson(row);
}

std::string NormalizedText(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool is_kept = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    const bool is_upper = c >= 'A' && c <= 'Z';
    if (is_kept || is_upper) {
      out += is_upper ? static_cast<char>(c - 'A' + 'a') : c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "cli/data_problems.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "cli/verb.h"
#include "problems/drills.h"
#include "problems/generator.h"
#include "problems/problem_rows.h"
#include "problems/small_talk.h"
#include "problems/tool_dialogues.h"

namespace planish {
namespace {

constexpr uint64_t kBatch = 8192;  // rows made at a time, so that memory stays small

// A row for each way of thinking asked for.
template <typename MakeRow>
std::string ChatLines(const ProblemDataJob& job, const MakeRow& make_row) {
  std::string lines;
  for (const bool thinks : {true, false}) {
    if (job.thinking != (thinks ? "off" : "on")) lines += make_row(thinks) + "\n";
  }
  return lines;
}

std::string ProblemLines(const ProblemDataJob& job, uint64_t index) {
  const Split split = job.split == "test" ? Split::kTest : Split::kTrain;
  const Mix mix = job.mix == "test" ? Mix::kTest : job.mix == "easy" ? Mix::kEasy : Mix::kFull;
  const Problem problem = MakeProblem(job.seed, index, split, ShapeOf(job.seed, index, mix));
  if (job.form == "text") return TextRow(problem, job.seed, index) + "\n";
  if (job.form == "test") return TestRow(problem) + "\n";
  return ChatLines(job, [&](bool thinks) { return ChatRow(problem, thinks); });
}

std::string Lines(const ProblemDataJob& job, uint64_t index) {
  if (job.kind == "drills") return DrillRow(job.seed, index) + "\n";
  if (job.kind == "talk")
    return ChatLines(job, [&](bool thinks) { return SmallTalkRow(job.seed, index, thinks); });
  if (job.kind == "tools") {
    if (job.form == "test") return ToolTestRow(job.seed, index) + "\n";
    return ChatLines(job, [&](bool thinks) { return ToolChatRow(job.seed, index, thinks); });
  }
  return ProblemLines(job, index);
}

}  // namespace

uint64_t WriteProblemData(const ProblemDataJob& job) {
  std::unique_ptr<FileWriter> file;
  if (job.output != "-") file = std::make_unique<FileWriter>(job.output);
  uint64_t rows = 0;
  std::vector<std::string> lines;
  for (uint64_t done = 0; done < job.count; done += kBatch) {
    lines.assign(static_cast<size_t>(std::min(kBatch, job.count - done)), {});
    ParallelFor(lines.size(), [&](size_t i, int) { lines[i] = Lines(job, job.first + done + i); });
    for (const std::string& text : lines) {
      rows += static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
      file ? file->Write(text) : fmt::print("{}", text);
    }
  }
  file ? file->Commit() : FlushOutput();
  return rows;
}

}  // namespace planish

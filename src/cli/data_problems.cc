// SPDX-License-Identifier: Apache-2.0
#include "cli/data_problems.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "cli/verb.h"
#include "problems/generator.h"
#include "problems/problem_rows.h"

namespace planish {
namespace {

constexpr uint64_t kBatch = 8192;  // rows made at a time, so that memory stays small

std::string ProblemLines(const ProblemDataJob& job, uint64_t index) {
  const Split split = job.split == "test" ? Split::kTest : Split::kTrain;
  const Mix mix = job.mix == "test" ? Mix::kTest : job.mix == "easy" ? Mix::kEasy : Mix::kFull;
  const Problem problem = MakeProblem(job.seed, index, split, ShapeOf(job.seed, index, mix));
  if (job.form == "text") return TextRow(problem, job.seed, index) + "\n";
  if (job.form == "test") return TestRow(problem) + "\n";
  std::string lines;
  if (job.thinking != "off") lines += ChatRow(problem, /*thinks=*/true) + "\n";
  if (job.thinking != "on") lines += ChatRow(problem, /*thinks=*/false) + "\n";
  return lines;
}

}  // namespace

uint64_t WriteProblemData(const ProblemDataJob& job) {
  std::unique_ptr<FileWriter> file;
  if (job.output != "-") file = std::make_unique<FileWriter>(job.output);
  uint64_t rows = 0;
  std::vector<std::string> lines;
  for (uint64_t done = 0; done < job.count; done += kBatch) {
    lines.assign(static_cast<size_t>(std::min(kBatch, job.count - done)), {});
    ParallelFor(lines.size(), [&](size_t i, int) { lines[i] = ProblemLines(job, job.first + done + i); });
    for (const std::string& text : lines) {
      rows += static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
      file ? file->Write(text) : fmt::print("{}", text);
    }
  }
  file ? file->Commit() : FlushOutput();
  return rows;
}

}  // namespace planish

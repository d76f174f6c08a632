// SPDX-License-Identifier: Apache-2.0
#include "compress/mixed_precision.h"

#include <algorithm>

#include "base/error.h"
#include "model/export.h"

namespace planish {
namespace {

// Rows of tensor data begin at multiples of this.
constexpr uint64_t kAlignment = 32;

uint64_t SizeOfFile(Pretrained* opened, const PrecisionPlan& plan) {
  std::map<std::string, DType> types;
  for (const auto& [name, storage] : plan.storage) types[name] = storage.type;
  return GgufBytes(opened, types);
}

double WeightsOf(const std::vector<MatrixPrecisions>& matrices) {
  double weights = 0;
  for (const MatrixPrecisions& matrix : matrices)
    weights += static_cast<double>(matrix.shape.elements());
  return weights;
}

// The plan of the fewest bytes.
PrecisionPlan Least(const std::vector<MatrixPrecisions>& matrices) {
  PrecisionPlan plan;
  for (const MatrixPrecisions& matrix : matrices) {
    plan.storage[matrix.name] = {matrix.options.front().type};
    plan.bytes += matrix.options.front().bytes;
  }
  return plan;
}

[[noreturn]] void Refuse(const std::string& what) {
  throw Error(ExitCode::kUsage, what, "more, or types with fewer bits in --types, e.g. q2_k");
}

// Bytes that the matrices may have.
uint64_t Budget(Pretrained* opened, const PrecisionTarget& target,
                const std::vector<MatrixPrecisions>& matrices) {
  const uint64_t least = LeastBytes(matrices);
  if (target.bits > 0) {
    const double weights = WeightsOf(matrices);
    const auto budget = static_cast<uint64_t>(target.bits / 8 * weights);
    if (budget < least)
      Refuse(fmt::format("--target-bits {}: the least that these types allow is {:.3f}",
                         target.bits, 8 * static_cast<double>(least) / weights));
    return budget;
  }
  const uint64_t file = SizeOfFile(opened, Least(matrices));
  if (target.file_bytes < file)
    Refuse(fmt::format("--target-size of {} bytes: the least that these types allow is {}",
                       target.file_bytes, file));
  // Beside matrices a file has its header, vectors, and some bytes behind each matrix.
  const uint64_t beside = file - least + kAlignment * matrices.size();
  return std::max(least, target.file_bytes - std::min(beside, target.file_bytes));
}

}  // namespace

MixedPrecision MixPrecisions(Pretrained* opened, const CalibrationRows& data,
                             const CalibrationRows& rows, const PrecisionTarget& target,
                             const PrecisionScoreOptions& options) {
  MixedPrecision mixed;
  mixed.target = target;
  // What is impossible is said before the scores, which take their time.
  const uint64_t budget = Budget(opened, target, ListPrecisions(opened->model.get(), options));
  mixed.matrices = ScorePrecisions(opened, data, rows, options);
  mixed.plan = ChoosePrecisions(mixed.matrices, budget);
  mixed.predicted_bytes = SizeOfFile(opened, mixed.plan);
  mixed.curve = PrecisionCurve(mixed.matrices);
  return mixed;
}

}  // namespace planish

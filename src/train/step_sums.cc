// SPDX-License-Identifier: Apache-2.0
#include "train/step_sums.h"

#include "base/error.h"

namespace planish {
namespace {

constexpr size_t kFixed = 10;  // numbers of a result before those of its datasets

// Counts stay exact: they are far below 2^53.
void Append(const MicroResult& result, std::vector<double>* numbers) {
  for (const double number :
       {result.loss.ce, result.loss.z, static_cast<double>(result.loss.kept),
        static_cast<double>(result.tokens), result.contexts, result.loss.distill.objective,
        result.loss.distill.forward, result.loss.distill.reverse, result.loss.distill.hidden,
        static_cast<double>(result.loss.distill.agreed)})
    numbers->push_back(number);
  for (const DatasetSum& sum : result.by_dataset) {
    numbers->push_back(sum.ce);
    numbers->push_back(static_cast<double>(sum.kept));
  }
}

void Add(const double* numbers, MicroResult* sum) {
  sum->loss.ce += numbers[0];
  sum->loss.z += numbers[1];
  sum->loss.kept += static_cast<size_t>(numbers[2]);
  sum->tokens += static_cast<uint64_t>(numbers[3]);
  sum->contexts += numbers[4];
  sum->loss.distill.objective += numbers[5];
  sum->loss.distill.forward += numbers[6];
  sum->loss.distill.reverse += numbers[7];
  sum->loss.distill.hidden += numbers[8];
  sum->loss.distill.agreed += static_cast<size_t>(numbers[9]);
  for (size_t d = 0; d < sum->by_dataset.size(); ++d) {
    sum->by_dataset[d].ce += numbers[kFixed + 2 * d];
    sum->by_dataset[d].kept += static_cast<uint64_t>(numbers[kFixed + 2 * d + 1]);
  }
}

}  // namespace

std::vector<double> JoinRanks(const std::vector<double>& own, Comm* comm) {
  std::vector<double> joined;
  for (const std::vector<double>& part : comm->AllGather(std::span<const double>(own)))
    joined.insert(joined.end(), part.begin(), part.end());
  return joined;
}

MicroResult SumOverRanks(const std::vector<MicroResult>& own, Comm* comm) {
  PLANISH_CHECK(!own.empty());
  std::vector<double> numbers;
  for (const MicroResult& result : own) Append(result, &numbers);
  numbers = JoinRanks(numbers, comm);
  MicroResult sum{.by_dataset = std::vector<DatasetSum>(own[0].by_dataset.size())};
  const size_t width = kFixed + 2 * sum.by_dataset.size();
  for (size_t i = 0; i < numbers.size(); i += width) Add(numbers.data() + i, &sum);
  return sum;
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "train/grad_norm.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "kernels/sum_squares.h"

namespace planish {
namespace {

// values_of(chunk): its elements.
template <typename ValuesOf>
std::vector<double> SquaresOf(const FlatParams& params, const FlatRange& range,
                              const ValuesOf& values_of) {
  const auto [first, last] = params.ChunksOf(range);
  std::vector<double> squares(last - first);
  ParallelFor(squares.size(), [&, first = first](size_t i, int) {
    const FlatParams::Chunk& chunk = params.chunks()[first + i];
    squares[i] = SumOfSquares(values_of(chunk), chunk.elements);
  });
  return squares;
}

// Sum of squares of each entry, chunk after chunk.
std::vector<double> EntrySquares(const FlatParams& params, const std::vector<double>& chunks) {
  PLANISH_CHECK(chunks.size() == params.chunks().size());
  std::vector<double> squares(params.entries().size());
  for (size_t i = 0; i < chunks.size(); ++i) squares[params.chunks()[i].entry] += chunks[i];
  return squares;
}

}  // namespace

std::vector<double> ChunkSquares(const FlatParams& params, const FlatRange& range,
                                 const float* values) {
  return SquaresOf(params, range, [&](const FlatParams::Chunk& chunk) {
    return values + (chunk.begin - range.begin);
  });
}

std::vector<double> ValueSquares(const FlatParams& params, const FlatRange& range) {
  return SquaresOf(params, range,
                   [&](const FlatParams::Chunk& chunk) { return params.ValueOf(chunk); });
}

double NormOf(const FlatParams& params, const std::vector<double>& chunk_squares) {
  double sum = 0;
  for (const double square : EntrySquares(params, chunk_squares)) sum += square;
  return std::sqrt(sum);
}

std::vector<double> EntryNorms(const FlatParams& params, const std::vector<double>& chunk_squares) {
  std::vector<double> norms = EntrySquares(params, chunk_squares);
  for (double& norm : norms) norm = std::sqrt(norm);
  return norms;
}

std::optional<size_t> FirstNonFinite(const FlatParams& params,
                                     const std::vector<double>& chunk_squares) {
  PLANISH_CHECK(chunk_squares.size() == params.chunks().size());
  const auto bad = std::find_if(chunk_squares.begin(), chunk_squares.end(),
                                [](double square) { return !std::isfinite(square); });
  if (bad == chunk_squares.end()) return std::nullopt;
  return params.chunks()[static_cast<size_t>(bad - chunk_squares.begin())].entry;
}

double ClipFactor(double norm, double limit) {
  return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0;
}

}  // namespace planish

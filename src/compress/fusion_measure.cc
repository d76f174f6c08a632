// SPDX-License-Identifier: Apache-2.0
#include "compress/fusion_measure.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "tensor/tensor.h"

namespace planish {
namespace {

// Tokens of FFN blocks do not see each other, so a run is measured in slices, and what is kept stays small.
constexpr size_t kSlice = 128;

// 1 - cos; 0 if nothing is added either time, 1 if only one time.
double Turned(const float* a, const float* b, size_t D) {
  double aa = 0, bb = 0, ab = 0;
  for (size_t d = 0; d < D; ++d) {
    const double x = a[d], y = b[d];
    aa += x * x;
    bb += y * y;
    ab += x * y;
  }
  if (aa == 0 || bb == 0) return aa == bb ? 0 : 1;
  return std::max(0.0, 1 - ab / std::sqrt(aa * bb));
}

void Add(const float* y, size_t n, float* h) {
  for (size_t i = 0; i < n; ++i) h[i] += y[i];
}

// Adds the dependencies of T tokens to sums [n, n]. h: [T, D] before the run.
void AddDependencies(const BlockRunner& runner, const FfnRun& run, const float* before, size_t T,
                     Workspace* workspace, double* sums) {
  const Workspace::Scope scope(*workspace);
  const SeqLayout layout(T);
  const Pass pass{.layout = layout, .workspace = workspace};
  const size_t n = run.size(), D = runner.model().config().hidden_size;
  float* added = workspace->Take(n * T * D);  // [n, T, D]: what each block adds
  float* base = workspace->Take(T * D);       // the stream before block i
  float* h = workspace->Take(T * D);
  float* x = workspace->Take(T * D);
  float* y = workspace->Take(T * D);
  std::copy_n(before, T * D, base);
  std::copy_n(before, T * D, h);
  for (size_t j = 0; j < n; ++j) {
    float* c = added + j * T * D;
    runner.Norm(run.begin + j, h, T, x);
    runner.Mix(pass, run.begin + j, x, c);
    Add(c, T * D, h);
  }
  for (size_t i = 0; i + 1 < n; ++i) {
    std::copy_n(base, T * D, h);  // block i is left out
    for (size_t j = i + 1; j < n; ++j) {
      runner.Norm(run.begin + j, h, T, x);
      runner.Mix(pass, run.begin + j, x, y);
      for (size_t t = 0; t < T; ++t)
        sums[i * n + j] += Turned(added + (j * T + t) * D, y + t * D, D);
      Add(y, T * D, h);
    }
    Add(added + i * T * D, T * D, base);
  }
}

void FinalHidden(const BlockRunner& runner, const float* h, size_t T, float* hidden) {
  runner.Norm(runner.blocks(), h, T, hidden);
}

// KL of fusing each of `pieces` alone; all lie in `run`. The part of the model before the run is computed once.
std::vector<double> PieceKls(const BlockRunner& runner, const FfnRun& run,
                             const std::vector<FfnRun>& pieces, TokenRows rows,
                             const RowsDone& done) {
  const Model& model = runner.model();
  const size_t D = model.config().hidden_size;
  std::vector<Divergence> sums(pieces.size());
  Workspace workspace;
  for (const std::vector<int32_t>& row : rows) {
    const size_t T = row.size() - 1;
    const std::span<const int32_t> ids(row);
    const SeqLayout layout(T);
    const Pass pass{.layout = layout, .workspace = &workspace};
    std::vector<Tensor> before;  // [run.size()] of [T, D]
    Tensor h = Tensor::F32({T, D}), hidden = Tensor::F32({T, D}), expected = Tensor::F32({T, D});
    runner.Embed(ids.first(T), h.f32());
    runner.Run(pass, 0, run.begin, h.f32());
    for (size_t i = run.begin; i < run.end; ++i) {
      Tensor copy = Tensor::F32({T, D});
      std::copy_n(h.f32(), T * D, copy.f32());
      before.push_back(std::move(copy));
      runner.Run(pass, i, i + 1, h.f32());
    }
    runner.Run(pass, run.end, runner.blocks(), h.f32());
    FinalHidden(runner, h.f32(), T, expected.f32());
    for (size_t p = 0; p < pieces.size(); ++p) {
      std::copy_n(before[pieces[p].begin - run.begin].f32(), T * D, h.f32());
      RunParallelForm(runner, pass, pieces[p].begin, runner.blocks(), {pieces[p]}, h.f32());
      FinalHidden(runner, h.f32(), T, hidden.f32());
      sums[p].Add(CompareHidden(model, hidden.f32(), model, expected.f32(), ids.subspan(1)));
    }
    if (done) done(1);
  }
  std::vector<double> kls;
  for (const Divergence& sum : sums) kls.push_back(sum.mean_kl());
  return kls;
}

// Can a run of n be cut at `begin` and `begin + length` into the fewest pieces of at most `most`?
bool FitsCut(size_t n, size_t most, size_t begin, size_t length) {
  const auto pieces = [&](size_t blocks) { return (blocks + most - 1) / most; };
  return length <= most && pieces(begin) + 1 + pieces(n - begin - length) <= pieces(n);
}

}  // namespace

std::vector<RunDependency> MeasureDependencies(const BlockRunner& runner,
                                               const std::vector<FfnRun>& runs, TokenRows rows,
                                               const RowsDone& done) {
  std::vector<RunDependency> dependencies;
  for (const FfnRun& run : runs)
    dependencies.push_back({run, std::vector<double>(run.size() * run.size(), 0.0)});
  const size_t D = runner.model().config().hidden_size;
  Workspace workspace;
  uint64_t tokens = 0;
  for (const std::vector<int32_t>& row : rows) {
    const size_t T = row.size();
    const SeqLayout layout(T);
    const Pass pass{.layout = layout, .workspace = &workspace};
    Tensor h = Tensor::F32({T, D});
    runner.Embed(row, h.f32());
    size_t at = 0;
    for (RunDependency& dependency : dependencies) {
      runner.Run(pass, at, dependency.run.begin, h.f32());
      at = dependency.run.begin;
      for (size_t t = 0; t < T; t += kSlice)
        AddDependencies(runner, dependency.run, h.row(t), std::min(kSlice, T - t), &workspace,
                        dependency.d.data());
    }
    tokens += T;
    if (done) done(1);
  }
  for (RunDependency& dependency : dependencies) {
    for (double& d : dependency.d) d /= static_cast<double>(std::max<uint64_t>(tokens, 1));
  }
  return dependencies;
}

void RunParallelForm(const BlockRunner& runner, const Pass& pass, size_t begin, size_t end,
                     const std::vector<FfnRun>& fused, float* h) {
  const Workspace::Scope scope(*pass.workspace);
  const size_t T = pass.tokens(), D = runner.model().config().hidden_size;
  float* x = pass.workspace->Take(T * D);
  float* y = pass.workspace->Take(T * D);
  float* sum = pass.workspace->Take(T * D);
  size_t at = begin;
  for (const FfnRun& run : fused) {
    PLANISH_CHECK(run.begin >= at && run.end <= end);
    runner.Run(pass, at, run.begin, h);
    std::fill_n(sum, T * D, 0.0f);
    for (size_t i = run.begin; i < run.end; ++i) {
      runner.Norm(i, h, T, x);
      runner.Mix(pass, i, x, y);
      Add(y, T * D, sum);
    }
    Add(sum, T * D, h);
    at = run.end;
  }
  runner.Run(pass, at, end, h);
}

Divergence ParallelDivergence(const BlockRunner& runner, const std::vector<FfnRun>& fused,
                              TokenRows rows, const RowsDone& done) {
  const Model& model = runner.model();
  const size_t D = model.config().hidden_size;
  const size_t first = fused.empty() ? runner.blocks() : fused[0].begin;
  Divergence sum;
  Workspace workspace;
  for (const std::vector<int32_t>& row : rows) {
    const size_t T = row.size() - 1;
    const std::span<const int32_t> ids(row);
    const SeqLayout layout(T);
    const Pass pass{.layout = layout, .workspace = &workspace};
    Tensor h = Tensor::F32({T, D}), other = Tensor::F32({T, D});
    Tensor hidden = Tensor::F32({T, D}), expected = Tensor::F32({T, D});
    runner.Embed(ids.first(T), h.f32());
    runner.Run(pass, 0, first, h.f32());
    std::copy_n(h.f32(), T * D, other.f32());
    runner.Run(pass, first, runner.blocks(), h.f32());
    RunParallelForm(runner, pass, first, runner.blocks(), fused, other.f32());
    FinalHidden(runner, h.f32(), T, expected.f32());
    FinalHidden(runner, other.f32(), T, hidden.f32());
    sum.Add(CompareHidden(model, hidden.f32(), model, expected.f32(), ids.subspan(1)));
    if (done) done(1);
  }
  return sum;
}

std::vector<size_t> CheapestCut(size_t n, size_t most,
                                const std::function<double(size_t begin, size_t length)>& cost) {
  PLANISH_CHECK(n > 0 && most > 0);
  // best[i]: cheapest cut of the first i blocks into the fewest pieces that still allow the fewest in all.
  std::vector<double> best(n + 1, std::numeric_limits<double>::infinity());
  std::vector<size_t> last(n + 1, 0);
  best[0] = 0;
  for (size_t end = 1; end <= n; ++end) {
    for (size_t length = 1; length <= std::min(most, end); ++length) {
      const size_t begin = end - length;
      if (!FitsCut(n, most, begin, length) || !std::isfinite(best[begin])) continue;
      const double total = best[begin] + (length == 1 ? 0 : cost(begin, length));
      if (total < best[end]) best[end] = total, last[end] = length;
    }
  }
  std::vector<size_t> lengths;
  for (size_t end = n; end > 0; end -= last[end]) {
    PLANISH_CHECK(last[end] > 0, "no cut of {} into pieces of {}", n, most);
    lengths.push_back(last[end]);
  }
  std::reverse(lengths.begin(), lengths.end());
  return lengths;
}

std::vector<FfnRun> SplitRuns(const BlockRunner& runner, const std::vector<FfnRun>& runs,
                              size_t most, TokenRows rows, const RowsDone& done) {
  PLANISH_CHECK(most >= 2);
  std::vector<FfnRun> split;
  for (const FfnRun& run : runs) {
    const size_t n = run.size();
    if (n <= most) {
      split.push_back(run);
      continue;
    }
    std::vector<FfnRun> pieces;
    for (size_t begin = 0; begin < n; ++begin) {
      for (size_t length = 2; length <= std::min(most, n - begin); ++length) {
        if (FitsCut(n, most, begin, length))
          pieces.push_back({run.begin + begin, run.begin + begin + length});
      }
    }
    const std::vector<double> kls = PieceKls(runner, run, pieces, rows, done);
    std::map<std::pair<size_t, size_t>, double> cost;
    for (size_t p = 0; p < pieces.size(); ++p)
      cost[{pieces[p].begin - run.begin, pieces[p].size()}] = kls[p];
    size_t at = run.begin;
    for (const size_t length : CheapestCut(n, most, [&](size_t begin, size_t size) {
           return cost.at({begin, size});
         })) {
      if (length > 1) split.push_back({at, at + length});
      at += length;
    }
  }
  return split;
}

}  // namespace planish

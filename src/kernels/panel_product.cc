// SPDX-License-Identifier: Apache-2.0
#include "kernels/panel_product.h"

#include "base/error.h"
#include "kernels/team_work.h"

namespace planish {

size_t TaskRows(size_t N) {
  constexpr size_t kTasks = 4;  // at least, and always a multiple: two threads or four share evenly
  constexpr size_t kStep = 2 * kPanelRows;
  // At T = 512, 256 is some 10 % slower (A is read more often) and 512 equal within the noise.
  constexpr size_t kMost = 384;
  const size_t tasks = (N + kMost * kTasks - 1) / (kMost * kTasks) * kTasks;
  const size_t rows = (N + tasks - 1) / std::max<size_t>(tasks, 1);
  return std::clamp((rows + kStep - 1) / kStep * kStep, 2 * kStep, kMost);
}

LeftPanels::LeftPanels(const PanelSource& a, size_t rows, size_t depth, uint16_t* data, Packs packs)
    : M_(rows), K_(depth), data_(data) {
  PLANISH_CHECK(rows <= kMaxLeftRows, "{} rows", rows);
  // Of many panels at a time: of a transposed matrix they stand in the same storage rows.
  constexpr size_t kRows = kPackRows;
  const size_t blocks = (depth + kDepthBlock - 1) / kDepthBlock, parts = (rows + kRows - 1) / kRows;
  const auto pack = [&](size_t i, int) {
    const size_t k = i / parts * kDepthBlock, r = i % parts * kRows;
    const size_t n = std::min(kDepthBlock, depth - k);
    PackLeft(a.At(r, k), std::min(kRows, rows - r), n,
             data + PanelCount(rows) * kPanelRows * k + r * TileCount(n) * kPanelDepth);
  };
  if (packs == Packs::kOnTeam)
    ParallelForWork(blocks * parts, rows * depth, pack);
  else
    for (size_t i = 0; i < blocks * parts; ++i) pack(i, 0);
}

}  // namespace planish

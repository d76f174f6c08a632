// SPDX-License-Identifier: Apache-2.0
#include "kernels/panel_product.h"

#include "base/error.h"
#include "kernels/team_work.h"

namespace planish {

size_t TaskRows(size_t N) {
  constexpr size_t kTasks = 4;  // at least, and always a multiple: two threads or four share evenly
  constexpr size_t kStep = 2 * kPanelRows;
  const size_t tasks = (N + kMaxTaskRows * kTasks - 1) / (kMaxTaskRows * kTasks) * kTasks;
  const size_t rows = (N + tasks - 1) / std::max<size_t>(tasks, 1);
  return std::clamp((rows + kStep - 1) / kStep * kStep, 2 * kStep, kMaxTaskRows);
}

LeftPanels::LeftPanels(const PanelSource& a, size_t rows, size_t depth, Scratch& memory)
    : M_(rows), K_(depth) {
  PLANISH_CHECK(rows <= kMaxLeftRows, "{} rows", rows);
  auto* data = reinterpret_cast<uint16_t*>(memory.Floats(PackedElems(rows, depth) / 2));
  data_ = data;
  const size_t blocks = (depth + kDepthBlock - 1) / kDepthBlock, panels = PanelCount(rows);
  ParallelForWork(blocks * panels, rows * depth, [&](size_t i, int) {
    const size_t k = i / panels * kDepthBlock, r = i % panels * kPanelRows;
    const size_t n = std::min(kDepthBlock, depth - k);
    PackLeft(a.At(r, k), std::min(kPanelRows, rows - r), n,
             data + panels * kPanelRows * k + r * TileCount(n) * kPanelDepth);
  });
}

}  // namespace planish

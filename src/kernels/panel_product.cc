// SPDX-License-Identifier: Apache-2.0
#include "kernels/panel_product.h"

#include <cstring>

#include "base/error.h"
#include "kernels/team_work.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace planish {
namespace {

// Whole cache lines straight to memory, without reading the old ones: half the time of plain stores for large C.
void StreamLines(const float* from, size_t floats, float* to) {
#if defined(__x86_64__)
  for (size_t i = 0; i < floats; i += 4) _mm_stream_ps(to + i, _mm_load_ps(from + i));
#else
  std::memcpy(to, from, floats * sizeof(float));
#endif
}
// Streamed lines are seen by other threads after this.
void FinishStreams() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

}  // namespace

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

void TaskSums::CopyTo(float* c, size_t c_stride, bool bypass_caches) const {
  constexpr size_t kLine = 64 / sizeof(float);
  const bool is_aligned = reinterpret_cast<uintptr_t>(c) % 64 == 0 && c_stride % kLine == 0;
  for (size_t m = 0; m < M; ++m, c += c_stride) {
    for (size_t n = 0; n < columns; n += step) {
      const float* from = data + n * M + m * step;
      const size_t count = std::min(step, columns - n);
      const size_t lines = bypass_caches && is_aligned ? count / kLine * kLine : 0;
      StreamLines(from, lines, c + n);
      std::memcpy(c + n + lines, from + lines, (count - lines) * sizeof(float));
    }
  }
  if (bypass_caches) FinishStreams();
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Chooses the level's kernels and cuts a product into tasks. Few tokens: tasks are runs of row blocks of about kStreamTaskBytes.
// More: rectangles of row blocks and token panels.
#include "kernels/matmul_int8.h"

#include <algorithm>
#include <array>
#include <memory>

#include "base/error.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "kernels/int8_rows.h"
#include "kernels/isa.h"
#include "kernels/matmul_int8_kernels.h"
#include "kernels/packed_weight.h"

namespace planish {
namespace {

struct Level {
  Isa isa;
  const Int8Kernels* kernels;
};

// Best first.
constexpr Level kLevels[] = {
#if defined(__x86_64__)
    {Isa::kAmx, &kInt8Amx},       {Isa::kVnni, &kInt8Vnni},
    {Isa::kAvx512, &kInt8Avx512}, {Isa::kAvx2, &kInt8Avx2},
#elif defined(__aarch64__)
    {Isa::kI8mm, &kInt8I8mm},
    {Isa::kDotprod, &kInt8Dotprod},
    {Isa::kNeon, &kInt8Neon},
#endif
    {Isa::kScalar, &kInt8Scalar},
};

const Int8Kernels& Kernels() {
  for (const Level& level : kLevels)
    if (Has(level.isa)) return *level.kernels;
  return kInt8Scalar;
}

// Each thread gets several tasks of a product, so that a disturbed one delays little; long ones stream best.
constexpr size_t kTasksOfThread = 4;
constexpr size_t kStreamTaskBytes = 2 << 20;
// Multiply-adds below which a call stays on its thread: some 5 us, as kRegionOperations is for floats.
constexpr size_t kRegionProducts = size_t{1} << 19;
constexpr size_t kTileRowBlocks = 12;  // of a task
constexpr size_t kTilePanels = 32;     // of a task: 512 tokens, whose sums take 384 KiB
constexpr size_t kChunkTokens = 1024;  // quantised at a time
constexpr size_t kManyTokens =
    64;  // from here on the activations of a slab are worth keeping for many rows

// One product of a call, and how it is cut.
struct Part {
  Int8Weight weight;
  float* y;
  size_t blocks;
  size_t blocks_a_task;
  size_t row_tasks;
};

Part PartOf(const Weight& w, float* y) {
  const PackedView* view = w.packed(kPackedLayout);
  PLANISH_CHECK(view != nullptr, "{} is not packed", w.name());
  Part part;
  PLANISH_CHECK(PackedFormatOf(w.dtype(), &part.weight.format));
  part.weight.data = reinterpret_cast<const uint8_t*>(view->data.data());
  part.weight.out = w.out();
  part.weight.groups = PackedGroups(w.in());
  part.y = y;
  part.blocks = PackedBlocks(w.out());
  return part;
}

void CutRows(size_t blocks_a_task, Part* part) {
  part->blocks_a_task = blocks_a_task;
  part->row_tasks = (part->blocks + blocks_a_task - 1) / blocks_a_task;
}

// A few weights are the rule: no allocation for them.
class Parts {
 public:
  explicit Parts(size_t n)
      : n_(n), many_(n > few_.size() ? std::make_unique<Part[]>(n) : nullptr) {}
  Part* begin() { return many_ != nullptr ? many_.get() : few_.data(); }
  Part* end() { return begin() + n_; }

 private:
  size_t n_;
  std::array<Part, 8> few_;
  std::unique_ptr<Part[]> many_;
};

// body(part, row_task, thread) for all row tasks, each `repeat` times: body(part, row_task, turn, thread).
template <class Body>
void ForTasks(Parts& parts, size_t repeat, bool on_team, const Body& body) {
  size_t tasks = 0;
  for (const Part& part : parts) tasks += part.row_tasks * repeat;
  const auto run = [&](size_t task, int thread) {
    const Part* part = parts.begin();
    while (task >= part->row_tasks * repeat) task -= part++->row_tasks * repeat;
    body(*part, task / repeat, task % repeat, thread);
  };
  if (on_team) {
    ParallelFor(tasks, run);
  } else {
    for (size_t task = 0; task < tasks; ++task) run(task, 0);
  }
}

thread_local Int8Rows t_rows;
thread_local AlignedBuffer t_workspace;  // of every thread of the team

void StreamAll(const Int8Kernels& kernels, Parts& parts, const float* x, size_t T, size_t K) {
  t_rows.Reserve(T, K, T);
  for (size_t t = 0; t < T; ++t) t_rows.Quantize(x + t * K, t);
  const Int8Panel panel = t_rows.panel(0);
  size_t rows = 0, bytes = 0;
  for (const Part& part : parts) {
    rows += part.weight.out;
    bytes += part.blocks * part.weight.block_bytes();
  }
  const size_t task_bytes =
      std::min(kStreamTaskBytes, bytes / (kTasksOfThread * static_cast<size_t>(ThreadCount())) + 1);
  for (Part& part : parts)
    CutRows(task_bytes / std::max<size_t>(part.weight.block_bytes(), 1) + 1, &part);
  ForTasks(parts, 1, T * K * rows >= kRegionProducts,
           [&](const Part& part, size_t task, size_t, int) {
             const size_t begin = task * part.blocks_a_task;
             kernels.stream(part.weight, begin, std::min(part.blocks, begin + part.blocks_a_task),
                            panel, part.y);
           });
}

void TileAll(const Int8Kernels& kernels, Parts& parts, const float* x, size_t T, size_t K) {
  QuantizeRows(x, T, K, kernels.panel_height, &t_rows);
  const Int8Rows& rows_of_call = t_rows;  // the team's threads have their own t_rows
  const size_t panels = rows_of_call.panels();
  const size_t panel_tasks = (panels + kTilePanels - 1) / kTilePanels;
  const size_t panels_a_task = (panels + panel_tasks - 1) / panel_tasks;
  size_t rows = 0, largest = 0;
  for (Part& part : parts) {
    CutRows(T < kManyTokens ? kInt8TileBlocks : kTileRowBlocks, &part);
    rows += part.weight.out;
    largest = std::max(largest, std::min(part.blocks_a_task, part.blocks));
  }
  const size_t workspace = Int8TileWorkspace(largest, panels_a_task, kernels.panel_height);
  const size_t needed = workspace * static_cast<size_t>(ThreadCount());
  if (t_workspace.size() < needed) {
    t_workspace = AlignedBuffer();  // before the new one exists
    t_workspace = AlignedBuffer(needed);
  }
  auto* memory = reinterpret_cast<uint8_t*>(t_workspace.data());
  ForTasks(parts, panel_tasks, T * K * rows >= kRegionProducts,
           [&](const Part& part, size_t task, size_t turn, int thread) {
             const size_t begin = task * part.blocks_a_task, first = turn * panels_a_task;
             kernels.tile(part.weight, begin, std::min(part.blocks, begin + part.blocks_a_task),
                          rows_of_call, first, std::min(panels, first + panels_a_task),
                          memory + static_cast<size_t>(thread) * workspace, part.y);
           });
}

}  // namespace

void MatMulInt8(std::span<const Weight* const> ws, const float* x, size_t T,
                std::span<float* const> ys) {
  PLANISH_DCHECK(ws.size() == ys.size());
  if (T == 0 || ws.empty()) return;
  const size_t K = ws[0]->in();
  Parts parts(ws.size());
  const Int8Kernels& kernels = Kernels();
  const size_t chunk = T < kernels.tile_tokens ? kernels.stream_tokens : kChunkTokens;
  for (size_t t = 0; t < T; t += chunk) {
    const size_t tokens = std::min(chunk, T - t);
    for (size_t i = 0; i < ws.size(); ++i) {
      PLANISH_DCHECK(ws[i]->in() == K);
      parts.begin()[i] = PartOf(*ws[i], ys[i] + t * ws[i]->out());
    }
    if (tokens < kernels.tile_tokens && tokens <= kernels.stream_tokens)
      StreamAll(kernels, parts, x + t * K, tokens, K);
    else
      TileAll(kernels, parts, x + t * K, tokens, K);
  }
}

}  // namespace planish

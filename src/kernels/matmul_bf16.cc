// SPDX-License-Identifier: Apache-2.0
// The blocking is panel_product.h; here is where the right panels come from: bf16 and float rows as they are stored, other
// types by way of floats.
#include "kernels/matmul_bf16.h"

#include <vector>

#include "base/error.h"
#include "kernels/matmul.h"
#include "kernels/packed_panels.h"
#include "kernels/panel_product.h"
#include "kernels/team_work.h"
#include "tensor/blocks.h"

namespace planish {
namespace {

// A weight and how its panels are made.
struct Source {
  explicit Source(const Weight& weight) : w(weight) {
    const PackedView* view = weight.packed(kPackedLayout);
    if (view != nullptr && PackedFormatOf(weight.dtype(), &format))
      packed = reinterpret_cast<const uint8_t*>(view->data.data());
  }
  // Groups of the packed block that holds row n, from input k on.
  const uint8_t* Groups(size_t n, size_t k) const {
    return packed +
           (n / kPackedRows * PackedGroups(w.in()) + k / kPackedGroup) * format.group_bytes();
  }
  // Where rows [n, n + rows), inputs [k, k + depth) are.
  PanelPrefetch Stored(size_t n, size_t rows, size_t k, size_t depth) const {
    if (packed != nullptr)
      return {Groups(n, k), PackedGroups(w.in()) * format.group_bytes(), PackedBlocks(rows),
              PackedGroups(depth) * format.group_bytes()};
    return {w.row(n) + BytesOf(w.dtype(), k), w.row_bytes(), rows, BytesOf(w.dtype(), depth)};
  }
  const Weight& w;
  const uint8_t* packed = nullptr;  // null: the canonical data serve
  PackedFormat format;
};

// Right panels of rows [n, n + rows), inputs [k, k + depth) of a weight.
void MakeRight(const Source& from, size_t n, size_t rows, size_t k, size_t depth, float* floats,
               uint16_t* out) {
  const Weight& w = from.w;
  if (from.packed != nullptr) {
    const size_t panel = TileCount(depth) * kTileElems;
    for (size_t r = 0; r < rows; r += kPanelRows, out += panel)
      DecodePackedPanel(from.format, from.Groups(n + r, k), PackedGroups(depth), out);
    return;
  }
  const bool is_plain = w.dtype() == DType::kBF16 || w.dtype() == DType::kF32;
  if (is_plain && w.scales().block_out == 0) {
    const PanelSource source = {w.data(), w.in(), w.dtype()};
    return PackRight(source.At(n, k), rows, depth, out);
  }
  for (size_t r = 0; r < rows; r += kPanelRows) {
    const size_t valid = std::min(kPanelRows, rows - r);
    for (size_t i = 0; i < valid; ++i)
      DecodeRowPart(w, n + r + i, k, depth, floats + i * TaskMemory::kRowStride);
    PackRight({floats, TaskMemory::kRowStride}, valid, depth,
              out + r * TileCount(depth) * kPanelDepth);
  }
}

void MultiplyChunk(std::span<const Weight* const> ws, const float* x, size_t first, size_t T,
                   std::span<float* const> ys) {
  static thread_local Scratch packed, tasks;
  const size_t K = ws[0]->in();
  const LeftPanels left({x + first * K, K}, T, K, packed);
  size_t count = 0, operations = 0;
  for (const Weight* w : ws) {
    const size_t rows = TaskRows(w->out());
    count += (w->out() + rows - 1) / rows;
    operations += T * w->out() * K;
  }
  float* memory = tasks.Floats(TaskMemory::kFloats * static_cast<size_t>(ThreadCount()));
  ParallelForWork(count, operations / 4, [&](size_t task, int thread) {
    size_t i = 0, rows = 0;
    for (;; ++i) {
      rows = TaskRows(ws[i]->out());
      const size_t own = (ws[i]->out() + rows - 1) / rows;
      if (task < own) break;
      task -= own;
    }
    const Weight& w = *ws[i];
    const Source source(w);
    const TaskMemory mine(memory + TaskMemory::kFloats * static_cast<size_t>(thread));
    MultiplyTask(
        left, task * rows, std::min(w.out(), (task + 1) * rows),
        [&](size_t n, size_t count_n, size_t k, size_t depth, uint16_t* out) {
          MakeRight(source, n, count_n, k, depth, mine.rows(), out);
          return out;
        },
        [&](size_t n, size_t count_n, size_t k, size_t depth) {
          return source.Stored(n, count_n, k, depth);
        },
        /*accumulate=*/false, ys[i] + first * w.out() + task * rows, w.out(), mine);
  });
}

// The same arithmetic but for the weights, by the float product.
void MultiplyRounded(std::span<const Weight* const> ws, const float* x, size_t T,
                     std::span<float* const> ys) {
  static thread_local Scratch memory;
  const size_t n = T * ws[0]->in();
  float* rounded = memory.Floats(n);
  for (size_t i = 0; i < n; ++i) rounded[i] = FloatFromBF16(BF16FromFloat(x[i]));
  MatMulMany(ws, rounded, Rows(T), ys);
}

}  // namespace

void MatMulBf16(std::span<const Weight* const> ws, const float* x, size_t T,
                std::span<float* const> ys) {
  PLANISH_CHECK(ws.size() == ys.size(), "{} weights, {} outputs", ws.size(), ys.size());
  if (ws.empty() || T == 0) return;
  const size_t K = ws[0]->in();
  for (const Weight* w : ws) {
    PLANISH_CHECK(w->in() == K, "{} takes {} inputs, {} takes {}", w->name(), w->in(),
                  ws[0]->name(), K);
    PLANISH_CHECK(IsDequantisable(w->dtype()), "{} is {}", w->name(), Name(w->dtype()));
  }
  if (K == 0 || !HasBf16Units()) return MultiplyRounded(ws, x, T, ys);
  for (size_t t = 0; t < T; t += kMaxLeftRows)
    MultiplyChunk(ws, x, t, std::min(kMaxLeftRows, T - t), ys);
}

}  // namespace planish

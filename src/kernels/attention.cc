// SPDX-License-Identifier: Apache-2.0
// Cuts the jobs of a call into tiles and gives them to the kernels; see attention.h and attention_tile.h.
#include "kernels/attention.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "base/error.h"
#include "kernels/attention_tile.h"
#include "kernels/isa.h"
#include "kernels/team_work.h"

namespace planish {
namespace {

// Queries of a tile: enough that a page (64 KiB of f32 at P = 128) is used many times while it is in L2.
constexpr size_t kRowTileQueries = 96;
// AMX works some ten times faster, so that packing and fetching keys weigh more; accumulators still fit L2.
constexpr size_t kAmxTileQueries = 320;

// Enough to even out a team whose threads take tiles as they come.
constexpr size_t kTilesPerThread = 4;

constexpr size_t DivideUp(size_t a, size_t b) { return (a + b - 1) / b; }

size_t TileRows(const AttentionShape& shape, size_t queries) {
  return std::max<size_t>(1, queries / shape.group());
}

// All rows are in one tile of the row kernel.
bool IsFewRows(const AttentionShape& shape, const AttentionJob& job) {
  return job.rows > 0 && job.rows <= TileRows(shape, kRowTileQueries);
}

// Tiles of all jobs of few rows if each took one kv head.
size_t FewRowTiles(const AttentionShape& shape, std::span<const AttentionJob> jobs) {
  size_t tiles = 0;
  for (const AttentionJob& job : jobs) {
    if (IsFewRows(shape, job))
      tiles += shape.kv.kv_heads * DivideUp(job.first_position + job.rows, kAttentionSpan);
  }
  return tiles;
}

// How many kv heads a tile of few rows takes: a page whose heads are read one after the other is one stream, so as many
// as leave the team enough tiles and are no more queries than a tile has. No bit depends on it.
size_t HeadsPerTile(const AttentionShape& shape, const AttentionJob& job, size_t few_row_tiles) {
  const size_t wanted = kTilesPerThread * static_cast<size_t>(ThreadCount());
  size_t count = shape.kv.kv_heads;
  while (count > 1 && (shape.kv.kv_heads % count != 0 || few_row_tiles / count < wanted ||
                       job.rows * shape.group() * count > kRowTileQueries)) {
    --count;
  }
  return count;
}

AttentionKernel KernelFor(const AttentionShape& shape, ActMode act, bool is_decode) {
  if (act == ActMode::kF32) return AttentionKernel::kRows;
  if (!is_decode && Has(Isa::kAmx)) return AttentionKernel::kAmx;
  return shape.kv.type == DType::kQ8_0 && Has(Isa::kVnni) ? AttentionKernel::kInt8Rows
                                                          : AttentionKernel::kRows;
}

// The tiles of one call; merge m has the spans of tiles [first, first + count).
struct Plan {
  struct Merge {
    size_t first, count;
    uint32_t done;  // tiles finished
  };
  std::vector<AttentionTile> tiles;
  std::vector<Merge> merges;
  size_t partial_floats = 0;
  size_t thread_floats = 0;
  size_t operations = 0;

  void Add(const AttentionShape& shape, const AttentionJob& job, AttentionKernel kernel,
           size_t few_row_tiles);
};

void Plan::Add(const AttentionShape& shape, const AttentionJob& job, AttentionKernel kernel,
               size_t few_row_tiles) {
  const size_t positions = job.first_position + job.rows;
  const size_t spans = DivideUp(positions, kAttentionSpan);
  const bool is_amx = kernel == AttentionKernel::kAmx;
  const size_t tile_rows =
      std::min(job.rows, TileRows(shape, is_amx ? kAmxTileQueries : kRowTileQueries));
  const bool is_few = !is_amx && IsFewRows(shape, job);
  const size_t kv_heads = is_few ? HeadsPerTile(shape, job, few_row_tiles) : 1;
  thread_floats =
      std::max(thread_floats, is_amx ? AttentionAmxScratch(shape, tile_rows)
                                     : AttentionRowsScratch(shape, tile_rows, kv_heads));
  operations += 2 * job.rows * shape.heads * positions * shape.kv.head_dim;
  for (size_t kv_head = 0; kv_head < shape.kv.kv_heads; kv_head += kv_heads) {
    // Few rows: the spans are the parallel work. Many rows: the row tiles are, and each walks its spans itself; the
    // arithmetic is the same.
    if (is_few && spans > 1) {
      for (size_t span = 0; span < spans; ++span) {
        tiles.push_back({&job, kernel, kv_head, kv_heads, 0, job.rows, span, span + 1,
                         partial_floats, merges.size()});
        partial_floats += kv_heads * shape.PartialFloats(job.rows * shape.group());
      }
      merges.push_back({tiles.size() - spans, spans, 0});
      continue;
    }
    for (size_t row = 0; row < job.rows; row += tile_rows) {
      const size_t rows = std::min(tile_rows, job.rows - row);
      const size_t last = job.first_position + row + rows - 1;
      tiles.push_back({&job, kernel, kv_head, kv_heads, row, rows, 0, last / kAttentionSpan + 1});
    }
  }
}

}  // namespace

void PagedAttention(const KvLayout& kv, size_t heads, float scale, ActMode act,
                    std::span<const AttentionJob> jobs) {
  PLANISH_CHECK(kv.kv_heads > 0 && heads % kv.kv_heads == 0 && kv.head_dim > 0, "{} {}", heads,
                kv.kv_heads);
  const AttentionShape shape{kv, heads, scale};
  static thread_local Plan own_plan;
  Plan& plan = own_plan;  // thread_local is per worker: the team gets this one
  plan.tiles.clear();
  plan.merges.clear();
  plan.partial_floats = plan.thread_floats = plan.operations = 0;
  const size_t few_row_tiles = FewRowTiles(shape, jobs);
  for (const AttentionJob& job : jobs) {
    if (job.rows == 0) continue;
    const size_t pages = KvPageCount(job.first_position + job.rows);
    PLANISH_CHECK(job.pages.size() >= pages, "{} of {} pages", job.pages.size(), pages);
    plan.Add(shape, job, KernelFor(shape, act, job.is_decode), few_row_tiles);
  }

  static thread_local Scratch memory;
  const size_t team_floats = static_cast<size_t>(ThreadCount()) * plan.thread_floats;
  float* scratch = memory.Floats(team_floats + plan.partial_floats);
  float* partials = scratch + team_floats;
  ParallelForWork(plan.tiles.size(), plan.operations, [&](size_t i, int thread) {
    const AttentionTile& tile = plan.tiles[i];
    float* own = scratch + static_cast<size_t>(thread) * plan.thread_floats;
    if (tile.kernel == AttentionKernel::kAmx) return AttendRowsAmx(shape, tile, own);
    AttendRows(shape, tile, own, partials);
    if (tile.partial == AttentionTile::kWhole) return;
    // Who finishes the last span merges all of them, in order: no second region.
    Plan::Merge& merge = plan.merges[tile.merge];
    const std::atomic_ref<uint32_t> done(merge.done);
    if (done.fetch_add(1, std::memory_order_acq_rel) + 1 == merge.count)
      MergeSpans(shape, &plan.tiles[merge.first], merge.count, partials, own);
  });
}

}  // namespace planish

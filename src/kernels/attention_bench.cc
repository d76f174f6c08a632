// SPDX-License-Identifier: Apache-2.0
// Speed of PagedAttention at the shape of a 9B hybrid (40 query heads, 8 kv heads, width 128): decode GB/s of KV beside plain
// reading of as much memory in the same run, prefill GFLOP/s (peaks: `planish bench machine`). Layers follow each other as in a model, so pages come from memory. Usage: attention_bench [decode|prefill|small]
// [seconds per figure, default 0.5] [type of KV] [context of decode].
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "kernels/attention.h"
#include "kernels/bench_rows.h"
#include "kernels/bench_timing.h"
#include "kernels/isa.h"

namespace planish {
namespace {

double g_seconds = 0.5;
std::string g_type;    // empty: all
size_t g_context = 0;  // 0: all

// Pages of random content for `positions` of each of `sequences` in `layers`.
struct Pages {
  AlignedBuffer memory;
  std::vector<std::vector<const std::byte*>> of;  // [layer * sequences + sequence]
  size_t bytes = 0;

  Pages(const KvLayout& layout, size_t layers, size_t sequences, size_t positions) {
    const size_t n = KvPageCount(positions);
    Random random(1);
    std::vector<float> rows(kKvPagePositions * layout.kv_heads * layout.head_dim);
    for (float& value : rows) value = static_cast<float>(random.Normal());
    const size_t stride = layout.kv_heads * layout.head_dim;
    AlignedBuffer one(layout.PageBytes());
    WriteKvPage(layout, rows.data(), stride, rows.data(), stride, kKvPagePositions, 0, one.data());
    // Pages of all lists alternate, as a growing cache takes them from its slabs.
    memory = AlignedBuffer(n * layers * sequences * layout.PageBytes());
    of.resize(layers * sequences);
    std::byte* next = memory.data();
    for (size_t page = 0; page < n; ++page) {
      for (auto& list : of) {
        std::memcpy(next, one.data(), layout.PageBytes());
        list.push_back(next);
        next += layout.PageBytes();
      }
    }
    bytes = memory.size();
  }
};

constexpr size_t kHeads = 40, kKvHeads = 8, kWidth = 128;

// GB/s of adding up all pages, the plain way.
double ReadGbps(const Pages& pages) {
  constexpr size_t kPiece = size_t{1} << 18;
  std::vector<uint64_t> sums(pages.bytes / kPiece);
  const double best = BestSeconds(g_seconds, 3, [&] {
    ParallelFor(sums.size(), [&](size_t i, int) {
      const auto* words = reinterpret_cast<const uint64_t*>(pages.memory.data() + i * kPiece);
      uint64_t sum[8] = {};
      for (size_t j = 0; j < kPiece / 8; j += 8) {
        for (size_t k = 0; k < 8; ++k) sum[k] += words[j + k];
        __builtin_prefetch(words + j + 512);
      }
      for (const uint64_t s : sum) sums[i] += s;
    });
  });
  return static_cast<double>(pages.bytes) / best / 1e9;
}

void Decode() {
  std::printf("%-5s %8s %6s %7s %7s %10s %10s %7s %7s\n", "kv", "context", "batch", "layers",
              "threads", "us/layer", "GB/s", "read", "share");
  for (const DType type : {DType::kF32, DType::kBF16, DType::kF16, DType::kQ8_0}) {
    if (!g_type.empty() && g_type != Name(type)) continue;
    const KvLayout layout{type, kKvHeads, kWidth};
    for (const auto& [context, batch] : {std::pair<size_t, size_t>{1024, 1},
                                         {8192, 1},
                                         {32768, 1},
                                         {131072, 1},
                                         {1024, 4},
                                         {8192, 4},
                                         {1024, 16},
                                         {8192, 16}}) {
      if (g_context != 0 && g_context != context) continue;
      const size_t layer_bytes = batch * KvPageCount(context) * layout.PageBytes();
      const size_t layers = std::clamp<size_t>((size_t{3} << 30) / layer_bytes, 2, 64);
      const Pages pages(layout, layers, batch, context);
      std::vector<float> q(batch * kHeads * kWidth), out(q.size());
      Random random(2);
      for (float& value : q) value = static_cast<float>(random.Normal());
      for (const int threads : {1, 2}) {
        SetThreadCount(threads);
        const double read = ReadGbps(pages);
        const double best = BestSeconds(g_seconds, 3, [&] {
          for (size_t layer = 0; layer < layers; ++layer) {
            std::vector<AttentionJob> jobs;
            for (size_t b = 0; b < batch; ++b) {
              jobs.push_back({q.data() + b * kHeads * kWidth, kHeads * kWidth, 1, context - 1,
                              pages.of[layer * batch + b], out.data() + b * kHeads * kWidth,
                              kHeads * kWidth, /*is_decode=*/true});
            }
            PagedAttention(layout, kHeads, 0.088f, ActMode::kInt8, jobs);
          }
        });
        const double gbps = static_cast<double>(pages.bytes) / best / 1e9;
        std::printf("%-5s %8zu %6zu %7zu %7d %10.1f %10.1f %7.1f %6.0f%%\n",
                    std::string(Name(type)).c_str(), context, batch, layers, threads,
                    best / static_cast<double>(layers) * 1e6, gbps, read, 100 * gbps / read);
        ReportBenchRow("attention decode " + std::string(Name(type)) + " at " +
                           std::to_string(context) + " b" + std::to_string(batch) + " " +
                           std::to_string(threads) + "t",
                       gbps / read);
        std::fflush(stdout);
      }
    }
  }
}

void Prefill() {
  std::printf("%-5s %-5s %6s %7s %10s %10s\n", "kv", "mode", "depth", "threads", "ms", "GFLOP/s");
  for (const DType type : {DType::kF32, DType::kBF16, DType::kQ8_0}) {
    if (!g_type.empty() && g_type != Name(type)) continue;
    const KvLayout layout{type, kKvHeads, kWidth};
    const size_t rows = 512;
    std::vector<float> q(rows * kHeads * kWidth), out(q.size());
    Random random(3);
    for (float& value : q) value = static_cast<float>(random.Normal());
    for (const size_t depth : {0u, 4096u, 16384u}) {
      const Pages pages(layout, 1, 1, depth + rows);
      for (const ActMode act : {ActMode::kF32, ActMode::kBf16}) {
        for (const int threads : {1, 2}) {
          SetThreadCount(threads);
          const AttentionJob job{q.data(),    kHeads * kWidth, rows,           depth,
                                 pages.of[0], out.data(),      kHeads * kWidth};
          const double best = BestSeconds(g_seconds, 3, [&] {
            PagedAttention(layout, kHeads, 0.088f, act, {&job, 1});
          });
          // Two products over the positions that a row sees.
          const double pairs = static_cast<double>(rows) *
                               (static_cast<double>(depth) + (static_cast<double>(rows) + 1) / 2);
          std::printf("%-5s %-5s %6zu %7d %10.2f %10.0f\n", std::string(Name(type)).c_str(),
                      act == ActMode::kF32 ? "f32" : "fast", depth, threads, best * 1e3,
                      4 * pairs * kHeads * kWidth / best / 1e9);
          std::fflush(stdout);
        }
      }
    }
  }
}

// One sequence of SmolLM2-135M: 9 query heads, 3 kv heads, width 64; warm.
void Small() {
  std::printf("%-5s %8s %7s %10s\n", "kv", "context", "threads", "us/call");
  for (const DType type : {DType::kF32, DType::kBF16, DType::kF16, DType::kQ8_0}) {
    const KvLayout layout{type, 3, 64};
    for (const size_t context : {1u, 16u, 100u, 400u, 1000u, 2000u}) {
      const Pages pages(layout, 1, 1, context);
      std::vector<float> q(9 * 64, 0.5f), out(q.size());
      for (const int threads : {1, 2}) {
        SetThreadCount(threads);
        const AttentionJob job{q.data(),          q.size(),   1,        context - 1,
                               pages.of[0],       out.data(), q.size(),
                               /*is_decode=*/true};
        const double best = BestSeconds(g_seconds, 3, [&] {
          for (int i = 0; i < 1000; ++i)
            PagedAttention(layout, 9, 0.125f, ActMode::kInt8, {&job, 1});
        });
        std::printf("%-5s %8zu %7d %10.2f\n", std::string(Name(type)).c_str(), context, threads,
                    best * 1e3);
      }
    }
  }
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) {
  planish::LimitSpinning(argv);
  planish::ApplyIsaOverride();
  const std::string what = argc > 1 ? argv[1] : "";
  if (argc > 2) planish::g_seconds = std::atof(argv[2]);
  if (argc > 3) planish::g_type = argv[3];
  if (argc > 4) planish::g_context = std::strtoull(argv[4], nullptr, 10);
  std::printf("isa %s\n", planish::IsaName().c_str());
  if (what.empty() || what == "small") planish::Small();
  if (what.empty() || what == "prefill") planish::Prefill();
  if (what.empty() || what == "decode") planish::Decode();
}

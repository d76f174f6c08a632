// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include <limits>

#include "kernels/kernel_testing.h"
#include "kernels/reference.h"

namespace planish {
namespace {

// Keys and values by position and in pages; whatever was never written is NaN.
struct Cache {
  size_t kv_heads, head_dim, positions;
  std::vector<float> k, v;
  std::vector<std::vector<float>> pages;

  Cache(Random& random, size_t kv_head_count, size_t width, size_t n)
      : kv_heads(kv_head_count), head_dim(width), positions(n) {
    k = RandomFloats(random, n * kv_heads * head_dim);
    v = RandomFloats(random, n * kv_heads * head_dim);
    pages.assign(KvPageCount(n), std::vector<float>(KvPageFloats(kv_heads, head_dim),
                                                    std::numeric_limits<float>::quiet_NaN()));
    Write(0, n);
  }
  void Write(size_t begin, size_t count) {
    std::vector<float*> to;
    for (auto& page : pages) to.push_back(page.data());
    const size_t row = kv_heads * head_dim;
    WriteKv(k.data() + begin * row, row, v.data() + begin * row, row, count, kv_heads, head_dim,
            begin, to);
  }
  std::vector<const float*> Pages() const {
    std::vector<const float*> result;
    for (const auto& page : pages) result.push_back(page.data());
    return result;
  }
};

// One call for rows at the end of the cache, or from `first`.
std::vector<float> Attend(const Cache& cache, const std::vector<float>& q, size_t heads,
                          float scale, size_t first, size_t rows) {
  const size_t row = heads * cache.head_dim;
  std::vector<float> out(rows * row);
  const auto pages = cache.Pages();
  const AttentionJob job{q.data(), row, rows, first, pages, out.data(), row};
  PagedAttention(heads, cache.kv_heads, cache.head_dim, scale, {&job, 1});
  return out;
}

void CheckAgainstReference(Random& random, size_t heads, size_t kv_heads, size_t head_dim,
                           size_t first, size_t rows, double q_scale = 1) {
  const size_t n = first + rows;
  const Cache cache(random, kv_heads, head_dim, n);
  const auto q = RandomFloats(random, rows * heads * head_dim, q_scale);
  const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
  std::vector<double> want(q.size()), magnitude(q.size());
  const auto k = Widen(cache.k), wide_q = Widen(q);
  reference::CausalAttention(wide_q.data(), k.data(), Widen(cache.v).data(), rows, first, heads,
                             kv_heads, head_dim, scale, want.data());
  reference::CausalAttention(wide_q.data(), k.data(), Magnitudes(cache.v).data(), rows, first,
                             heads, kv_heads, head_dim, scale, magnitude.data());
  const auto got = Attend(cache, q, heads, scale, first, rows);
  // A score is off by (P + 3) roundings of its absolute products, an exponential by that and by its argument's; both
  // again in the normaliser. Then one rounding per position and page in the sums.
  std::vector<double> score_magnitude(rows * heads, 0.0);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t h = 0; h < heads; ++h) {
      for (size_t j = 0; j <= first + r; ++j) {
        double dot = 0;
        for (size_t p = 0; p < head_dim; ++p) {
          dot += std::abs(wide_q[(r * heads + h) * head_dim + p] *
                          k[(j * kv_heads + h / (heads / kv_heads)) * head_dim + p]);
        }
        score_magnitude[r * heads + h] = std::max(score_magnitude[r * heads + h], scale * dot);
      }
    }
  }
  const auto bound = [&](size_t i) {
    const double score = score_magnitude[i / head_dim];
    const double roundings =
        2 * (static_cast<double>(head_dim) + 5) * score + static_cast<double>(n + n / 32) + 16;
    return roundings * kRoundoff * magnitude[i];
  };
  ExpectWithin(got.data(), want, bound, "out");
}

TEST(Attention, MatchesReferenceForAllHeadWidthsAndGroups) {
  ForEachSimdLevel([] {
    Random random(30);
    for (size_t head_dim :
         {1u, 2u, 3u, 5u, 8u, 15u, 16u, 17u, 24u, 32u, 64u, 80u, 96u, 128u, 144u}) {
      for (auto [heads, kv_heads] : {std::pair{1, 1}, {4, 2}, {5, 1}, {6, 2}, {3, 3}}) {
        CheckAgainstReference(random, heads, kv_heads, head_dim, 0, 9);
        CheckAgainstReference(random, heads, kv_heads, head_dim, 66, 1);
      }
    }
  });
}

TEST(Attention, MatchesReferenceAroundPageTileAndSpanBorders) {
  ForEachSimdLevel([] {
    Random random(31);
    for (auto [first, rows] : {std::pair{0, 1},
                               {0, 63},
                               {0, 64},
                               {0, 65},
                               {63, 1},
                               {63, 2},
                               {64, 1},
                               {30, 100},
                               {127, 3},
                               {1023, 1},
                               {1023, 2},
                               {1020, 40},
                               {2049, 1}}) {
      CheckAgainstReference(random, 4, 2, 16, first, rows);
    }
  });
}

TEST(Attention, SharpDistributionsStayExact) {
  ForEachSimdLevel([] {
    Random random(32);
    CheckAgainstReference(random, 4, 1, 32, 150, 20, /*q_scale=*/30);
  });
}

TEST(Attention, RowBitsDoNotDependOnHowManyRowsACallHas) {
  ForEachSimdLevel([] {
    Random random(33);
    // 1000 .. 1139 crosses the span border at 1024; 24 is no multiple of the wider vectors.
    for (size_t head_dim : {16u, 24u}) {
      const size_t heads = 6, kv_heads = 2, first = 1000, rows = 140, row = heads * head_dim;
      const Cache cache(random, kv_heads, head_dim, first + rows);
      const auto q = RandomFloats(random, rows * row);
      const auto whole = Attend(cache, q, heads, 0.3f, first, rows);
      for (int trial = 0; trial < 3; ++trial) {
        std::vector<float> cut;
        for (size_t r = 0; r < rows;) {
          const size_t n = trial == 0 ? 1 : std::min<size_t>(rows - r, 1 + random.Below(50));
          const std::vector<float> some(&q[r * row], &q[r * row] + n * row);
          const auto out = Attend(cache, some, heads, 0.3f, first + r, n);
          cut.insert(cut.end(), out.begin(), out.end());
          r += n;
        }
        ExpectSameBits(whole, cut, "out");
      }
    }
  });
}

TEST(Attention, LaterPositionsOfAPageAreNeverUsed) {
  Random random(34);
  const size_t heads = 4, kv_heads = 2, head_dim = 16, row = heads * head_dim;
  Cache cache(random, kv_heads, head_dim, 128);
  const auto q = RandomFloats(random, 50 * row);
  const auto clean = Attend(cache, q, heads, 0.25f, 40, 50);  // positions 40 .. 89
  // Poison 70 and later: rows before 70 keep their bits, the rest shows the poison.
  for (size_t i = 70 * kv_heads * head_dim; i < cache.k.size(); ++i) {
    cache.k[i] = std::numeric_limits<float>::infinity();
    cache.v[i] = std::numeric_limits<float>::quiet_NaN();
  }
  cache.Write(70, 58);
  const auto poisoned = Attend(cache, q, heads, 0.25f, 40, 50);
  ExpectSameBits({clean.begin(), clean.begin() + 30 * row},
                 {poisoned.begin(), poisoned.begin() + 30 * row}, "out");
  for (size_t i = 30 * row; i < poisoned.size(); ++i) ASSERT_TRUE(std::isnan(poisoned[i])) << i;
}

TEST(Attention, JobsGiveTheBitsOfSeparateCallsForAnyThreadCount) {
  Random random(35);
  const size_t heads = 6, kv_heads = 3, head_dim = 20, row = heads * head_dim;
  struct Request {
    size_t first, rows;
  };
  const std::vector<Request> requests = {{0, 1}, {1500, 1}, {10, 90},
                                         {5, 0}, {2100, 3}, {900, 200}};
  std::vector<Cache> caches;
  std::vector<std::vector<float>> q, alone;
  for (const Request& r : requests) {
    caches.emplace_back(random, kv_heads, head_dim, r.first + r.rows);
    q.push_back(RandomFloats(random, r.rows * row));
    alone.push_back(Attend(caches.back(), q.back(), heads, 0.2f, r.first, r.rows));
  }
  for (int threads : {1, 2, 3}) {
    const ThreadCountScope scope(threads);
    std::vector<std::vector<float>> out;
    std::vector<std::vector<const float*>> pages;
    for (size_t i = 0; i < requests.size(); ++i) {
      out.emplace_back(requests[i].rows * row);
      pages.push_back(caches[i].Pages());
    }
    std::vector<AttentionJob> jobs;
    for (size_t i = 0; i < requests.size(); ++i) {
      jobs.push_back(
          {q[i].data(), row, requests[i].rows, requests[i].first, pages[i], out[i].data(), row});
    }
    PagedAttention(heads, kv_heads, head_dim, 0.2f, jobs);
    for (size_t i = 0; i < requests.size(); ++i) ExpectSameBits(alone[i], out[i], "out");
  }
}

TEST(Attention, OutputMayReplaceTheQueriesInsideWiderRows) {
  Random random(36);
  const size_t heads = 4, kv_heads = 2, head_dim = 8, row = 32, stride = 45;
  for (auto [first, rows] : {std::pair{0, 70}, {1100, 2}}) {
    const Cache cache(random, kv_heads, head_dim, first + rows);
    const auto q = RandomFloats(random, rows * row);
    const auto want = Attend(cache, q, heads, 0.3f, first, rows);
    std::vector<float> fused((rows - 1) * stride + row), got(rows * row);
    for (int r = 0; r < rows; ++r) std::copy_n(&q[r * row], row, &fused[r * stride]);
    const auto pages = cache.Pages();
    const AttentionJob job{
        fused.data(), stride, static_cast<size_t>(rows), static_cast<size_t>(first), pages,
        fused.data(), stride};
    PagedAttention(heads, kv_heads, head_dim, 0.3f, {&job, 1});
    for (int r = 0; r < rows; ++r) std::copy_n(&fused[r * stride], row, &got[r * row]);
    ExpectSameBits(want, got, "out");
  }
}

}  // namespace
}  // namespace planish

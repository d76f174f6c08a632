// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include <limits>
#include <numbers>

#include "kernels/isa.h"
#include "kernels/kernel_testing.h"
#include "kernels/reference.h"
#include "tensor/blocks.h"

namespace planish {
namespace {

constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kQ8_0};
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Calls body() at every level of the CPU, the dot-product and tile units included.
template <class Body>
void ForEachIsaLevel(const Body& body) {
  const ThreadCountScope scope(1);
  for (const std::string& level : IsaLevels()) {
    SCOPED_TRACE(level);
    LimitIsa(level);
    body();
    LimitIsa("");
    if (::testing::Test::HasFailure()) return;
  }
}

// The values as the type holds them, in groups of 32 channels of [n, head_dim].
std::vector<float> Rounded(DType type, const std::vector<float>& values, size_t head_dim) {
  std::vector<float> result;
  for (size_t row = 0; row < values.size(); row += head_dim) {
    for (size_t c = 0; c < head_dim; c += 32) {
      const size_t n = std::min<size_t>(32, head_dim - c);
      float group[32] = {}, back[32];
      std::byte bytes[128];
      std::copy_n(&values[row + c], n, group);
      QuantizeRow(type, group, bytes, 32);
      DequantizeRow(type, bytes, back, 32);
      result.insert(result.end(), back, back + n);
    }
  }
  return result;
}

// Keys and values by position and in pages; whatever was never written is NaN.
struct Cache {
  KvLayout layout;
  size_t positions;
  std::vector<float> k, v;
  std::vector<std::vector<std::byte>> pages;

  Cache(Random& random, DType type, size_t kv_heads, size_t head_dim, size_t n)
      : layout{type, kv_heads, head_dim}, positions(n) {
    k = RandomFloats(random, n * kv_heads * head_dim);
    v = RandomFloats(random, n * kv_heads * head_dim);
    pages.assign(KvPageCount(n), std::vector<std::byte>(layout.PageBytes(), std::byte{0xFF}));
    Write(0, n);
  }
  void Write(size_t begin, size_t count) {
    std::vector<std::byte*> to;
    for (auto& page : pages) to.push_back(page.data());
    const size_t row = layout.kv_heads * layout.head_dim;
    WriteKv(layout, k.data() + begin * row, row, v.data() + begin * row, row, count, begin, to);
  }
  std::vector<const std::byte*> Pages() const {
    std::vector<const std::byte*> result;
    for (const auto& page : pages) result.push_back(page.data());
    return result;
  }
};

// One call for rows at the end of the cache, or from `first`.
std::vector<float> Attend(const Cache& cache, ActMode act, const std::vector<float>& q,
                          size_t heads, float scale, size_t first, size_t rows) {
  const size_t row = heads * cache.layout.head_dim;
  std::vector<float> out(rows * row);
  const auto pages = cache.Pages();
  const AttentionJob job{q.data(), row, rows, first, pages, out.data(), row, rows == 1};
  PagedAttention(cache.layout, heads, scale, act, {&job, 1});
  return out;
}

std::vector<float> Scaled(std::vector<float> values, float factor) {
  for (float& value : values) value *= factor;
  return values;
}

// Queries as ScoresInt8 takes them: codes by the inverse of the group's scale.
std::vector<float> Int8Queries(std::vector<float> q, size_t head_dim) {
  for (size_t row = 0; row < q.size(); row += head_dim) {
    for (size_t c = 0; c < head_dim; c += 32) {
      const size_t n = std::min<size_t>(32, head_dim - c);
      float largest = 0;
      for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(q[row + c + i]));
      for (size_t i = 0; i < n; ++i) {
        float& value = q[row + c + i];
        value = std::round(value * (127.0f / largest)) * (largest / 127.0f);
      }
    }
  }
  return q;
}

void CheckAgainstReference(Random& random, DType type, ActMode act, size_t heads, size_t kv_heads,
                           size_t head_dim, size_t first, size_t rows, double q_scale = 1) {
  SCOPED_TRACE(fmt::format("{} heads {}/{} of {}, rows {} from {}", Name(type), heads, kv_heads,
                           head_dim, rows, first));
  const size_t n = first + rows;
  const Cache cache(random, type, kv_heads, head_dim, n);
  const auto q = RandomFloats(random, rows * heads * head_dim, q_scale);
  const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
  // The reference works on the numbers that are multiplied, so that only roundings of sums and probabilities remain.
  std::vector<float> k = Rounded(type, cache.k, head_dim), v = Rounded(type, cache.v, head_dim);
  std::vector<float> used_q = q;
  double used_scale = scale, probability_roundoff = 0;
  if (act != ActMode::kF32 && rows > 1 && Has(Isa::kAmx)) {
    k = Rounded(DType::kBF16, k, head_dim);
    v = Rounded(DType::kBF16, v, head_dim);
    used_q = Rounded(DType::kBF16, Scaled(q, scale * std::numbers::log2e_v<float>), head_dim);
    used_scale = std::numbers::ln2;
    probability_roundoff = 0x1p-8;  // bf16 has 8 significant bits
  } else if (act != ActMode::kF32 && type == DType::kQ8_0 && Has(Isa::kVnni)) {
    used_q = Int8Queries(Scaled(q, scale), head_dim);
    used_scale = 1;
  }
  std::vector<double> want(q.size()), magnitude(q.size());
  const auto wide_k = Widen(k), wide_q = Widen(used_q);
  reference::CausalAttention(wide_q.data(), wide_k.data(), Widen(v).data(), rows, first, heads,
                             kv_heads, head_dim, used_scale, want.data());
  reference::CausalAttention(wide_q.data(), wide_k.data(), Magnitudes(v).data(), rows, first, heads,
                             kv_heads, head_dim, used_scale, magnitude.data());
  const auto got = Attend(cache, act, q, heads, scale, first, rows);
  // A score is off by (P + 5) roundings of its absolute products, an exponential by that and by its argument's; both
  // again in the normaliser. Then one rounding per position and page in the sums, three more for scales of q8_0.
  std::vector<double> score_magnitude(rows * heads, 0.0);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t h = 0; h < heads; ++h) {
      for (size_t j = 0; j <= first + r; ++j) {
        double dot = 0;
        for (size_t p = 0; p < head_dim; ++p) {
          dot += std::abs(wide_q[(r * heads + h) * head_dim + p] *
                          wide_k[(j * kv_heads + h / (heads / kv_heads)) * head_dim + p]);
        }
        score_magnitude[r * heads + h] = std::max(score_magnitude[r * heads + h], used_scale * dot);
      }
    }
  }
  const auto bound = [&](size_t i) {
    const double score = score_magnitude[i / head_dim];
    const double roundings =
        2 * (static_cast<double>(head_dim) + 8) * score + static_cast<double>(n + n / 32) + 20;
    return (roundings * kRoundoff + probability_roundoff) * magnitude[i];
  };
  ExpectWithin(got.data(), want, bound, "out");
}

TEST(Attention, MatchesReferenceForAllHeadWidthsAndGroups) {
  ForEachSimdLevel([] {
    Random random(30);
    for (const DType type : kTypes) {
      for (size_t head_dim : {1u, 2u, 3u, 5u, 15u, 16u, 17u, 24u, 31u, 33u, 64u, 80u, 128u}) {
        for (auto [heads, kv_heads] : {std::pair{1, 1}, {5, 1}, {6, 2}, {8, 1}}) {
          CheckAgainstReference(random, type, ActMode::kF32, heads, kv_heads, head_dim, 0, 9);
          CheckAgainstReference(random, type, ActMode::kF32, heads, kv_heads, head_dim, 66, 1);
        }
      }
    }
  });
}

TEST(Attention, FastModesMatchReferenceOnTheirRoundedNumbers) {
  ForEachIsaLevel([] {
    Random random(37);
    for (const DType type : kTypes) {
      for (size_t head_dim : {1u, 2u, 3u, 5u, 15u, 16u, 31u, 32u, 33u, 80u, 128u}) {
        for (auto [heads, kv_heads] : {std::pair{1, 1}, {5, 1}, {6, 2}}) {
          CheckAgainstReference(random, type, ActMode::kBf16, heads, kv_heads, head_dim, 0, 9);
          CheckAgainstReference(random, type, ActMode::kInt8, heads, kv_heads, head_dim, 66, 1);
        }
      }
      for (auto [first, rows] : {std::pair{0, 2}, {0, 257}, {255, 2}, {700, 70}, {1023, 40}}) {
        CheckAgainstReference(random, type, ActMode::kBf16, 5, 1, 32, first, rows);
      }
      CheckAgainstReference(random, type, ActMode::kBf16, 4, 1, 32, 300, 20, /*q_scale=*/30);
      CheckAgainstReference(random, type, ActMode::kBf16, 4, 1, 32, 2300, 1, /*q_scale=*/30);
    }
  });
}

TEST(Attention, MatchesReferenceAroundPageTileAndSpanBorders) {
  ForEachSimdLevel([] {
    Random random(31);
    for (const DType type : kTypes) {
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
        CheckAgainstReference(random, type, ActMode::kF32, 4, 2, 16, first, rows);
      }
    }
  });
}

TEST(Attention, SharpDistributionsStayExact) {
  ForEachSimdLevel([] {
    Random random(32);
    for (const DType type : kTypes) {
      CheckAgainstReference(random, type, ActMode::kF32, 4, 1, 32, 150, 20, /*q_scale=*/30);
    }
  });
}

// Rows in pieces of the lengths that next() gives.
template <class Next>
std::vector<float> AttendCut(const Cache& cache, ActMode act, const std::vector<float>& q,
                             size_t heads, size_t first, size_t rows, const Next& next) {
  const size_t row = heads * cache.layout.head_dim;
  std::vector<float> cut;
  for (size_t r = 0; r < rows;) {
    const size_t n = std::min<size_t>(rows - r, next());
    const std::vector<float> some(&q[r * row], &q[r * row] + n * row);
    const auto out = Attend(cache, act, some, heads, 0.3f, first + r, n);
    cut.insert(cut.end(), out.begin(), out.end());
    r += n;
  }
  return cut;
}

TEST(Attention, RowBitsDoNotDependOnHowManyRowsACallHas) {
  ForEachSimdLevel([] {
    Random random(33);
    for (const DType type : kTypes) {
      // 1000 .. 1139 crosses the span border at 1024; 24 is no multiple of the wider vectors.
      for (size_t head_dim : {16u, 24u}) {
        const size_t heads = 6, kv_heads = 2, first = 1000, rows = 140;
        const Cache cache(random, type, kv_heads, head_dim, first + rows);
        const auto q = RandomFloats(random, rows * heads * head_dim);
        const auto whole = Attend(cache, ActMode::kF32, q, heads, 0.3f, first, rows);
        for (int trial = 0; trial < 3; ++trial) {
          const auto next = [&] { return trial == 0 ? size_t{1} : 1 + random.Below(50); };
          ExpectSameBits(whole, AttendCut(cache, ActMode::kF32, q, heads, first, rows, next),
                         "out");
        }
      }
    }
  });
}

TEST(Attention, FastPromptRowsKeepTheirBitsInAnyCutOfSeveralRows) {
  ForEachIsaLevel([] {
    Random random(38);
    for (const DType type : kTypes) {
      const size_t heads = 5, head_dim = 40, first = 900, rows = 200;
      const Cache cache(random, type, 1, head_dim, first + rows);
      const auto q = RandomFloats(random, rows * heads * head_dim);
      const auto whole = Attend(cache, ActMode::kBf16, q, heads, 0.3f, first, rows);
      for (const size_t piece : {2u, 8u, 20u, 40u, 50u, 100u}) {
        const auto next = [&] { return piece; };
        ExpectSameBits(whole, AttendCut(cache, ActMode::kBf16, q, heads, first, rows, next), "out");
      }
    }
  });
}

TEST(Attention, LaterPositionsOfAPageAreNeverUsed) {
  Random random(34);
  for (const DType type : kTypes) {
    SCOPED_TRACE(Name(type));
    const size_t heads = 4, kv_heads = 2, head_dim = 16, row = heads * head_dim;
    Cache cache(random, type, kv_heads, head_dim, 128);
    const auto q = RandomFloats(random, 50 * row);
    const auto clean = Attend(cache, ActMode::kF32, q, heads, 0.25f, 40, 50);  // positions 40 .. 89
    const auto fast = Attend(cache, ActMode::kBf16, q, heads, 0.25f, 40, 50);
    // Other values from 70 on: rows before keep their bits, in fast modes too.
    const size_t from = 70 * kv_heads * head_dim;
    for (size_t i = from; i < cache.k.size(); ++i) cache.k[i] = cache.v[i] = 1e4f;
    cache.Write(70, 58);
    const auto changed = Attend(cache, ActMode::kBf16, q, heads, 0.25f, 40, 50);
    ExpectSameBits({fast.begin(), fast.begin() + 30 * row},
                   {changed.begin(), changed.begin() + 30 * row}, "out");
    EXPECT_NE(fast.back(), changed.back());
    // Poison: rows before 70 keep their bits, the rest shows the poison.
    for (size_t i = from; i < cache.k.size(); ++i) {
      cache.k[i] = std::numeric_limits<float>::infinity();
      cache.v[i] = kNaN;
    }
    cache.Write(70, 58);
    const auto poisoned = Attend(cache, ActMode::kF32, q, heads, 0.25f, 40, 50);
    ExpectSameBits({clean.begin(), clean.begin() + 30 * row},
                   {poisoned.begin(), poisoned.begin() + 30 * row}, "out");
    const auto shows = Attend(cache, ActMode::kBf16, q, heads, 0.25f, 40, 50);
    for (size_t i = 30 * row; i < poisoned.size(); ++i) {
      ASSERT_TRUE(std::isnan(poisoned[i])) << i;
      ASSERT_TRUE(std::isnan(shows[i])) << i;
    }
  }
}

TEST(Attention, NotFiniteQueriesShowInTheirRowsOnly) {
  ForEachIsaLevel([] {
    Random random(39);
    for (const DType type : kTypes) {
      for (const float bad : {kNaN, std::numeric_limits<float>::infinity()}) {
        for (const size_t rows : {1u, 20u}) {
          const size_t heads = 3, head_dim = 33, row = heads * head_dim;
          const Cache cache(random, type, 1, head_dim, 100 + rows);
          auto q = RandomFloats(random, rows * row);
          const auto clean = Attend(cache, ActMode::kInt8, q, heads, 0.2f, 100, rows);
          q[head_dim + 4] = bad;  // head 1 of row 0
          const auto got = Attend(cache, ActMode::kInt8, q, heads, 0.2f, 100, rows);
          for (size_t i = 0; i < got.size(); ++i) {
            const bool is_bad = i / head_dim == 1;
            ASSERT_EQ(std::isnan(got[i]), is_bad) << Name(type) << " " << i;
            if (!is_bad) {
              ASSERT_EQ(got[i], clean[i]) << Name(type) << " " << i;
            }
          }
        }
      }
    }
  });
}

TEST(Attention, JobsGiveTheBitsOfSeparateCallsForAnyThreadCount) {
  Random random(35);
  const size_t heads = 6, kv_heads = 3, head_dim = 20, row = heads * head_dim;
  struct Request {
    size_t first, rows;
  };
  const std::vector<Request> requests = {{0, 1},  {1500, 1}, {10, 90},  {5, 0},
                                         {99, 1}, {2100, 3}, {900, 200}};
  for (const DType type : kTypes) {
    for (const ActMode act : {ActMode::kF32, ActMode::kBf16, ActMode::kInt8}) {
      SCOPED_TRACE(Name(type));
      std::vector<Cache> caches;
      std::vector<std::vector<float>> q, alone;
      for (const Request& r : requests) {
        caches.emplace_back(random, type, kv_heads, head_dim, r.first + r.rows);
        q.push_back(RandomFloats(random, r.rows * row));
        alone.push_back(Attend(caches.back(), act, q.back(), heads, 0.2f, r.first, r.rows));
      }
      for (int threads : {1, 2, 3}) {
        const ThreadCountScope scope(threads);
        std::vector<std::vector<float>> out;
        std::vector<std::vector<const std::byte*>> pages;
        for (size_t i = 0; i < requests.size(); ++i) {
          out.emplace_back(requests[i].rows * row);
          pages.push_back(caches[i].Pages());
        }
        std::vector<AttentionJob> jobs;
        for (size_t i = 0; i < requests.size(); ++i) {
          jobs.push_back({q[i].data(), row, requests[i].rows, requests[i].first, pages[i],
                          out[i].data(), row, requests[i].rows == 1});
        }
        PagedAttention(caches[0].layout, heads, 0.2f, act, jobs);
        for (size_t i = 0; i < requests.size(); ++i) ExpectSameBits(alone[i], out[i], "out");
      }
    }
  }
}

TEST(Attention, OutputMayReplaceTheQueriesInsideWiderRows) {
  Random random(36);
  const size_t heads = 4, kv_heads = 2, head_dim = 8, row = 32, stride = 45;
  for (const ActMode act : {ActMode::kF32, ActMode::kBf16}) {
    for (auto [first, rows] : {std::pair{0, 70}, {1100, 2}}) {
      const Cache cache(random, DType::kBF16, kv_heads, head_dim, first + rows);
      const auto q = RandomFloats(random, rows * row);
      const auto want = Attend(cache, act, q, heads, 0.3f, first, rows);
      std::vector<float> fused((rows - 1) * stride + row), got(rows * row);
      for (int r = 0; r < rows; ++r) std::copy_n(&q[r * row], row, &fused[r * stride]);
      const auto pages = cache.Pages();
      const AttentionJob job{
          fused.data(), stride, static_cast<size_t>(rows), static_cast<size_t>(first), pages,
          fused.data(), stride};
      PagedAttention(cache.layout, heads, 0.3f, act, {&job, 1});
      for (int r = 0; r < rows; ++r) std::copy_n(&fused[r * stride], row, &got[r * row]);
      ExpectSameBits(want, got, "out");
    }
  }
}

}  // namespace
}  // namespace planish

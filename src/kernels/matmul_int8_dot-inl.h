// SPDX-License-Identifier: Apache-2.0
// The int8 product for levels whose dot products are vector instructions: include after matmul_int8-inl.h, in the same place.
// Of Ops it wants besides: kStreamTokens (at most 8), kTileTokens and kTileBlocks, the register tiles of `stream` and `tile`, and
// Sum<Kind>, a running sum over a group.

// Where the sums over (half `s` of) group g start, one a token, so that the codes' zero is taken off; Sum ignores it for codes
// without one.
template <class Kind>
inline const int32_t* StartOf(const Int8Panel& x, size_t g, size_t s) {
  if (Kind::kScales == 2) return x.minus_128_halves + (2 * g + s) * x.height;
  if (!Kind::kSmallCodes) return x.minus_128_sums + g * x.height;
  return x.minus_8_sums + g * x.height;
}

// Row blocks side by side: one stream gets 14.5 GB/s out of a core's 17.6, two 16, four 17 (q4_0, one token).
constexpr size_t kStreamsAbreast = 4;
constexpr size_t kPrefetchBytes =
    1024;  // ahead in each stream: 512 and 2048 give the same within noise

// ---- few tokens: codes go from the packed weight through registers into the sums of M tokens

// acc[m][v] += the products of one group at p with M tokens.
template <class Kind, size_t M>
inline __attribute__((always_inline)) void AddGroup(const uint8_t* p, size_t g,
                                                    const typename Ops::Table& table,
                                                    const Int8Panel& x,
                                                    typename Ops::Floats (&acc)[M][Ops::kVectors]) {
  constexpr size_t V = Ops::kVectors;
  const int8_t* a = x.codes + g * 32 * M;
  const uint8_t* codes = p + Kind::kHeader;
#pragma GCC unroll 2
  for (size_t s = 0; s < Kind::kScales; ++s) {
#pragma GCC unroll 4
    for (size_t v = 0; v < V; ++v) {
      typename Ops::template Sum<Kind> sum[M];
      const int32_t* start = StartOf<Kind>(x, g, s);
#pragma GCC unroll 8
      for (size_t m = 0; m < M; ++m) sum[m].Start(start + m);
      if constexpr (Kind::k4Bit) {
#pragma GCC unroll 4
        for (size_t t = 0; t < 4; ++t) {
          const auto both = Ops::Load(codes + 64 * t + kBytesOfVector * v);
          const auto low = Ops::template Low<Kind>(both, table);
          const auto high = Ops::template High<Kind>(both, table);
#pragma GCC unroll 8
          for (size_t m = 0; m < M; ++m) {
            sum[m].Add(low, Ops::Broadcast(a + 32 * m + 4 * t));
            sum[m].Add(high, Ops::Broadcast(a + 32 * m + 16 + 4 * t));
          }
        }
      } else {
#pragma GCC unroll 8
        for (size_t i = 0; i < 8 / Kind::kScales; ++i) {
          const size_t t = s * 4 + i;
          const auto w = Ops::Whole(Ops::Load(codes + 64 * t + kBytesOfVector * v));
#pragma GCC unroll 8
          for (size_t m = 0; m < M; ++m) sum[m].Add(w, Ops::Broadcast(a + 32 * m + 4 * t));
        }
      }
      const auto scale = Ops::LoadHalf(p + (s * kPackedRows + v * kRowsOfVector) * 2);
#pragma GCC unroll 8
      for (size_t m = 0; m < M; ++m)
        acc[m][v] = Ops::MulAdd(sum[m].Value(start + m),
                                Ops::Mul(scale, Ops::Set(x.scales[g * M + m])), acc[m][v]);
      if constexpr (Kind::kMin) {
        const auto min = Ops::LoadHalf(p + (kPackedRows + v * kRowsOfVector) * 2);
#pragma GCC unroll 8
        for (size_t m = 0; m < M; ++m)
          acc[m][v] = Ops::NegMulAdd(min, Ops::Set(x.scaled_sums[g * M + m]), acc[m][v]);
      }
    }
  }
}

// B row blocks side by side.
template <class Kind, size_t M, size_t B>
void StreamBlocksAbreast(const Int8Weight& w, size_t first, const typename Ops::Table& table,
                         const Int8Panel& x, float* y) {
  constexpr size_t V = Ops::kVectors;
  const size_t block_bytes = w.groups * Kind::kGroupBytes;
  const uint8_t* p = w.data + first * block_bytes;
  typename Ops::Floats acc[B][M][V];
#pragma GCC unroll 4
  for (size_t b = 0; b < B; ++b)
#pragma GCC unroll 8
    for (size_t m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (size_t v = 0; v < V; ++v) acc[b][m][v] = Ops::Zero();
  for (size_t g = 0; g < w.groups; ++g, p += Kind::kGroupBytes) {
#pragma GCC unroll 4
    for (size_t b = 0; b < B; ++b) {
      const uint8_t* group = p + b * block_bytes;
#pragma GCC unroll 16
      for (size_t i = 0; i < Kind::kGroupBytes; i += 64)
        __builtin_prefetch(group + kPrefetchBytes + i);
      AddGroup<Kind, M>(group, g, table, x, acc[b]);
    }
  }
  alignas(64) float sums[M * kPackedRows];
#pragma GCC unroll 4
  for (size_t b = 0; b < B; ++b) {
#pragma GCC unroll 8
    for (size_t m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (size_t v = 0; v < V; ++v)
        Ops::Store(sums + m * kPackedRows + v * kRowsOfVector, acc[b][m][v]);
    StoreSums(w, first + b, sums, M, y);
  }
}

template <class Kind, size_t M>
void StreamBlocks(const Int8Weight& w, size_t begin, size_t end, const Int8Panel& x, float* y) {
  const typename Ops::Table table = Ops::LoadTable(w.format.table);
  // As many as registers allow for the sums of all.
  constexpr size_t kSums = M * Ops::kVectors;
  constexpr size_t B = kSums <= 2 ? kStreamsAbreast : kSums <= 8 ? 2 : 1;
  for (; begin + B <= end; begin += B) StreamBlocksAbreast<Kind, M, B>(w, begin, table, x, y);
  for (; begin < end; ++begin) StreamBlocksAbreast<Kind, M, 1>(w, begin, table, x, y);
}

// Calls body with M, a number of tokens at compile time.
template <size_t M, class Body>
void WithTokens(size_t tokens, const Body& body) {
  if (tokens == M) return body(std::integral_constant<size_t, M>());
  if constexpr (M > 1) WithTokens<M - 1>(tokens, body);
}

inline void Stream(const Int8Weight& w, size_t begin, size_t end, const Int8Panel& x,
                   float* y) noexcept {
  WithKind(w.format, [&](auto kind) {
    WithTokens<Ops::kStreamTokens>(x.height, [&](auto tokens) {
      StreamBlocks<decltype(kind), decltype(tokens)::value>(w, begin, end, x, y);
    });
  });
}

// sums[b][token][16] (+)= the products of B widened row blocks with M tokens; sums of a block are kSumStride apart. They
// stay in memory: the registers hold the integer sums, and a group is long enough to hide a load and a store.
template <class Kind, size_t B, size_t M>
void MultiplySlab(const uint8_t* wide, size_t wide_stride, size_t groups, const Int8Panel& x,
                  size_t first_token, float* sums, size_t sum_stride) {
  constexpr size_t V = Ops::kVectors;
  const size_t height = x.height;
  const int8_t* a = x.codes + 32 * first_token;
  // Copies: stores to the sums might otherwise change x, as far as the compiler knows.
  const float* x_scales = x.scales + first_token;
  const float* x_sums = x.scaled_sums + first_token;
  const int32_t* starts = StartOf<Kind>(x, 0, 0) + first_token;
  sums += first_token * kPackedRows;
  for (size_t g = 0; g < groups;
       ++g, wide += kWideBytes<Kind>, a += 32 * height, x_scales += height, x_sums += height) {
#pragma GCC unroll 2
    for (size_t s = 0; s < Kind::kScales; ++s, starts += height) {
#pragma GCC unroll 4
      for (size_t v = 0; v < V; ++v) {
        typename Ops::template Sum<Kind> sum[B][M];
#pragma GCC unroll 4
        for (size_t b = 0; b < B; ++b)
#pragma GCC unroll 8
          for (size_t m = 0; m < M; ++m) sum[b][m].Start(starts + m);
#pragma GCC unroll 8
        for (size_t i = 0; i < 8 / Kind::kScales; ++i) {
          const size_t t = s * 4 + i;
          typename Ops::Codes w[B];
#pragma GCC unroll 4
          for (size_t b = 0; b < B; ++b)
            w[b] = Ops::LoadCodes(wide + b * wide_stride + 64 * t + kBytesOfVector * v);
#pragma GCC unroll 8
          for (size_t m = 0; m < M; ++m) {
            const auto four = Ops::Broadcast(a + 32 * m + 4 * t);
#pragma GCC unroll 4
            for (size_t b = 0; b < B; ++b) sum[b][m].Add(w[b], four);
          }
        }
        float* at = sums;
#pragma GCC unroll 4
        for (size_t b = 0; b < B; ++b, at += sum_stride) {
          asm volatile(""
                       : "+r"(at));  // one base and displacements, not an address kept for each sum
          const auto* floats = reinterpret_cast<const float*>(wide + b * wide_stride + 512);
          const auto scale = Ops::LoadFloats(floats + s * kPackedRows + v * kRowsOfVector);
#pragma GCC unroll 8
          for (size_t m = 0; m < M; ++m) {
            float* const here = at + m * kPackedRows + v * kRowsOfVector;
            auto acc = Ops::MulAdd(sum[b][m].Value(starts + m),
                                   Ops::Mul(scale, Ops::Set(x_scales[m])), Ops::LoadFloats(here));
            if constexpr (Kind::kMin) {
              const auto min = Ops::LoadFloats(floats + kPackedRows + v * kRowsOfVector);
              acc = Ops::NegMulAdd(min, Ops::Set(x_sums[m]), acc);
            }
            Ops::Store(here, acc);
          }
        }
      }
    }
  }
}

// All tokens of a panel, kTileTokens at a time; the last few in a smaller tile (a panel's padding may be computed).
template <class Kind, size_t B>
void MultiplyPanel(const uint8_t* wide, size_t wide_stride, size_t groups, const Int8Panel& x,
                   size_t tokens, float* sums, size_t sum_stride) {
  constexpr size_t M = Ops::kTileTokens;
  size_t t = 0;
  for (; t + M <= tokens; t += M)
    MultiplySlab<Kind, B, M>(wide, wide_stride, groups, x, t, sums, sum_stride);
  if (t == tokens) return;
  if (2 * (tokens - t) <= M)
    MultiplySlab<Kind, B, M / 2>(wide, wide_stride, groups, x, t, sums, sum_stride);
  else
    MultiplySlab<Kind, B, M>(wide, wide_stride, groups, x, t, sums, sum_stride);
}

inline void Tile(const Int8Weight& w, size_t begin, size_t end, const Int8Rows& x, size_t first,
                 size_t last, uint8_t* workspace, float* y) noexcept {
  WithKind(w.format, [&](auto kind) {
    using Kind = decltype(kind);
    TileBlocks<Kind>(w, begin, end, x, first, last, workspace, y,
                     [](const uint8_t* wide, size_t stride, size_t blocks, size_t groups,
                        const Int8Panel& panel, size_t tokens, float* sums, size_t sum_stride) {
                       if (blocks == Ops::kTileBlocks) {
                         MultiplyPanel<Kind, Ops::kTileBlocks>(wide, stride, groups, panel, tokens,
                                                               sums, sum_stride);
                         return;
                       }
                       for (size_t b = 0; b < blocks; ++b)
                         MultiplyPanel<Kind, 1>(wide + b * stride, stride, groups, panel, tokens,
                                                sums + b * sum_stride, sum_stride);
                     });
  });
}

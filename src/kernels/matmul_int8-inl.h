// SPDX-License-Identifier: Apache-2.0
// The loops of the int8 product, common to all instruction sets. Include inside namespace planish and a namespace of the
// level, where the target's options are in force, after a struct Ops that says what a vector is:
//   kVectors: vectors in a load of 16 rows x 4 codes;  Bytes, Ints, Floats: vectors of as many rows;
//   kStreamTokens (a template bound), kTileTokens, kTileBlocks: the register tiles of `stream` and of `tile`;
//   Codes<Kind>: the codes of 16 rows as the level's dot product wants them, Sum<Kind>: a running sum over a group.
// See matmul_int8_vnni.cc for the list by example.

// The formats of packed_weight.h as types.
template <bool four_bit, bool look_up, bool minimum, size_t scales>
struct PackedKind {
  static constexpr bool k4Bit = four_bit, kTable = look_up, kMin = minimum;
  static constexpr size_t kScales = scales;
  static constexpr size_t kLoads = k4Bit ? 4 : 8;
  static constexpr size_t kHeader = (kScales + (kMin ? 1 : 0)) * kPackedRows * 2;
  static constexpr size_t kGroupBytes = kHeader + 64 * kLoads;
  // Codes that stay what they are in 4 bits; others are taken as 8 bits with zero 128.
  static constexpr bool kSmallCodes = k4Bit && !kTable;
};

template <class Body>
void WithKind(const PackedFormat& f, const Body& body) {
  if (f.is_4bit && f.table != nullptr) return body(PackedKind<true, true, false, 1>());
  if (f.is_4bit && f.has_min) return body(PackedKind<true, false, true, 1>());
  if (f.is_4bit) return body(PackedKind<true, false, false, 1>());
  if (f.scales_per_group == 2) return body(PackedKind<false, false, false, 2>());
  if (f.has_min) return body(PackedKind<false, false, true, 1>());
  return body(PackedKind<false, false, false, 1>());
}

// Where the sums over (half `s` of) group g start, one a token, so that the codes' zero is taken off; Sum ignores it for codes
// without one.
template <class Kind>
inline const int32_t* StartOf(const Int8Panel& x, size_t g, size_t s) {
  if (Kind::kScales == 2) return x.minus_128_halves + (2 * g + s) * x.height;
  if (!Kind::kSmallCodes) return x.minus_128_sums + g * x.height;
  return x.minus_8_sums + g * x.height;
}

constexpr size_t kRowsOfVector = kPackedRows / Ops::kVectors;
constexpr size_t kBytesOfVector = 64 / Ops::kVectors;
constexpr size_t kPrefetchBytes = 2048;  // ahead in the stream of a row block

// ---- few tokens: codes go from the packed weight through registers into the sums of M tokens

template <class Kind, size_t M>
void StreamBlock(const uint8_t* p, size_t groups, const typename Ops::Table& table,
                 const Int8Panel& x, float* sums) {
  constexpr size_t V = Ops::kVectors;
  typename Ops::Floats acc[M][V];
#pragma GCC unroll 8
  for (size_t m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (size_t v = 0; v < V; ++v) acc[m][v] = Ops::Zero();
  const int8_t* a = x.codes;
  for (size_t g = 0; g < groups; ++g, p += Kind::kGroupBytes, a += 32 * M) {
#pragma GCC unroll 16
    for (size_t b = 0; b < Kind::kGroupBytes; b += 64) __builtin_prefetch(p + kPrefetchBytes + b);
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
#pragma GCC unroll 8
  for (size_t m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (size_t v = 0; v < V; ++v)
      Ops::Store(sums + m * kPackedRows + v * kRowsOfVector, acc[m][v]);
}

// The rows of block b that exist: sums [tokens][16] to y.
inline void StoreSums(const Int8Weight& w, size_t b, const float* sums, size_t tokens, float* y) {
  const size_t row = b * kPackedRows, valid = w.out - row;
  for (size_t t = 0; t < tokens; ++t, sums += kPackedRows) {
    if (valid >= kPackedRows)
      std::memcpy(y + t * w.out + row, sums, kPackedRows * sizeof(float));
    else
      std::memcpy(y + t * w.out + row, sums, valid * sizeof(float));
  }
}

template <class Kind, size_t M>
void StreamBlocks(const Int8Weight& w, size_t begin, size_t end, const Int8Panel& x, float* y) {
  const typename Ops::Table table = Ops::LoadTable(w.format.table);
  const size_t block_bytes = w.groups * Kind::kGroupBytes;
  alignas(64) float sums[M * kPackedRows];
  for (size_t b = begin; b < end; ++b) {
    StreamBlock<Kind, M>(w.data + b * block_bytes, w.groups, table, x, sums);
    StoreSums(w, b, sums, M, y);
  }
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

// ---- many tokens: a slab of widened codes in L1 against every panel of tokens

// A widened group: codes [8][16 rows][4] as Ops::Add takes them, scales [kScales][16] and minima [16] as floats.
template <class Kind>
constexpr size_t kWideBytes = 512 + 64 * (Kind::kScales + (Kind::kMin ? 1 : 0));

template <class Kind>
void Widen(const uint8_t* p, size_t groups, const uint8_t* next, const typename Ops::Table& table,
           uint8_t* out) {
  constexpr size_t V = Ops::kVectors;
  for (size_t g = 0; g < groups; ++g, p += Kind::kGroupBytes, out += kWideBytes<Kind>) {
#pragma GCC unroll 16
    for (size_t b = 0; b < Kind::kGroupBytes; b += 64)
      __builtin_prefetch(next + g * Kind::kGroupBytes + b);
    const uint8_t* codes = p + Kind::kHeader;
#pragma GCC unroll 8
    for (size_t i = 0; i < Kind::kLoads * V; ++i) {
      const auto loaded = Ops::Load(codes + kBytesOfVector * i);
      if constexpr (Kind::k4Bit) {
        Ops::StoreBytes(out + kBytesOfVector * i, Ops::template Low<Kind>(loaded, table));
        Ops::StoreBytes(out + 256 + kBytesOfVector * i, Ops::template High<Kind>(loaded, table));
      } else {
        Ops::StoreBytes(out + kBytesOfVector * i, Ops::Whole(loaded));
      }
    }
    auto* floats = reinterpret_cast<float*>(out + 512);
#pragma GCC unroll 8
    for (size_t i = 0; i < (Kind::kScales + (Kind::kMin ? 1 : 0)) * V; ++i)
      Ops::Store(floats + kRowsOfVector * i, Ops::LoadHalf(p + 2 * kRowsOfVector * i));
  }
}

// sums[b][token][16] (+)= the products of B widened row blocks with M tokens; sums of a block are kSumStride apart. They
// stay in memory: the registers hold the integer sums, and a group is long enough to hide a load and a store.
template <class Kind, size_t B, size_t M>
void MultiplySlab(const uint8_t* wide, size_t wide_stride, size_t groups, const Int8Panel& x,
                  size_t first_token, float* sums, size_t sum_stride) {
  constexpr size_t V = Ops::kVectors;
  const size_t height = x.height;
  const int8_t* a = x.codes + 32 * first_token;
  sums += first_token * kPackedRows;
  for (size_t g = 0; g < groups; ++g, wide += kWideBytes<Kind>, a += 32 * height) {
#pragma GCC unroll 2
    for (size_t s = 0; s < Kind::kScales; ++s) {
#pragma GCC unroll 4
      for (size_t v = 0; v < V; ++v) {
        typename Ops::template Sum<Kind> sum[B][M];
        const int32_t* start = StartOf<Kind>(x, g, s) + first_token;
#pragma GCC unroll 4
        for (size_t b = 0; b < B; ++b)
#pragma GCC unroll 8
          for (size_t m = 0; m < M; ++m) sum[b][m].Start(start + m);
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
#pragma GCC unroll 4
        for (size_t b = 0; b < B; ++b) {
          const auto* floats = reinterpret_cast<const float*>(wide + b * wide_stride + 512);
          const auto scale = Ops::LoadFloats(floats + s * kPackedRows + v * kRowsOfVector);
#pragma GCC unroll 8
          for (size_t m = 0; m < M; ++m) {
            float* at = sums + b * sum_stride + m * kPackedRows + v * kRowsOfVector;
            const size_t i = g * height + first_token + m;
            auto acc = Ops::MulAdd(sum[b][m].Value(start + m),
                                   Ops::Mul(scale, Ops::Set(x.scales[i])), Ops::LoadFloats(at));
            if constexpr (Kind::kMin) {
              const auto min = Ops::LoadFloats(floats + kPackedRows + v * kRowsOfVector);
              acc = Ops::NegMulAdd(min, Ops::Set(x.scaled_sums[i]), acc);
            }
            Ops::Store(at, acc);
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

// A slab stays as Widen makes it.
struct AsWidened {
  void operator()(uint8_t*, size_t) const {}
};

// The loop over slabs, row blocks and panels for a level's `multiply` (see Tile); arrange(wide, groups) may bring a widened
// block of rows into an order of the level's own.
template <class Kind, class Multiply, class Arrange = AsWidened>
void TileBlocks(const Int8Weight& w, size_t begin, size_t end, const Int8Rows& x, size_t first,
                size_t last, uint8_t* workspace, float* y, const Multiply& multiply,
                const Arrange& arrange = {}) {
  const typename Ops::Table table = Ops::LoadTable(w.format.table);
  const size_t block_bytes = w.groups * Kind::kGroupBytes;
  const size_t slabs = (w.groups + kInt8SlabGroups - 1) / kInt8SlabGroups;
  const size_t slab = (w.groups + slabs - 1) / std::max<size_t>(slabs, 1);
  const size_t wide_stride = slab * kWideBytes<Kind>;
  const size_t height = x.height(), panel_floats = height * kPackedRows;
  const size_t sum_stride = (last - first) * panel_floats;  // of a row block
  auto* sums =
      reinterpret_cast<float*>(workspace + kInt8TileBlocks * kInt8SlabGroups * kInt8WideBytes);
  std::memset(sums, 0, (end - begin) * sum_stride * sizeof(float));
  for (size_t g = 0; g < w.groups; g += slab) {
    const size_t groups = std::min(slab, w.groups - g);
    for (size_t b = begin; b < end; b += kInt8TileBlocks) {
      const size_t blocks = std::min(kInt8TileBlocks, end - b);
      for (size_t i = 0; i < blocks; ++i) {
        const uint8_t* p = w.data + (b + i) * block_bytes + g * Kind::kGroupBytes;
        // What this place of the loop reads next: the same blocks' next slab if they are all there is, else the next blocks.
        const uint8_t* next = end - begin <= kInt8TileBlocks ? p + groups * Kind::kGroupBytes
                                                             : p + kInt8TileBlocks * block_bytes;
        Widen<Kind>(p, groups, next, table, workspace + i * wide_stride);
        arrange(workspace + i * wide_stride, groups);
      }
      for (size_t panel = first; panel < last; ++panel) {
        const size_t tokens = std::min(height, x.tokens() - panel * height);
        multiply(workspace, wide_stride, blocks, groups, x.panel(panel).From(g), tokens,
                 sums + (b - begin) * sum_stride + (panel - first) * panel_floats, sum_stride);
      }
    }
  }
  for (size_t b = begin; b < end; ++b) {
    for (size_t panel = first; panel < last; ++panel) {
      const size_t tokens = std::min(height, x.tokens() - panel * height);
      StoreSums(w, b, sums + (b - begin) * sum_stride + (panel - first) * panel_floats, tokens,
                y + panel * height * w.out);
    }
  }
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

// SPDX-License-Identifier: Apache-2.0
// What the levels of the int8 product share: formats as types, widening of codes, the loop of `tile`. Include inside namespace
// planish and a namespace of the level, where the target's options are in force, after a struct Ops that says what a vector is:
//   kVectors: vectors in a load of 16 rows x 4 codes;  Codes, Floats: vectors of as many rows;
//   Low, High, Whole: packed bytes to codes as the level's dot product wants them (signed or not, zero taken off or not).
// matmul_int8_vnni.cc is the example to follow.

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

constexpr size_t kRowsOfVector = kPackedRows / Ops::kVectors;
constexpr size_t kBytesOfVector = 64 / Ops::kVectors;

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
  // Token by token: the rows of a task lie side by side in y, those of two tokens on different pages.
  for (size_t panel = first; panel < last; ++panel) {
    const size_t tokens = std::min(height, x.tokens() - panel * height);
    for (size_t t = 0; t < tokens; ++t) {
      const float* from = sums + (panel - first) * panel_floats + t * kPackedRows;
      for (size_t b = begin; b < end; ++b, from += sum_stride)
        StoreSums(w, b, from, 1, y + (panel * height + t) * w.out);
    }
  }
}

// SPDX-License-Identifier: Apache-2.0
#include "kernels/ssm_tiles.h"

#include "base/error.h"
#include "kernels/bf16_panels.h"
#include "kernels/isa.h"

namespace planish {

bool HasSsmTiles(size_t N, size_t P) {
  return Has(Isa::kAmx) && N > 0 && N % kPanelDepth == 0 && P > 0 && P % kPanelRows == 0;
}

}  // namespace planish

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>

#define PLANISH_TILES \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16")))

// GCC 12 takes the undefined pass-through operands inside its own intrinsics for a mistake of ours.
#pragma GCC diagnostic ignored "-Wuninitialized"

namespace planish {
namespace {

constexpr size_t kTokens = kSsmTileTokens, kBlock = 32;  // a block of S: 32 x 32
constexpr size_t kRow = 64;                              // bytes of a tile's row of bf16

struct Scratch {
  Scratch(size_t N, size_t P, float* memory) {
    const auto take = [&](size_t floats) {
      float* p = memory == nullptr ? nullptr : memory + used;
      used += floats;
      return p;
    };
    x_right = reinterpret_cast<uint16_t*>(take(PackedElems(P, kTokens) / 2));
    xs_right = reinterpret_cast<uint16_t*>(take(PackedElems(P, kTokens) / 2));
    s_right = reinterpret_cast<uint16_t*>(take(PackedElems(P, N) / 2));
    m_left = reinterpret_cast<uint16_t*>(take(PackedElems(kTokens, kTokens) / 2));
    carried = take(kTokens * P);
    inside = take(kTokens * P);
    for (float*& block : blocks) block = take(kBlock * kBlock);
  }
  uint16_t* x_right;   // [P, tokens]
  uint16_t* xs_right;  // the same, each token scaled by to_end
  uint16_t* s_right;   // [P, N]
  uint16_t* m_left;    // [tokens, tokens]
  float* carried;      // [tokens, P] C S
  float* inside;       // [tokens, P] M X
  float* blocks[2];    // of B^T (to_end X)
  size_t used = 0;
};

// Two rows of a right panel's pair of k as one row of its tile: a0 b0 a1 b1 ...
PLANISH_TILES inline __m512i Pair(__m512 a, __m512 b) {
  const __m512i dwords = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i upper = _mm512_slli_epi32(_mm512_add_epi32(dwords, _mm512_set1_epi32(16)), 16);
  return _mm512_permutexvar_epi16(_mm512_or_si512(dwords, upper),
                                  reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b, a)));
}

PLANISH_TILES void PackTokens(const SsmTileHead& h, const Scratch& s) {
  for (size_t t = 0; t < kTokens; t += 2) {
    const bool has_first = t < h.count, has_second = t + 1 < h.count;
    const float* first = h.x + t * h.x_stride;
    const __m512 scale0 = _mm512_set1_ps(has_first ? h.to_end[t] : 0.0f);
    const __m512 scale1 = _mm512_set1_ps(has_second ? h.to_end[t + 1] : 0.0f);
    for (size_t p = 0; p < h.P; p += 16) {
      const __m512 x0 = has_first ? _mm512_loadu_ps(first + p) : _mm512_setzero_ps();
      const __m512 x1 = has_second ? _mm512_loadu_ps(first + h.x_stride + p) : _mm512_setzero_ps();
      const size_t to = p / 16 * kTileElems + t * kPanelRows;
      _mm512_store_si512(s.x_right + to, Pair(x0, x1));
      _mm512_store_si512(s.xs_right + to,
                         Pair(_mm512_mul_ps(x0, scale0), _mm512_mul_ps(x1, scale1)));
    }
  }
}

PLANISH_TILES void PackM(const SsmTileHead& h, const Scratch& s) {
  for (size_t t = 0; t < h.count; ++t) {
    const float* row = h.m + t * kTokens;
    const auto words = _mm512_cvtne2ps_pbh(_mm512_load_ps(row + 16), _mm512_load_ps(row));
    _mm512_store_si512(s.m_left + t * kPanelDepth, reinterpret_cast<__m512i>(words));
  }
}

PLANISH_TILES void PackState(const SsmTileHead& h, const Scratch& s) {
  const size_t panel = h.N * kPanelRows;
  for (size_t n = 0; n < h.N; n += 2) {
    const float* row = h.state + n * h.P;
    uint16_t* to = s.s_right + n * kPanelRows;
    for (size_t p = 0; p < h.P; p += 16, to += panel)
      _mm512_store_si512(to, Pair(_mm512_loadu_ps(row + p), _mm512_loadu_ps(row + h.P + p)));
  }
}

// c [32][kRight panels of 16], rows `stride` floats apart, = a b over `tiles` tiles of k; panels of each are `tiles` tiles.
template <int kRight>
PLANISH_TILES inline void MultiplyPair(const uint16_t* a, const uint16_t* b, size_t tiles, float* c,
                                       size_t stride) {
  const size_t panel = tiles * kTileElems, bytes = stride * sizeof(float);
  _tile_zero(0);
  _tile_zero(2);
  if constexpr (kRight == 2) {
    _tile_zero(1);
    _tile_zero(3);
  }
  for (size_t tile = 0; tile < tiles; ++tile, a += kTileElems, b += kTileElems) {
    _tile_loadd(4, a, kRow);
    _tile_loadd(6, b, kRow);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, a + panel, kRow);
    _tile_dpbf16ps(2, 5, 6);
    if constexpr (kRight == 2) {
      _tile_loadd(7, b + panel, kRow);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, bytes);
  _tile_stored(2, c + 16 * stride, bytes);
  if constexpr (kRight == 2) {
    _tile_stored(1, c + 16, bytes);
    _tile_stored(3, c + 16 * stride + 16, bytes);
  }
}

PLANISH_TILES void Multiply(const uint16_t* a, const uint16_t* b, size_t tiles, size_t P,
                            float* c) {
  size_t p = 0;
  for (; p + 32 <= P; p += 32) MultiplyPair<2>(a, b + p * tiles * kPanelDepth, tiles, c + p, P);
  if (p < P) MultiplyPair<1>(a, b + p * tiles * kPanelDepth, tiles, c + p, P);
}

PLANISH_TILES void WriteY(const SsmTileHead& h, const Scratch& s) {
  const __m512 D = _mm512_set1_ps(h.D);
  for (size_t t = 0; t < h.count; ++t) {
    const __m512 factor = _mm512_set1_ps(h.from_start[t]);
    for (size_t p = 0; p < h.P; p += 16) {
      const __m512 inside = _mm512_load_ps(s.inside + t * h.P + p);
      const __m512 with_skip =
          _mm512_fmadd_ps(D, _mm512_loadu_ps(h.x + t * h.x_stride + p), inside);
      _mm512_storeu_ps(h.y + t * h.y_stride + p,
                       _mm512_fmadd_ps(factor, _mm512_load_ps(s.carried + t * h.P + p), with_skip));
    }
  }
}

// Asks for the lines of SsmTileHead::wanted, one after the other, for the second-level cache.
class WantedLines {
 public:
  explicit WantedLines(std::span<const SsmWanted> wanted) : wanted_(wanted) {}
  // The next line; false: that was all.
  PLANISH_TILES inline bool Step() {
    if (i_ == wanted_.size()) return false;
    __builtin_prefetch(wanted_[i_].data + at_, 0, 2);
    at_ += 16;
    if (at_ >= wanted_[i_].floats) {
      at_ = 0;
      ++i_;
    }
    return true;
  }

 private:
  std::span<const SsmWanted> wanted_;
  size_t i_ = 0, at_ = 0;
};

// S[32 rows][width] = carry S + block.
PLANISH_TILES inline void AddBlock(const float* block, size_t width, __m512 carry, float* state,
                                   size_t P, WantedLines* wanted) {
  for (size_t n = 0; n < kBlock; ++n, state += P, block += kBlock) {
    wanted->Step();
    for (size_t p = 0; p < width; p += 16) {
      const __m512 old = _mm512_loadu_ps(state + p);
      _mm512_storeu_ps(state + p, _mm512_fmadd_ps(carry, old, _mm512_load_ps(block + p)));
    }
  }
}

// A block waits for the product of the next one: what tiles have stored cannot be loaded at once.
PLANISH_TILES void UpdateState(const SsmTileHead& h, const Scratch& s, WantedLines* wanted) {
  const __m512 carry = _mm512_set1_ps(h.carry);
  const auto width_at = [&](size_t p) { return std::min(kBlock, h.P - p); };
  size_t turn = 0, last_width = 0;
  float* last = nullptr;
  for (size_t n = 0; n < h.N; n += kBlock) {
    for (size_t p = 0; p < h.P; p += kBlock, turn ^= 1) {
      const uint16_t *a = h.bt_left + n * kPanelDepth, *b = s.xs_right + p * kPanelDepth;
      if (width_at(p) == kBlock)
        MultiplyPair<2>(a, b, 1, s.blocks[turn], kBlock);
      else
        MultiplyPair<1>(a, b, 1, s.blocks[turn], kBlock);
      if (last != nullptr) AddBlock(s.blocks[turn ^ 1], last_width, carry, last, h.P, wanted);
      last = h.state + n * h.P + p;
      last_width = width_at(p);
    }
  }
  AddBlock(s.blocks[turn ^ 1], last_width, carry, last, h.P, wanted);
}

}  // namespace

size_t SsmTileFloats(size_t N, size_t P) { return Scratch(N, P, nullptr).used; }

PLANISH_TILES void AdvanceSsmTiles(const SsmTileHead& head, float* scratch) noexcept {
  const Scratch s(head.N, head.P, scratch);
  PackState(head, s);
  PackTokens(head, s);
  PackM(head, s);
  asm volatile("" ::: "memory");  // tile loads do not tell the compiler what they read
  Multiply(head.c_left, s.s_right, head.N / kPanelDepth, head.P, s.carried);
  Multiply(s.m_left, s.x_right, 1, head.P, s.inside);
  WantedLines wanted(head.wanted);
  UpdateState(head, s, &wanted);
  asm volatile("" ::: "memory");
  WriteY(head, s);
  while (wanted.Step()) {
  }
}

}  // namespace planish

#else

namespace planish {
size_t SsmTileFloats(size_t, size_t) { return 0; }
void AdvanceSsmTiles(const SsmTileHead&, float*) noexcept {
  PLANISH_CHECK(false, "AMX tiles on a CPU without them");
}
}  // namespace planish
#endif

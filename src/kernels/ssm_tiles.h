// SPDX-License-Identifier: Apache-2.0
// One head of one chunk of the blocked state recurrence (formulas: ssd.cc) on bf16 AMX tiles. Beside MultiplyPanels it reads and
// writes the state once, packs without transposing and has no edges: the whole head takes about half the time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace planish {

inline constexpr size_t kSsmTileTokens = 32;  // most tokens of a chunk

// Memory that is wanted soon.
struct SsmWanted {
  const float* data = nullptr;
  size_t floats = 0;
};

struct SsmTileHead {
  size_t count, N, P;       // tokens, state, head_dim
  const uint16_t* c_left;   // PackLeft of C [count, N] (bf16_panels.h)
  const uint16_t* bt_left;  // PackLeft of B^T [N, count]
  const float* m;  // [count, kSsmTileTokens] exp(s_i - s_j) dt_j C_i B_j for j <= i, else 0
  const float* from_start;  // [count] exp(s_i)
  const float* to_end;      // [count] exp(s_last - s_j) dt_j
  float carry;              // exp(s_last)
  float D;
  const float* x;  // [count, P], rows x_stride apart
  size_t x_stride;
  float* state;  // [N, P], in and out
  float* y;      // [count, P], rows y_stride apart; may be x
  size_t y_stride;
  // Asked for little by little beside the arithmetic: in one go, a head would wait for its memory.
  std::span<const SsmWanted> wanted = {};
};

// This CPU has the tiles, and the shape fits them: N in whole tiles of 32, P in whole vectors of 16.
bool HasSsmTiles(size_t N, size_t P);
size_t SsmTileFloats(size_t N, size_t P);  // of scratch, 64-byte aligned

// Only if HasSsmTiles; inside a PanelScope.
void AdvanceSsmTiles(const SsmTileHead& head, float* scratch) noexcept;

}  // namespace planish

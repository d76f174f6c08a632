// SPDX-License-Identifier: Apache-2.0
// Intel AMX tiles: the system's permission and the tile configuration. Kernels with tile instructions stand in files of their
// own (target("amx-tile,amx-int8,amx-bf16")) and run only where Has(Isa::kAmx).
#pragma once

namespace planish {

// The CPU has AMX-TILE, AMX-INT8, AMX-BF16 and GFNI, and the system lets this process use them: asked once, for all threads.
bool AmxAvailable();

// Rows x bytes of the eight tiles.
enum class AmxShape {
  kFull,  // 16 x 64, all of them
  // For int8 groups of 32 and of 16 inputs and up to M tokens: 0, 1: M x 64; 2, 3: M x 32; 4, 5: 8 x 64; 6: M x 16; 7: 4 x 64.
  kGroupsOf8,
  kGroupsOf12,
  kGroupsOf16,
};

// Gives the calling thread eight tiles for its lifetime; in scopes within, the same shape costs nothing more, and after another
// one the outer shape is set again (with tiles of zeros). Tiles are released at the end, because a live tile state slows context
// switches. Only if AmxAvailable().
class AmxTiles {
 public:
  explicit AmxTiles(AmxShape shape = AmxShape::kFull);
  ~AmxTiles();
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;

 private:
  AmxShape outer_;
};

}  // namespace planish

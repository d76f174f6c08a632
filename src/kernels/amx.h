// SPDX-License-Identifier: Apache-2.0
// Intel AMX tiles: the system's permission and the tile configuration. Kernels with tile instructions stand in files of their
// own (target("amx-tile,amx-int8,amx-bf16")) and run only where Has(Isa::kAmx).
#pragma once

namespace planish {

// The CPU has AMX-TILE, AMX-INT8 and AMX-BF16 and the system lets this process use them: asked once, for all threads.
bool AmxAvailable();

// Gives the calling thread eight tiles of 16 rows x 64 bytes for its lifetime; in scopes within it costs nothing more. Tiles
// are released at the end, because a live tile state slows context switches. Only if AmxAvailable().
class AmxTiles {
 public:
  AmxTiles();
  ~AmxTiles();
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;
};

}  // namespace planish

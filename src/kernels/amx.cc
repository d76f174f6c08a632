// SPDX-License-Identifier: Apache-2.0
#include "kernels/amx.h"

#include "base/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace planish {
namespace {

// Linux, Documentation/arch/x86/xstate.rst: the large tile state needs a request before its first use.
constexpr long kArchReqXcompPerm = 0x1023;
constexpr long kXfeatureXtiledata = 18;

bool AskForTiles() {
  unsigned a, b, c, d;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25, kGfni = 1u << 8;
  if ((d & (kBf16 | kTile | kInt8)) != (kBf16 | kTile | kInt8) || (c & kGfni) == 0) return false;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtiledata) == 0;
}

struct alignas(64) TileConfig {  // Intel SDM, LDTILECFG
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64);

constexpr TileConfig GroupsOf(uint8_t tokens) {
  return {.row_bytes = {64, 64, 32, 32, 64, 64, 16, 64},
          .rows = {tokens, tokens, tokens, tokens, 8, 8, tokens, 4}};
}

constexpr TileConfig kConfigs[] = {
    {.row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}},
    GroupsOf(8),
    GroupsOf(12),
    GroupsOf(16)};

thread_local int t_depth = 0;
thread_local AmxShape t_shape;  // if t_depth > 0

__attribute__((target("amx-tile"))) void LoadConfig(AmxShape shape) {
  t_shape = shape;
  _tile_loadconfig(&kConfigs[static_cast<int>(shape)]);
}
__attribute__((target("amx-tile"))) void Release() { _tile_release(); }

}  // namespace

bool AmxAvailable() {
  static const bool available = AskForTiles();
  return available;
}

AmxTiles::AmxTiles(AmxShape shape) : outer_(t_shape) {
  PLANISH_DCHECK(AmxAvailable());
  if (t_depth++ == 0 || shape != t_shape) LoadConfig(shape);
}

AmxTiles::~AmxTiles() {
  if (--t_depth == 0)
    Release();
  else if (outer_ != t_shape)
    LoadConfig(outer_);
}

}  // namespace planish

#else

namespace planish {

bool AmxAvailable() { return false; }
AmxTiles::AmxTiles(AmxShape) { PLANISH_CHECK(false, "AMX tiles on a CPU without them"); }
AmxTiles::~AmxTiles() = default;

}  // namespace planish
#endif

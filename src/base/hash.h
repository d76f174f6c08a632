// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace planish {

std::string Sha256Hex(std::string_view bytes);  // 64 lower-case digits
std::string Sha256HexOfFile(const std::string& path);

// FNV-1a, 64 bits: for tables and for streams of random numbers that belong to a name; no defence against collisions.
constexpr uint64_t Fnv1a(std::string_view bytes) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

}  // namespace planish

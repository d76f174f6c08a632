// SPDX-License-Identifier: Apache-2.0
// CRC-32 as in zlib and PNG (reflected polynomial 0xEDB88320): finds damage of files, is no defence against forgery.
#pragma once

#include <cstddef>
#include <cstdint>

namespace planish {

// Of `bytes` after what `crc` stands for; 0 for none: Crc32(b, n, Crc32(a, m)) is that of a and b in one piece.
uint32_t Crc32(const void* bytes, size_t size, uint32_t crc = 0) noexcept;

}  // namespace planish

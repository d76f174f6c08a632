// SPDX-License-Identifier: Apache-2.0
#include "text/byte_level.h"

#include <array>
#include <cstdint>

#include "text/utf8.h"

namespace planish {
namespace {

struct Alphabet {
  std::array<std::string, 256> spelled;
  std::array<int16_t, 0x144> byte_of;  // by code point, -1 if none

  Alphabet() {
    byte_of.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const char32_t code = printable ? static_cast<char32_t>(byte) : next++;
      AppendUtf8(code, &spelled[static_cast<size_t>(byte)]);
      byte_of[code] = static_cast<int16_t>(byte);
    }
  }
};

const Alphabet& TheAlphabet() {
  static const Alphabet alphabet;
  return alphabet;
}

}  // namespace

void AppendByteLevel(std::string_view bytes, std::string* spelled) {
  const Alphabet& alphabet = TheAlphabet();
  for (const char c : bytes) *spelled += alphabet.spelled[static_cast<unsigned char>(c)];
}

bool ParseByteLevel(std::string_view spelled, std::string* bytes) {
  const Alphabet& alphabet = TheAlphabet();
  const size_t before = bytes->size();
  while (!spelled.empty()) {
    const Utf8Char c = DecodeUtf8(spelled);
    if (c.code >= alphabet.byte_of.size() || alphabet.byte_of[c.code] < 0) {
      bytes->resize(before);
      return false;
    }
    bytes->push_back(static_cast<char>(alphabet.byte_of[c.code]));
    spelled.remove_prefix(c.size);
  }
  return true;
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// GPT-2's byte-level alphabet: each of the 256 bytes is spelled as one printable character, so that vocabularies can be kept
// as text. Printable Latin-1 bytes stand for themselves, the other 68 are U+0100, U+0101, ... in byte order (space: U+0120).
#pragma once

#include <string>
#include <string_view>

namespace planish {

void AppendByteLevel(std::string_view bytes, std::string* spelled);
// Appends the bytes that `spelled` stands for; false (and `bytes` unchanged) if a character is not of the alphabet.
bool ParseByteLevel(std::string_view spelled, std::string* bytes);

}  // namespace planish

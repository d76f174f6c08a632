// SPDX-License-Identifier: Apache-2.0
// The tokens of a tokenizer by id: the bytes each stands for, how its file spells it, and the way back from bytes to id.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace planish {

using TokenId = int32_t;
inline constexpr TokenId kNoToken = -1;

// Scatters the bits of `a` xor `b`; for hash tables in memory only.
inline uint64_t MixBits(uint64_t a, uint64_t b) noexcept {
  uint64_t x = (a ^ 0x9E3779B97F4A7C15u) + b * 0xD6E8FEB86659FD93u;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  x ^= x >> 32;
  return x;
}
uint64_t HashBytes(std::string_view bytes) noexcept;

class Vocabulary {
 public:
  // `spelled` by id, as a tokenizer.json writes them: byte-level characters where all characters are of that alphabet, plain
  // text otherwise (added tokens with spaces).
  explicit Vocabulary(const std::vector<std::string>& spelled);

  size_t size() const { return is_plain_.size(); }
  std::string_view Bytes(TokenId id) const {
    const auto i = static_cast<size_t>(id);
    return std::string_view(bytes_).substr(begins_[i], begins_[i + 1] - begins_[i]);
  }
  std::string Spelled(TokenId id) const;
  // Entered by Index; kNoToken if there is none.
  TokenId Find(std::string_view bytes) const noexcept;
  // Makes Find return `id` for its bytes, unless an earlier id has the same bytes. Ids spelled as plain text are not entered:
  // no text can become them.
  void Index(TokenId id);

 private:
  std::string bytes_;             // of all tokens, one after the other
  std::vector<uint32_t> begins_;  // [size + 1]
  std::vector<bool> is_plain_;
  std::vector<TokenId> slots_;  // open addressing, at most half full
  uint64_t mask_ = 0;
};

}  // namespace planish

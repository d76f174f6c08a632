// SPDX-License-Identifier: Apache-2.0
#include "text/vocabulary.h"

#include <bit>
#include <cstring>

#include "base/error.h"
#include "text/byte_level.h"

namespace planish {

uint64_t HashBytes(std::string_view bytes) noexcept {
  uint64_t hash = bytes.size();
  uint64_t word;
  while (bytes.size() >= sizeof(word)) {
    std::memcpy(&word, bytes.data(), sizeof(word));
    hash = MixBits(hash, word);
    bytes.remove_prefix(sizeof(word));
  }
  if (!bytes.empty()) {
    word = 0;
    std::memcpy(&word, bytes.data(), bytes.size());
    hash = MixBits(hash, word);
  }
  return hash;
}

Vocabulary::Vocabulary(const std::vector<std::string>& spelled) {
  const uint64_t slots = std::bit_ceil(spelled.size() * 2 + 2);
  slots_.assign(slots, kNoToken);
  mask_ = slots - 1;
  is_plain_.reserve(spelled.size());
  begins_.reserve(spelled.size() + 1);
  begins_.push_back(0);
  for (const std::string& token : spelled) {
    const bool is_byte_level = ParseByteLevel(token, &bytes_);
    if (!is_byte_level) bytes_ += token;
    is_plain_.push_back(!is_byte_level);
    PLANISH_CHECK(bytes_.size() <= UINT32_MAX);
    begins_.push_back(static_cast<uint32_t>(bytes_.size()));
  }
}

std::string Vocabulary::Spelled(TokenId id) const {
  if (is_plain_[static_cast<size_t>(id)]) return std::string(Bytes(id));
  std::string spelled;
  AppendByteLevel(Bytes(id), &spelled);
  return spelled;
}

TokenId Vocabulary::Find(std::string_view bytes) const noexcept {
  for (uint64_t slot = HashBytes(bytes) & mask_;; slot = (slot + 1) & mask_) {
    const TokenId id = slots_[slot];
    if (id == kNoToken || Bytes(id) == bytes) return id;
  }
}

void Vocabulary::Index(TokenId id) {
  if (is_plain_[static_cast<size_t>(id)]) return;
  const std::string_view bytes = Bytes(id);
  uint64_t slot = HashBytes(bytes) & mask_;
  for (; slots_[slot] != kNoToken; slot = (slot + 1) & mask_) {
    if (Bytes(slots_[slot]) == bytes) return;
  }
  slots_[slot] = id;
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "text/word_counts.h"

#include <bit>
#include <cstring>

#include "base/error.h"
#include "text/vocabulary.h"  // MixBits, HashBytes

namespace planish {
namespace {

constexpr size_t kFirstSlots = 1024;

}  // namespace

WordCounts::ShortKey WordCounts::Pack(std::string_view word) {
  std::array<char, 16> bytes{};
  std::memcpy(bytes.data(), word.data(), word.size());
  bytes[kShortBytes] = static_cast<char>(word.size());
  return std::bit_cast<ShortKey>(bytes);
}

std::array<char, 16> WordCounts::Unpack(const ShortKey& key) {
  return std::bit_cast<std::array<char, 16>>(key);
}

void WordCounts::Add(std::string_view word, uint64_t count) {
  if (word.empty()) return;
  if (word.size() <= kShortBytes)
    AddShort(Pack(word), count);
  else
    AddLong(word, count);
}

void WordCounts::Add(const WordCounts& other) {
  other.ForEach([&](std::string_view word, uint64_t count) { Add(word, count); });
}

void WordCounts::AddShort(const ShortKey& key, uint64_t count) {
  if (2 * short_words_ >= short_slots_.size()) GrowShort();
  const uint64_t mask = short_slots_.size() - 1;
  for (uint64_t at = MixBits(key[0], key[1]) & mask;; at = (at + 1) & mask) {
    ShortSlot& slot = short_slots_[at];
    if (slot.key == key) {
      slot.count += count;
      return;
    }
    if (slot.key[1] == 0) {
      slot = {key, count};
      ++short_words_;
      return;
    }
  }
}

void WordCounts::AddLong(std::string_view word, uint64_t count) {
  PLANISH_CHECK(word.size() <= UINT32_MAX);
  if (2 * long_words_ >= long_slots_.size()) GrowLong();
  const uint64_t mask = long_slots_.size() - 1, hash = HashBytes(word);
  const auto tag = static_cast<uint32_t>(hash >> 32);
  for (uint64_t at = hash & mask;; at = (at + 1) & mask) {
    LongSlot& slot = long_slots_[at];
    if (slot.size == 0) {
      slot = {arena_.size(), count, static_cast<uint32_t>(word.size()), tag};
      arena_ += word;
      ++long_words_;
      return;
    }
    if (slot.hash == tag && slot.size == word.size() &&
        std::memcmp(arena_.data() + slot.begin, word.data(), word.size()) == 0) {
      slot.count += count;
      return;
    }
  }
}

void WordCounts::GrowShort() {
  std::vector<ShortSlot> old(std::max(kFirstSlots, short_slots_.size() * 2));
  old.swap(short_slots_);
  short_words_ = 0;
  for (const ShortSlot& slot : old) {
    if (slot.key[1] != 0) AddShort(slot.key, slot.count);
  }
}

void WordCounts::GrowLong() {
  std::vector<LongSlot> old(std::max(kFirstSlots, long_slots_.size() * 2));
  old.swap(long_slots_);
  const uint64_t mask = long_slots_.size() - 1;
  for (const LongSlot& slot : old) {
    if (slot.size == 0) continue;
    uint64_t at = HashBytes(std::string_view(arena_).substr(slot.begin, slot.size)) & mask;
    while (long_slots_[at].size != 0) at = (at + 1) & mask;
    long_slots_[at] = slot;
  }
}

}  // namespace planish

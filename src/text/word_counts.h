// SPDX-License-Identifier: Apache-2.0
// Distinct byte strings and how often each came: what BPE training keeps of a corpus. Strings of up to 15 bytes, nearly all
// words, stand in the table itself, so that counting one touches a single cache line; longer ones lie in an arena.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace planish {

class WordCounts {
 public:
  void Add(std::string_view word, uint64_t count = 1);  // the empty word is ignored
  void Add(const WordCounts& other);
  size_t size() const { return short_words_ + long_words_; }
  // Calls visit(std::string_view word, uint64_t count) for every word, in an order of its own.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const ShortSlot& slot : short_slots_) {
      if (slot.key[1] == 0) continue;
      const std::array<char, 16> bytes = Unpack(slot.key);
      visit(std::string_view(bytes.data(), static_cast<unsigned char>(bytes[15])), slot.count);
    }
    for (const LongSlot& slot : long_slots_) {
      if (slot.size != 0) visit(std::string_view(arena_).substr(slot.begin, slot.size), slot.count);
    }
  }

 private:
  using ShortKey = std::array<uint64_t, 2>;  // the bytes, zero padded, and their number in the last
  static constexpr size_t kShortBytes = 15;
  struct ShortSlot {
    ShortKey key{};  // key[1] is 0 in a free slot only
    uint64_t count = 0;
  };
  struct LongSlot {
    uint64_t begin = 0;  // in the arena
    uint64_t count = 0;
    uint32_t size = 0;  // 0 in a free slot
    uint32_t hash = 0;
  };
  static ShortKey Pack(std::string_view word);
  static std::array<char, 16> Unpack(const ShortKey& key);
  void AddShort(const ShortKey& key, uint64_t count);
  void AddLong(std::string_view word, uint64_t count);
  void GrowShort();
  void GrowLong();

  std::vector<ShortSlot> short_slots_;  // open addressing, at most half full
  std::vector<LongSlot> long_slots_;
  std::string arena_;
  size_t short_words_ = 0, long_words_ = 0;
};

}  // namespace planish

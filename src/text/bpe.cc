// SPDX-License-Identifier: Apache-2.0
#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "base/error.h"

namespace planish {
namespace {

// Up to this many symbols, scanning all pairs for the lowest rank beats a heap (measured on English and Japanese text).
constexpr size_t kFewSymbols = 32;

uint64_t PairKey(TokenId left, TokenId right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

BpeScratch::BpeScratch() : cache_(kCacheEntries) {}

Bpe::Bpe(const Vocabulary* vocabulary, const std::vector<BpeMerge>& merges,
         const BpeOptions& options)
    : vocabulary_(vocabulary), options_(options) {
  for (size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    const char c = static_cast<char>(byte);
    byte_ids_[byte] = vocabulary_->Find({&c, 1});
    has_all_bytes_ &= byte_ids_[byte] != kNoToken;
  }
  const uint64_t slots = std::bit_ceil(merges.size() * 2 + 2);
  slots_.assign(slots, Slot{kEmpty, 0, kNoToken});
  mask_ = slots - 1;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const uint64_t pair = PairKey(merges[rank].left, merges[rank].right);
    uint64_t at = MixBits(pair, 0) & mask_;
    while (slots_[at].pair != kEmpty && slots_[at].pair != pair) at = (at + 1) & mask_;
    slots_[at] = {pair, static_cast<uint32_t>(rank), merges[rank].result};
  }
}

const Bpe::Slot* Bpe::FindMerge(TokenId left, TokenId right) const noexcept {
  const uint64_t pair = PairKey(left, right);
  for (uint64_t at = MixBits(pair, 0) & mask_;; at = (at + 1) & mask_) {
    if (slots_[at].pair == pair) return &slots_[at];
    if (slots_[at].pair == kEmpty) return nullptr;
  }
}

// One symbol a byte. Bytes without a token become `unk` or vanish.
void Bpe::Start(std::string_view piece, BpeScratch* scratch) const {
  PLANISH_CHECK(piece.size() < kNone);
  std::vector<BpeScratch::Symbol>& symbols = scratch->symbols_;
  symbols.clear();
  bool after_unk = false;
  for (uint32_t i = 0; i < piece.size(); ++i) {
    const TokenId id = byte_ids_[static_cast<unsigned char>(piece[i])];
    if (id != kNoToken) {
      symbols.push_back({id, i, 1, 0, 0});
      after_unk = false;
    } else if (options_.unk != kNoToken) {
      if (!after_unk || !options_.fuse_unk) symbols.push_back({options_.unk, i, 1, 0, 0});
      after_unk = true;
    }
  }
}

void Bpe::MergeFew(std::vector<BpeScratch::Symbol>* list) const {
  std::vector<BpeScratch::Symbol>& symbols = *list;
  size_t n = symbols.size();
  std::array<uint32_t, kFewSymbols> ranks;
  std::array<TokenId, kFewSymbols> results;
  const auto look_up = [&](size_t i) {
    const Slot* merge = FindMerge(symbols[i].id, symbols[i + 1].id);
    ranks[i] = merge == nullptr ? kNone : merge->rank;
    results[i] = merge == nullptr ? kNoToken : merge->result;
  };
  for (size_t i = 0; i + 1 < n; ++i) look_up(i);
  while (n > 1) {
    const size_t at = static_cast<size_t>(std::min_element(ranks.begin(), ranks.begin() + (n - 1)) -
                                          ranks.begin());
    if (ranks[at] == kNone) break;
    symbols[at].id = results[at];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(at) + 1);
    --n;
    std::copy(ranks.begin() + at + 1, ranks.begin() + n, ranks.begin() + at);
    std::copy(results.begin() + at + 1, results.begin() + n, results.begin() + at);
    if (at + 1 < n) look_up(at);
    if (at > 0) look_up(at - 1);
  }
}

void Bpe::MergeMany(BpeScratch* scratch) const {
  using Candidate = BpeScratch::Candidate;
  std::vector<BpeScratch::Symbol>& symbols = scratch->symbols_;
  std::vector<Candidate>& heap = scratch->heap_;
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
  };
  const auto n = static_cast<uint32_t>(symbols.size());
  heap.clear();
  for (uint32_t i = 0; i < n; ++i) {
    symbols[i].prev = i == 0 ? kNone : i - 1;
    symbols[i].next = i + 1 == n ? kNone : i + 1;
    if (i + 1 == n) break;
    if (const Slot* merge = FindMerge(symbols[i].id, symbols[i + 1].id))
      heap.push_back({merge->rank, i, merge->result});
  }
  std::make_heap(heap.begin(), heap.end(), later);
  const auto push = [&](uint32_t at) {
    const Slot* merge = FindMerge(symbols[at].id, symbols[symbols[at].next].id);
    if (merge == nullptr) return;
    heap.push_back({merge->rank, at, merge->result});
    std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Candidate top = heap.back();
    heap.pop_back();
    BpeScratch::Symbol& left = symbols[top.at];
    if (left.is_live == 0 || left.next == kNone) continue;
    BpeScratch::Symbol& right = symbols[left.next];
    const Slot* merge = FindMerge(left.id, right.id);
    if (merge == nullptr || merge->result != top.result)
      continue;  // one of the two has merged since
    left.id = top.result;
    right.is_live = 0;
    left.next = right.next;
    if (left.next != kNone) {
      symbols[left.next].prev = top.at;
      push(top.at);
    }
    if (left.prev != kNone) push(left.prev);
  }
  std::erase_if(symbols, [](const BpeScratch::Symbol& symbol) { return symbol.is_live == 0; });
}

void Bpe::Merge(std::string_view piece, BpeScratch* scratch) const {
  Start(piece, scratch);
  if (scratch->symbols_.size() <= kFewSymbols)
    MergeFew(&scratch->symbols_);
  else
    MergeMany(scratch);
}

void Bpe::Encode(std::string_view piece, BpeScratch* scratch, std::vector<TokenId>* ids) const {
  BpeScratch::Entry* entry = nullptr;
  std::array<uint64_t, 4> key{};
  if (piece.size() <= BpeScratch::kCachedBytes) {
    char bytes[sizeof(key)] = {};
    std::memcpy(bytes, piece.data(), piece.size());
    bytes[BpeScratch::kCachedBytes] =
        static_cast<char>(piece.size());  // so a piece of NULs differs from a shorter one
    std::memcpy(key.data(), bytes, sizeof(key));
    const uint64_t hash = MixBits(MixBits(key[0], key[1]), MixBits(key[2], key[3]));
    entry = &scratch->cache_[hash % BpeScratch::kCacheEntries];
    if (entry->key == key) {
      ids->insert(ids->end(), entry->ids.begin(), entry->ids.begin() + entry->count);
      return;
    }
  }
  const size_t before = ids->size();
  const TokenId whole = options_.ignore_merges ? vocabulary_->Find(piece) : kNoToken;
  if (whole != kNoToken) {
    ids->push_back(whole);
  } else {
    Merge(piece, scratch);
    for (const BpeScratch::Symbol& symbol : scratch->symbols_) ids->push_back(symbol.id);
  }
  const size_t count = ids->size() - before;
  if (entry != nullptr && count <= BpeScratch::kCachedIds) {
    entry->key = key;
    std::copy(ids->begin() + static_cast<ptrdiff_t>(before), ids->end(), entry->ids.begin());
    entry->count = static_cast<uint32_t>(count);
  }
}

void Bpe::EncodeTraced(std::string_view piece, BpeScratch* scratch, std::vector<TokenId>* ids,
                       std::vector<uint32_t>* begins) const {
  const TokenId whole = options_.ignore_merges ? vocabulary_->Find(piece) : kNoToken;
  if (whole != kNoToken) {
    ids->push_back(whole);
    begins->push_back(0);
    return;
  }
  Merge(piece, scratch);
  for (const BpeScratch::Symbol& symbol : scratch->symbols_) {
    ids->push_back(symbol.id);
    begins->push_back(symbol.begin);
  }
}

bool Bpe::MergesReachAllTokens(const std::vector<TokenId>& tokens) const {
  BpeScratch scratch;
  for (const TokenId id : tokens) {
    const std::string_view bytes = vocabulary_->Bytes(id);
    if (bytes.empty()) continue;
    Merge(bytes, &scratch);
    if (scratch.symbols_.size() != 1 || scratch.symbols_[0].id != id) return false;
  }
  return true;
}

}  // namespace planish

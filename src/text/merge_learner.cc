// SPDX-License-Identifier: Apache-2.0
#include "text/merge_learner.h"

#include <algorithm>

#include "base/error.h"

namespace planish {
namespace {

constexpr uint64_t kNoPair = ~uint64_t{0};
constexpr size_t kByteValues = 256;

uint64_t PairKey(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }

}  // namespace

int64_t& MergeLearner::PairCounts::operator()(Symbol left, Symbol right) {
  if (2 * used_ >= slots_.size()) Grow();
  const uint64_t pair = PairKey(left, right), mask = slots_.size() - 1;
  uint64_t at = MixBits(pair, 0) & mask;
  while (slots_[at].pair != pair && slots_[at].pair != kNoPair) at = (at + 1) & mask;
  if (slots_[at].pair == kNoPair) {
    slots_[at].pair = pair;
    ++used_;
  }
  return slots_[at].count;
}

void MergeLearner::PairCounts::Grow() {
  std::vector<Slot> old(std::max<size_t>(1 << 16, slots_.size() * 2), Slot{kNoPair, 0});
  old.swap(slots_);
  const uint64_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.pair == kNoPair) continue;
    uint64_t at = MixBits(slot.pair, 0) & mask;
    while (slots_[at].pair != kNoPair) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

MergeLearner::MergeLearner(const WordCounts& words, const std::vector<TokenId>& byte_ids,
                           size_t max_length)
    : max_length_(max_length == 0 ? ~uint64_t{0} : max_length) {
  PLANISH_CHECK(byte_ids.size() == kByteValues);
  for (size_t byte = 0; byte < kByteValues; ++byte)
    AddSymbol(static_cast<Symbol>(byte_ids[byte]), 1);
  Fill(words, byte_ids);
  CountBytePairs();
}

void MergeLearner::AddSymbol(Symbol symbol, uint32_t bytes) {
  if (symbol >= bytes_.size()) {
    bytes_.resize(symbol + 1);
    is_reused_.resize(symbol + 1);
    for (Side* side : {&left_, &right_}) {
      side->delta.resize(symbol + 1);
      side->count.resize(symbol + 1);
    }
  }
  bytes_[symbol] = bytes;
}

// Sorted by count: places in increasing order then meet each run once, and the hottest words share cache lines.
void MergeLearner::Fill(const WordCounts& words, const std::vector<TokenId>& byte_ids) {
  struct Word {
    uint64_t count;
    uint64_t begin;
  };
  std::vector<Word> order;
  order.reserve(words.size());
  std::string bytes;
  words.ForEach([&](std::string_view word, uint64_t count) {
    if (word.size() < 2) return;  // has no pair
    order.push_back({count, bytes.size()});
    bytes += word;
    bytes +=
        '\0';  // only its place counts: the end of a word is the begin of the next one less this byte
  });
  if (bytes.size() >= UINT32_MAX) {
    throw UsageError("the distinct words have {} bytes together, at most {} can be learned from",
                     bytes.size(), UINT32_MAX);
  }
  std::vector<uint64_t> ends(order.size());
  for (size_t i = 0; i < order.size(); ++i)
    ends[i] = (i + 1 < order.size() ? order[i + 1].begin : bytes.size()) - 1;
  std::vector<uint32_t> by_count(order.size());
  for (size_t i = 0; i < by_count.size(); ++i) by_count[i] = static_cast<uint32_t>(i);
  std::sort(by_count.begin(), by_count.end(), [&](uint32_t a, uint32_t b) {
    return order[a].count != order[b].count ? order[a].count > order[b].count : a < b;
  });
  at_.reserve(bytes.size() + 2);
  at_.push_back(kBoundary);
  for (const uint32_t i : by_count) {
    for (uint64_t at = order[i].begin; at < ends[i]; ++at)
      at_.push_back(static_cast<Symbol>(byte_ids[static_cast<unsigned char>(bytes[at])]));
    at_.push_back(kBoundary);
    const auto count = static_cast<int64_t>(order[i].count);
    if (runs_.empty() || runs_.back().count != count) runs_.push_back({0, count});
    runs_.back().end = at_.size();
  }
}

// The first queue. All symbols are bytes here, so a dense table holds the pairs.
void MergeLearner::CountBytePairs() {
  const size_t n = bytes_.size();
  PLANISH_CHECK(n < (1u << 20), "symbols of bytes lie behind {} special tokens", n);
  std::vector<Symbol> dense(n, 0);  // symbol -> 0..255
  std::vector<Symbol> symbols;
  for (Symbol symbol = 0; symbol < n; ++symbol) {
    if (bytes_[symbol] != 1) continue;
    dense[symbol] = static_cast<Symbol>(symbols.size());
    symbols.push_back(symbol);
  }
  struct Cell {
    int64_t count = 0;
    uint64_t size = 0, begin = 0;
  };
  std::vector<Cell> cells(kByteValues * kByteValues);
  const auto walk = [&](auto visit) {
    size_t run = 0;
    for (size_t i = 1; i + 1 < at_.size(); ++i) {
      if (at_[i] == kBoundary || at_[i + 1] == kBoundary) continue;
      while (i >= runs_[run].end) ++run;
      visit(&cells[dense[at_[i]] * kByteValues + dense[at_[i + 1]]], i, runs_[run].count);
    }
  };
  walk([](Cell* cell, size_t, int64_t count) {
    cell->count += count;
    cell->size += 1;
  });
  uint64_t total = 0;
  for (Cell& cell : cells) {
    cell.begin = total;
    total += cell.size;
  }
  places_.resize(total);
  walk([&](Cell* cell, size_t at, int64_t) { places_[cell->begin++] = static_cast<uint32_t>(at); });
  for (size_t i = 0; i < cells.size(); ++i) {
    const Cell& cell = cells[i];
    if (cell.size == 0) continue;
    const Symbol left = symbols[i / kByteValues], right = symbols[i % kByteValues];
    counts_(left, right) = cell.count;
    queue_.push({cell.count, left, right, cell.begin - cell.size, cell.size});
  }
}

MergeLearner::Best MergeLearner::Next() {
  while (!queue_.empty()) {
    best_ = queue_.top();
    queue_.pop();
    const int64_t count = counts_(best_.left, best_.right);
    if (best_.count == count) {
      if (count <= 0) break;
      return {static_cast<TokenId>(best_.left), static_cast<TokenId>(best_.right),
              static_cast<uint64_t>(count)};
    }
    best_.count = count;
    queue_.push(best_);
  }
  return {};
}

std::vector<uint32_t> MergeLearner::PlacesInWords(const Entry& entry) const {
  std::vector<uint32_t> all;
  uint32_t word_end = 0;
  for (uint64_t i = entry.begin; i < entry.begin + entry.size; ++i) {
    uint32_t at = places_[i];
    if (at < word_end) continue;  // in the word just walked
    while (at_[at - 1] != kBoundary) --at;
    for (; at_[at] != kBoundary; at += bytes_[at_[at]]) {
      if (at_[at] == entry.left && at_[at + bytes_[entry.left]] == entry.right) all.push_back(at);
    }
    word_end = at;
  }
  return all;
}

void MergeLearner::Touch(Side* side, Symbol neighbour, int64_t count, uint32_t at) {
  if (side->count[neighbour] == 0) side->touched.push_back(neighbour);
  side->delta[neighbour] += count;
  side->count[neighbour] += 1;
  side->places.push_back({neighbour, at});
}

void MergeLearner::Merge(TokenId token, bool is_new) {
  const auto result = static_cast<Symbol>(token);
  const Symbol a = best_.left, b = best_.right;
  AddSymbol(result, bytes_[a] + bytes_[b]);
  if (!is_new) is_reused_[result] = true;
  // A symbol of several merges forms pairs at several times, so one word can hold places of one pair that stand in different
  // entries. Entries are by word in the reference, so all of them are replaced with the first entry.
  if (is_reused_[a] || is_reused_[b]) {
    const std::vector<uint32_t> all = PlacesInWords(best_);
    Replace(all.data(), all.size(), result);
  } else {
    Replace(places_.data() + best_.begin, best_.size, result);
  }
  ApplyDeltas(result);
  std::vector<Entry> entries;
  Collect(&left_, /*is_left=*/true, result, &entries);
  Collect(&right_, /*is_left=*/false, result, &entries);
  JoinTwins(result, &entries);
  for (Entry& entry : entries) {
    entry.count = counts_(entry.left, entry.right);
    if (entry.count > 0 && entry.size > 0) queue_.push(entry);
  }
}

void MergeLearner::Replace(const uint32_t* places, size_t n, Symbol result) {
  const Symbol a = best_.left, b = best_.right;
  const uint32_t a_bytes = bytes_[a], b_bytes = bytes_[b];
  size_t run = 0;
  for (size_t i = 0; i < n; ++i) {
    const uint32_t at = places[i], middle = at + a_bytes, end = middle + b_bytes;
    if (at_[at] != a || at_[middle] != b) continue;  // changed since it was noted
    if (at >= runs_[run].end) {
      run = static_cast<size_t>(
          std::upper_bound(runs_.begin() + static_cast<ptrdiff_t>(run), runs_.end(), at,
                           [](uint32_t place, const Run& r) { return place < r.end; }) -
          runs_.begin());
    }
    const int64_t count = runs_[run].count;
    const Symbol before = at_[at - 1], after = at_[end];
    if (before != kBoundary) Touch(&left_, before, count, at - bytes_[before]);
    if (after != kBoundary) Touch(&right_, after, count, at);
    if (b_bytes > 1) at_[middle] = kInside;  // else the symbol that began here would still be found
    at_[at] = result;
    at_[end - 1] = result;
  }
}

// All counts change before any is read: one pair can lose on one side what it gains on the other ("abab").
void MergeLearner::ApplyDeltas(Symbol result) {
  const Symbol a = best_.left, b = best_.right;
  for (const Symbol before : left_.touched) {
    counts_(before, a) -= left_.delta[before];
    if (Fits(before, result)) counts_(before, result) += left_.delta[before];
  }
  for (const Symbol after : right_.touched) {
    counts_(b, after) -= right_.delta[after];
    if (Fits(after, result)) counts_(result, after) += right_.delta[after];
  }
}

// (result, result) can come from both sides when `result` was there before: one entry, as any pair gets from one merge.
void MergeLearner::JoinTwins(Symbol result, std::vector<Entry>* entries) {
  const auto is_twin = [&](const Entry& e) { return e.left == result && e.right == result; };
  const auto first = std::find_if(entries->begin(), entries->end(), is_twin);
  if (first == entries->end()) return;
  const auto second = std::find_if(first + 1, entries->end(), is_twin);
  if (second == entries->end()) return;
  const uint64_t begin = places_.size();
  places_.resize(begin + first->size + second->size);
  const auto place = [&](uint64_t i) { return places_.begin() + static_cast<ptrdiff_t>(i); };
  std::merge(place(first->begin), place(first->begin + first->size), place(second->begin),
             place(second->begin + second->size), place(begin));
  first->size += second->size;
  first->begin = begin;
  entries->erase(second);
}

void MergeLearner::Collect(Side* side, bool is_left, Symbol result, std::vector<Entry>* entries) {
  uint64_t begin = places_.size();
  places_.resize(begin + side->places.size());
  for (const Symbol neighbour : side->touched) {
    const uint64_t size = side->count[neighbour];
    Entry entry{0, result, neighbour, begin, size};
    if (is_left) std::swap(entry.left, entry.right);
    if (Fits(neighbour, result)) entries->push_back(entry);
    side->delta[neighbour] = static_cast<int64_t>(begin);  // where its next place goes
    begin += size;
  }
  for (const Side::Place& place : side->places)
    places_[static_cast<uint64_t>(side->delta[place.neighbour]++)] = place.at;
  for (const Symbol neighbour : side->touched) {
    side->delta[neighbour] = 0;
    side->count[neighbour] = 0;
  }
  side->touched.clear();
  side->places.clear();
}

}  // namespace planish

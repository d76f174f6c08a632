// SPDX-License-Identifier: Apache-2.0
#include "data/packed_rows.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "data/permutation.h"

namespace planish {
namespace {

constexpr size_t kRecentWindows = 4;  // neighbours of a batch; each some 200 KB at 4096 examples

}  // namespace

PackedRows::PackedRows(std::shared_ptr<const TokenFile> file, size_t row_tokens,
                       const PackingOptions& packing, const RowOrder& order)
    : file_(std::move(file)), row_tokens_(row_tokens), packing_(packing), order_(order) {
  PLANISH_CHECK(row_tokens > 0 && packing.window > 0);
  windows_ = (file_->document_count() + packing.window - 1) / packing.window;
  uint64_t kept = 0;
  for (uint64_t d = 0; d < file_->document_count(); ++d) {
    const uint64_t length = file_->document_length(d);
    if (length > row_tokens) {
      ++long_examples_.examples;
      if (packing.long_examples == LongExample::kDrop) long_examples_.lost_tokens += length;
      if (packing.long_examples == LongExample::kTruncate)
        long_examples_.lost_tokens += length - row_tokens;
    }
    kept += length <= row_tokens || packing.long_examples != LongExample::kDrop;
  }
  if (kept == 0) {
    throw UsageError("{}: none of {} examples fits in a row of {} tokens",
                     Quoted(file_->path(), 300), file_->document_count(), row_tokens);
  }
}

void PackedRows::AppendPieces(uint64_t example, std::vector<Piece>* pieces) const {
  const uint64_t begin = file_->document_begin(example), length = file_->document_length(example);
  if (length <= row_tokens_) {
    pieces->push_back({begin, length, false});
  } else if (packing_.long_examples == LongExample::kTruncate) {
    pieces->push_back({begin, row_tokens_, false});
  } else if (packing_.long_examples == LongExample::kSplit) {
    for (uint64_t done = 0; done < length; done += row_tokens_) {
      const size_t part = std::min<uint64_t>(row_tokens_, length - done);
      pieces->push_back({begin + done, part, done + part < length});
    }
  }
}

PackedRows::Window PackedRows::Pack(uint64_t epoch, uint64_t window) const {
  const uint64_t examples = file_->document_count();
  const Permutation order(order_.seed, order_.stream, epoch, examples);
  std::vector<Piece> pieces;
  const uint64_t end = std::min(examples, (window + 1) * packing_.window);
  for (uint64_t i = window * packing_.window; i < end; ++i)
    AppendPieces(order_.shuffles ? order(i) : i, &pieces);
  std::vector<size_t> lengths;
  for (const Piece& piece : pieces) lengths.push_back(piece.length);
  std::vector<std::vector<uint32_t>> packed =
      PackBestFit(lengths, row_tokens_, packing_.max_examples);
  if (!order_.shuffles) std::sort(packed.begin(), packed.end());
  Window rows(packed.size());
  for (size_t r = 0; r < packed.size(); ++r) {
    for (const uint32_t piece : packed[r]) rows[r].push_back(pieces[piece]);
  }
  if (!order_.shuffles || rows.empty()) return rows;
  // A stream of its own: the number of windows is below 2^32 and the epoch's number too.
  const Permutation row_order(order_.seed, ~order_.stream, epoch << 32 | window, rows.size());
  Window shuffled(rows.size());
  for (size_t r = 0; r < rows.size(); ++r) shuffled[r] = std::move(rows[row_order(r)]);
  return shuffled;
}

void PackedRows::AddEpoch() const {
  if (order_.shuffles || epochs_.empty()) {
    auto table = std::make_shared<Epoch>(1, 0);
    for (uint64_t w = 0; w < windows_; ++w)
      table->push_back(table->back() + Pack(epochs_.size(), w).size());
    epochs_.push_back(std::move(table));
  } else {  // windows are the same every epoch
    epochs_.push_back(epochs_.front());
  }
  epoch_begins_.push_back(epoch_begins_.back() + epochs_.back()->back());
}

std::shared_ptr<const PackedRows::Window> PackedRows::CachedWindow(uint64_t epoch,
                                                                   uint64_t window) const {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const Window>& rows = recent_[{epoch, window}];
  if (rows == nullptr) rows = std::make_shared<const Window>(Pack(epoch, window));
  const std::shared_ptr<const Window> result = rows;
  // The one farthest behind or ahead goes.
  if (recent_.size() > kRecentWindows)
    recent_.erase(recent_.begin()->second == result ? std::prev(recent_.end()) : recent_.begin());
  return result;
}

PackedRows::Place PackedRows::PlaceOf(uint64_t nth) const {
  const std::lock_guard lock(mutex_);
  while (epoch_begins_.back() <= nth) AddEpoch();
  const auto after = std::upper_bound(epoch_begins_.begin(), epoch_begins_.end(), nth);
  const auto epoch = static_cast<size_t>(after - epoch_begins_.begin()) - 1;
  return {epoch, nth - epoch_begins_[epoch], epochs_[epoch]};
}

uint64_t PackedRows::RowsIn(double epochs, uint64_t enough) const {
  const std::lock_guard lock(mutex_);
  const auto whole = epochs < 0x1p62 ? static_cast<uint64_t>(epochs) : uint64_t{1} << 62;
  while (epoch_begins_.size() <= whole + 1 && epoch_begins_.back() < enough) AddEpoch();
  if (epoch_begins_.size() <= whole + 1) return enough;
  const double rest = epochs - static_cast<double>(whole);
  const auto next = static_cast<double>(epochs_[whole]->back());
  return std::min(enough, epoch_begins_[whole] + static_cast<uint64_t>(rest * next));
}

double PackedRows::EpochsOf(uint64_t rows) const {
  const Place place = PlaceOf(rows);
  return static_cast<double>(place.epoch) +
         static_cast<double>(place.row) / static_cast<double>(place.table->back());
}

size_t PackedRows::AppendRow(uint64_t nth, TokenBatch* batch) const {
  const Place place = PlaceOf(nth);
  const auto after = std::upper_bound(place.table->begin(), place.table->end(), place.row);
  const auto window = static_cast<uint64_t>(after - place.table->begin()) - 1;
  const std::shared_ptr<const Window> rows = CachedWindow(place.epoch, window);
  size_t tokens = 0;
  for (const Piece& piece : (*rows)[place.row - (*place.table)[window]]) {
    AppendDocument(*file_, piece.begin, piece.length, piece.predicts_next, batch);
    tokens += piece.length;
  }
  return tokens;
}

}  // namespace planish

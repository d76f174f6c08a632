// SPDX-License-Identifier: Apache-2.0
// SFT rows: the examples of an epoch are permuted, cut into windows of a fixed number of examples, and each window is
// packed into rows of at most row_tokens (packing.h); the rows of a window are permuted too, because best fit opens long
// ones first. Without shuffling, windows are taken in file order and rows ordered by their first example.
// How many rows a window gives is known only after packing it, so a table of an epoch's windows is made when the epoch is
// first touched and kept; nothing else is remembered but the windows used last.
#pragma once

#include <map>
#include <mutex>
#include <vector>

#include "data/packing.h"
#include "data/row_source.h"
#include "data/stream_rows.h"

namespace planish {

struct PackingOptions {
  LongExample long_examples = LongExample::kTruncate;
  size_t window = 4096;     // examples packed together
  size_t max_examples = 0;  // in a row; 0: as many as fit, 1: no packing
};
// What a row length does to the examples of a dataset, in one epoch.
struct LongExamples {
  uint64_t examples = 0;     // longer than a row
  uint64_t lost_tokens = 0;  // cut off or dropped
};

class PackedRows : public RowSource {
 public:
  // Error(kUsage) if no example is left.
  PackedRows(std::shared_ptr<const TokenFile> file, size_t row_tokens,
             const PackingOptions& packing, const RowOrder& order);
  uint64_t RowsIn(double epochs, uint64_t enough) const override;
  double EpochsOf(uint64_t rows) const override;
  size_t AppendRow(uint64_t nth, TokenBatch* batch) const override;
  const LongExamples& long_examples() const { return long_examples_; }

 private:
  // Part of a document of the file; the whole of it unless it was too long.
  struct Piece {
    uint64_t begin;
    size_t length;
    bool predicts_next;  // more of the document follows in another piece
  };
  using Row = std::vector<Piece>;
  using Window = std::vector<Row>;
  using Epoch = std::vector<uint64_t>;  // [windows + 1] rows before each window
  struct Place {
    uint64_t epoch, row;  // row within the epoch
    std::shared_ptr<const Epoch> table;
  };
  void AppendPieces(uint64_t example, std::vector<Piece>* pieces) const;
  Window Pack(uint64_t epoch, uint64_t window) const;
  void AddEpoch() const;  // with the mutex held
  std::shared_ptr<const Window> CachedWindow(uint64_t epoch, uint64_t window) const;
  Place PlaceOf(uint64_t nth) const;

  std::shared_ptr<const TokenFile> file_;
  size_t row_tokens_;
  PackingOptions packing_;
  RowOrder order_;
  uint64_t windows_;  // an epoch
  LongExamples long_examples_;

  mutable std::mutex mutex_;  // guards what follows
  mutable std::vector<std::shared_ptr<const Epoch>> epochs_;
  mutable std::vector<uint64_t> epoch_begins_{0};  // [epochs + 1] rows before each
  mutable std::map<std::pair<uint64_t, uint64_t>, std::shared_ptr<const Window>> recent_;
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Pretraining rows: documents joined to one stream and cut every seq_len tokens; row i is tokens [i L, (i + 1) L). The
// rest behind the last whole row is left out (less than one row a dataset).
#pragma once

#include "data/row_source.h"

namespace planish {

struct RowOrder {
  uint64_t seed = 0;
  uint64_t stream = 0;  // tells datasets with the same seed apart
  bool shuffles = true;
};

class StreamRows : public RowSource {
 public:
  // Error(kUsage) if the file has less than one row.
  StreamRows(std::shared_ptr<const TokenFile> file, size_t row_tokens, bool resets_documents,
             const RowOrder& order);
  uint64_t RowsIn(double epochs, uint64_t enough) const override;
  double EpochsOf(uint64_t rows) const override;
  size_t AppendRow(uint64_t nth, TokenBatch* batch) const override;

 private:
  std::shared_ptr<const TokenFile> file_;
  size_t row_tokens_;
  bool resets_documents_;
  RowOrder order_;
  uint64_t rows_;  // an epoch
};

}  // namespace planish

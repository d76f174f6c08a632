// SPDX-License-Identifier: Apache-2.0
// Calibration data: rows of token ids that importance scores, replacement scores, quantisers and divergences are measured on.
// Read from JSONL (a "text" field, or "messages" through the model's chat template), plain text, or token files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/pretrained.h"

namespace planish {

struct CalibrationOptions {
  std::vector<std::string> inputs;  // files or folders
  size_t samples = 128;             // rows
  size_t seq_len = 1024;            // tokens of each row
  uint64_t seed =
      0;  // of the choice of rows among those the text gives; its order is that of the text
  // In [0, 1): this share of the documents, spread over the text, is left to ReadHeldOut; a long document counts as several.
  double held_out = 0;
};

struct CalibrationRows {
  std::vector<std::vector<int32_t>> rows;  // [samples][seq_len], ids in the model's vocabulary
  uint64_t hash = 0;        // of ids and order: what results that depend on them are stored under
  std::string description;  // "docs.jsonl: 128 rows of 1024 tokens", for messages and reports
  size_t tokens() const { return rows.size() * (rows.empty() ? 0 : rows[0].size()); }
};

// Documents joined with the end token between them and cut. Conversations: each row begins with one, the next ones follow, and
// what of the last one does not fit is left out. At most kRowsLookedAt times the rows asked for are looked at, from the start
// of the text. Error(kBadFile) if there is not enough text for all rows, saying how many it gives, and for a token file of
// another tokenizer.
inline constexpr size_t kRowsLookedAt = 16;
CalibrationRows ReadCalibration(const Pretrained& opened, const CalibrationOptions& options);
// Rows [begin, end).
CalibrationRows PartOf(const CalibrationRows& rows, size_t begin, size_t end);
// Rows out of the documents that ReadCalibration with the same options leaves out.
CalibrationRows ReadHeldOut(const Pretrained& opened, const CalibrationOptions& options,
                            size_t samples);

}  // namespace planish

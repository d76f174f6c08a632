// SPDX-License-Identifier: Apache-2.0
// Packed documents cut into slices of tokens, so that the scratch of a training pass through a Mamba-2 mixer does not grow with
// their length. A document goes on in the next slice only at multiples of its chunk: every chunk is what it would be alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "model/seq_layout.h"

namespace planish {

// Tokens of a slice for in_proj's width: enough that packing the weights again costs little beside their product, and at most
// 2^24 floats.
inline size_t Mamba2SliceTokens(size_t width) {
  return std::clamp<size_t>((size_t{1} << 24) / width, 512, 4096);
}

// Consecutive tokens of one document within a slice.
struct Mamba2Piece {
  size_t begin, count;  // rows of the slice
  size_t offset;        // of its first token in the document
  bool is_last;         // the document ends here
};

struct Mamba2Slice {
  size_t begin, count;  // rows of the batch
  size_t cut;           // of the state it begins with among all cuts, if it continues a document
  std::vector<Mamba2Piece> pieces;
  bool continues() const { return pieces.front().offset > 0; }
  bool is_continued() const { return !pieces.back().is_last; }
};

// Slices of at most `tokens` (or one chunk, if that is longer).
inline std::vector<Mamba2Slice> CutSlices(const SeqLayout& layout, size_t chunk, size_t tokens) {
  std::vector<Mamba2Slice> slices;
  size_t cuts = 0;
  const auto open = [&](size_t begin) { slices.push_back({begin, 0, cuts, {}}); };
  for (size_t s = 0; s < layout.sequences(); ++s) {
    for (size_t offset = 0; offset < layout.length(s);) {
      const size_t begin = layout.begin(s) + offset, rest = layout.length(s) - offset;
      if (slices.empty()) open(begin);
      const size_t room = tokens - std::min(tokens, slices.back().count);
      size_t count = rest <= room ? rest : room / chunk * chunk;
      if (count == 0) {
        if (slices.back().count > 0) {
          open(begin);
          continue;
        }
        count = std::min(rest, chunk);
      }
      Mamba2Slice& slice = slices.back();
      slice.pieces.push_back({slice.count, count, offset, count == rest});
      slice.count += count;
      offset += count;
      if (count < rest) {
        open(begin + count);
        slices.back().cut = cuts++;
      }
    }
  }
  return slices;
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Which children a search may choose from, for each block of a parent (compress.md section 5): fewer KV heads, narrower FFNs,
// fewer or narrower Mamba-2 heads, a matrix in their place, or nothing.
#pragma once

#include <string>
#include <vector>

#include "compress/candidate.h"

namespace planish {

// Lists with commas between; "linear" and "none" stand for themselves, an empty list leaves the parent's blocks alone.
struct SpaceOptions {
  std::string attention = "kv=4,2,1,linear,none";             // counts of KV heads
  std::string ffn = "75,50,25,10,linear,none";                // widths in percent of the parent's
  std::string mamba = "heads=75%,50%,head_dim=75%,50%,none";  // counts, or percent of the parent's
};

struct SearchSpace {
  std::vector<CandidateBlock>
      blocks;                      // one for each of the parent's, the parent's own candidate first
  std::vector<std::string> notes;  // what was left out, and why
};

// Candidates that a mixer or the family's config cannot have (KV heads that do not divide the parent's, a size above the
// parent's, what EditConfig refuses) are left out with a note. Error(kUsage) for text that is no such list.
SearchSpace MakeSearchSpace(const ModelConfig& parent, const SpaceOptions& options);

// A share of an FFN's width in whole steps of the vector kernels: the nearest multiple of 8, 64 (from 512 on) or 256 (from
// 4096 on), at least one of them, at most the width.
size_t FfnWidthOf(size_t width, double share);

}  // namespace planish

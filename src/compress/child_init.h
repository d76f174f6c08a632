// SPDX-License-Identifier: Apache-2.0
// What a child is before it is trained, made from the parent's block and a sample of the block's inputs (compress.md 5.1):
//   attention with fewer KV heads   means of neighbouring heads, or the head of each group whose output weighs most,
//                                   whichever errs less on the sample
//   narrower FFN                    neurons j of largest mean |act_j| ||W_down[:, j]||
//   fewer or narrower Mamba-2 heads by mean |x| of the x rows of in_proj, heads inside their groups (Minitron-SSM)
//   linear                          ridge least squares on the sample; for attention the better of that and the product of
//                                   output and value matrices, which is exact for sequences of one token
// Smaller attention and FFN children then get the output matrix that fits the sample best, by ridge least squares on what it
// reads, if that errs less on the last quarter of the sample's sequences, which are left out of the fit.
// A child of the parent's own size is the parent's block.
#pragma once

#include <memory>

#include "compress/child_block.h"
#include "compress/slice.h"

namespace planish {

// The sample is in float and fits the parent: y is what its block `block` gives for x. The parent stays unchanged.
std::unique_ptr<Mixer> InitialChild(const Pretrained& parent, size_t block,
                                    const MixerConfig& mixer, const BlockRows& sample);

// sum_h W_o,h W_v,kv(h) [D, D]: what an attention block does with a sequence of one token. Not for blocks of other kinds.
std::vector<float> AttentionAsMatrix(const Pretrained& parent, size_t block);

// Which neurons, heads and channels a child of the parent's block keeps.
BlockSlice SliceByImportance(const Pretrained& parent, size_t block, const MixerConfig& mixer,
                             const BlockRows& sample);

}  // namespace planish

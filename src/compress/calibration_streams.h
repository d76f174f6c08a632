// SPDX-License-Identifier: Apache-2.0
// The residual streams of calibration rows, taken through a model block by block, and what the matrices of a block read there.
#pragma once

#include <vector>

#include "compress/block_runner.h"
#include "compress/calibration.h"
#include "compress/product_inputs.h"

namespace planish {

class CalibrationStreams {
 public:
  // Before block 0. The runner must outlive this.
  CalibrationStreams(const BlockRunner* runner, const CalibrationRows& data, Precision precision);

  // What the groups of `block`, before which the streams stand, read, by the first matrix of each. Error(kFailure) if that is
  // not finite.
  std::vector<InputStatistics> Observe(size_t block, const std::vector<InputGroup>& groups);
  // Through `block`, with the weights that it has by now.
  void Advance(size_t block);

 private:
  struct Wave {
    SeqLayout layout;
    Tensor h;  // [T, D]
  };
  Pass PassOf(const Wave& wave) {
    return {.layout = wave.layout, .workspace = &workspace_, .precision = precision_};
  }

  const BlockRunner* runner_;
  Precision precision_;
  Workspace workspace_;
  std::vector<Wave> waves_;  // several rows each
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Models of any shape with random weights, made row by row while they are written: for training from scratch and for
// measurements of speed, which do not depend on the values.
#pragma once

#include <string>

#include "model/export.h"

namespace planish {

// The values a parameter has before training (models.md section 1.3):
//   matrices      normal, standard deviation `initializer_range` of the config (0.02 if absent); those that write into the
//                 residual stream times 1 / sqrt(2 L), L = layers
//   norms, D      1
//   conv weights, biases   uniform in [-1/sqrt(W), 1/sqrt(W))
//   dt_bias       the inverse of softplus at dt, log-uniform in [time_step_min, time_step_max], at least time_step_floor
//   A_log         ln A, A uniform in [1, 16)
// A pure function of (seed, name of the parameter, row, place in the row): neither threads, nor the order in which rows are
// asked for, nor the machine change a bit (but for vectors of Mamba-2, made with the C library's logarithm).
ParamRows RandomRows(const ModelConfig& config, uint64_t seed);

// What an export needs beside the rows: the config, an empty model, and a synthetic tokenizer. That one has the bytes as
// tokens, a control token for each special id, and unused tokens up to vocab_size; none if there is no room for all bytes.
Pretrained RandomModel(const ModelConfig& config, const std::string& name);

// GGUF keys that say what the file is.
GgufMetadata RandomModelNotes(uint64_t seed, DType type);

}  // namespace planish

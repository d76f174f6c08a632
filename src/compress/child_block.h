// SPDX-License-Identifier: Apache-2.0
// A child: a mixer that stands in a parent's block, with parameters of its own in float, and how far its outputs are from the
// parent's. Stored as one safetensors file with the mixer's own parameter names ("up_proj.weight").
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/mixer.h"

namespace planish {

// Inputs and outputs of a parent's block: x, y [T, D] in packed sequences, y = mixer(x).
struct BlockRows {
  const SeqLayout* layout = nullptr;
  const float* x = nullptr;
  const float* y = nullptr;
  size_t tokens() const { return layout->tokens(); }
};

// With zeros for parameters; `parent` gives hidden size, epsilon and RoPE.
std::unique_ptr<Mixer> NewChild(const ModelConfig& parent, const MixerConfig& mixer);
std::vector<Param> ParamsOf(Mixer* mixer);
float* ValuesOf(const Param& param);  // [elements of its shape], owned floats
// Values from rows(param, r, out [columns]); vectors are one row. Calls ParamsChanged.
void FillChild(Mixer* mixer,
               const std::function<void(const Param& param, size_t r, float* out)>& rows);

// The two sums of the normalised error MSE(y, mixer(x)) / MSE(y, 0), in double, in row order.
struct ErrorSums {
  double error = 0;  // sum of (y - mixer(x))^2
  double power = 0;  // sum of y^2
  // A block whose outputs are all zero is matched by zeros alone.
  double normalised() const { return power > 0 ? error / power : error > 0 ? 1 : 0; }
  void Add(const ErrorSums& other) {
    error += other.error;
    power += other.power;
  }
};
// Of rows that are there: y, child [T, D].
ErrorSums ErrorOf(const float* y, const float* child, size_t T, size_t D);
// Runs the child; null: a no-op, whose output is zero.
ErrorSums ErrorOf(const Mixer* child, const BlockRows& rows, size_t D, Precision precision,
                  Workspace* workspace);

void SaveChild(const std::string& path, Mixer* mixer, const Json& note);
// Error(kBadFile) for missing, extra or misshapen tensors, naming all of them.
std::unique_ptr<Mixer> LoadChild(const std::string& path, const ModelConfig& parent,
                                 const MixerConfig& mixer);
// The note of a stored child.
Json ReadChildNote(const std::string& path);

}  // namespace planish

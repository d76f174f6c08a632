// SPDX-License-Identifier: Apache-2.0
// For tests only: the inputs and expected outputs of one golden model (tests/golden/README.md).
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/testing.h"
#include "tensor/safetensors.h"

namespace planish::testing {

struct GoldenCase {
  std::map<std::string, Tensor> tensors;            // as float
  std::map<std::string, std::vector<int32_t>> ids;  // the I32 tensors
  size_t hidden_for_len = 0;
};

inline bool HasGoldenCase(const std::string& model) {
  return FileExists(GoldenDir() + "/cases/" + model + ".safetensors");
}

inline GoldenCase ReadGoldenCase(const std::string& model) {
  GoldenCase found;
  for (const StoredTensor& tensor :
       ReadSafetensors(GoldenDir() + "/cases/" + model + ".safetensors", FileBytes::Access::kRead)
           .tensors) {
    if (tensor.view.dtype == DType::kI32) {
      std::vector<int32_t> ids(tensor.view.elements());
      std::memcpy(ids.data(), tensor.view.data, tensor.view.bytes());
      found.ids[tensor.name] = std::move(ids);
    } else {
      found.tensors[tensor.name] = Tensor::ToF32(tensor.view);
    }
  }
  const std::string path = GoldenDir() + "/cases/" + model + ".json";
  const Json json = ParseJson(ReadFile(path, 1 << 20), path);
  found.hidden_for_len =
      static_cast<size_t>(JsonReader(json, path).Int("hidden_for_len", 0, 1 << 20));
  return found;
}

inline void ExpectNear(const float* found, const Tensor& expected, float tolerance,
                       const std::string& what) {
  float worst = 0;
  size_t at = 0;
  for (size_t i = 0; i < expected.elements(); ++i) {
    const float error = std::abs(found[i] - expected.f32()[i]);
    if (!(error <= worst)) worst = error, at = i;
  }
  EXPECT_LE(worst, tolerance) << what << ": worst at " << at << ": " << found[at] << ", expected "
                              << expected.f32()[at];
}

}  // namespace planish::testing

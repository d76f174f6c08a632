// SPDX-License-Identifier: Apache-2.0
// For tests only: the tensors of a golden file by name, and ids as the program takes them.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/testing.h"
#include "tensor/safetensors.h"

namespace planish::testing {

struct GoldenTensors {
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, std::vector<int32_t>> ids;
};

inline GoldenTensors ReadTensors(const std::string& path) {
  GoldenTensors found;
  for (const StoredTensor& tensor : ReadSafetensors(path, FileBytes::Access::kRead).tensors) {
    if (tensor.view.dtype == DType::kI32) {
      std::vector<int32_t>& ids = found.ids[tensor.name];
      ids.resize(tensor.view.elements());
      std::memcpy(ids.data(), tensor.view.data, tensor.view.bytes());
    } else {
      const Tensor values = Tensor::ToF32(tensor.view);
      found.values[tensor.name].assign(values.f32(), values.f32() + values.elements());
    }
  }
  return found;
}

inline Json ReadJson(const std::string& path) {
  return ParseJson(ReadFile(path, limits::kTokenizerBytes), path, {.allow_non_finite = true});
}

inline Json IdsToJson(const std::vector<int32_t>& ids) {
  Json json = Json::MakeArray();
  for (const int32_t id : ids) json.Append(int64_t{id});
  return json;
}

inline std::string WriteIds(const std::string& path, const std::vector<int32_t>& ids) {
  WriteFile(path, DumpJson(IdsToJson(ids)));
  return path;
}

inline const Json& Member(const Json& object, const std::string& key) {
  static const Json kNothing;
  const Json* found = object.Find(key);
  EXPECT_NE(found, nullptr) << "no " << key << " in " << DumpJson(object);
  return found != nullptr ? *found : kNothing;
}

inline std::vector<int32_t> IdsOf(const Json& array) {
  std::vector<int32_t> ids;
  for (const Json& id : array.AsArray()) ids.push_back(static_cast<int32_t>(id.AsInt()));
  return ids;
}

inline void ExpectNear(const std::vector<float>& found, const std::vector<float>& expected,
                       float tolerance, const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  size_t at = 0;
  float worst = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const float error = std::abs(found[i] - expected[i]);
    if (!(error <= worst)) worst = error, at = i;
  }
  EXPECT_LE(worst, tolerance) << what << ": at " << at << " " << found[at] << ", expected "
                              << expected[at];
}

// The golden models that stand in the folder, or none.
inline std::vector<std::string> GoldenModels() { return Listing(GoldenDir() + "/models"); }

#define PLANISH_NEEDS_GOLDEN(path)                                                    \
  if (const std::string needed = (path); !FileExists(needed) && !IsDirectory(needed)) \
  GTEST_SKIP() << needed << " is missing: set PLANISH_GOLDEN to a folder with golden data"

// PLANISH_SMOLLM2, else what `make smollm2` fetched, else the file beside the golden data; empty if there is none.
inline std::string SmolLm2Path() {
  if (const char* path = std::getenv("PLANISH_SMOLLM2"); path != nullptr && *path != 0) return path;
  const std::string name = "SmolLM2-135M-Instruct.Q4_1.gguf",
                    fetched = PLANISH_SOURCE_DIR "/models-cache/" + name;
  if (FileExists(fetched)) return fetched;
  const std::string beside = GoldenDir() + "/../models/";
  if (FileExists(beside + name)) return beside + name;
  const std::vector<std::string> any = Listing(beside, ".gguf");
  return any.empty() ? "" : beside + any[0];
}

}  // namespace planish::testing

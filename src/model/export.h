// SPDX-License-Identifier: Apache-2.0
// Writes a model as a Hugging Face folder or as a GGUF file. HF -> GGUF -> HF gives identical tensors: the config.json and
// the stored types ride along as `planish.*` keys that other readers ignore.
#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "model/gguf_map.h"
#include "model/pretrained.h"

namespace planish {

// Called after each slab of rows with the bytes written so far and in all.
using ExportProgress = std::function<void(uint64_t done, uint64_t total)>;

// out = row r of a parameter [rows, columns] as floats; a vector, and conv1d.weight, is one row. Called for several rows at
// the same time.
using ParamRows = std::function<void(const Param& param, size_t r, float* out)>;
// The values that a parameter holds.
inline void StoredRow(const Param& param, size_t r, float* out) {
  if (param.weight != nullptr)
    param.weight->DequantizeRow(r, out);
  else
    std::memcpy(out, param.vector->data(), param.vector->bytes());
}

struct ExportOptions {
  ExportProgress progress;
  // Where the values come from when not from `opened->model`, whose parameters may then be empty; needs `type`.
  ParamRows rows;
  GgufMetadata notes;      // more keys for a GGUF file
  bool keeps_fp8 = false;  // of ExportHf
  bool uses_team = true;   // false when called from another thread than the team's
};

// `type`: of matrices (what CanQuantize says); nullopt keeps each as it is stored, as far as GGUF has the type. Vectors,
// norms and conv taps are F32; a matrix whose rows do not fill the blocks of a quantised type gets WritableType's.
void ExportGguf(Pretrained* opened, const std::string& path, std::optional<DType> type,
                const ExportOptions& options = {});

// The size of the file if its matrices had these types, all of them named.
uint64_t GgufBytes(Pretrained* opened, const std::map<std::string, DType>& types);

// `type`: F32, F16 or BF16 for all tensors; nullopt: the types the model had before it became GGUF, else BF16 for
// quantised matrices and what is stored for the rest. `shard_bytes`: largest file. With keeps_fp8 and no `type`, E4M3 matrices
// keep their codes and scales: square tiles as DeepSeek's folders have them (weight_scale_inv), one scale a row as
// compressed-tensors' (weight_scale); all of them must be of one kind.
void ExportHf(Pretrained* opened, const std::string& folder, std::optional<DType> type,
              uint64_t shard_bytes, const ExportOptions& options = {});

}  // namespace planish

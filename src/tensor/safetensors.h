// SPDX-License-Identifier: Apache-2.0
// The safetensors format: u64 little-endian header length N, N bytes of JSON (name -> dtype, shape,
// data_offsets), data. Reading checks everything before a byte of data is used: lengths, overlap,
// holes, duplicate keys, shape x dtype. Stricter than the reference: duplicate keys, leading spaces
// in the header, unsupported dtypes are errors.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "tensor/tensor.h"
#include "tensor/tensor_to_write.h"

namespace planish {

struct StoredTensor {
  std::string name;
  TensorView view;  // into `file`
  std::shared_ptr<const FileBytes> file;
};

// Tensors of one file, in offset order (ties by name). Error(kBadFile) naming file, tensor, found
// and expected.
struct SafetensorsFile {
  std::vector<StoredTensor> tensors;
  Json metadata = Json::MakeObject();  // "__metadata__"
};
SafetensorsFile ReadSafetensors(const std::string& path, FileBytes::Access access);
// The same over bytes in memory (fuzzing and tests); `file` may be null.
SafetensorsFile ParseSafetensors(std::span<const std::byte> bytes, const std::string& where,
                                 std::shared_ptr<const FileBytes> file);

// All tensors of a model folder: model.safetensors, or the shards that model.safetensors.index.json
// names.
std::vector<StoredTensor> ReadSafetensorsFolder(const std::string& folder,
                                                FileBytes::Access access);

void WriteSafetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                      const Json& metadata = Json::MakeObject());
// model.safetensors, or model-0000i-of-0000N.safetensors with an index when the sum exceeds
// `shard_bytes`.
void WriteSafetensorsFolder(const std::string& folder, const std::vector<TensorToWrite>& tensors,
                            uint64_t shard_bytes = uint64_t{4} << 30);

}  // namespace planish

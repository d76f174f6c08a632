// SPDX-License-Identifier: Apache-2.0
// The GGUF container, versions 2 and 3, little-endian: typed key-value pairs, tensor table, aligned
// data; split files (split.no, split.count, NAME-00001-of-0000N.gguf). Knows nothing of
// architectures: model/gguf_model maps names. Tensor shapes are given row-major as everywhere in
// planish (GGUF stores the fastest dimension first).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tensor/safetensors.h"

namespace planish {

enum class GgufType : uint32_t {
  kUint8 = 0,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};

// One metadata value. Numbers are widened but remember their file type; arrays hold one element
// type.
struct GgufValue {
  GgufType type = GgufType::kUint32;
  GgufType element_type = GgufType::kUint32;  // of arrays
  std::variant<uint64_t, int64_t, double, bool, std::string, std::vector<uint64_t>,
               std::vector<int64_t>, std::vector<double>, std::vector<bool>,
               std::vector<std::string>>
      value;

  static GgufValue U32(uint32_t v);
  static GgufValue I32(int32_t v);
  static GgufValue F32(float v);
  static GgufValue Bool(bool v);
  static GgufValue String(std::string v);
  static GgufValue Strings(std::vector<std::string> v);
  static GgufValue I32s(std::vector<int64_t> v);
  static GgufValue U32s(std::vector<uint64_t> v);
  static GgufValue F32s(std::vector<double> v);
  static GgufValue Bools(std::vector<bool> v);
  bool is_array() const { return type == GgufType::kArray; }
};

class GgufFile {
 public:
  // Opens `path` and, if it is the first of a split, its other parts. Error(kBadFile) with key or
  // tensor name.
  static GgufFile Open(const std::string& path, FileBytes::Access access);
  static GgufFile Parse(std::span<const std::byte> bytes, const std::string& where,
                        std::shared_ptr<const FileBytes> file);

  const std::string& where() const { return where_; }
  const std::vector<std::pair<std::string, GgufValue>>& metadata() const { return metadata_; }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const GgufValue* Find(std::string_view key) const;
  const StoredTensor* FindTensor(std::string_view name) const;  // null if absent

  // Typed access; a missing key (without fallback), a wrong type or range is an Error naming the
  // key.
  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  int64_t Int(std::string_view key, int64_t low, int64_t high) const;
  int64_t IntOr(std::string_view key, int64_t low, int64_t high, int64_t fallback) const;
  double Number(std::string_view key) const;
  double NumberOr(std::string_view key, double fallback) const;
  bool BoolOr(std::string_view key, bool fallback) const;
  std::string String(std::string_view key) const;
  std::string StringOr(std::string_view key, std::string fallback) const;
  const std::vector<std::string>& Strings(std::string_view key) const;
  std::vector<int64_t> Ints(std::string_view key) const;    // any integer array
  std::vector<double> Numbers(std::string_view key) const;  // any numeric array
  // A scalar repeated `count` times or an array of exactly `count` integers (per-layer keys).
  std::vector<int64_t> IntPerLayer(std::string_view key, size_t count, int64_t low,
                                   int64_t high) const;

 private:
  const GgufValue& Get(std::string_view key, std::string_view expected) const;
  [[noreturn]] void FailType(std::string_view key, std::string_view expected) const;
  void IndexTensors();  // Error on a name that two parts share

  std::string where_;
  std::vector<std::pair<std::string, GgufValue>> metadata_;
  std::vector<StoredTensor> tensors_;
  std::vector<size_t> by_name_;  // indexes into tensors_, sorted by name
};

// Writes version 3, atomically, keys and tensors in the order given; alignment 32, or what the key
// general.alignment says. Data is pulled tensor by tensor.
void WriteGguf(const std::string& path,
               const std::vector<std::pair<std::string, GgufValue>>& metadata,
               const std::vector<TensorToWrite>& tensors);
// The size of the file that WriteGguf would write.
uint64_t GgufFileBytes(const std::vector<std::pair<std::string, GgufValue>>& metadata,
                       const std::vector<TensorToWrite>& tensors);

}  // namespace planish

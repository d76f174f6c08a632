// SPDX-License-Identifier: Apache-2.0
// Builds GGUF files byte by byte, right or wrong, for tests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tensor/format_testing.h"
#include "tensor/gguf.h"

namespace planish {

struct GgufBuilder {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::string pairs;  // encoded
  uint64_t pair_count = 0;
  std::string tensors;  // encoded
  uint64_t tensor_count = 0;
  size_t alignment = 32;
  size_t data_bytes = 0;

  static std::string Text(std::string_view text) {
    std::string out;
    AppendRaw(&out, uint64_t{text.size()});
    return out + std::string(text);
  }
  // A pair with the value bytes given; `type` may be any number.
  GgufBuilder& Pair(std::string_view key, uint32_t type, const std::string& value) {
    pairs += Text(key);
    AppendRaw(&pairs, type);
    pairs += value;
    ++pair_count;
    return *this;
  }
  template <typename T>
  GgufBuilder& Scalar(std::string_view key, GgufType type, T value) {
    std::string bytes;
    AppendRaw(&bytes, value);
    return Pair(key, static_cast<uint32_t>(type), bytes);
  }
  GgufBuilder& String(std::string_view key, std::string_view value) {
    return Pair(key, static_cast<uint32_t>(GgufType::kString), Text(value));
  }
  // An array that says `count` elements of `type` and holds `elements`.
  GgufBuilder& Array(std::string_view key, uint32_t type, uint64_t count,
                     const std::string& elements) {
    std::string bytes;
    AppendRaw(&bytes, type);
    AppendRaw(&bytes, count);
    return Pair(key, static_cast<uint32_t>(GgufType::kArray), bytes + elements);
  }
  // Dimensions in the file's order, fastest first.
  GgufBuilder& Tensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
                      uint64_t offset) {
    tensors += Text(name);
    AppendRaw(&tensors, static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) AppendRaw(&tensors, dim);
    AppendRaw(&tensors, type);
    AppendRaw(&tensors, offset);
    ++tensor_count;
    return *this;
  }
  std::string Bytes() const {
    std::string out = magic;
    AppendRaw(&out, version);
    AppendRaw(&out, tensor_count);
    AppendRaw(&out, pair_count);
    out += pairs + tensors;
    if (tensor_count > 0) out.resize((out.size() + alignment - 1) / alignment * alignment, '\0');
    for (size_t i = 0; i < data_bytes; ++i) out += static_cast<char>(i);
    return out;
  }
};

inline GgufFile ParseGguf(const std::string& bytes) {
  return GgufFile::Parse(AsBytes(bytes), "x.gguf", nullptr);
}

inline void ExpectGgufRefused(const std::string& bytes, std::vector<std::string> parts) {
  parts.insert(parts.begin(), "x.gguf");
  ExpectBadFile([&] { ParseGguf(bytes); }, parts);
}

}  // namespace planish

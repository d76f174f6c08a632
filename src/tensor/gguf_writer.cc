// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "tensor/gguf.h"
#include "tensor/gguf_format.h"

namespace planish {
namespace {

using namespace gguf_format;

template <typename T>
void Append(T value, std::string* out) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

void AppendString(std::string_view text, std::string* out) {
  Append(uint64_t{text.size()}, out);
  out->append(text);
}

// Narrows to the file's type; a number that does not fit is a bug of the caller.
template <typename Stored, typename Wide>
void AppendNarrow(Wide value, std::string_view key, std::string* out) {
  PLANISH_CHECK(std::in_range<Stored>(value), "{} is {}", key, value);
  Append(static_cast<Stored>(value), out);
}

void AppendElement(uint64_t value, GgufType type, std::string_view key, std::string* out) {
  switch (type) {
    case GgufType::kUint8:
      return AppendNarrow<uint8_t>(value, key, out);
    case GgufType::kUint16:
      return AppendNarrow<uint16_t>(value, key, out);
    case GgufType::kUint32:
      return AppendNarrow<uint32_t>(value, key, out);
    case GgufType::kUint64:
      return Append(value, out);
    default:
      PLANISH_CHECK(false, "{}: unsigned value of type {}", key, NameOf(type));
  }
}

void AppendElement(int64_t value, GgufType type, std::string_view key, std::string* out) {
  switch (type) {
    case GgufType::kInt8:
      return AppendNarrow<int8_t>(value, key, out);
    case GgufType::kInt16:
      return AppendNarrow<int16_t>(value, key, out);
    case GgufType::kInt32:
      return AppendNarrow<int32_t>(value, key, out);
    case GgufType::kInt64:
      return Append(value, out);
    default:
      PLANISH_CHECK(false, "{}: signed value of type {}", key, NameOf(type));
  }
}

void AppendElement(double value, GgufType type, std::string_view key, std::string* out) {
  if (type == GgufType::kFloat32) return Append(static_cast<float>(value), out);
  PLANISH_CHECK(type == GgufType::kFloat64, "{}: real value of type {}", key, NameOf(type));
  Append(value, out);
}

void AppendElement(bool value, GgufType type, std::string_view key, std::string* out) {
  PLANISH_CHECK(type == GgufType::kBool, "{}: bool of type {}", key, NameOf(type));
  Append(static_cast<uint8_t>(value ? 1 : 0), out);
}

void AppendElement(const std::string& value, GgufType type, std::string_view key,
                   std::string* out) {
  PLANISH_CHECK(type == GgufType::kString, "{}: string of type {}", key, NameOf(type));
  if (value.size() > limits::kGgufStringBytes) {
    throw UsageError("key {}: a string of {} bytes, GGUF files here may hold {}", Quoted(key),
                     value.size(), limits::kGgufStringBytes);
  }
  AppendString(value, out);
}

struct AppendValue {
  const GgufValue& value;
  std::string_view key;
  std::string* out;

  template <typename T>
  void operator()(const T& scalar) const {
    PLANISH_CHECK(!value.is_array(), "{}", key);
    Append(static_cast<uint32_t>(value.type), out);
    AppendElement(scalar, value.type, key, out);
  }
  template <typename T>
  void operator()(const std::vector<T>& items) const {
    PLANISH_CHECK(value.is_array(), "{}", key);
    if (items.size() > limits::kGgufArrayElements) {
      throw UsageError("key {}: {} elements, GGUF files here may hold {}", Quoted(key),
                       items.size(), limits::kGgufArrayElements);
    }
    Append(static_cast<uint32_t>(GgufType::kArray), out);
    Append(static_cast<uint32_t>(value.element_type), out);
    Append(uint64_t{items.size()}, out);
    for (const auto& item : items)
      AppendElement(static_cast<const T&>(item), value.element_type, key, out);
  }
};

void CheckUnique(std::vector<std::string_view> names) {
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  PLANISH_CHECK(twice == names.end(), "{} given twice", *twice);
}

uint64_t AlignmentOf(const std::vector<std::pair<std::string, GgufValue>>& metadata) {
  for (const auto& [key, value] : metadata) {
    if (key != kAlignmentKey) continue;
    const auto* alignment = std::get_if<uint64_t>(&value.value);
    PLANISH_CHECK(value.type == GgufType::kUint32 && alignment && IsValidAlignment(*alignment));
    return *alignment;
  }
  return kDefaultAlignment;
}

void CheckTensor(const TensorToWrite& tensor, const std::string& path) {
  const DTypeTraits& traits = Traits(tensor.dtype);
  const auto fail = [&](const std::string& what) {
    throw UsageError("{}: tensor {}: {}, which GGUF cannot hold", path, Quoted(tensor.name), what);
  };
  if (tensor.name.empty() || tensor.name.size() > limits::kGgufTensorNameBytes) {
    fail(fmt::format("a name of {} bytes", tensor.name.size()));
  }
  if (traits.gguf_id < 0) fail(fmt::format("type {}", traits.name));
  if (tensor.shape.rank() == 0 || tensor.shape.elements() == 0) {
    fail(fmt::format("shape {}", tensor.shape.ToString()));
  }
  if (tensor.shape.last() % traits.block_elems != 0) {
    fail(fmt::format("rows of {} values in blocks of {}", tensor.shape.last(), traits.block_elems));
  }
}

void AppendTensorRow(const TensorToWrite& tensor, uint64_t offset, std::string* out) {
  const Shape& shape = tensor.shape;
  AppendString(tensor.name, out);
  Append(static_cast<uint32_t>(shape.rank()), out);
  for (size_t i = shape.rank(); i > 0; --i) Append(uint64_t{shape[i - 1]}, out);
  Append(static_cast<uint32_t>(Traits(tensor.dtype).gguf_id), out);
  Append(offset, out);
}

// Everything before the data, padded to where data begins.
std::string HeaderBytes(const std::string& path,
                        const std::vector<std::pair<std::string, GgufValue>>& metadata,
                        const std::vector<TensorToWrite>& tensors, uint64_t alignment) {
  std::string out(kMagic);
  Append(uint32_t{3}, &out);
  Append(uint64_t{tensors.size()}, &out);
  Append(uint64_t{metadata.size()}, &out);
  std::vector<std::string_view> names;
  for (const auto& [key, value] : metadata) {
    PLANISH_CHECK(!key.empty() && key.size() <= limits::kGgufKeyBytes);
    names.push_back(key);
    AppendString(key, &out);
    std::visit(AppendValue{value, key, &out}, value.value);
  }
  CheckUnique(std::move(names));
  names.clear();
  uint64_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    CheckTensor(tensor, path);
    names.push_back(tensor.name);
    AppendTensorRow(tensor, offset, &out);
    offset = RoundUp(offset + BytesOf(tensor.dtype, tensor.shape.elements()), alignment);
  }
  CheckUnique(std::move(names));
  out.resize(RoundUp(out.size(), alignment), '\0');
  return out;
}

}  // namespace

uint64_t GgufFileBytes(const std::vector<std::pair<std::string, GgufValue>>& metadata,
                       const std::vector<TensorToWrite>& tensors) {
  const uint64_t alignment = AlignmentOf(metadata);
  uint64_t bytes = HeaderBytes("", metadata, tensors, alignment).size();
  for (const TensorToWrite& tensor : tensors)
    bytes += RoundUp(BytesOf(tensor.dtype, tensor.shape.elements()), alignment);
  return bytes;
}

void WriteGguf(const std::string& path,
               const std::vector<std::pair<std::string, GgufValue>>& metadata,
               const std::vector<TensorToWrite>& tensors) {
  if (tensors.size() > limits::kTensorsPerFile || metadata.size() > limits::kGgufKeys) {
    throw UsageError("{}: {} tensors and {} keys, a GGUF file here may hold {} and {}", path,
                     tensors.size(), metadata.size(), limits::kTensorsPerFile, limits::kGgufKeys);
  }
  const uint64_t alignment = AlignmentOf(metadata);
  const std::string header = HeaderBytes(path, metadata, tensors, alignment);
  FileWriter writer(path);
  writer.Write(header);
  const std::string padding(alignment, '\0');
  for (const TensorToWrite& tensor : tensors) {
    const size_t bytes = BytesOf(tensor.dtype, tensor.shape.elements());
    WriteRows(tensor, &writer);
    writer.Write(padding.data(), RoundUp(bytes, alignment) - bytes);
  }
  writer.Commit();
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Reading one GGUF file. Two passes over the header: the first checks everything and keeps nothing
// but positions, so that a lying file fails before memory is spent; the second stores the values.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "tensor/gguf.h"
#include "tensor/gguf_format.h"

namespace planish {
namespace gguf_format {

std::string_view UnsupportedTypeName(uint32_t id) {
  constexpr std::array<std::string_view, 41> kNames = {
      "",      "",           "",           "",           "Q4_2",     "Q4_3",     "",
      "",      "",           "Q8_1",       "",           "",         "",         "",
      "",      "Q8_K",       "IQ2_XXS",    "IQ2_XS",     "IQ3_XXS",  "IQ1_S",    "",
      "IQ3_S", "IQ2_S",      "",           "",           "",         "",         "",
      "",      "IQ1_M",      "",           "Q4_0_4_4",   "Q4_0_4_8", "Q4_0_8_8", "TQ1_0",
      "TQ2_0", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "",         "NVFP4"};
  return id < kNames.size() && !kNames[id].empty() ? kNames[id] : "unknown";
}

}  // namespace gguf_format

namespace {

using namespace gguf_format;

// Reads little-endian numbers and strings, never past the end.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& where)
      : bytes_(bytes), where_(where) {}

  uint64_t at() const { return at_; }
  uint64_t remaining() const { return bytes_.size() - at_; }
  void Seek(uint64_t at) { at_ = at; }

  // `what` names the thing that is read, e.g. "key 'a.b'".
  const std::byte* Take(uint64_t size, std::string_view what) {
    if (size > remaining()) {
      throw BadFile("{}: {} at byte {} needs {} bytes, but {} follow (truncated?)", where_, what,
                    at_, size, remaining());
    }
    const std::byte* begin = bytes_.data() + at_;
    at_ += size;
    return begin;
  }

  template <typename T>
  T Number(std::string_view what) {
    T value;
    std::memcpy(&value, Take(sizeof(T), what), sizeof(T));
    return value;
  }

  std::string_view String(uint64_t max_bytes, std::string_view what) {
    const auto length = Number<uint64_t>(what);
    if (length > max_bytes) {
      throw BadFile("{}: {} at byte {} has a string of {} bytes, expected at most {}", where_, what,
                    at_, length, max_bytes);
    }
    return {reinterpret_cast<const char*>(Take(length, what)), static_cast<size_t>(length)};
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& where_;
  uint64_t at_ = 0;
};

void CheckUnique(std::vector<std::string_view> names, std::string_view kind,
                 const std::string& where) {
  // Sorted, not hashed: names of a hostile file could all fall into one bucket.
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) throw BadFile("{}: {} {} occurs twice", where, kind, Quoted(*twice));
}

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& where)
      : bytes_(bytes), where_(where), cursor_(bytes, where) {}

  void Parse(std::vector<std::pair<std::string, GgufValue>>* metadata,
             std::vector<StoredTensor>* tensors, const std::shared_ptr<const FileBytes>& file) {
    ReadPreamble();
    const uint64_t pairs_begin = cursor_.at();
    CheckPairs();
    ReadTensorTable(file, tensors);
    cursor_.Seek(pairs_begin);
    metadata->reserve(key_count_);
    for (uint64_t i = 0; i < key_count_; ++i) {
      const std::string_view key = cursor_.String(limits::kGgufKeyBytes, "key");
      metadata->emplace_back(key, ReadValue(key));
    }
  }

 private:
  void ReadPreamble() {
    if (bytes_.size() < kMagic.size() ||
        std::memcmp(bytes_.data(), kMagic.data(), kMagic.size()) != 0) {
      throw BadFile("{}: does not begin with \"GGUF\"; not a GGUF file", where_);
    }
    cursor_.Seek(kMagic.size());
    const auto version = cursor_.Number<uint32_t>("the version");
    if (version != 2 && version != 3) {
      if ((version & 0xFFFF) == 0 && version != 0) {
        throw BadFile("{}: big-endian GGUF is not supported", where_);
      }
      throw BadFile("{}: GGUF version {}, expected 2 or 3", where_, version);
    }
    tensor_count_ = cursor_.Number<uint64_t>("the tensor count");
    key_count_ = cursor_.Number<uint64_t>("the key count");
    CheckCount("tensors", tensor_count_, limits::kTensorsPerFile, kSmallestTensor);
    CheckCount("keys", key_count_, limits::kGgufKeys, kSmallestPair);
  }

  void CheckCount(std::string_view what, uint64_t count, uint64_t limit, uint64_t smallest) const {
    if (count > limit) {
      throw BadFile("{}: {} {}, expected at most {}", where_, count, what, limit);
    }
    if (count > cursor_.remaining() / smallest) {
      throw BadFile("{}: {} {}, but only {} bytes follow", where_, count, what,
                    cursor_.remaining());
    }
  }

  // ---- key-value pairs

  void CheckPairs() {
    std::vector<std::string_view> keys;
    keys.reserve(key_count_);
    for (uint64_t i = 0; i < key_count_; ++i) {
      const std::string_view key = cursor_.String(limits::kGgufKeyBytes, "key");
      if (key.empty()) throw BadFile("{}: key {} is empty", where_, i);
      keys.push_back(key);
      CheckValue(key);
    }
    CheckUnique(std::move(keys), "key", where_);
  }

  GgufType ReadType(std::string_view key) {
    const auto id = cursor_.Number<uint32_t>(key);
    if (id > static_cast<uint32_t>(GgufType::kFloat64)) {
      throw BadFile("{}: key {} has value type {}, expected at most {}", where_, Quoted(key), id,
                    static_cast<uint32_t>(GgufType::kFloat64));
    }
    return static_cast<GgufType>(id);
  }

  uint64_t ReadArrayCount(std::string_view key, GgufType element) {
    if (element == GgufType::kArray) {
      throw BadFile("{}: key {} is an array of arrays, which is not supported", where_,
                    Quoted(key));
    }
    const auto count = cursor_.Number<uint64_t>(key);
    if (count > limits::kGgufArrayElements) {
      throw BadFile("{}: key {} has {} elements, expected at most {}", where_, Quoted(key), count,
                    limits::kGgufArrayElements);
    }
    const uint64_t smallest = element == GgufType::kString ? 8 : ElementBytes(element);
    if (count > cursor_.remaining() / smallest) {
      throw BadFile("{}: key {} has {} elements, but only {} bytes follow", where_, Quoted(key),
                    count, cursor_.remaining());
    }
    return count;
  }

  void CheckElements(std::string_view key, GgufType type, uint64_t count) {
    if (type == GgufType::kString) {
      for (uint64_t i = 0; i < count; ++i) cursor_.String(limits::kGgufStringBytes, key);
      return;
    }
    const std::byte* data = cursor_.Take(count * ElementBytes(type), key);
    if (type != GgufType::kBool) return;
    for (uint64_t i = 0; i < count; ++i) {
      if (data[i] > std::byte{1}) {
        throw BadFile("{}: key {} has a bool of {}, expected 0 or 1", where_, Quoted(key),
                      static_cast<int>(data[i]));
      }
    }
  }

  void CheckValue(std::string_view key) {
    GgufType type = ReadType(key);
    if (key == kAlignmentKey) {
      if (type != GgufType::kUint32) {
        throw BadFile("{}: key {} is {}, expected u32", where_, Quoted(key), NameOf(type));
      }
      const uint64_t begin = cursor_.at();
      alignment_ = cursor_.Number<uint32_t>(key);
      if (!IsValidAlignment(alignment_)) {
        throw BadFile("{}: key {} is {}, expected a power of two in [{}, {}]", where_, Quoted(key),
                      alignment_, limits::kGgufAlignmentMin, limits::kGgufAlignmentMax);
      }
      cursor_.Seek(begin);
    }
    uint64_t count = 1;
    if (type == GgufType::kArray) {
      type = ReadType(key);
      count = ReadArrayCount(key, type);
    }
    CheckElements(key, type, count);
  }

  // The widened values of `count` numbers in the file.
  template <typename Stored, typename Wide>
  std::vector<Wide> Widen(uint64_t count) {
    std::vector<Wide> out;
    out.reserve(count);
    for (uint64_t i = 0; i < count; ++i) out.push_back(cursor_.Number<Stored>("value"));
    return out;
  }

  template <typename T>
  static void SetValue(GgufValue* out, std::vector<T> values) {
    if (out->type == GgufType::kArray) {
      out->value = std::move(values);
    } else {
      out->value = T(values[0]);
    }
  }

  // The second pass: everything was checked by CheckValue.
  GgufValue ReadValue(std::string_view key) {
    GgufValue out;
    out.type = ReadType(key);
    GgufType type = out.type;
    uint64_t n = 1;
    if (type == GgufType::kArray) {
      type = ReadType(key);
      n = ReadArrayCount(key, type);
    }
    out.element_type = type;
    switch (type) {
      case GgufType::kUint8:
        SetValue(&out, Widen<uint8_t, uint64_t>(n));
        break;
      case GgufType::kUint16:
        SetValue(&out, Widen<uint16_t, uint64_t>(n));
        break;
      case GgufType::kUint32:
        SetValue(&out, Widen<uint32_t, uint64_t>(n));
        break;
      case GgufType::kUint64:
        SetValue(&out, Widen<uint64_t, uint64_t>(n));
        break;
      case GgufType::kInt8:
        SetValue(&out, Widen<int8_t, int64_t>(n));
        break;
      case GgufType::kInt16:
        SetValue(&out, Widen<int16_t, int64_t>(n));
        break;
      case GgufType::kInt32:
        SetValue(&out, Widen<int32_t, int64_t>(n));
        break;
      case GgufType::kInt64:
        SetValue(&out, Widen<int64_t, int64_t>(n));
        break;
      case GgufType::kFloat32:
        SetValue(&out, Widen<float, double>(n));
        break;
      case GgufType::kFloat64:
        SetValue(&out, Widen<double, double>(n));
        break;
      case GgufType::kBool:
        SetValue(&out, Widen<uint8_t, bool>(n));
        break;
      case GgufType::kString: {
        std::vector<std::string> strings;
        strings.reserve(n);
        for (uint64_t i = 0; i < n; ++i) {
          strings.emplace_back(cursor_.String(limits::kGgufStringBytes, key));
        }
        SetValue(&out, std::move(strings));
        break;
      }
      case GgufType::kArray:
        PLANISH_CHECK(false, "array of arrays passed the first pass");
    }
    return out;
  }

  // ---- tensor table

  void ReadTensorTable(const std::shared_ptr<const FileBytes>& file,
                       std::vector<StoredTensor>* tensors) {
    std::vector<uint64_t> offsets;
    offsets.reserve(tensor_count_);
    tensors->reserve(tensor_count_);
    for (uint64_t i = 0; i < tensor_count_; ++i) {
      StoredTensor tensor;
      tensor.file = file;
      offsets.push_back(ReadTensorRow(&tensor));
      tensors->push_back(std::move(tensor));
    }
    std::vector<std::string_view> names;
    names.reserve(tensors->size());
    for (const StoredTensor& tensor : *tensors) names.push_back(tensor.name);
    CheckUnique(std::move(names), "tensor", where_);
    PlaceData(offsets, tensors);
  }

  template <typename... Args>
  [[noreturn]] void FailTensor(const StoredTensor& tensor, fmt::format_string<Args...> format,
                               Args&&... args) const {
    throw BadFile("{}: tensor {}: {}", where_, Quoted(tensor.name),
                  fmt::format(format, std::forward<Args>(args)...));
  }

  // Returns its offset in the data part.
  uint64_t ReadTensorRow(StoredTensor* tensor) {
    tensor->name = cursor_.String(limits::kGgufTensorNameBytes, "tensor name");
    if (tensor->name.empty()) throw BadFile("{}: a tensor has an empty name", where_);
    const auto rank = cursor_.Number<uint32_t>(tensor->name);
    if (rank == 0 || rank > limits::kDims) {
      FailTensor(*tensor, "{} dimensions, expected 1 to {}", rank, limits::kDims);
    }
    size_t dims[limits::kDims];  // row-major: the file's first is the last here
    for (uint32_t i = 0; i < rank; ++i) {
      const auto dim = cursor_.Number<uint64_t>(tensor->name);
      if (dim == 0 || dim > limits::kDimSize) {
        FailTensor(*tensor, "a dimension of {}, expected 1 to {}", dim, limits::kDimSize);
      }
      dims[rank - 1 - i] = dim;
    }
    tensor->view.shape = Shape(std::span<const size_t>(dims, rank));
    tensor->view.dtype = ReadTensorType(*tensor);
    return cursor_.Number<uint64_t>(tensor->name);
  }

  DType ReadTensorType(const StoredTensor& tensor) {
    const auto id = cursor_.Number<uint32_t>(tensor.name);
    const std::optional<DType> dtype = DTypeFromGguf(id);
    if (!dtype) {
      FailTensor(tensor, "type {} ({}) is not supported", id, UnsupportedTypeName(id));
    }
    return *dtype;
  }

  uint64_t CheckedBytes(const StoredTensor& tensor) const {
    const Shape& shape = tensor.view.shape;
    const DTypeTraits& traits = Traits(tensor.view.dtype);
    if (shape.last() % traits.block_elems != 0) {
      FailTensor(tensor, "rows of {} values, expected a multiple of {} ({})", shape.last(),
                 traits.block_elems, traits.name);
    }
    uint64_t bytes = shape.last() / traits.block_elems * traits.block_bytes;  // < 2^44
    for (size_t i = 0; i + 1 < shape.rank(); ++i) {
      if (__builtin_mul_overflow(bytes, shape[i], &bytes)) {
        FailTensor(tensor, "shape {} overflows", shape.ToString());
      }
    }
    return bytes;
  }

  // As the reference reader demands: in table order, each tensor at the next aligned place.
  void PlaceData(const std::vector<uint64_t>& offsets, std::vector<StoredTensor>* tensors) {
    const uint64_t data_begin = RoundUp(cursor_.at(), alignment_);
    const uint64_t data_bytes = data_begin <= bytes_.size() ? bytes_.size() - data_begin : 0;
    uint64_t expected = 0;
    for (size_t i = 0; i < tensors->size(); ++i) {
      StoredTensor& tensor = (*tensors)[i];
      const uint64_t bytes = CheckedBytes(tensor);
      if (offsets[i] % alignment_ != 0) {
        FailTensor(tensor, "offset {}, expected a multiple of {}", offsets[i], alignment_);
      }
      if (offsets[i] != expected) {
        FailTensor(tensor, "offset {}, expected {} ({})", offsets[i], expected,
                   offsets[i] < expected ? "overlap" : "hole");
      }
      if (bytes > data_bytes || offsets[i] > data_bytes - bytes) {
        FailTensor(tensor,
                   "{} bytes at offset {}, but the file holds {} bytes of data (truncated?)", bytes,
                   offsets[i], data_bytes);
      }
      tensor.view.data = bytes_.data() + data_begin + offsets[i];
      expected = RoundUp(offsets[i] + bytes, alignment_);
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& where_;
  Cursor cursor_;
  uint64_t tensor_count_ = 0;
  uint64_t key_count_ = 0;
  uint64_t alignment_ = kDefaultAlignment;
};

}  // namespace

GgufFile GgufFile::Parse(std::span<const std::byte> bytes, const std::string& where,
                         std::shared_ptr<const FileBytes> file) {
  GgufFile result;
  result.where_ = where;
  Parser(bytes, where).Parse(&result.metadata_, &result.tensors_, file);
  result.IndexTensors();
  return result;
}

}  // namespace planish

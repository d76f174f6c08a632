// SPDX-License-Identifier: Apache-2.0
#include "tensor/safetensors.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "base/error.h"
#include "base/limits.h"
#include "tensor/json_members.h"

namespace planish {
namespace {

constexpr size_t kLengthBytes = 8;

// One entry of the header, before it is known to fit the file.
struct Entry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  uint64_t begin = 0;  // in the data part
  uint64_t end = 0;
};

class HeaderParser {
 public:
  HeaderParser(std::string_view header, const std::string& where)
      : header_(header), where_(where) {}

  void Parse(std::vector<Entry>* entries, Json* metadata) {
    JsonMembers members(header_, where_ + ": header", limits::kSafetensorsNameBytes);
    bool has_metadata = false;
    while (members.Next()) {
      if (members.key() == "__metadata__") {
        if (has_metadata) throw BadFile("{}: __metadata__ occurs twice", where_);
        has_metadata = true;
        ParseMetadata(members, metadata);
        continue;
      }
      if (entries->size() >= limits::kTensorsPerFile) {
        throw BadFile("{}: more than {} tensors", where_, limits::kTensorsPerFile);
      }
      entries->push_back(ParseEntry(members));
    }
  }

 private:
  template <typename... Args>
  [[noreturn]] void Fail(const Entry& entry, fmt::format_string<Args...> format,
                         Args&&... args) const {
    throw BadFile("{}: tensor {}: {}", where_, Quoted(entry.name),
                  fmt::format(format, std::forward<Args>(args)...));
  }

  void ParseMetadata(const JsonMembers& parent, Json* metadata) const {
    const std::string where = where_ + ": __metadata__";
    JsonMembers members(parent.value(), where, limits::kSafetensorsNameBytes);
    std::vector<std::string> keys;
    while (members.Next()) {
      if (keys.size() >= limits::kTensorsPerFile) {
        throw BadFile("{}: more than {} keys", where, limits::kTensorsPerFile);
      }
      if (members.value().front() != '"') {
        throw BadFile("{}: {} is {}, expected a string", where, Quoted(members.key()),
                      Quoted(members.value()));
      }
      keys.push_back(members.key());
      metadata->AsObject().emplace_back(members.key(),
                                        members.ParseValue(limits::kSafetensorsMetadataBytes));
    }
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice != keys.end()) throw BadFile("{}: key {} occurs twice", where, Quoted(*twice));
  }

  Entry ParseEntry(const JsonMembers& members) const {
    Entry entry;
    entry.name = members.key();
    const Json json = members.ParseValue(limits::kSafetensorsEntryBytes);
    if (!json.is_object()) Fail(entry, "is {}, expected an object", json.type_name());
    // "-0" would pass as the integer 0 below, and the reference refuses it.
    if (HasMinusOutsideStrings(members.value())) Fail(entry, "has a negative number");
    entry.dtype = ParseDType(entry, Get(entry, json, "dtype"));
    entry.shape = ParseShape(entry, Get(entry, json, "shape"));
    const Json& offsets = Get(entry, json, "data_offsets");
    if (!offsets.is_array() || offsets.AsArray().size() != 2) {
      Fail(entry, "data_offsets is {}, expected [begin, end]", Quoted(DumpJson(offsets)));
    }
    entry.begin = Integer(entry, "data_offsets", offsets.AsArray()[0]);
    entry.end = Integer(entry, "data_offsets", offsets.AsArray()[1]);
    if (entry.begin > entry.end) {
      Fail(entry, "data_offsets [{}, {}] end before they begin", entry.begin, entry.end);
    }
    CheckSize(entry);
    return entry;
  }

  static bool HasMinusOutsideStrings(std::string_view text) {
    bool in_string = false;
    for (size_t i = 0; i < text.size(); ++i) {
      if (in_string && text[i] == '\\') {
        ++i;
      } else if (text[i] == '"') {
        in_string = !in_string;
      } else if (!in_string && text[i] == '-') {
        return true;
      }
    }
    return false;
  }

  const Json& Get(const Entry& entry, const Json& json, std::string_view key) const {
    const Json* found = json.Find(key);
    if (found == nullptr) Fail(entry, "{} is missing", key);
    return *found;
  }

  uint64_t Integer(const Entry& entry, std::string_view key, const Json& value) const {
    constexpr uint64_t kMax = uint64_t{1} << 53;
    if (!value.is_integer() || value.AsInt() < 0 || value.AsUint() > kMax) {
      Fail(entry, "{} has {}, expected integers in [0, {}]", key, Quoted(DumpJson(value)), kMax);
    }
    return value.AsUint();
  }

  DType ParseDType(const Entry& entry, const Json& value) const {
    const auto dtype =
        value.is_string() ? DTypeFromSafetensors(value.AsString()) : std::optional<DType>();
    if (!dtype) {
      Fail(entry,
           "dtype is {}, expected one of F64 F32 F16 BF16 F8_E4M3 F8_E5M2 I64 I32 I16 I8 U64 U32 "
           "U16 U8 BOOL",
           Quoted(DumpJson(value)));
    }
    return *dtype;
  }

  Shape ParseShape(const Entry& entry, const Json& value) const {
    if (!value.is_array()) Fail(entry, "shape is {}, expected a list", Quoted(DumpJson(value)));
    if (value.AsArray().size() > limits::kDims) {
      Fail(entry, "has {} dimensions, expected at most {}", value.AsArray().size(), limits::kDims);
    }
    size_t dims[limits::kDims];
    size_t rank = 0;
    for (const Json& item : value.AsArray()) {
      const uint64_t dim = Integer(entry, "shape", item);
      if (dim > limits::kDimSize) {
        Fail(entry, "has a dimension of {}, expected at most {}", dim, limits::kDimSize);
      }
      dims[rank++] = dim;
    }
    return Shape(std::span<const size_t>(dims, rank));
  }

  void CheckSize(const Entry& entry) const {
    uint64_t bytes = Traits(entry.dtype).block_bytes;
    for (size_t i = 0; i < entry.shape.rank(); ++i) {
      if (__builtin_mul_overflow(bytes, entry.shape[i], &bytes)) {
        Fail(entry, "shape {} overflows", entry.shape.ToString());
      }
    }
    if (bytes != entry.end - entry.begin) {
      Fail(entry, "data_offsets hold {} bytes, expected {} ({} of {})", entry.end - entry.begin,
           bytes, entry.shape.ToString(), Traits(entry.dtype).safetensors);
    }
  }

  std::string_view header_;
  const std::string& where_;
};

void CheckUnique(const std::vector<Entry>& entries, const std::string& where) {
  std::vector<std::string_view> names;
  names.reserve(entries.size());
  for (const Entry& entry : entries) names.push_back(entry.name);
  // Sorted, not hashed: names of a hostile file could all fall into one bucket.
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) throw BadFile("{}: tensor {} occurs twice", where, Quoted(*twice));
}

// Tensors must tile the data part: no overlap, no hole, nothing left over.
void CheckTiling(const std::vector<Entry>& entries, uint64_t data_bytes, const std::string& where) {
  uint64_t expected = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != expected) {
      throw BadFile("{}: tensor {}: data begins at {}, expected {} ({})", where, Quoted(entry.name),
                    entry.begin, expected, entry.begin < expected ? "overlap" : "hole");
    }
    if (entry.end > data_bytes) {
      throw BadFile(
          "{}: tensor {}: data ends at {}, but the file holds {} bytes of data (truncated?)", where,
          Quoted(entry.name), entry.end, data_bytes);
    }
    expected = entry.end;
  }
  if (expected != data_bytes) {
    throw BadFile("{}: {} bytes of data, but the tensors end at {}", where, data_bytes, expected);
  }
}

std::string_view FindHeader(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() < kLengthBytes) {
    throw BadFile("{}: {} bytes, too short for a safetensors file", where, bytes.size());
  }
  uint64_t length;
  std::memcpy(&length, bytes.data(), sizeof(length));
  if (length > limits::kSafetensorsHeaderBytes) {
    throw BadFile("{}: header of {} bytes, expected at most {}; not a safetensors file?", where,
                  length, limits::kSafetensorsHeaderBytes);
  }
  if (length > bytes.size() - kLengthBytes) {
    throw BadFile("{}: header of {} bytes, but only {} follow (truncated?)", where, length,
                  bytes.size() - kLengthBytes);
  }
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
  if (header.empty() || header.front() != '{') {
    throw BadFile("{}: header begins with {}, expected '{{'", where, Quoted(header.substr(0, 1)));
  }
  return header;
}

}  // namespace

SafetensorsFile ParseSafetensors(std::span<const std::byte> bytes, const std::string& where,
                                 std::shared_ptr<const FileBytes> file) {
  const std::string_view header = FindHeader(bytes, where);
  SafetensorsFile result;
  std::vector<Entry> entries;
  HeaderParser(header, where).Parse(&entries, &result.metadata);
  CheckUnique(entries, where);
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  const size_t data_begin = kLengthBytes + header.size();
  CheckTiling(entries, bytes.size() - data_begin, where);
  result.tensors.reserve(entries.size());
  for (Entry& entry : entries) {
    const std::byte* data = bytes.data() + data_begin + entry.begin;
    result.tensors.push_back({std::move(entry.name), {entry.dtype, entry.shape, data}, file});
  }
  return result;
}

SafetensorsFile ReadSafetensors(const std::string& path, FileBytes::Access access) {
  const std::shared_ptr<const FileBytes> file = FileBytes::Open(path, access);
  return ParseSafetensors(file->bytes(), path, file);
}

}  // namespace planish

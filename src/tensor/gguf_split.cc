// SPDX-License-Identifier: Apache-2.0
// Opening a GGUF file with the other parts of its split. Part i of n (from 0) is the file
// PREFIX-<i + 1, five digits>-of-<n, five digits>.gguf beside the first; only the first part's
// metadata counts, each part has its own tensors.
#include <algorithm>
#include <filesystem>
#include <iterator>

#include "base/error.h"
#include "tensor/gguf.h"
#include "tensor/gguf_format.h"

namespace planish {
namespace {

using namespace gguf_format;

std::string PartSuffix(int64_t part, int64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", part + 1, count);
}

GgufFile OpenOne(const std::string& path, FileBytes::Access access) {
  const std::shared_ptr<const FileBytes> file = FileBytes::Open(path, access);
  return GgufFile::Parse(file->bytes(), path, file);
}

// The path of a part with its suffix taken off.
std::string PrefixOf(const std::string& path, int64_t part, int64_t count) {
  const std::string suffix = PartSuffix(part, count);
  if (!path.ends_with(suffix)) {
    throw BadFile("{}: is part {} of {}, so its name should end in {}", path, part + 1, count,
                  suffix);
  }
  return path.substr(0, path.size() - suffix.size());
}

GgufFile OpenPart(const std::string& path, int64_t part, int64_t count, FileBytes::Access access) {
  if (!FileExists(path)) throw BadFile("{}: part {} of {} is missing", path, part + 1, count);
  GgufFile file = OpenOne(path, access);
  const int64_t found_count = file.Int(kSplitCount, 0, UINT16_MAX);
  const int64_t found_part = file.Int(kSplitNo, 0, UINT16_MAX);
  if (found_count != count || found_part != part) {
    throw BadFile("{}: says it is part {} of {}, expected part {} of {}", path, found_part + 1,
                  found_count, part + 1, count);
  }
  return file;
}

}  // namespace

GgufFile GgufFile::Open(const std::string& path, FileBytes::Access access) {
  GgufFile first = OpenOne(path, access);
  const int64_t count = first.IntOr(kSplitCount, 0, static_cast<int64_t>(limits::kShards), 0);
  const int64_t part = first.IntOr(kSplitNo, 0, UINT16_MAX, 0);
  if (count <= 1 && part == 0) return first;
  if (part >= count) throw BadFile("{}: says it is part {} of {}", path, part + 1, count);
  const std::string prefix = PrefixOf(path, part, count);
  if (part != 0) {
    throw BadFile("{}: is part {} of {}; open the first part, {}", path, part + 1, count,
                  prefix + PartSuffix(0, count));
  }
  for (int64_t i = 1; i < count; ++i) {
    GgufFile next = OpenPart(prefix + PartSuffix(i, count), i, count, access);
    std::move(next.tensors_.begin(), next.tensors_.end(), std::back_inserter(first.tensors_));
  }
  const int64_t tensors = static_cast<int64_t>(first.tensors_.size());
  const int64_t expected = first.Int(kSplitTensors, 0, INT32_MAX);
  if (tensors != expected) {
    throw BadFile("{}: the {} parts hold {} tensors, but {} is {}", path, count, tensors,
                  kSplitTensors, expected);
  }
  first.IndexTensors();
  return first;
}

}  // namespace planish

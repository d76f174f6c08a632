// SPDX-License-Identifier: Apache-2.0
// A model folder: one file, or shards named by an index. The index comes from a stranger, so its
// names must stay inside the folder, and what it says must agree with what the shards hold.
#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/limits.h"
#include "tensor/json_members.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kIndexBytes = limits::kSafetensorsHeaderBytes;

// Tensor name and shard name, sorted by tensor.
using WeightMap = std::vector<std::pair<std::string, std::string>>;

void CheckShardName(const std::string& name, const std::string& index) {
  const bool has_control =
      std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; });
  if (name.empty() || name == "." || name == ".." || has_control || name.size() > 255 ||
      name.find_first_of("/\\") != std::string::npos) {
    throw BadFile("{}: shard name {}, expected a plain file name in the same folder", index,
                  Quoted(name));
  }
}

WeightMap ParseWeightMap(std::string_view text, const std::string& index) {
  const std::string where = index + ": weight_map";
  JsonMembers members(text, where, limits::kSafetensorsNameBytes);
  WeightMap map;
  while (members.Next()) {
    if (map.size() >= limits::kTensorsPerFile) {
      throw BadFile("{}: more than {} tensors", where, limits::kTensorsPerFile);
    }
    const Json shard = members.ParseValue(limits::kSafetensorsEntryBytes);
    if (!shard.is_string()) {
      throw BadFile("{}: {} is {}, expected a file name", where, Quoted(members.key()),
                    shard.type_name());
    }
    CheckShardName(shard.AsString(), index);
    map.emplace_back(members.key(), shard.AsString());
  }
  std::sort(map.begin(), map.end());
  const auto twice = std::adjacent_find(
      map.begin(), map.end(), [](const auto& a, const auto& b) { return a.first == b.first; });
  if (twice != map.end()) {
    throw BadFile("{}: tensor {} occurs twice", where, Quoted(twice->first));
  }
  if (map.empty()) throw BadFile("{}: names no tensor", where);
  return map;
}

// Only weight_map matters: total_size and other metadata are informative and known to be wrong in
// published checkpoints.
WeightMap ReadIndex(const std::string& index) {
  const std::string text = ReadFile(index, kIndexBytes);
  JsonMembers members(text, index, limits::kSafetensorsNameBytes);
  std::optional<WeightMap> map;
  while (members.Next()) {
    if (members.key() == "weight_map") {
      if (map) throw BadFile("{}: weight_map occurs twice", index);
      map = ParseWeightMap(members.value(), index);
    } else {
      members.ParseValue(limits::kSafetensorsEntryBytes);  // must be JSON too
    }
  }
  if (!map) throw BadFile("{}: weight_map is missing", index);
  return *std::move(map);
}

bool IsInside(const fs::path& path, const fs::path& folder) {
  const auto [end, ignored] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return end == folder.end();
}

// A shard may be a link inside the folder, or one into the `blobs` of the same download: a hub
// cache keeps its files in REPO/blobs and links to them from REPO/snapshots/REVISION.
void CheckStaysInside(const fs::path& folder, const std::string& shard, const std::string& index) {
  std::error_code error;
  const fs::path root = fs::canonical(folder, error);
  const fs::path target = error ? fs::path() : fs::canonical(folder / shard, error);
  if (error) throw BadFile("{}: shard {} is missing", index, Quoted(shard));
  if (IsInside(target, root)) return;
  const fs::path snapshots = root.parent_path();
  if (snapshots.filename() == "snapshots" && IsInside(target, snapshots.parent_path() / "blobs")) {
    return;
  }
  throw BadFile("{}: shard {} is a link that leaves the folder", index, Quoted(shard));
}

std::vector<StoredTensor> ReadShards(const fs::path& folder, const std::string& index,
                                     FileBytes::Access access) {
  const WeightMap map = ReadIndex(index);
  std::map<std::string, size_t> wanted;  // shard -> tensors that the index places in it
  for (const auto& [tensor, shard] : map) ++wanted[shard];
  if (wanted.size() > limits::kShards) {
    throw BadFile("{}: {} shards, expected at most {}", index, wanted.size(), limits::kShards);
  }
  for (const auto& [shard, count] : wanted) CheckStaysInside(folder, shard, index);

  std::vector<StoredTensor> tensors;
  std::map<std::string_view, std::string_view> seen;  // tensor -> shard it was found in
  std::vector<SafetensorsFile> files;
  files.reserve(wanted.size());  // keeps the names that `seen` points to where they are
  for (const auto& [shard, count] : wanted) {
    files.push_back(ReadSafetensors((folder / shard).string(), access));
    for (const StoredTensor& tensor : files.back().tensors) {
      const auto [other, is_new] = seen.emplace(tensor.name, shard);
      if (!is_new) {
        throw BadFile("{}: tensor {} is in two shards, {} and {}", index, Quoted(tensor.name),
                      Quoted(other->second), Quoted(shard));
      }
    }
  }
  for (const auto& [tensor, shard] : map) {
    const auto found = seen.find(tensor);
    if (found == seen.end() || found->second != shard) {
      throw BadFile("{}: tensor {} is not in shard {}", index, Quoted(tensor), Quoted(shard));
    }
  }
  seen.clear();
  for (SafetensorsFile& file : files) {
    std::move(file.tensors.begin(), file.tensors.end(), std::back_inserter(tensors));
  }
  return tensors;
}

}  // namespace

std::vector<StoredTensor> ReadSafetensorsFolder(const std::string& folder,
                                                FileBytes::Access access) {
  const fs::path root = folder;
  const std::string single = (root / "model.safetensors").string();
  const std::string index = (root / "model.safetensors.index.json").string();
  // The order in which transformers looks for them.
  if (FileExists(single)) return ReadSafetensors(single, access).tensors;
  if (FileExists(index)) return ReadShards(root, index, access);
  throw Error(ExitCode::kBadFile,
              fmt::format("{}: holds neither model.safetensors nor model.safetensors.index.json",
                          Quoted(folder, 300)),
              "give the folder of a Hugging Face model with safetensors weights");
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// For tests only: where the golden data is, and temporary folders.
#pragma once

#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"

namespace planish::testing {

// PLANISH_GOLDEN, else the copy in the source tree.
inline std::string GoldenDir() {
  if (const char* folder = std::getenv("PLANISH_GOLDEN"); folder != nullptr && *folder != 0)
    return folder;
  return PLANISH_SOURCE_DIR "/tests/golden";
}

inline std::string ZstdPacked(const std::string& content) {
  std::string out(ZSTD_compressBound(content.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), content.data(), content.size(), /*level=*/3));
  return out;
}

// Names in a folder that end in `suffix`, sorted; empty if there is no such folder.
inline std::vector<std::string> Listing(const std::string& folder, const std::string& suffix = "") {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    std::string name = entry.path().filename().string();
    if (name.ends_with(suffix)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

// A fresh folder, removed at the end of its scope.
class TemporaryDir {
 public:
  TemporaryDir() {
    std::string name = (std::filesystem::temp_directory_path() / "planish_test_XXXXXX").string();
    PLANISH_CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TemporaryDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDir(const TemporaryDir&) = delete;
  TemporaryDir& operator=(const TemporaryDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace planish::testing

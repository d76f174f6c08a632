// SPDX-License-Identifier: Apache-2.0
// RUN/: recipe.toml (in full), log.jsonl, checkpoints/, lock. One process at a time: the second one is told so (exit 19).
#pragma once

#include <string>

namespace planish {

class RunFolder {
 public:
  // Makes the folder and locks it until the end of this object. Error(kLocked) if another process holds it.
  explicit RunFolder(const std::string& path);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string recipe_path() const { return path_ + "/recipe.toml"; }
  std::string log_path() const { return path_ + "/log.jsonl"; }

 private:
  std::string path_;
  int lock_ = -1;
};

}  // namespace planish

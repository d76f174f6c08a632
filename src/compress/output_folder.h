// SPDX-License-Identifier: Apache-2.0
// The folder a verb of compression writes: built beside its name as NAME.part and renamed when it is whole, so that what has
// the name is never half written. A folder is replaced only if the same verb wrote it, which a mark tells.
#pragma once

#include <string>

namespace planish {

class OutputFolder {
 public:
  // Makes an empty `path`.part. Error(kUsage) if `path` exists and is not the verb's, or if a `path`.part is there that no
  // verb left behind. `mark`: the file that is there if `path` is the verb's; empty: `path`/<verb>.json.
  OutputFolder(const std::string& path, const std::string& verb, const std::string& mark = "");
  ~OutputFolder();  // without Commit: nothing stays behind
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::string& part() const { return part_; }  // where to write
  void Commit();                                     // `path` is now what part() was

 private:
  std::string path_, part_;
  bool is_committed_ = false;
};

bool IsEmptyFolder(const std::string& path);

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "compress/output_folder.h"

#include <filesystem>

#include "base/error.h"
#include "base/file.h"

namespace planish {
namespace {

constexpr const char* kMark = "/unfinished";  // a file that says: this folder may be thrown away

}  // namespace

OutputFolder::OutputFolder(const std::string& path, const std::string& verb,
                           const std::string& mark)
    : path_(path) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  if (path_.empty()) throw UsageError("-o is needed: the folder to write");
  part_ = path_ + ".part";
  if (FileExists(path_) && !FileExists(mark.empty() ? path_ + "/" + verb + ".json" : mark)) {
    throw Error(
        ExitCode::kUsage,
        fmt::format("{} exists and was not written by planish {}", Quoted(path_, 300), verb),
        "choose another folder");
  }
  if (FileExists(part_)) {
    if (!FileExists(part_ + kMark))
      throw Error(ExitCode::kUsage, fmt::format("{} is in the way", Quoted(part_, 300)),
                  "move it away or choose another folder");
    RemoveTree(part_);
  }
  MakeDirectories(part_);
  WriteFile(part_ + kMark, "");
}

OutputFolder::~OutputFolder() {
  if (is_committed_) return;
  std::error_code ignored;
  std::filesystem::remove_all(part_, ignored);
}

void OutputFolder::Commit() {
  RemoveTree(part_ + kMark);
  SyncFolder(part_);
  if (FileExists(path_)) {
    ExchangePaths(part_, path_);
    is_committed_ = true;
    RemoveTree(part_);
  } else {
    RenamePath(part_, path_);
    is_committed_ = true;
  }
}

bool IsEmptyFolder(const std::string& path) {
  std::error_code error;
  return IsDirectory(path) && std::filesystem::is_empty(path, error) && !error;
}

}  // namespace planish

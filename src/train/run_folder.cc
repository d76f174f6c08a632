// SPDX-License-Identifier: Apache-2.0
#include "train/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/file.h"

namespace planish {

RunFolder::RunFolder(const std::string& path) : path_(path) {
  MakeDirectories(path);
  const std::string name = path + "/lock";
  lock_ = open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0) throw RuntimeError("{}: {}", Quoted(name, 300), std::strerror(errno));
  if (flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
  const bool is_held = errno == EWOULDBLOCK;
  const std::string reason = std::strerror(errno);
  close(lock_);
  if (!is_held) throw RuntimeError("{}: {}", Quoted(name, 300), reason);
  throw Error(ExitCode::kLocked,
              fmt::format("{}: another process trains in this folder", Quoted(path, 300)),
              "another -o, or wait for it");
}

RunFolder::~RunFolder() { close(lock_); }

}  // namespace planish

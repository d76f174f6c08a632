// SPDX-License-Identifier: Apache-2.0
#include "serve/prompt_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/log_format.h"

namespace planish {

PromptLog::PromptLog(std::string folder) : folder_(std::move(folder)) {
  if (mkdir(folder_.c_str(), 0700) == 0) return;
  if (errno != EEXIST)
    throw UsageError("--log-prompts: {} cannot be made: {}", folder_, std::strerror(errno));
  struct stat info {};
  if (stat(folder_.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
    throw UsageError("--log-prompts: {} is no folder", folder_);
  if ((info.st_mode & 077) != 0)
    throw Error(ExitCode::kUsage,
                fmt::format("--log-prompts: others may look into {} (mode {:o})", folder_,
                            info.st_mode & 0777),
                fmt::format("chmod 700 {}", folder_));
}

void PromptLog::Write(const Json& record) {
  const std::string line = DumpJson(record) + "\n";
  const std::string path = folder_ + "/" + UtcTime().substr(0, 10) + ".jsonl";
  const std::lock_guard lock(mutex_);
  // One write at the end of the file: a line is whole or, on a full disk, cut.
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const bool is_written =
      file >= 0 && write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  const int problem = errno;
  if (file >= 0) close(file);
  if (!is_written && !has_failed_)
    LogWarning("{} cannot be written: {}; requests are missing in it", path,
               std::strerror(problem));
  has_failed_ = !is_written;
}

}  // namespace planish

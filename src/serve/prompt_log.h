// SPDX-License-Identifier: Apache-2.0
// What clients asked and got, as JSON lines in a folder of this user alone: for those who run the server and say so
// (--log-prompts). A file a day. The log itself never has text of a prompt.
#pragma once

#include <mutex>
#include <string>

#include "base/json.h"

namespace planish {

class PromptLog {
 public:
  // Makes the folder, mode 0700. Error(kUsage) if it is there and others may look into it, or cannot be made.
  explicit PromptLog(std::string folder);
  // Appends a line; from any thread. What cannot be written is lost, and a warning says so once.
  void Write(const Json& record);

 private:
  std::string folder_;
  std::mutex mutex_;
  bool has_failed_ = false;
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// SIGINT and SIGTERM leave no half-written files: temporary names are kept in a table that the signal handler can read.
#pragma once

#include <string>

namespace planish {

// Removes the registered files, then ends with status 130 or 143. Verbs that handle Ctrl-C themselves replace it while
// they do.
void InstallInterruptHandler();

// Registers a file to remove for as long as it lives. At most 16 at a time are remembered.
class TemporaryName {
 public:
  explicit TemporaryName(const std::string& path);
  ~TemporaryName();
  TemporaryName(const TemporaryName&) = delete;
  TemporaryName& operator=(const TemporaryName&) = delete;

 private:
  int slot_ = -1;
};

}  // namespace planish

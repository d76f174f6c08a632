// SPDX-License-Identifier: Apache-2.0
// A verb's options from a TOML file: `name = value`, names as on the command line without the dashes ("max-queue" or
// max_queue). What the command line or the environment says goes before it.
#pragma once

#include <string>
#include <vector>

namespace planish {

struct FileOption {
  std::string name;   // long name of the option, without dashes
  std::string place;  // "serve.toml:3"
  bool is_bool = false;
  std::vector<std::string> values;  // one, but for lists; "true" or "false" of a bool
};

// In the order of the names. Error(kUsage) if the file cannot be read, is no TOML, or has a table, date or list of lists.
std::vector<FileOption> ReadOptionFile(const std::string& path);

}  // namespace planish

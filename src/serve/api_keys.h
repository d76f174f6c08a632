// SPDX-License-Identifier: Apache-2.0
// Keys that clients must show. Only digests are kept; a comparison looks at all of them whatever it finds.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "net/http.h"

namespace planish {

class ApiKeys {
 public:
  // `keys` from the command line, and a file with one key a line (# starts a comment). Error(kUsage) for keys with blanks or
  // none in the file, kBadFile if others may read the file.
  ApiKeys(const std::vector<std::string>& keys, std::string file);
  // Reads the file again. On an Error the old ones stay.
  void Reload();
  bool empty() const;  // no key is needed
  // Authorization: Bearer KEY, or X-Api-Key: KEY.
  bool Admits(const HttpRequest& request) const;

 private:
  std::vector<std::string> Read() const;
  std::vector<std::string> given_;
  std::string file_;
  mutable std::mutex mutex_;
  std::vector<std::string> digests_;
};

}  // namespace planish

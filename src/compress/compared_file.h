// SPDX-License-Identifier: Apache-2.0
// Comparisons of children that are done, one JSON line each, so that a run that was cut off need not repeat them.
#pragma once

#include <map>
#include <string>

#include "eval/divergence.h"

namespace planish {

class ComparedFile {
 public:
  // Lines that do not read (a run was cut off in the middle of one) are left out.
  explicit ComparedFile(std::string path);
  const Divergence* Find(const std::string& key) const;  // null: not yet
  void Add(const std::string& key, const Divergence& divergence);

 private:
  std::string path_, text_;
  std::map<std::string, Divergence> found_;
};

}  // namespace planish

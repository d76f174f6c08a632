// SPDX-License-Identifier: Apache-2.0
#include "cli/embedded_model.h"

#include <filesystem>

#include "base/file.h"

namespace planish {

std::string FindEmbeddedModel() {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& root :
       {fs::path("."), program, program / "..", program / "../share/planish"}) {
    const fs::path folder = (root / "models" / kEmbeddedModel).lexically_normal();
    if (FileExists((folder / "config.json").string())) return folder.string();
  }
  return "";
}

}  // namespace planish

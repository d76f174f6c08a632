// SPDX-License-Identifier: Apache-2.0
#include "cli/config_source.h"

#include "base/error.h"
#include "base/file.h"
#include "model/pretrained.h"

namespace planish {

ModelConfig ConfigBySource(const std::string& source) {
  if (!FileExists(source)) {
    if (const auto json = PublishedConfig(source)) return ConfigFromJson(*json, source);
    std::string known;
    for (const std::string& name : PublishedNames()) known += (known.empty() ? "" : ", ") + name;
    throw Error(ExitCode::kUsage,
                fmt::format("{} is neither a file nor a published name", Quoted(source)), known);
  }
  if (IsDirectory(source) || source.ends_with(".json")) return ReadConfig(source);
  return OpenPretrained(source, {.needs_tokenizer = false, .needs_weights = false}).config;
}

std::string ConfigSourceHelp() {
  std::string help = "published name, config.json, model folder or GGUF file. Names: ";
  for (const std::string& known : PublishedNames()) help += known + " ";
  return help;
}

}  // namespace planish

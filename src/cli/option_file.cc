// SPDX-License-Identifier: Apache-2.0
#include "cli/option_file.h"

#include <toml++/toml.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"

namespace planish {
namespace {

constexpr size_t kFileBytes = 1 << 20;

std::string PlaceOf(const std::string& path, const toml::source_region& source) {
  return fmt::format("{}:{}", path, source.begin.line);
}

std::string ScalarText(const toml::node& node, const std::string& place, const std::string& name) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", number->get());
  throw UsageError("{}: {} is neither text nor a number, true, false or a list of such", place,
                   Quoted(name));
}

}  // namespace

std::vector<FileOption> ReadOptionFile(const std::string& path) {
  std::string text;
  try {
    text = ReadFile(path, kFileBytes);
  } catch (const Error& error) {
    throw Error(ExitCode::kUsage, error.what(), error.hint());
  }
  toml::table table;
  try {
    table = toml::parse(text, path);
  } catch (const toml::parse_error& error) {
    throw UsageError("{}: {}", PlaceOf(path, error.source()), std::string(error.description()));
  }
  std::vector<FileOption> options;
  for (const auto& [key, node] : table) {
    FileOption option{.name = std::string(key.str()), .place = PlaceOf(path, key.source())};
    if (const auto* value = node.as_boolean()) {
      option.is_bool = true;
      option.values = {value->get() ? "true" : "false"};
    } else if (const auto* list = node.as_array()) {
      for (const toml::node& element : *list)
        option.values.push_back(ScalarText(element, option.place, option.name));
    } else {
      option.values = {ScalarText(node, option.place, option.name)};
    }
    std::replace(option.name.begin(), option.name.end(), '_', '-');
    options.push_back(std::move(option));
  }
  return options;
}

}  // namespace planish

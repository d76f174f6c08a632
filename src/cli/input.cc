// SPDX-License-Identifier: Apache-2.0
#include "cli/input.h"

#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace planish {

std::vector<int> ReadIds(const std::string& path, size_t vocab_size) {
  const Json json = ParseJson(ReadFile(path, limits::kJsonlLineBytes), path);
  if (!json.is_array())
    throw BadFile("{}: is {}, expected a list of token ids", path, json.type_name());
  std::vector<int> ids;
  for (const Json& item : json.AsArray()) {
    if (!item.is_integer() || item.AsInt() < 0 ||
        item.AsInt() >= static_cast<int64_t>(vocab_size)) {
      throw BadFile("{}: entry {} is {}, expected a token id in [0, {})", path, ids.size(),
                    Quoted(DumpJson(item)), vocab_size);
    }
    ids.push_back(static_cast<int>(item.AsInt()));
  }
  if (ids.empty()) throw BadFile("{}: the list is empty, expected at least one token id", path);
  return ids;
}

std::string ReadStandardInput() {
  std::string all, line;
  LineReader lines(STDIN_FILENO, "stdin", limits::kJsonlLineBytes);
  while (lines.Next(&line)) all += (lines.line_number() > 1 ? "\n" : "") + line;
  return all;
}

std::vector<std::string> SplitAtCommas(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

}  // namespace planish

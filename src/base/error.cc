// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace planish {
namespace {

// Length of the well-formed UTF-8 sequence at text[i], 0 if there is none.
size_t SequenceLength(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char lead = byte(i);
  const size_t length = lead >= 0xC2 && lead < 0xE0 ? 2 : lead >= 0xE0 && lead < 0xF0 ? 3 : lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
  if (length == 0 || i + length > text.size()) return 0;
  for (size_t k = 1; k < length; ++k) {
    if ((byte(i + k) & 0xC0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

std::string Quoted(std::string_view text, size_t limit) {
  std::string out = "'";
  for (size_t i = 0; i < text.size();) {
    if (out.size() > limit) {
      out += "...";
      break;
    }
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c < 0x7F) {
      out += static_cast<char>(c);
      ++i;
    } else if (const size_t length = c >= 0x80 ? SequenceLength(text, i) : 0; length > 0) {
      out += text.substr(i, length);
      i += length;
    } else {
      out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : fmt::format("\\x{:02x}", c);
      ++i;
    }
  }
  return out + "'";
}

void CheckFailed(const char* condition, const char* file, int line, const std::string& detail) {
  const std::string_view path = file;
  const std::string_view name = path.substr(path.rfind('/') + 1);
  fmt::print(stderr, "planish: check failed: {}{}{} at {}:{}\n", condition, detail.empty() ? "" : " ", detail, name, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace planish

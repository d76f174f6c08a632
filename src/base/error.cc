// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace planish {
namespace {

// Length of the well-formed UTF-8 sequence at text[i] if a terminal may be shown it as it is, else 0. Escaped although well
// formed: C1 controls (U+009B opens terminal commands), line and paragraph separators, and what turns the writing direction.
size_t ShownLength(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char lead = byte(i);
  const size_t length = lead >= 0xC2 && lead < 0xE0   ? 2
                        : lead >= 0xE0 && lead < 0xF0 ? 3
                        : lead >= 0xF0 && lead < 0xF5 ? 4
                                                      : 0;
  if (length == 0 || i + length > text.size()) return 0;
  uint32_t code = lead & (0x7Fu >> length);
  for (size_t k = 1; k < length; ++k) {
    if ((byte(i + k) & 0xC0) != 0x80) return 0;
    code = code << 6 | (byte(i + k) & 0x3Fu);
  }
  if (code < (length == 2 ? 0x80u : length == 3 ? 0x800u : 0x10000u) || code > 0x10FFFF)
    return 0;                                     // overlong, too large
  if (code >= 0xD800 && code < 0xE000) return 0;  // surrogates
  if (code < 0xA0 || code == 0x2028 || code == 0x2029) return 0;
  if ((code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069)) return 0;
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
    } else if (const size_t length = c >= 0x80 ? ShownLength(text, i) : 0; length > 0) {
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
  fmt::print(stderr, "planish: check failed: {}{}{} at {}:{}\n", condition,
             detail.empty() ? "" : " ", detail, name, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace planish

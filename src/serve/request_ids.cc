// SPDX-License-Identifier: Apache-2.0
#include "serve/request_ids.h"

#include <sys/random.h>

#include "base/error.h"

namespace planish {

std::string RandomBase32(size_t digits) {
  std::string out(digits, '\0');
  for (size_t done = 0; done < digits;) {  // up to 256 bytes come in one call
    const ssize_t n = getrandom(out.data() + done, digits - done, 0);
    PLANISH_CHECK(n > 0);
    done += static_cast<size_t>(n);
  }
  for (char& c : out) c = "abcdefghijklmnopqrstuvwxyz234567"[static_cast<unsigned char>(c) % 32];
  return out;
}

bool IsRequestId(std::string_view id) {
  if (id.empty() || id.size() > 64) return false;
  for (const char c : id) {
    const bool is_fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    if (!is_fine) return false;
  }
  return true;
}

std::string RequestIdOf(const HttpRequest& request) {
  const std::string_view sent = request.Header("x-request-id");
  return IsRequestId(sent) ? std::string(sent) : "req-" + RandomBase32(20);
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <openssl/evp.h>

#include "base/error.h"
#include "base/file.h"

namespace planish {

std::string Sha256Hex(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  PLANISH_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &length, EVP_sha256(), nullptr) ==
                1);
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

std::string Sha256HexOfFile(const std::string& path) {
  const auto file = FileBytes::Open(path, FileBytes::Access::kMap);
  return Sha256Hex({reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()});
}

}  // namespace planish

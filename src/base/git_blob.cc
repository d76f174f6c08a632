// SPDX-License-Identifier: Apache-2.0
#include "base/git_blob.h"

#include <openssl/evp.h>

#include <memory>

#include "base/error.h"
#include "base/file.h"

namespace planish {

std::string GitBlobHexOfFile(const std::string& path) {
  const auto file = FileBytes::Open(path, FileBytes::Access::kMap);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  const std::string head = fmt::format("blob {}", file->size());
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  PLANISH_CHECK(context != nullptr && EVP_DigestInit_ex(context.get(), EVP_sha1(), nullptr) == 1 &&
                EVP_DigestUpdate(context.get(), head.c_str(), head.size() + 1) == 1 &&
                EVP_DigestUpdate(context.get(), file->bytes().data(), file->size()) == 1 &&
                EVP_DigestFinal_ex(context.get(), digest, &length) == 1);
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

}  // namespace planish

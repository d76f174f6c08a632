// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <openssl/evp.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"

namespace planish {

namespace {

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) {
    PLANISH_CHECK(context_ != nullptr && EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1);
  }
  ~Sha256() { EVP_MD_CTX_free(context_); }
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Add(const void* data, size_t size) {
    PLANISH_CHECK(EVP_DigestUpdate(context_, data, size) == 1);
  }
  std::string Hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    PLANISH_CHECK(EVP_DigestFinal_ex(context_, digest, &length) == 1);
    std::string hex;
    for (unsigned int i = 0; i < length; ++i) hex += fmt::format("{:02x}", digest[i]);
    return hex;
  }

 private:
  EVP_MD_CTX* context_;
};

}  // namespace

std::string Sha256Hex(std::string_view bytes) {
  Sha256 hash;
  hash.Add(bytes.data(), bytes.size());
  return hash.Hex();
}

std::string Sha256HexOfFile(const std::string& path) {
  constexpr size_t kPiece = size_t{8}
                            << 20;  // given back once read: a checkpoint need not be resident
  const auto file = FileBytes::Open(path, FileBytes::Access::kMap);
  Sha256 hash;
  for (size_t begin = 0; begin < file->size(); begin += kPiece) {
    const size_t length = std::min<size_t>(kPiece, file->size() - begin);
    hash.Add(file->bytes().data() + begin, length);
    file->Release(begin, length);
  }
  return hash.Hex();
}

}  // namespace planish

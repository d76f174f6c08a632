// SPDX-License-Identifier: Apache-2.0
#include "serve/api_keys.h"

#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"

namespace planish {
namespace {

constexpr uint64_t kKeyFileBytes = 1u << 20;

void Check(const std::string& key, const std::string& where) {
  for (const char c : key) {
    if (static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7F)
      throw UsageError("{} has a blank or a character outside ASCII in it", where);
  }
  if (key.empty()) throw UsageError("{} is empty", where);
}

}  // namespace

ApiKeys::ApiKeys(const std::vector<std::string>& keys, std::string file) : file_(std::move(file)) {
  for (const std::string& key : keys) {
    Check(key, "an API key");
    given_.push_back(Sha256Hex(key));
  }
  Reload();
}

std::vector<std::string> ApiKeys::Read() const {
  std::vector<std::string> digests = given_;
  if (file_.empty()) return digests;
  const std::string text = ReadFile(file_, kKeyFileBytes);
  struct stat info {};
  if (stat(file_.c_str(), &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & 077) != 0)
    throw Error(ExitCode::kBadFile,
                fmt::format("{}: other users may read the keys in it (mode {:o})", file_,
                            info.st_mode & 0777),
                fmt::format("chmod 600 {}", file_));
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t'))
      line.pop_back();
    if (line.empty() || line[0] == '#') continue;
    Check(line, fmt::format("{}: line {}", file_, number));
    digests.push_back(Sha256Hex(line));
  }
  if (digests.empty()) throw UsageError("{}: there is no key in it", file_);
  return digests;
}

void ApiKeys::Reload() {
  std::vector<std::string> fresh = Read();
  const std::lock_guard lock(mutex_);
  digests_ = std::move(fresh);
}

bool ApiKeys::empty() const {
  const std::lock_guard lock(mutex_);
  return digests_.empty();
}

bool ApiKeys::Admits(const HttpRequest& request) const {
  std::string_view key = request.Header("x-api-key");
  const std::string_view authorization = request.Header("authorization");
  if (authorization.size() > 7 && ToLower(authorization.substr(0, 7)) == "bearer ")
    key = authorization.substr(7);
  const std::string digest = Sha256Hex(key);
  const std::lock_guard lock(mutex_);
  if (digests_.empty()) return true;
  unsigned found = 0;
  for (const std::string& known : digests_) {
    unsigned difference = 0;
    for (size_t i = 0; i < known.size(); ++i)
      difference |= static_cast<unsigned>(static_cast<unsigned char>(known[i]) ^
                                          static_cast<unsigned char>(digest[i]));
    found |= static_cast<unsigned>(difference == 0);
  }
  return found != 0;
}

}  // namespace planish

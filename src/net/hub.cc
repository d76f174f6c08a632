// SPDX-License-Identifier: Apache-2.0
#include "net/hub.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/git_blob.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "net/http_client.h"

namespace planish {
namespace {

constexpr int kRedirects = 5;
constexpr size_t kFiles = 100'000;
constexpr uint64_t kSpare = 64u << 20;  // bytes of the disk that stay free

struct Address {
  std::string base, target;  // "https://host:1", "/path?query"
};

Address Split(const std::string& url) {
  const size_t host = url.find("://");
  const size_t slash = host == std::string::npos ? std::string::npos : url.find('/', host + 3);
  if (slash == std::string::npos) return {url, "/"};
  return {url.substr(0, slash), url.substr(slash, url.find('#') - slash)};
}

std::string Encoded(const std::string& text, bool keeps_slashes) {
  std::string out;
  for (const unsigned char c : text) {
    const bool is_plain = std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '~' ||
                          (keeps_slashes && c == '/');
    out += is_plain ? std::string(1, static_cast<char>(c)) : fmt::format("%{:02X}", c);
  }
  return out;
}

// GET with redirects. on_head and on_piece see the last answer only.
HttpResponse GetFollowing(const HubOptions& options, const std::string& url,
                          const std::vector<HttpHeader>& headers,
                          const HttpClient::OnPiece& on_piece = nullptr,
                          const std::function<void(const HttpResponse&)>& on_head = nullptr) {
  Address at = Split(url);
  const std::string home = Split(options.endpoint).base;
  for (int i = 0; i <= kRedirects; ++i) {
    HttpClient client(at.base, {.silence_s = options.silence_s, .ca_file = options.ca_file});
    std::vector<HttpHeader> sent = headers;
    if (!options.token.empty() && at.base == home)
      sent.push_back({"authorization", "Bearer " + options.token});
    const HttpResponse response = client.Send("GET", at.target, sent, {}, on_piece, on_head);
    const bool is_redirect = response.status == 301 || response.status == 302 ||
                             response.status == 303 || response.status == 307 ||
                             response.status == 308;
    if (!is_redirect) return response;
    const std::string to(response.Header("location"));
    if (to.starts_with("/") && !to.starts_with("//")) {
      at.target = to.substr(0, to.find('#'));
      continue;
    }
    const Address next = Split(to);
    const bool is_safe =
        to.starts_with("https://") || (to.starts_with("http://") && at.base.starts_with("http://"));
    if (!is_safe)
      throw Error(ExitCode::kNetwork, fmt::format("{} sends on to {}, expected an https:// address",
                                                  at.base, Quoted(to, 200)));
    at = next;
  }
  throw Error(ExitCode::kNetwork, fmt::format("{}: more than {} redirects", url, kRedirects));
}

[[noreturn]] void Refused(const std::string& what, const HttpResponse& response) {
  const int status = response.status;
  const std::string hint =
      status == 401 || status == 403
          ? "set HF_TOKEN to a token that may read it, after accepting its terms on the hub"
      : status == 404 ? "check the name and --revision"
                      : "";
  throw Error(ExitCode::kNetwork,
              fmt::format("{}: the hub answers {} {}", what, status, ReasonPhrase(status)), hint);
}

// Only plain relative paths: what is written from them stays in its folder.
bool IsPlainPath(const std::string& path) {
  if (path.empty() || path.size() > 1024 || path[0] == '/' || path.back() == '/') return false;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  for (const unsigned char c : path) {
    if (c < 0x20 || c == 0x7F || c == '\\') return false;
  }
  return true;
}

bool IsHex(const std::string& text, size_t size) {
  return text.size() == size && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

bool IsRight(const HubFile& file, const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error || size != file.size) return false;
  if (!file.sha256.empty()) return Sha256HexOfFile(path) == file.sha256;
  return file.git_blob.empty() || GitBlobHexOfFile(path) == file.git_blob;
}

// Held while a file is written, so that two downloads do not mix.
class PartLock {
 public:
  explicit PartLock(const std::string& path)
      : fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666)) {
    if (fd_ < 0)
      throw RuntimeError("{}: cannot be written: {}", Quoted(path, 300),
                         std::generic_category().message(errno));
    if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      close(fd_);
      throw Error(ExitCode::kLocked,
                  fmt::format("{}: another process writes it", Quoted(path, 300)));
    }
  }
  ~PartLock() { close(fd_); }
  PartLock(const PartLock&) = delete;
  PartLock& operator=(const PartLock&) = delete;

 private:
  int fd_;
};

}  // namespace

HubModel Hub::Find(const std::string& name, const std::string& revision) const {
  const size_t slash = name.find('/');
  const bool is_name =
      !name.empty() && name.size() <= 200 && IsPlainPath(name) &&
      name.find_first_not_of(
          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/") ==
          std::string::npos &&
      (slash == std::string::npos || name.find('/', slash + 1) == std::string::npos);
  if (!is_name) throw UsageError("{} is no model's name, expected OWNER/NAME", Quoted(name));
  const std::string url = fmt::format("{}/api/models/{}/revision/{}?blobs=true", options_.endpoint,
                                      name, Encoded(revision, /*keeps_slashes=*/false));
  const HttpResponse response = GetFollowing(options_, url, {});
  if (response.status != 200) Refused(name, response);
  const Json listing = ParseJson(response.body, url, {.reject_duplicate_keys = false});
  const JsonReader reader(listing, url);
  HubModel model{.name = name};
  model.commit = reader.String("sha");
  if (!IsHex(model.commit, 40)) reader.Fail("sha", "40 hexadecimal digits");
  const Json::Array& files = reader.Array("siblings");
  if (files.size() > kFiles)
    throw Error(ExitCode::kNetwork,
                fmt::format("{}: {} files, expected at most {}", url, files.size(), kFiles));
  std::set<std::string> seen;
  for (size_t i = 0; i < files.size(); ++i) {
    const JsonReader entry = reader.Element("siblings", i);
    HubFile file{.path = entry.String("rfilename")};
    if (!IsPlainPath(file.path) || !seen.insert(file.path).second)
      entry.Fail("rfilename", "a relative path that is not there yet");
    file.size = static_cast<uint64_t>(entry.Int("size", 0, INT64_MAX));
    file.git_blob = entry.StringOr("blobId", "");
    if (entry.Has("lfs")) {
      const JsonReader lfs = entry.Object("lfs");
      file.sha256 = lfs.String("sha256");
      if (!IsHex(file.sha256, 64)) lfs.Fail("sha256", "64 hexadecimal digits");
      file.size =
          static_cast<uint64_t>(lfs.IntOr("size", 0, INT64_MAX, static_cast<int64_t>(file.size)));
      file.git_blob.clear();  // names the pointer, not the content
    }
    if (!file.git_blob.empty() && !IsHex(file.git_blob, 40))
      entry.Fail("blobId", "40 hexadecimal digits");
    model.files.push_back(std::move(file));
  }
  return model;
}

// One try: appends to `part` what is missing.
void Hub::Download(const std::string& target, const HubFile& file, const std::string& part,
                   const std::function<void(uint64_t)>& on_bytes) const {
  std::error_code error;
  uint64_t have = std::filesystem::file_size(part, error);
  if (error || have > file.size) have = 0;
  if (have == file.size) return;
  std::unique_ptr<AppendFile> out;
  const auto fail = [&](const std::string& what) {
    throw Error(ExitCode::kNetwork, fmt::format("{}: {}", file.path, what));
  };
  const auto on_head = [&](const HttpResponse& head) {
    if (head.status / 100 != 2) return;
    if (head.status == 206) {
      const std::string wanted = fmt::format("bytes {}-", have);
      if (!head.Header("content-range").starts_with(wanted))
        fail(fmt::format("the range is {}, expected {}", Quoted(head.Header("content-range")),
                         wanted));
    } else {
      have = 0;  // all of it comes
    }
    out = std::make_unique<AppendFile>(part, have);
  };
  const auto on_piece = [&](std::string_view piece) {
    if (piece.size() > file.size - out->size())
      fail(fmt::format("more bytes come than the {} it has", file.size));
    out->Append(piece);
    on_bytes(out->size());
    return true;
  };
  std::vector<HttpHeader> headers;
  if (have > 0) headers.push_back({"range", fmt::format("bytes={}-", have)});
  const HttpResponse response =
      GetFollowing(options_, options_.endpoint + target, headers, on_piece, on_head);
  if (response.status == 416) {  // the part is not of this file
    AppendFile(part, 0);
    fail("the hub cannot go on where the earlier download stopped");
  }
  if (response.status / 100 != 2) Refused(file.path, response);
  if (file.size > 0 && (out == nullptr || out->size() != file.size))
    fail(fmt::format("{} of {} bytes came", out == nullptr ? 0 : out->size(), file.size));
}

void Hub::Fetch(const HubModel& model, const HubFile& file, const std::string& to,
                const std::function<void(uint64_t)>& on_bytes) const {
  if (IsRight(file, to)) return on_bytes(file.size);
  const std::string part = to + ".part";
  const PartLock lock(part);
  std::error_code error;
  const uint64_t have = std::filesystem::file_size(part, error);
  const uint64_t missing = file.size - std::min<uint64_t>(file.size, error ? 0 : have);
  if (FreeDiskBytes(part) < missing + kSpare)
    throw RuntimeError("{}: {} MiB are missing and the disk has {} MiB free", to, missing >> 20,
                       FreeDiskBytes(part) >> 20);
  const std::string target = fmt::format("/{}/resolve/{}/{}", model.name, model.commit,
                                         Encoded(file.path, /*keeps_slashes=*/true));
  bool is_second = false;
  double wait_s = options_.retry_wait_s;
  for (int tries = 0;;) {
    try {
      Download(target, file, part, on_bytes);
    } catch (const Error& failed) {
      if (failed.code() != ExitCode::kNetwork || !failed.hint().empty() ||
          ++tries > options_.retries)
        throw;
      LogWarning("{}; once more in {:g} s", failed.what(), wait_s);
      std::this_thread::sleep_for(std::chrono::duration<double>(wait_s));
      wait_s *= 2;
      continue;
    }
    if (IsRight(file, part)) break;
    if (is_second) {
      RemoveTree(part);
      throw Error(ExitCode::kNetwork,
                  fmt::format("{}: its checksum is not the one the hub gives, twice", file.path));
    }
    LogWarning("{}: its checksum is not the one the hub gives; from the beginning", file.path);
    AppendFile(part, 0);  // what was there before may have been of another version
    is_second = true;
  }
  RenamePath(part, to);
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "infer/state_folder.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/crc32.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "kernels/isa.h"
#include "model/run_mode.h"

namespace planish {
namespace {

namespace fs = std::filesystem;

constexpr char kMagic[8] = {'P', 'L', 'S', 'T', 'A', 'T', 'E', '1'};
constexpr const char* kSuffix = ".state";
constexpr size_t kFingerprintDigits = 64;
constexpr size_t kPrefixBytes = sizeof kMagic + sizeof(uint64_t);  // magic, bytes of the header
constexpr uint64_t kHeaderBytes = 16 * limits::kContext;           // a header has at most so many
constexpr size_t kSamples = 8, kSampleBytes = 4096;                // of each parameter

template <typename T>
void Put(const T& value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
void PutList(std::span<const T> values, std::string* out) {
  Put(uint64_t{values.size()}, out);
  out->append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

// Takes values from the front of a header; what is not there leaves ok() false.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view bytes) : rest_(bytes) {}
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && rest_.empty(); }

  std::string_view Take(size_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  uint64_t Number() {
    uint64_t value = 0;
    const std::string_view bytes = Take(sizeof value);
    if (ok_) std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  template <typename T>
  std::vector<T> List() {
    const uint64_t count = Number();
    if (count > rest_.size() / sizeof(T)) ok_ = false;
    if (!ok_) return {};
    std::vector<T> values(count);
    const std::string_view bytes = Take(count * sizeof(T));
    if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

// Magic, bytes of the header, fingerprint, salt, exact length, cuts, ids, bytes of the state, CRC of all that.
std::string HeaderOf(const std::string& fingerprint, std::string_view salt,
                     std::span<const int32_t> ids, const StateOrigin& origin,
                     uint64_t state_bytes) {
  std::string body = fingerprint;
  PutList(std::span(salt.data(), salt.size()), &body);
  Put(uint64_t{origin.exact_length}, &body);
  PutList(std::span<const size_t>(origin.cuts), &body);
  PutList(ids, &body);
  Put(state_bytes, &body);
  std::string header(kMagic, sizeof kMagic);
  Put(uint64_t{kPrefixBytes + body.size() + sizeof(uint32_t)}, &header);
  header += body;
  Put(Crc32(header.data(), header.size()), &header);
  return header;
}

struct Header {
  std::string salt;
  std::vector<int32_t> ids;
  StateOrigin origin;
  uint64_t state_bytes = 0, bytes = 0;
};

// Of the beginning of a file; none if it is not a whole header of this fingerprint.
std::optional<Header> ParseHeader(std::string_view bytes, const std::string& fingerprint) {
  if (bytes.size() < kPrefixBytes || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0)
    return {};
  Header header;
  std::memcpy(&header.bytes, bytes.data() + sizeof kMagic, sizeof header.bytes);
  if (header.bytes > bytes.size() || header.bytes < kPrefixBytes + sizeof(uint32_t)) return {};
  uint32_t crc;
  const size_t body_end = header.bytes - sizeof crc;
  std::memcpy(&crc, bytes.data() + body_end, sizeof crc);
  if (Crc32(bytes.data(), body_end) != crc) return {};
  HeaderReader reader(bytes.substr(kPrefixBytes, body_end - kPrefixBytes));
  if (reader.Take(kFingerprintDigits) != fingerprint) return {};
  const std::vector<char> salt = reader.List<char>();
  header.salt.assign(salt.begin(), salt.end());
  header.origin.exact_length = reader.Number();
  header.origin.cuts = reader.List<size_t>();
  header.ids = reader.List<int32_t>();
  header.state_bytes = reader.Number();
  if (!reader.at_end() || header.ids.empty()) return {};
  return header;
}

std::optional<Header> ReadHeader(const std::string& path, const std::string& fingerprint) {
  const std::string prefix = ReadFilePrefix(path, kPrefixBytes);
  uint64_t size = 0;
  if (prefix.size() < kPrefixBytes) return {};
  std::memcpy(&size, prefix.data() + sizeof kMagic, sizeof size);
  if (size > kHeaderBytes) return {};
  return ParseHeader(ReadFilePrefix(path, size), fingerprint);
}

// A half-written file (FileWriter) of a process that is gone: NAME.state.PID.tmp.
bool IsLeftover(const std::string& name) {
  constexpr std::string_view kEnd = ".tmp";
  if (!name.ends_with(kEnd)) return false;
  const std::string whole = name.substr(0, name.size() - kEnd.size());
  const size_t dot = whole.rfind('.');
  if (dot == std::string::npos || !std::string_view(whole).substr(0, dot).ends_with(kSuffix))
    return false;
  const std::string digits = whole.substr(dot + 1);
  if (digits.empty() || digits.size() > 9 ||
      digits.find_first_not_of("0123456789") != std::string::npos)
    return false;
  return kill(static_cast<pid_t>(std::stol(digits)), 0) != 0 && errno == ESRCH;
}

}  // namespace

std::string StateFingerprint(Model* model, std::optional<DType> ssm) {
  std::string text =
      fmt::format("{} {} {} {} {} {}", std::string_view(kMagic, sizeof kMagic),
                  Name(model->act_mode()), Name(model->state_types().kv),
                  Name(model->state_types().ssm), IsaName(), model->config().vocab_size);
  if (ssm) text += fmt::format(" kept as {}", Name(*ssm));
  model->VisitParams([&](const Param& param) {
    const bool is_matrix = param.weight != nullptr;
    const auto* data =
        is_matrix ? param.weight->data() : static_cast<const std::byte*>(param.vector->data());
    const size_t bytes = is_matrix ? param.weight->bytes() : param.vector->bytes();
    text += fmt::format("\n{} {} {}", param.name,
                        Name(is_matrix ? param.weight->dtype() : param.vector->dtype()), bytes);
    for (size_t i = 0; i < kSamples && bytes > 0; ++i) {
      const size_t size = std::min(bytes, kSampleBytes), from = (bytes - size) / kSamples * i;
      text += fmt::format(" {:08x}", Crc32(data + from, size));
    }
  });
  return Sha256Hex(text);
}

StateFolder::StateFolder(const Model* model, std::string path, std::string fingerprint,
                         uint64_t max_bytes, std::optional<DType> ssm)
    : model_(model),
      ssm_(ssm),
      size_(StateSizeOf(*model, ssm)),
      path_(std::move(path)),
      fingerprint_(std::move(fingerprint)),
      max_bytes_(max_bytes) {
  PLANISH_CHECK(fingerprint_.size() == kFingerprintDigits);
  MakeDirectories(path_);
  LookThrough();
}

void StateFolder::LookThrough() {
  struct Found {
    fs::file_time_type time;
    std::string name;
    uint64_t bytes;
    Header header;
  };
  std::vector<Found> found;
  std::error_code error;
  for (fs::directory_iterator it(path_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (IsLeftover(name)) {
      Delete(name);
      continue;
    }
    // Only what has our name is ours to read or delete; links are not followed.
    if (!name.ends_with(kSuffix) || !fs::is_regular_file(it->symlink_status(ignored))) continue;
    const uint64_t bytes = it->file_size(ignored);
    std::optional<Header> header;
    if (!ignored) header = ReadHeader(it->path().string(), fingerprint_);
    const bool is_whole = header.has_value() &&
                          header->state_bytes == size_.Bytes(header->ids.size()) &&
                          bytes == header->bytes + header->state_bytes + sizeof(uint32_t) &&
                          name == NameOf(header->salt, header->ids, header->origin);
    if (!is_whole) {
      Delete(name);
      continue;
    }
    found.push_back({it->last_write_time(ignored), name, bytes, std::move(*header)});
  }
  if (error) {
    throw Error(ExitCode::kFailure, fmt::format("{}: cannot be read: {}", path_, error.message()));
  }
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
    return std::tie(a.time, a.name) < std::tie(b.time, b.name);
  });
  for (Found& file : found) {
    stats_.bytes += file.bytes;
    ++stats_.files;
    files_[file.name] = {std::move(file.header.salt), std::move(file.header.ids),
                         std::move(file.header.origin), file.bytes, ++clock_};
  }
}

std::string StateFolder::NameOf(std::string_view salt, std::span<const int32_t> ids,
                                const StateOrigin& origin) const {
  return Sha256Hex(HeaderOf(fingerprint_, salt, ids, origin, 0)).substr(0, 40) + kSuffix;
}

bool StateFolder::Has(std::string_view salt, std::span<const int32_t> ids,
                      const StateOrigin& origin) const {
  return files_.contains(NameOf(salt, ids, origin));
}

void StateFolder::Delete(const std::string& name) {
  const auto known = files_.find(name);
  if (known != files_.end()) {
    stats_.bytes -= known->second.bytes;
    --stats_.files;
    files_.erase(known);
  }
  ++stats_.deleted;
  try {
    RemoveTree(path_ + "/" + name);
  } catch (const Error& error) {
    LogWarning("{}", error.what());
  }
}

bool StateFolder::Write(std::string_view salt, std::span<const int32_t> ids,
                        const StateOrigin& origin, const SequenceState& state) {
  const std::string name = NameOf(salt, ids, origin);
  if (const auto known = files_.find(name); known != files_.end()) {
    known->second.last_use = ++clock_;
    return true;
  }
  const std::string header = HeaderOf(fingerprint_, salt, ids, origin, size_.Bytes(state.length()));
  const uint64_t bytes = header.size() + size_.Bytes(state.length()) + sizeof(uint32_t);
  if (bytes > max_bytes_) return false;
  while (stats_.bytes + bytes > max_bytes_) {
    const auto oldest = std::min_element(
        files_.begin(), files_.end(),
        [](const auto& a, const auto& b) { return a.second.last_use < b.second.last_use; });
    Delete(std::string(oldest->first));
  }
  try {
    FileWriter file(path_ + "/" + name);
    file.Write(header);
    uint32_t crc = 0;
    VisitBytes(*model_, state, [&](std::span<const std::byte> piece) {
      crc = Crc32(piece.data(), piece.size(), crc);
      file.Write(piece.data(), piece.size());
    });
    file.Write(&crc, sizeof crc);
    file.Commit();
  } catch (const Error& error) {
    ++stats_.failed;
    LogWarning("prefix cache: a state was not saved: {}", error.what());
    return false;
  }
  stats_.bytes += bytes;
  ++stats_.files;
  ++stats_.written;
  files_[name] = {std::string(salt), {ids.begin(), ids.end()}, origin, bytes, ++clock_};
  return true;
}

std::optional<SequenceState> StateFolder::Load(const std::string& name) {
  Stored& stored = files_.at(name);
  try {
    const auto file = FileBytes::Open(path_ + "/" + name, FileBytes::Access::kRead);
    const std::string_view bytes(reinterpret_cast<const char*>(file->bytes().data()), file->size());
    const std::optional<Header> header = ParseHeader(bytes, fingerprint_);
    if (header.has_value() && header->ids == stored.ids && header->salt == stored.salt &&
        header->origin.cuts == stored.origin.cuts &&
        header->origin.exact_length == stored.origin.exact_length &&
        bytes.size() == header->bytes + size_.Bytes(stored.ids.size()) + sizeof(uint32_t)) {
      std::string_view rest = bytes.substr(header->bytes);
      uint32_t crc = 0, expected;
      SequenceState state =
          FillState(*model_, stored.ids.size(), ssm_, [&](std::span<std::byte> piece) {
            std::memcpy(piece.data(), rest.data(), piece.size());
            crc = Crc32(piece.data(), piece.size(), crc);
            rest.remove_prefix(piece.size());
          });
      std::memcpy(&expected, rest.data(), sizeof expected);
      if (crc == expected) {
        stored.last_use = ++clock_;
        ++stats_.loaded;
        return state;
      }
    }
    LogWarning("prefix cache: {}/{} is damaged and was deleted", path_, name);
  } catch (const Error& error) {
    LogWarning("prefix cache: {}", error.what());
  }
  Delete(std::string(name));
  return {};
}

}  // namespace planish

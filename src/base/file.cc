// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/limits.h"

namespace planish {
namespace {

constexpr size_t kWriteBuffer = size_t{1} << 20;

std::string Reason(int error) { return std::generic_category().message(error); }

FaultHook& TheFaultHook() {
  static FaultHook hook;
  return hook;
}

// Every system call of a writer: -1 with errno set when the hook says so, else the call itself.
template <typename Call>
auto Guarded(std::string_view name, Call call) -> decltype(call()) {
  if (const FaultHook& hook = TheFaultHook()) {
    const int error = hook(name);
    if (error == kFaultSkip) return 0;
    if (error != 0) {
      errno = error;
      return -1;
    }
  }
  return call();
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// Opens a regular file for reading and gives its size; folders, sockets and the like are refused.
std::pair<int, uint64_t> OpenRegular(const std::string& path) {
  const int fd =
      open(path.c_str(), O_RDONLY | O_CLOEXEC |
                             O_NONBLOCK);  // else opening a pipe without a writer waits for ever
  if (fd < 0) throw BadFile("{}: cannot be opened: {}", Quoted(path, 300), Reason(errno));
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    throw BadFile("{}: is not a regular file", Quoted(path, 300));
  }
  return {fd, static_cast<uint64_t>(info.st_size)};
}

void ReadAll(int fd, std::byte* out, size_t size, const std::string& path) {
  size_t done = 0;
  while (done < size) {
    const ssize_t n = read(fd, out + done, std::min<size_t>(size - done, size_t{1} << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      throw BadFile("{}: read failed at byte {}: {}", Quoted(path, 300), done, Reason(errno));
    if (n == 0)
      throw BadFile("{}: shrank while it was read: {} of {} bytes", Quoted(path, 300), done, size);
    done += static_cast<size_t>(n);
  }
}

std::string DecompressZstd(const std::string& input, const std::string& path, uint64_t max_bytes) {
  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, 27);
  std::string out, chunk(ZSTD_DStreamOutSize(), '\0');
  ZSTD_inBuffer in{input.data(), input.size(), 0};
  size_t state = 1;
  while (in.pos < in.size) {
    ZSTD_outBuffer target{chunk.data(), chunk.size(), 0};
    state = ZSTD_decompressStream(context.get(), &target, &in);
    if (ZSTD_isError(state))
      throw BadFile("{}: not valid zstd data: {}", Quoted(path, 300), ZSTD_getErrorName(state));
    out.append(chunk.data(), target.pos);
    if (out.size() > max_bytes)
      throw BadFile("{}: unpacks to more than {} bytes", Quoted(path, 300), max_bytes);
    if (out.size() > (1u << 20) &&
        out.size() / std::max<size_t>(in.pos, 1) > limits::kDecompressedRatio) {
      throw BadFile("{}: unpacks to more than {} times its size", Quoted(path, 300),
                    limits::kDecompressedRatio);
    }
  }
  while (state != 0) {  // the decoder may hold output back after the last input byte
    ZSTD_outBuffer target{chunk.data(), chunk.size(), 0};
    state = ZSTD_decompressStream(context.get(), &target, &in);
    if (ZSTD_isError(state) || target.pos == 0)
      throw BadFile("{}: zstd data ends early", Quoted(path, 300));
    out.append(chunk.data(), target.pos);
    if (out.size() > max_bytes)
      throw BadFile("{}: unpacks to more than {} bytes", Quoted(path, 300), max_bytes);
  }
  return out;
}

}  // namespace

void SetFaultHook(FaultHook hook) { TheFaultHook() = std::move(hook); }

std::string ReadFile(const std::string& path, uint64_t max_bytes) {
  const auto [fd, size] = OpenRegular(path);
  const Descriptor descriptor(fd);
  if (size > max_bytes)
    throw BadFile("{}: is {} bytes, expected at most {}", Quoted(path, 300), size, max_bytes);
  std::string content(size, '\0');
  ReadAll(fd, reinterpret_cast<std::byte*>(content.data()), size, path);
  return content;
}

std::string ReadFileMaybeZstd(const std::string& path, uint64_t max_bytes) {
  std::string content = ReadFile(path, max_bytes);
  if (content.starts_with("\x28\xB5\x2F\xFD")) return DecompressZstd(content, path, max_bytes);
  return content;
}

std::string ReadFilePrefix(const std::string& path, size_t bytes) {
  const Descriptor descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::string prefix(bytes, '\0');
  const ssize_t n = descriptor.get() < 0 ? 0 : read(descriptor.get(), prefix.data(), bytes);
  prefix.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return prefix;
}

bool FileExists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

bool IsDirectory(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

void MakeDirectories(const std::string& path) {
  const int result = Guarded("mkdir", [&] {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    errno = error.value();
    return error ? -1 : 0;
  });
  if (result != 0)
    throw RuntimeError("{}: cannot make the folder: {}", Quoted(path, 300), Reason(errno));
}

LineReader::LineReader(int fd, std::string where, uint64_t max_bytes)
    : fd_(fd), where_(std::move(where)), max_bytes_(max_bytes) {}

bool LineReader::Next(std::string* line) {
  size_t searched = begin_;
  for (;;) {
    const size_t end = buffer_.find('\n', searched);
    if (std::min(end, buffer_.size()) - begin_ > max_bytes_) {
      throw BadFile("{}: line {} is longer than {} bytes", where_, line_number_ + 1, max_bytes_);
    }
    if (end != std::string::npos) {
      line->assign(buffer_, begin_, end - begin_);
      begin_ = end + 1;
      ++line_number_;
      return true;
    }
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched = buffer_.size();
    if (at_end_) {
      if (buffer_.empty()) return false;
      *line = std::move(buffer_);
      buffer_.clear();
      ++line_number_;
      return true;
    }
    const size_t old = buffer_.size();
    buffer_.resize(old + (64u << 10));
    ssize_t n;
    do {
      n = read(fd_, buffer_.data() + old, 64u << 10);
    } while (n < 0 && errno == EINTR);
    if (n < 0) throw BadFile("{}: read failed: {}", where_, Reason(errno));
    buffer_.resize(old + static_cast<size_t>(n));
    at_end_ = n == 0;
  }
}

std::shared_ptr<const FileBytes> FileBytes::Open(const std::string& path, Access access) {
  const auto [fd, size] = OpenRegular(path);
  const Descriptor descriptor(fd);
  std::shared_ptr<FileBytes> file(new FileBytes);
  file->path_ = path;
  file->size_ = size;
  if (size == 0) return file;
  if (access == Access::kMap) {
    void* mapped = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
      throw BadFile("{}: cannot be mapped: {}", Quoted(path, 300), Reason(errno));
    file->data_ = static_cast<const std::byte*>(mapped);
    file->is_mapped_ = true;
    return file;
  }
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    throw Error(ExitCode::kNoMemory,
                fmt::format("{}: {} bytes do not fit in memory", Quoted(path, 300), size),
                "drop --no-mmap");
  }
  file->data_ = static_cast<const std::byte*>(memory);
  ReadAll(fd, static_cast<std::byte*>(memory), size, path);
  return file;
}

FileBytes::~FileBytes() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

void FileBytes::Release(size_t offset, size_t length) const {
  if (!is_mapped_) return;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t begin = (offset + page - 1) / page * page;
  const size_t end = std::min(offset + length, size_) / page * page;
  if (begin < end) madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

FileWriter::FileWriter(std::string path)
    : path_(std::move(path)), temporary_(fmt::format("{}.{}.tmp", path_, getpid())) {
  fd_ = Guarded("open", [&] {
    return open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  });
  registered_ = std::make_unique<TemporaryName>(temporary_);
  if (fd_ < 0) throw RuntimeError("{}: cannot be written: {}", Quoted(path_, 300), Reason(errno));
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void FileWriter::Write(const void* data, size_t size) {
  const char* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const size_t take = std::min(size, kWriteBuffer - buffer_.size());
    buffer_.append(bytes, take);
    bytes += take;
    size -= take;
    written_ += take;
    if (buffer_.size() == kWriteBuffer) Flush();
  }
}

void FileWriter::Flush() {
  size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t n =
        Guarded("write", [&] { return write(fd_, buffer_.data() + done, buffer_.size() - done); });
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      throw RuntimeError("{}: write failed after {} bytes: {}", Quoted(path_, 300),
                         written_ - buffer_.size() + done, Reason(errno));
    done += static_cast<size_t>(n);
  }
  buffer_.clear();
}

void FileWriter::Commit() {
  PLANISH_CHECK(fd_ >= 0);
  Flush();
  if (Guarded("fsync", [&] { return fsync(fd_); }) != 0)
    throw RuntimeError("{}: flush to disk failed: {}", Quoted(path_, 300), Reason(errno));
  const int fd = std::exchange(fd_, -1);
  const int closed = Guarded("close", [&] { return close(fd); });
  if (closed != 0) throw RuntimeError("{}: close failed: {}", Quoted(path_, 300), Reason(errno));
  if (Guarded("rename", [&] { return rename(temporary_.c_str(), path_.c_str()); }) != 0) {
    throw RuntimeError("{}: rename failed: {}", Quoted(path_, 300), Reason(errno));
  }
  temporary_.clear();
  registered_.reset();
  const std::string folder = std::filesystem::path(path_).parent_path().string();
  const Descriptor parent(
      open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent.get() >= 0)
    fsync(parent.get());  // some file systems do not allow it on folders: the rename stands anyway
}

void WriteFile(const std::string& path, std::string_view content) {
  FileWriter writer(path);
  writer.Write(content);
  writer.Commit();
}

AppendFile::AppendFile(std::string path, uint64_t keep) : path_(std::move(path)), size_(keep) {
  fd_ = Guarded("open", [&] { return open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666); });
  if (fd_ < 0) throw RuntimeError("{}: cannot be written: {}", Quoted(path_, 300), Reason(errno));
  struct stat info {};
  const bool is_long_enough = fstat(fd_, &info) == 0 && static_cast<uint64_t>(info.st_size) >= keep;
  if (is_long_enough &&
      Guarded("truncate", [&] { return ftruncate(fd_, static_cast<off_t>(keep)); }) == 0 &&
      lseek(fd_, 0, SEEK_END) >= 0)
    return;
  const int error = errno;
  close(fd_);
  if (!is_long_enough)
    throw RuntimeError("{}: is {} bytes, expected at least {}", Quoted(path_, 300), info.st_size,
                       keep);
  throw RuntimeError("{}: cannot be cut to {} bytes: {}", Quoted(path_, 300), keep, Reason(error));
}

AppendFile::~AppendFile() { close(fd_); }

void AppendFile::Append(std::string_view text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n =
        Guarded("write", [&] { return write(fd_, text.data() + done, text.size() - done); });
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      if (done > 0 && ftruncate(fd_, static_cast<off_t>(size_)) == 0) lseek(fd_, 0, SEEK_END);
      throw RuntimeError("{}: write failed after {} bytes: {}", Quoted(path_, 300), size_ + done,
                         Reason(error));
    }
    done += static_cast<size_t>(n);
  }
  size_ += text.size();
}

void SyncFolder(const std::string& path) {
  const Descriptor folder(
      open(path.empty() ? "." : path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0)
    throw RuntimeError("{}: cannot be opened: {}", Quoted(path, 300), Reason(errno));
  const int result = Guarded("fsync", [&] { return fsync(folder.get()); });
  if (result != 0 && errno != EINVAL && errno != ENOTSUP)  // some file systems cannot
    throw RuntimeError("{}: flush to disk failed: {}", Quoted(path, 300), Reason(errno));
}

void RenamePath(const std::string& from, const std::string& to) {
  if (Guarded("rename", [&] { return rename(from.c_str(), to.c_str()); }) != 0) {
    throw RuntimeError("{}: cannot be renamed to {}: {}", Quoted(from, 300), Quoted(to, 300),
                       Reason(errno));
  }
  SyncFolder(std::filesystem::path(to).parent_path().string());
}

void ExchangePaths(const std::string& a, const std::string& b) {
  int result = Guarded("rename", [&] {
    return renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
  });
  if (result != 0 && (errno == EINVAL || errno == ENOSYS)) {  // a file system that cannot
    const std::string aside = a + ".aside";
    result = Guarded("rename", [&] {
      return rename(b.c_str(), aside.c_str()) == 0 && rename(a.c_str(), b.c_str()) == 0
                 ? rename(aside.c_str(), a.c_str())
                 : -1;
    });
  }
  if (result != 0) {
    throw RuntimeError("{} and {} cannot be exchanged: {}", Quoted(a, 300), Quoted(b, 300),
                       Reason(errno));
  }
  SyncFolder(std::filesystem::path(b).parent_path().string());
}

void RemoveTree(const std::string& path) {
  const int result = Guarded("remove", [&] {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    errno = error.value();
    return error ? -1 : 0;
  });
  if (result != 0)
    throw RuntimeError("{}: cannot be removed: {}", Quoted(path, 300), Reason(errno));
}

uint64_t FreeDiskBytes(const std::string& path) {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(path, error);
  if (error)
    throw RuntimeError("{}: free space is not known: {}", Quoted(path, 300), error.message());
  return space.available;
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Reading and writing files. Every writer of planish goes through FileWriter: it writes NAME.PID.tmp, flushes, renames, so a
// reader never sees half a file, and each system call passes a fault-injection point that tests use to fail the N-th one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace planish {

class TemporaryName;

// Whole file as bytes. Error(kBadFile) if it cannot be read or is larger than `max_bytes`.
std::string ReadFile(const std::string& path, uint64_t max_bytes);
// Like ReadFile, undoing zstd when the content starts with its magic; `max_bytes` bounds the result.
std::string ReadFileMaybeZstd(const std::string& path, uint64_t max_bytes);
// The first `bytes` bytes, fewer if the file is shorter or cannot be read: for telling formats apart.
std::string ReadFilePrefix(const std::string& path, size_t bytes);
bool FileExists(const std::string& path);
bool IsDirectory(const std::string& path);
void MakeDirectories(const std::string& path);

// Reads lines from a stream descriptor or file for JSONL verbs; a line over `max_bytes` is an Error.
class LineReader {
 public:
  LineReader(int fd, std::string where, uint64_t max_bytes);
  bool Next(std::string* line);  // without the newline; false at the end
  uint64_t line_number() const { return line_number_; }

 private:
  int fd_;
  std::string where_;
  uint64_t max_bytes_;
  std::string buffer_;
  size_t begin_ = 0;
  bool at_end_ = false;
  uint64_t line_number_ = 0;
};

// Read-only bytes of a file: mapped, or copied to memory when mapping is off (untrusted or shared files: a mapped file
// that another process truncates raises SIGBUS). Shared ownership; weights keep their file alive.
class FileBytes {
 public:
  enum class Access { kMap, kRead };
  static std::shared_ptr<const FileBytes> Open(const std::string& path, Access access);
  ~FileBytes();
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  uint64_t size() const { return size_; }
  bool is_mapped() const { return is_mapped_; }
  // Tells the system that this range of a mapping is not needed again (it would be read back from the file).
  void Release(size_t offset, size_t length) const;

 private:
  FileBytes() = default;
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  bool is_mapped_ = false;
};

// Atomic writer: Write any number of times, then Commit (fsync, close, rename, fsync of the folder). Without Commit the
// temporary file is removed and an existing file at `path` stays as it was. Error(kFailure) on any failed call.
class FileWriter {
 public:
  explicit FileWriter(std::string path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void Write(const void* data, size_t size);
  void Write(std::string_view text) { Write(text.data(), text.size()); }
  uint64_t written() const { return written_; }
  void Commit();

 private:
  void Flush();
  std::string path_;
  std::string temporary_;
  std::unique_ptr<TemporaryName> registered_;  // so that an interrupt removes it
  std::string buffer_;
  uint64_t written_ = 0;
  int fd_ = -1;
};
void WriteFile(const std::string& path, std::string_view content);

// A file that grows at its end, for logs: every Append is with the system when it returns, nothing is flushed to disk.
class AppendFile {
 public:
  // Keeps the first `keep` bytes of the file, or of a new one. Error(kFailure) if it cannot be written or is shorter.
  AppendFile(std::string path, uint64_t keep);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  // Whole or not at all, as far as the system lets us: Error(kFailure) takes a part that was written back.
  void Append(std::string_view text);
  uint64_t size() const { return size_; }

 private:
  std::string path_;
  uint64_t size_ = 0;
  int fd_ = -1;
};

// Folders as a whole, for what is written as many files and committed by one rename.
void SyncFolder(const std::string& path);  // its entries
// `to` may be an existing file, or an absent or empty folder. Flushed to disk.
void RenamePath(const std::string& from, const std::string& to);
// Exchanges two existing paths of one file system: in one step where that can be done. Flushed to disk.
void ExchangePaths(const std::string& a, const std::string& b);
// Removes a file or a folder with all it holds; no error if there is none. Not flushed.
void RemoveTree(const std::string& path);
// Bytes that this user may still write where `path` is.
uint64_t FreeDiskBytes(const std::string& path);

// Fault injection, for tests: called before each system call of a writer with its name ("open", "write", "fsync", "close",
// "rename", "truncate", "remove", "mkdir"). A positive result is used as errno instead of making the call; kFaultSkip leaves
// the call out as if it had succeeded (tests need not wait for the disk). Null switches it off.
inline constexpr int kFaultSkip = -1;
using FaultHook = std::function<int(std::string_view call)>;
void SetFaultHook(FaultHook hook);

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Bytes of a file, a pipe or standard input from front to back, zstd undone on the way, in memory that does not grow with the
// file. Hostile archives: windows over 128 MiB and frames that unpack to more than limits::kDecompressedRatio times their size
// are refused. After damage the stream goes on at the next zstd frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace planish {

class ByteStream {
 public:
  // "-" is standard input. Error(kBadFile) for what cannot be opened, is a folder, or is gzip.
  explicit ByteStream(const std::string& path);
  ~ByteStream();
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;

  // Up to `size` bytes; 0 at the end, and once at each damaged place, when damage() tells what it is. The bytes that come after
  // such a 0 do not continue those before it. Error(kBadFile) if reading the file itself fails.
  size_t Read(char* out, size_t size);
  const std::string& damage() const { return damage_; }  // set by the last Read; empty: none
  bool is_zstd() const { return decoder_ != nullptr; }
  uint64_t consumed() const { return consumed_; }  // bytes of the file read so far

 private:
  struct Decoder;
  bool Fill();  // more input bytes; false at the end of the file
  size_t ReadZstd(char* out, size_t size);
  size_t Damaged(std::string what);
  void FindFrame();

  std::string name_;
  int fd_ = -1;
  bool owns_fd_ = false;
  std::string input_;
  size_t at_ = 0;  // of the next byte in input_
  uint64_t consumed_ = 0;
  std::unique_ptr<Decoder> decoder_;
  std::string damage_;
};

// Size of a regular file, 0 for anything else.
uint64_t FileSizeOrZero(const std::string& path);

}  // namespace planish

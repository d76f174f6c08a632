// SPDX-License-Identifier: Apache-2.0
#include "base/byte_stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/limits.h"

namespace planish {
namespace {

constexpr size_t kInputBytes = size_t{256} << 10;
constexpr int kWindowLog = 27;
constexpr uint64_t kRatioFreeBytes = uint64_t{1} << 20;
constexpr std::string_view kZstdMagic = "\x28\xB5\x2F\xFD";
constexpr std::string_view kGzipMagic = "\x1F\x8B";

}  // namespace

struct ByteStream::Decoder {
  Decoder() : context(ZSTD_createDCtx(), ZSTD_freeDCtx) {
    ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kWindowLog);
  }
  void Restart() {
    ZSTD_DCtx_reset(context.get(), ZSTD_reset_session_only);
    state = frame_in = frame_out = 0;
  }

  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context;
  size_t state = 0;  // of the last call: 0 between frames
  uint64_t frame_in = 0, frame_out = 0, total_in = 0, total_out = 0;
  bool is_over = false;
};

ByteStream::ByteStream(const std::string& path) : name_(path == "-" ? "stdin" : Quoted(path, 300)) {
  if (path == "-") {
    fd_ = STDIN_FILENO;
  } else {
    struct stat info {};
    fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    owns_fd_ = true;
    if (fd_ < 0)
      throw BadFile("{}: cannot be opened: {}", name_, std::generic_category().message(errno));
    if (fstat(fd_, &info) == 0 && S_ISDIR(info.st_mode)) {
      close(fd_);
      throw BadFile("{}: is a folder, expected a file", name_);
    }
  }
  try {
    while (input_.size() < kZstdMagic.size() && Fill()) {
    }
    if (input_.starts_with(kGzipMagic)) {
      throw Error(ExitCode::kBadFile, fmt::format("{}: gzip is not supported", name_),
                  "unpack it, or pack it with zstd");
    }
  } catch (...) {
    if (owns_fd_) close(fd_);
    throw;
  }
  if (input_.starts_with(kZstdMagic)) decoder_ = std::make_unique<Decoder>();
}

ByteStream::~ByteStream() {
  if (owns_fd_) close(fd_);
}

bool ByteStream::Fill() {
  input_.erase(0, at_);
  at_ = 0;
  const size_t old = input_.size();
  input_.resize(old + kInputBytes);
  ssize_t n;
  do {
    n = read(fd_, input_.data() + old, kInputBytes);
  } while (n < 0 && errno == EINTR);
  input_.resize(old + static_cast<size_t>(std::max<ssize_t>(n, 0)));
  if (n < 0) throw BadFile("{}: read failed: {}", name_, std::generic_category().message(errno));
  consumed_ += static_cast<uint64_t>(n);
  return n > 0;
}

size_t ByteStream::Read(char* out, size_t size) {
  damage_.clear();
  if (decoder_ != nullptr) return ReadZstd(out, size);
  if (at_ == input_.size() && !Fill()) return 0;
  const size_t take = std::min(size, input_.size() - at_);
  std::memcpy(out, input_.data() + at_, take);
  at_ += take;
  return take;
}

size_t ByteStream::Damaged(std::string what) {
  damage_ = std::move(what);
  return 0;
}

// Moves to the next place that looks like the begin of a frame, or to the end.
void ByteStream::FindFrame() {
  decoder_->Restart();
  decoder_->total_in = decoder_->total_out = 0;
  for (;;) {
    const size_t found = input_.find(kZstdMagic, at_);
    if (found != std::string::npos) {
      at_ = found;
      return;
    }
    at_ = input_.size() - std::min(input_.size() - at_, kZstdMagic.size() - 1);
    if (!Fill()) break;
  }
  at_ = input_.size();
  decoder_->is_over = true;
}

size_t ByteStream::ReadZstd(char* out, size_t size) {
  Decoder& decoder = *decoder_;
  while (!decoder.is_over) {
    const bool has_more = at_ < input_.size() || Fill();
    ZSTD_inBuffer in{input_.data(), input_.size(), at_};
    ZSTD_outBuffer target{out, size, 0};
    if (decoder.state == 0) {
      if (!has_more) break;
      decoder.frame_in = decoder.frame_out = 0;
    }
    const size_t state = ZSTD_decompressStream(decoder.context.get(), &target, &in);
    if (ZSTD_isError(state)) {
      if (at_ < input_.size())
        ++at_;  // zstd may have taken nothing, and this frame is not to be found again
      FindFrame();
      return Damaged(fmt::format("not valid zstd data: {}", ZSTD_getErrorName(state)));
    }
    const size_t taken = in.pos - at_;
    at_ = in.pos;
    decoder.state = state;
    decoder.frame_in += taken;
    decoder.total_in += taken;
    decoder.frame_out += target.pos;
    decoder.total_out += target.pos;
    const auto is_bomb = [](uint64_t in_bytes, uint64_t out_bytes) {
      return out_bytes > kRatioFreeBytes &&
             out_bytes / std::max<uint64_t>(in_bytes, 1) > limits::kDecompressedRatio;
    };
    if (is_bomb(decoder.frame_in, decoder.frame_out) ||
        is_bomb(decoder.total_in, decoder.total_out)) {
      decoder.is_over = true;
      return Damaged(
          fmt::format("unpacks to more than {} times its size", limits::kDecompressedRatio));
    }
    if (target.pos > 0) return target.pos;
    if (!has_more && taken == 0) {
      decoder.is_over = true;
      return Damaged("zstd data ends early");
    }
  }
  return 0;
}

uint64_t FileSizeOrZero(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return 0;
  const uint64_t size = std::filesystem::file_size(path, error);
  return error ? 0 : size;
}

}  // namespace planish

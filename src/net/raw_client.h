// SPDX-License-Identifier: Apache-2.0
// For tests only: a TCP client that sends any bytes, also wrong, slow and broken-off ones, and reads what comes back.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "base/error.h"

namespace planish::testing {

class RawClient {
 public:
  // `from`: any address of 127/8, to look like another client.
  explicit RawClient(uint16_t port, const char* from = "127.0.0.1", int receive_buffer = 0) {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    PLANISH_CHECK(fd_ >= 0);
    if (receive_buffer > 0)
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    inet_pton(AF_INET, from, &address.sin_addr);
    PLANISH_CHECK(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    address.sin_port = htons(port);
    PLANISH_CHECK(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~RawClient() { Close(); }
  RawClient(RawClient&& other) noexcept : fd_(other.fd_), read_(std::move(other.read_)) {
    other.fd_ = -1;
  }
  RawClient& operator=(RawClient&&) = delete;

  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // Until `text` was read or the end or `seconds` are over; true if it was.
  bool ReadUntil(std::string_view text, double seconds = 10) {
    while (read_.find(text) == std::string::npos) {
      if (!ReadSome(seconds)) return false;
    }
    return true;
  }
  // All up to the end of the connection; false if it does not end in time.
  bool ReadToEnd(double seconds = 10) {
    while (ReadSome(seconds)) {
    }
    return ended_;
  }
  bool ReadSome(double seconds) {
    pollfd entry{fd_, POLLIN, 0};
    if (ended_ || poll(&entry, 1, static_cast<int>(seconds * 1000)) <= 0) return false;
    char buffer[65536];
    const ssize_t n = recv(fd_, buffer, sizeof(buffer), 0);
    if (n <= 0) {
      ended_ = true;
      return false;
    }
    read_.append(buffer, static_cast<size_t>(n));
    return true;
  }
  const std::string& text() const { return read_; }
  void Clear() { read_.clear(); }
  int status() const { return read_.size() > 12 ? std::atoi(read_.c_str() + 9) : 0; }
  void ShutdownSend() { shutdown(fd_, SHUT_WR); }
  void Reset() {  // RST instead of FIN
    const linger now{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    Close();
  }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
  bool ended_ = false;
  std::string read_;
};

}  // namespace planish::testing

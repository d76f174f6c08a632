// SPDX-License-Identifier: Apache-2.0
// A byte stream to a client: TCP or Unix socket, plain or TLS, behind one interface, so that the HTTP code is compiled once.
// Includes Asio: for .cc files of net/ only.
#pragma once

#include <boost/asio/generic/stream_protocol.hpp>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace planish {

using Socket = boost::asio::generic::stream_protocol::socket;
using IoError = boost::system::error_code;

class Transport {
 public:
  using Done = std::function<void(IoError, size_t)>;
  virtual ~Transport() = default;
  virtual void Handshake(std::function<void(IoError)> done) = 0;
  virtual void ReadSome(std::span<char> to, Done done) = 0;
  virtual void WriteAll(std::string_view from, Done done) = 0;  // `from` stays valid until done
  virtual void ShutdownSend() = 0;                              // no more writes follow
  virtual void Close() = 0;  // pending operations end with an error
};

std::unique_ptr<Transport> MakePlainTransport(Socket socket);
// The client's side of TLS. `host` is checked against the certificate, which must lead to `ca_file` (PEM), or to the
// system's authorities if that is empty; without `verifies` anything is taken.
std::unique_ptr<Transport> MakeTlsClient(Socket socket, const std::string& host,
                                         const std::string& ca_file, bool verifies);

// Certificate and key of a server, read once. Error(kBadFile) if they cannot be used.
class TlsContext {
 public:
  TlsContext(const std::string& certificate, const std::string& key);
  ~TlsContext();
  // Transports keep what they need of it.
  std::unique_ptr<Transport> Wrap(Socket socket) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace planish

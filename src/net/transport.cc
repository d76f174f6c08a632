// SPDX-License-Identifier: Apache-2.0
#include "net/transport.h"

#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>

#include "base/error.h"

namespace planish {
namespace {

namespace asio = boost::asio;

class PlainTransport final : public Transport {
 public:
  explicit PlainTransport(Socket socket) : socket_(std::move(socket)) {}
  void Handshake(std::function<void(IoError)> done) override { done({}); }
  void ReadSome(std::span<char> to, Done done) override {
    socket_.async_read_some(asio::buffer(to.data(), to.size()), std::move(done));
  }
  void WriteAll(std::string_view from, Done done) override {
    asio::async_write(socket_, asio::buffer(from.data(), from.size()), std::move(done));
  }
  void ShutdownSend() override {
    IoError ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
  }
  void Close() override {
    IoError ignored;
    socket_.close(ignored);
  }

 private:
  Socket socket_;
};

class TlsTransport final : public Transport {
 public:
  using Side = asio::ssl::stream_base::handshake_type;
  TlsTransport(Socket socket, std::shared_ptr<asio::ssl::context> context, Side side)
      : context_(std::move(context)), stream_(std::move(socket), *context_), side_(side) {}
  asio::ssl::stream<Socket>& stream() { return stream_; }
  void Handshake(std::function<void(IoError)> done) override {
    stream_.async_handshake(side_, std::move(done));
  }
  void ReadSome(std::span<char> to, Done done) override {
    stream_.async_read_some(asio::buffer(to.data(), to.size()), std::move(done));
  }
  void WriteAll(std::string_view from, Done done) override {
    asio::async_write(stream_, asio::buffer(from.data(), from.size()), std::move(done));
  }
  // Answers carry their length or end with a last chunk, so a client does not need the closing alert to know the end; waiting
  // for it would let a silent client hold the connection.
  void ShutdownSend() override {
    IoError ignored;
    stream_.next_layer().shutdown(Socket::shutdown_send, ignored);
  }
  void Close() override {
    IoError ignored;
    stream_.next_layer().close(ignored);
  }

 private:
  std::shared_ptr<asio::ssl::context> context_;
  asio::ssl::stream<Socket> stream_;
  Side side_;
};

}  // namespace

std::unique_ptr<Transport> MakePlainTransport(Socket socket) {
  return std::make_unique<PlainTransport>(std::move(socket));
}

std::unique_ptr<Transport> MakeTlsClient(Socket socket, const std::string& host,
                                         const std::string& ca_file, bool verifies) {
  const auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
  IoError error;
  if (verifies) {
    if (ca_file.empty())
      context->set_default_verify_paths(error);
    else
      context->load_verify_file(ca_file, error);
    if (error) throw BadFile("{}: no certificates to trust: {}", ca_file, error.message());
  }
  auto transport =
      std::make_unique<TlsTransport>(std::move(socket), context, asio::ssl::stream_base::client);
  if (verifies) {
    transport->stream().set_verify_mode(asio::ssl::verify_peer, error);
    transport->stream().set_verify_callback(asio::ssl::host_name_verification(host), error);
  }
  SSL_set_tlsext_host_name(transport->stream().native_handle(), host.c_str());
  return transport;
}

struct TlsContext::Impl {
  std::shared_ptr<asio::ssl::context> context =
      std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
};

TlsContext::TlsContext(const std::string& certificate, const std::string& key)
    : impl_(std::make_unique<Impl>()) {
  using Context = asio::ssl::context;
  IoError error;
  impl_->context->set_options(Context::default_workarounds | Context::no_sslv2 | Context::no_sslv3 |
                                  Context::no_tlsv1 | Context::no_tlsv1_1,
                              error);
  if (!error) impl_->context->use_certificate_chain_file(certificate, error);
  if (error) throw BadFile("{}: not a PEM certificate chain: {}", certificate, error.message());
  impl_->context->use_private_key_file(key, Context::pem, error);
  if (error)
    throw BadFile("{}: not the PEM private key of {}: {}", key, certificate, error.message());
}

TlsContext::~TlsContext() = default;

std::unique_ptr<Transport> TlsContext::Wrap(Socket socket) const {
  return std::make_unique<TlsTransport>(std::move(socket), impl_->context,
                                        asio::ssl::stream_base::server);
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "net/http_server.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/error.h"
#include "base/log.h"
#include "net/connection.h"

namespace planish {
namespace {

namespace asio = boost::asio;
using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol>;

constexpr auto kTick = std::chrono::milliseconds(100);
constexpr std::string_view kUnixPrefix = "unix:";

// Connections hold it, so it lives as long as the last of them.
class Core final : public ConnectionHost, public std::enable_shared_from_this<Core> {
 public:
  Core(HttpServerOptions options, HttpServer::Handler handler)
      : options_(std::move(options)),
        handler_(std::move(handler)),
        acceptor_(io_),
        timer_(io_),
        gather_timer_(io_) {}

  void Listen();
  void Start();
  void StopAccepting();
  void Stop();
  void ReloadTls();
  uint16_t port() const { return port_; }
  HttpServerCounts Counts();

  const HttpServerOptions& options() const override { return options_; }
  void Handle(std::shared_ptr<HttpExchange> exchange) override { handler_(std::move(exchange)); }
  // Dropped once the loop has ended: what waited there for ever would hold connections, and they this.
  void Post(std::function<void()> work) override {
    const std::lock_guard lock(post_mutex_);
    if (!has_ended_) asio::post(io_, std::move(work));
  }
  void Gather(std::shared_ptr<Connection> connection) override;
  bool is_stopping() const override { return is_stopping_.load(std::memory_order_relaxed); }
  bool AddBodyBytes(ptrdiff_t bytes) override {
    body_bytes_ += static_cast<size_t>(bytes);
    return bytes <= 0 || body_bytes_ <= options_.limits.total_body_bytes;
  }
  void Closed(Connection* connection) override;
  HttpServerCounts& counts() override { return counts_; }

 private:
  void Accept();
  void OnAccepted(Socket socket);
  void Tick();
  void FlushGathered();
  bool IsUnix() const { return options_.host.starts_with(kUnixPrefix); }

  HttpServerOptions options_;
  HttpServer::Handler handler_;
  asio::io_context io_{1};
  Acceptor acceptor_;
  asio::steady_timer timer_, gather_timer_;
  std::shared_ptr<TlsContext> tls_;  // on the I/O thread once it runs
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections_;
  std::map<std::string, size_t> per_address_;
  HttpServerCounts counts_;  // on the I/O thread
  std::mutex published_mutex_;
  HttpServerCounts published_;  // for others, renewed at every tick
  size_t body_bytes_ = 0;
  uint16_t port_ = 0;
  std::atomic<bool> is_stopping_ = false;
  bool has_stopped_ = false;
  bool is_closed_ = false;  // on the I/O thread: no tick follows
  std::mutex post_mutex_;
  bool has_ended_ = false;
  std::vector<std::shared_ptr<Connection>>
      gathered_;  // under post_mutex_; the timer runs if there are any
  std::string socket_path_;
  std::thread thread_;
};

void Core::Listen() {
  if (!options_.tls_certificate.empty() || !options_.tls_key.empty()) {
    if (options_.tls_certificate.empty() || options_.tls_key.empty())
      throw UsageError("TLS needs both a certificate and a key");
    tls_ = std::make_shared<TlsContext>(options_.tls_certificate, options_.tls_key);
  }
  asio::generic::stream_protocol::endpoint endpoint;
  IoError error;
  if (IsUnix()) {
    socket_path_ = options_.host.substr(kUnixPrefix.size());
    struct stat info {};
    // A socket that a server before left behind; nothing else is ever removed.
    if (lstat(socket_path_.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) {
      asio::local::stream_protocol::socket probe(io_);
      probe.connect(asio::local::stream_protocol::endpoint(socket_path_), error);
      if (!error)
        throw Error(ExitCode::kNetwork,
                    fmt::format("{} is in use by another server", options_.host), "another path");
      unlink(socket_path_.c_str());
    }
    try {
      endpoint = asio::local::stream_protocol::endpoint(socket_path_);
    } catch (const std::exception&) {
      throw Error(ExitCode::kNetwork,
                  fmt::format("{}: the path is too long for a socket", options_.host));
    }
  } else {
    asio::ip::tcp::resolver resolver(io_);
    const auto found = resolver.resolve(options_.host, std::to_string(options_.port),
                                        asio::ip::tcp::resolver::passive, error);
    if (error || found.empty())
      throw Error(ExitCode::kNetwork, fmt::format("{} is not an address of this machine: {}",
                                                  Quoted(options_.host), error.message()));
    endpoint = found.begin()->endpoint();
  }
  acceptor_.open(endpoint.protocol(), error);
  if (!error && !IsUnix()) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
  const mode_t mask = IsUnix() ? umask(0077) : 0;  // the socket is for this user alone
  if (!error) acceptor_.bind(endpoint, error);
  if (IsUnix()) umask(mask);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    throw Error(
        ExitCode::kNetwork,
        fmt::format("cannot listen on {}{}: {}", options_.host,
                    IsUnix() ? "" : fmt::format(" port {}", options_.port), error.message()),
        "another --port or --host");
  }
  if (!IsUnix()) {
    asio::ip::tcp::endpoint bound;
    const auto local = acceptor_.local_endpoint();
    bound.resize(local.size());
    std::memcpy(bound.data(), local.data(), local.size());
    port_ = bound.port();
  }
}

void Core::Start() {
  Accept();
  Tick();
  thread_ = std::thread([this] { io_.run(); });
}

void Core::Accept() {
  acceptor_.async_accept([self = shared_from_this()](IoError error, Socket socket) {
    if (!self->acceptor_.is_open()) return;
    if (!error) {
      self->OnAccepted(std::move(socket));
    } else if (error != asio::error::connection_aborted) {
      // Out of descriptors: existing connections go on; the next tick tries again.
      ++self->counts_.refused_connections;
      const auto wait = std::make_shared<asio::steady_timer>(self->io_, kTick);
      wait->async_wait([self, wait](IoError) {
        if (self->acceptor_.is_open()) self->Accept();
      });
      return;
    }
    self->Accept();
  });
}

void Core::OnAccepted(Socket socket) {
  std::string peer = "unix";
  IoError error;
  if (!IsUnix()) {
    const auto remote = socket.remote_endpoint(error);
    if (error) return;
    asio::ip::tcp::endpoint address;
    address.resize(remote.size());
    std::memcpy(address.data(), remote.data(), remote.size());
    peer = address.address().to_string();
    socket.set_option(asio::ip::tcp::no_delay(true), error);
  }
  const bool is_full = connections_.size() >= options_.limits.connections ||
                       (!IsUnix() && per_address_[peer] >= options_.limits.connections_per_address);
  if (is_full) {
    ++counts_.refused_connections;
    if (!IsUnix() && per_address_[peer] == 0) per_address_.erase(peer);
    return;  // closes it
  }
  if (!IsUnix()) ++per_address_[peer];
  auto transport =
      tls_ != nullptr ? tls_->Wrap(std::move(socket)) : MakePlainTransport(std::move(socket));
  const auto connection =
      std::make_shared<Connection>(shared_from_this(), std::move(transport), std::move(peer));
  connections_.emplace(connection.get(), connection);
  connection->Start();
}

void Core::Closed(Connection* connection) {
  if (!IsUnix()) {
    const auto found = per_address_.find(connection->peer());
    if (found != per_address_.end() && --found->second == 0) per_address_.erase(found);
  }
  connections_.erase(connection);
}

void Core::Tick() {
  std::vector<std::shared_ptr<Connection>> all;
  all.reserve(connections_.size());
  for (const auto& [key, connection] : connections_) all.push_back(connection);
  const auto now = NetClock::now();
  for (const auto& connection : all) connection->Tick(now);
  counts_.connections = connections_.size();
  counts_.exchanges = 0;
  for (const auto& [key, connection] : connections_) counts_.exchanges += connection->is_handling();
  {
    const std::lock_guard lock(published_mutex_);
    published_ = counts_;
  }
  timer_.expires_after(kTick);
  timer_.async_wait([self = shared_from_this()](IoError error) {
    // A wait that was over when it was cancelled ends without an error.
    if (!error && !self->is_closed_) self->Tick();
  });
}

void Core::Gather(std::shared_ptr<Connection> connection) {
  const std::lock_guard lock(post_mutex_);
  if (has_ended_) return;
  gathered_.push_back(std::move(connection));
  if (gathered_.size() > 1) return;
  asio::post(io_, [self = shared_from_this()] {
    self->gather_timer_.expires_after(GatherTime(self->options_.limits));
    self->gather_timer_.async_wait([self](IoError) { self->FlushGathered(); });
  });
}

void Core::FlushGathered() {
  std::vector<std::shared_ptr<Connection>> connections;
  {
    const std::lock_guard lock(post_mutex_);
    connections.swap(gathered_);
  }
  for (const auto& connection : connections) connection->Flush();
}

void Core::StopAccepting() {
  is_stopping_ = true;
  Post([self = shared_from_this()] {
    IoError ignored;
    self->acceptor_.close(ignored);
    std::vector<std::shared_ptr<Connection>> all;
    for (const auto& [key, connection] : self->connections_) all.push_back(connection);
    for (const auto& connection : all) connection->CloseIfIdle();
  });
}

void Core::Stop() {
  if (has_stopped_) return;
  has_stopped_ = true;
  is_stopping_ = true;
  if (thread_.joinable()) {
    Post([self = shared_from_this()] {
      IoError ignored;
      self->is_closed_ = true;
      self->acceptor_.close(ignored);
      std::vector<std::shared_ptr<Connection>> all;
      for (const auto& [key, connection] : self->connections_) all.push_back(connection);
      for (const auto& connection : all) connection->Close(HttpExchange::Gone::kShutdown);
      self->timer_.cancel();
      self->gather_timer_.cancel();
    });
    thread_.join();  // run returns when nothing is pending
  } else {
    IoError ignored;
    acceptor_.close(ignored);
  }
  {
    const std::lock_guard lock(post_mutex_);
    has_ended_ = true;
    gathered_.clear();
  }
  io_.restart();  // run has returned for want of work, which stops the context
  io_.poll();     // what was posted after the last handler ran: drops references to connections
  if (!socket_path_.empty()) unlink(socket_path_.c_str());
}

void Core::ReloadTls() {
  if (tls_ == nullptr) return;
  auto fresh = std::make_shared<TlsContext>(options_.tls_certificate, options_.tls_key);
  Post([self = shared_from_this(), fresh] { self->tls_ = fresh; });
}

HttpServerCounts Core::Counts() {
  const std::lock_guard lock(published_mutex_);
  return published_;
}

}  // namespace

struct HttpServer::Impl {
  std::shared_ptr<Core> core;
  std::string host;
  bool has_tls = false;
};

HttpServer::HttpServer(HttpServerOptions options, Handler handler)
    : impl_(std::make_unique<Impl>()) {
  impl_->host = options.host;
  impl_->has_tls = !options.tls_certificate.empty();
  impl_->core = std::make_shared<Core>(std::move(options), std::move(handler));
  impl_->core->Listen();
}

HttpServer::~HttpServer() { Stop(); }
void HttpServer::Start() { impl_->core->Start(); }
void HttpServer::StopAccepting() { impl_->core->StopAccepting(); }
void HttpServer::Stop() { impl_->core->Stop(); }
void HttpServer::ReloadTls() { impl_->core->ReloadTls(); }
uint16_t HttpServer::port() const { return impl_->core->port(); }
HttpServerCounts HttpServer::counts() const { return impl_->core->Counts(); }

std::string HttpServer::url() const {
  if (impl_->host.starts_with(kUnixPrefix)) return impl_->host;
  const bool is_v6 = impl_->host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}", impl_->has_tls ? "https" : "http", is_v6 ? "[" : "",
                     impl_->host, is_v6 ? "]" : "", port());
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "net/http_client.h"

#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <limits>
#include <optional>

#include "base/error.h"
#include "net/transport.h"

namespace planish {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

constexpr std::string_view kUnixPrefix = "unix:";
constexpr auto kCancelPoll = std::chrono::milliseconds(50);

}  // namespace

std::string Url::Host() const {
  if (is_unix) return "localhost";
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == (is_tls ? "443" : "80") ? name : name + ":" + port;
}

Url ParseUrl(const std::string& text) {
  Url url;
  if (text.starts_with(kUnixPrefix)) {
    url.is_unix = true;
    url.host = text.substr(kUnixPrefix.size());
    return url;
  }
  const auto fail = [&](const char* what) {
    return UsageError("{} is not a server's address: {}", Quoted(text), what);
  };
  url.is_tls = text.starts_with("https://");
  if (!url.is_tls && !text.starts_with("http://"))
    throw fail("expected http://, https:// or unix:/path");
  std::string rest = text.substr(url.is_tls ? 8 : 7);
  for (const char c : rest) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7F) throw fail("it has a blank in it");
  }
  if (const size_t hash = rest.find('#'); hash != std::string::npos) rest.resize(hash);
  const size_t slash = rest.find_first_of("/?");
  if (slash != std::string::npos) {
    url.path = rest.substr(slash);
    if (const size_t question = url.path.find('?'); question != std::string::npos) {
      url.query = url.path.substr(question);
      url.path.resize(question);
    }
    while (url.path.ends_with('/')) url.path.pop_back();
    rest.resize(slash);
  }
  if (rest.find('@') != std::string::npos) throw fail("no user or password may stand in it");
  size_t colon = rest.rfind(':');
  if (rest.starts_with('[')) {
    const size_t bracket = rest.find(']');
    if (bracket == std::string::npos) throw fail("']' is missing");
    url.host = rest.substr(1, bracket - 1);
    colon = bracket + 1 < rest.size() && rest[bracket + 1] == ':' ? bracket + 1 : std::string::npos;
  } else {
    url.host = rest.substr(0, colon);
  }
  url.port = colon == std::string::npos ? url.is_tls ? "443" : "80" : rest.substr(colon + 1);
  const bool is_number = url.port.size() <= 5 && !url.port.empty() &&
                         url.port.find_first_not_of("0123456789") == std::string::npos;
  if (!is_number || std::stoul(url.port) > 65535)
    throw fail("the port is not a number up to 65535");
  if (url.host.empty()) throw fail("the host is missing");
  return url;
}

struct HttpClient::Impl {
  Url url;
  std::string name;
  HttpClientOptions options;
  asio::io_context io{1};
  std::unique_ptr<Transport> transport;
  std::array<char, 16384> buffer;
  std::string input;

  [[noreturn]] void Fail(const std::string& what) {
    transport.reset();
    throw Error(ExitCode::kNetwork, fmt::format("{}: {}", name, what));
  }

  // Runs what was started on `io` until `is_done`; closes `close` when that takes too long.
  template <typename Close>
  void Wait(const bool& is_done, double seconds, const char* what, Close&& close) {
    io.restart();
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                        std::chrono::duration<double>(seconds));
    const auto slice = options.is_cancelled ? kCancelPoll : Clock::duration::max();
    bool is_cancelled = false;
    while (!is_done && !is_cancelled && Clock::now() < end) {
      if (io.run_one_until(end - Clock::now() > slice ? Clock::now() + slice : end) == 0 &&
          io.stopped())
        break;
      is_cancelled = options.is_cancelled && options.is_cancelled();
    }
    if (is_done) return;
    close();
    io.restart();
    io.run();  // the handlers refer to our variables
    if (is_cancelled) {
      transport.reset();
      throw Error(ExitCode::kInterrupted, fmt::format("{}: interrupted", name));
    }
    Fail(fmt::format("no answer in {:g} s while {}", seconds, what));
  }

  void Connect() {
    IoError error;
    Socket socket(io);
    bool is_done = false;
    const auto done = [&](IoError result) {
      error = result;
      is_done = true;
    };
    if (url.is_unix) {
      try {
        socket.async_connect(asio::local::stream_protocol::endpoint(url.host), done);
      } catch (const boost::system::system_error& failed) {
        Fail(failed.code().message());
      }
      Wait(is_done, options.connect_s, "connecting", [&] { socket.close(); });
    } else {
      asio::ip::tcp::resolver resolver(io);
      const auto found = resolver.resolve(url.host, url.port, error);
      if (error) Fail(fmt::format("the name is not known: {}", error.message()));
      error = asio::error::not_found;
      for (const auto& entry : found) {
        is_done = false;
        IoError ignored;
        socket.close(ignored);
        socket = Socket(io, asio::generic::stream_protocol(entry.endpoint().protocol()));
        socket.async_connect(entry.endpoint(), done);
        Wait(is_done, options.connect_s, "connecting", [&] { socket.close(); });
        if (!error) break;
      }
      IoError ignored;
      if (!error) socket.set_option(asio::ip::tcp::no_delay(true), ignored);
    }
    if (error) Fail(fmt::format("cannot connect: {}", error.message()));
    transport = url.is_tls ? MakeTlsClient(std::move(socket), url.host, options.ca_file,
                                           options.verifies_tls)
                           : MakePlainTransport(std::move(socket));
    is_done = false;
    transport->Handshake(done);
    Wait(is_done, options.connect_s, "agreeing on keys", [&] { transport->Close(); });
    if (error) Fail(fmt::format("no secure connection: {}", error.message()));
    input.clear();
  }

  // False if the connection had been closed before a byte of an answer came.
  bool Write(std::string_view bytes) {
    IoError error;
    bool is_done = false;
    transport->WriteAll(bytes, [&](IoError result, size_t) {
      error = result;
      is_done = true;
    });
    Wait(is_done, options.silence_s, "sending", [&] { transport->Close(); });
    return !error;
  }

  // 0 at the end of the stream.
  size_t Read() {
    IoError error;
    bool is_done = false;
    size_t count = 0;
    transport->ReadSome(buffer, [&](IoError result, size_t n) {
      error = result;
      count = n;
      is_done = true;
    });
    Wait(is_done, options.silence_s, "waiting", [&] { transport->Close(); });
    return error ? 0 : count;
  }

  std::optional<HttpResponse> TryOnce(const std::string& head, std::string_view body, bool is_head,
                                      const OnPiece& on_piece,
                                      const std::function<void(const HttpResponse&)>& on_head) {
    const bool is_reused = transport != nullptr;
    if (!is_reused) Connect();
    if (!Write(head) || (!body.empty() && !Write(body))) {
      if (is_reused) return std::nullopt;
      // The server may have answered already and closed: read on.
    }
    auto parser = std::make_unique<http::response_parser<http::string_body>>();
    const auto prepare = [&] {
      parser->eager(true);
      parser->skip(is_head);
      parser->header_limit(static_cast<uint32_t>(options.head_bytes));
      parser->body_limit(std::numeric_limits<uint64_t>::max());
    };
    prepare();
    HttpResponse response;
    bool has_head = false;
    const auto take = [&]() -> bool {
      if (!has_head && parser->is_header_done()) {
        if (parser->get().result_int() / 100 == 1) {  // 100 Continue
          parser = std::make_unique<http::response_parser<http::string_body>>();
          prepare();
          return true;
        }
        has_head = true;
        response.status = static_cast<int>(parser->get().result_int());
        for (const auto& field : parser->get()) {
          response.headers.push_back(
              {ToLower(std::string_view(field.name_string().data(), field.name_string().size())),
               std::string(field.value())});
        }
        if (on_head) on_head(response);
      }
      if (!has_head) return true;
      std::string& piece = parser->get().body();
      if (piece.empty()) return true;
      bool goes_on = true;
      if (on_piece && response.status / 100 == 2)
        goes_on = on_piece(piece);
      else if (response.body.size() + piece.size() > options.body_bytes)
        Fail(fmt::format("the answer is larger than {} bytes", options.body_bytes));
      else
        response.body += piece;
      piece.clear();
      return goes_on;
    };
    while (!parser->is_done()) {
      if (!input.empty()) {
        IoError error;
        const size_t used = parser->put(asio::buffer(input), error);
        input.erase(0, used);
        if (error == http::error::need_more) error = {};
        if (error) Fail(fmt::format("not a valid HTTP answer: {}", error.message()));
        if (!take()) {
          transport.reset();
          return response;
        }
        if (parser->is_done() || used > 0) continue;
        if (input.size() > options.head_bytes) Fail("not a valid HTTP answer: a line without end");
      }
      const size_t count = Read();
      if (count == 0) {
        if (!has_head && is_reused && input.empty()) return std::nullopt;
        IoError error;
        if (parser->got_some()) parser->put_eof(error);
        if (error || !parser->is_done())
          Fail(has_head ? "the answer was cut" : "the connection was closed without an answer");
        break;
      }
      input.append(buffer.data(), count);
    }
    if (!take() || !parser->get().keep_alive()) transport.reset();
    return response;
  }
};

HttpClient::HttpClient(const std::string& url, HttpClientOptions options)
    : impl_(std::make_unique<Impl>()) {
  impl_->url = ParseUrl(url);
  impl_->name = url;
  impl_->options = std::move(options);
}

HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;

void HttpClient::Close() { impl_->transport.reset(); }

HttpResponse HttpClient::Send(const std::string& method, const std::string& target,
                              const std::vector<HttpHeader>& headers, std::string_view body,
                              const OnPiece& on_piece,
                              const std::function<void(const HttpResponse&)>& on_head) {
  const std::string path = impl_->url.path + target;
  std::string head = fmt::format("{} {} HTTP/1.1\r\nhost: {}\r\nuser-agent: planish\r\n", method,
                                 path.empty() ? "/" : path, impl_->url.Host());
  for (const HttpHeader& header : headers) {
    if (header.value.find_first_of("\r\n") != std::string::npos)
      throw UsageError("the value of header {} has a line break", header.name);
    head += fmt::format("{}: {}\r\n", header.name, header.value);
  }
  if (!body.empty() || method == "POST" || method == "PUT")
    head += fmt::format("content-length: {}\r\n", body.size());
  head += "\r\n";
  // A kept connection that the server has closed meanwhile is no error: once more on a new one.
  for (;;) {
    auto response = impl_->TryOnce(head, body, method == "HEAD", on_piece, on_head);
    if (response) return std::move(*response);
    impl_->transport.reset();
  }
}

void SseReader::Push(std::string_view piece) {
  for (const char c : piece) {
    if (c != '\n') {
      line_ += c;
      continue;
    }
    if (line_.ends_with('\r')) line_.pop_back();
    if (line_.empty()) {
      if (has_data_) on_data_(data_);
      data_.clear();
      has_data_ = false;
    } else if (line_.starts_with("data:")) {
      if (has_data_) data_ += '\n';
      data_ += std::string_view(line_).substr(line_.size() > 5 && line_[5] == ' ' ? 6 : 5);
      has_data_ = true;
    }
    line_.clear();
  }
}

}  // namespace planish

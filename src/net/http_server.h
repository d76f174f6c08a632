// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 server on one I/O thread: TCP or Unix socket, TLS, keep-alive, limits and time-outs in every phase, streamed
// answers with back-pressure, notice of clients that go away. The handler is called on the I/O thread with a complete
// request and must not block: it answers at once or hands the exchange to another thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/http.h"

namespace planish {

struct JoinedPiece {
  uint64_t kind = 0;
  std::string_view head, text, tail;
};

// One request and its answer. All methods may be called from any thread, also after the server is gone (they do nothing
// then). An exchange that is destroyed without an answer sends 500; a stream that is not finished is cut.
class HttpExchange {
 public:
  // Why an answer could not be completed.
  enum class Gone { kClosed, kStalled, kShutdown };

  virtual ~HttpExchange() = default;
  virtual const HttpRequest& request() const = 0;
  // The whole answer. Once; exclusive with StartStream.
  virtual void Respond(HttpResponse response) = 0;
  // Head of a streamed answer; its body is the first piece. `filler` is sent whenever nothing was for `filler_s` seconds.
  virtual void StartStream(HttpResponse head, std::string filler = {}, double filler_s = 15) = 0;
  // False when the client is gone or too much is queued (the stream is cut then).
  virtual bool Write(std::string_view piece) = 0;
  // Writes head + text + tail; but while the piece before is of the same `kind` and still queued, only its tail is replaced,
  // by text + tail: so parts of one text that would leave together leave as one piece.
  virtual bool WriteJoined(const JoinedPiece& piece) = 0;
  virtual void Finish() = 0;
  // Cuts the connection without the end of the stream, after what is queued.
  virtual void Abort() = 0;
  // The client does not read as fast as is written: pause.
  virtual bool is_congested() const = 0;
  virtual bool is_gone() const = 0;
  // Called once, on the I/O thread, if the client goes away before the answer is complete; at once if it is gone already.
  // A client that closes its sending side counts as gone.
  virtual void OnGone(std::function<void(Gone)> callback) = 0;
};

struct HttpServerOptions {
  std::string host = "127.0.0.1";        // an address, a name, or unix:/path.sock
  uint16_t port = 0;                     // 0: any free one
  std::string tls_certificate, tls_key;  // PEM files; both or none
  HttpLimits limits;
  // Names that the Host header may have (without port); others get 403. Empty: any.
  std::vector<std::string> host_names;
  // Body of the server's own errors; null: plain text. May add headers.
  std::function<HttpResponse(int status, const std::string& message)> error_page;
  // Sees every answer's head just before it is sent, that of errors too; for headers common to all. May be null.
  std::function<void(const HttpRequest&, HttpResponse*)> decorate;
};

struct HttpServerCounts {
  size_t connections = 0, exchanges = 0;  // now, within a tenth of a second
  uint64_t requests = 0;                  // so far, refused ones included
  uint64_t refused_connections = 0, timeouts = 0, stalls = 0;
};

class HttpServer {
 public:
  using Handler = std::function<void(std::shared_ptr<HttpExchange>)>;
  // Binds and listens; connections wait until Start. Error(kNetwork) if it cannot; kBadFile for certificates.
  HttpServer(HttpServerOptions options, Handler handler);
  ~HttpServer();  // Stop

  void Start();
  // Closes the listening socket and idle connections; exchanges go on, their connections close afterwards.
  void StopAccepting();
  // Cuts everything that is left and ends the I/O thread.
  void Stop();
  // Reads certificate and key again, for new connections. On an Error the old ones stay.
  void ReloadTls();
  uint16_t port() const;
  std::string url() const;  // "http://127.0.0.1:8080"
  HttpServerCounts counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace planish

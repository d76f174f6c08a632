// SPDX-License-Identifier: Apache-2.0
#include "net/request_parser.h"

#include <algorithm>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "base/error.h"

namespace planish {
namespace {

namespace http = boost::beast::http;

constexpr size_t kChunkHeadBytes = 4096;  // size and extensions, or a trailer

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool IsDigits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

struct RequestParser::Beast {
  http::request_parser<http::string_body> parser;
};

RequestParser::RequestParser(const HttpLimits* limits)
    : limits_(limits), beast_(std::make_unique<Beast>()) {
  beast_->parser.eager(true);
  beast_->parser.body_limit(limits->body_bytes);
  // Checked here already; Beast counts trailers too.
  beast_->parser.header_limit(static_cast<uint32_t>(limits->head_bytes + kChunkHeadBytes));
}

RequestParser::~RequestParser() = default;

void RequestParser::Fail(int status, std::string message) {
  state_ = State::kFailed;
  failure_ = {status, std::move(message)};
}

size_t RequestParser::body_bytes() const { return beast_->parser.get().body().size(); }

size_t RequestParser::Push(std::string_view data) {
  size_t used = 0;
  if (state_ == State::kHead) used = PushHead(data);
  if (state_ == State::kBody) used += PushBody(data.substr(used));
  return used;
}

size_t RequestParser::PushHead(std::string_view data) {
  size_t skipped = 0;
  if (head_.empty()) {  // empty lines before a request are allowed and mean nothing
    while (skipped < data.size() && (data[skipped] == '\r' || data[skipped] == '\n')) ++skipped;
    data.remove_prefix(skipped);
  }
  const size_t before = head_.size();
  const size_t room = limits_->head_bytes + 4 - before;
  head_ += data.substr(0, room);
  const size_t end = head_.find("\r\n\r\n", before > 3 ? before - 3 : 0);
  const size_t line = std::min(head_.find('\n'), head_.size());
  const std::string_view head = std::string_view(head_).substr(0, end);
  auto bare = [&, i = before]() mutable {
    for (; i < head.size(); ++i) {
      if (head[i] == '\n' && (i == 0 || head[i - 1] != '\r')) return true;
    }
    return false;
  };
  if (line > limits_->request_line_bytes) {
    Fail(414, fmt::format("the request line is longer than {} bytes", limits_->request_line_bytes));
  } else if (end == std::string::npos ? head_.size() > limits_->head_bytes
                                      : end + 4 > limits_->head_bytes) {
    Fail(431, fmt::format("the headers are longer than {} bytes", limits_->head_bytes));
  } else if (bare()) {
    Fail(400, "a line does not end in CR LF");
  } else if (static_cast<size_t>(std::count(head.begin(), head.end(), '\n')) >
             limits_->header_lines) {
    Fail(431, fmt::format("more than {} header lines", limits_->header_lines));
  } else if (end != std::string::npos) {
    const size_t used = skipped + end + 4 - before;
    head_.resize(end + 4);
    CheckHead(head_);
    if (state_ != State::kFailed) ReadHead();
    return used;
  }
  return skipped + head_.size() - before;
}

// What Beast's parser lets pass and another reader in front of this server may read in another way.
void RequestParser::CheckHead(std::string_view head) {
  size_t hosts = 0, lengths = 0, encodings = 0;
  bool is_first = true;
  for (size_t begin = 0; begin < head.size();) {
    const size_t end = head.find('\n', begin);
    const std::string_view line = head.substr(begin, end - 1 - begin);
    begin = end + 1;
    if (line.find_first_of(std::string_view("\0\r", 2)) != std::string_view::npos)
      return Fail(400, "a control character in the headers");
    if (is_first || line.empty()) {
      is_first = false;
      continue;
    }
    if (line[0] == ' ' || line[0] == '\t') return Fail(400, "a folded header line");
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return Fail(400, "a header line without a colon");
    const std::string name = ToLower(line.substr(0, colon));
    const std::string_view value = Trimmed(line.substr(colon + 1));
    if (name == "host") ++hosts;
    if (name == "content-length") {
      ++lengths;
      if (!IsDigits(value)) return Fail(400, "Content-Length is not a number");
    }
    if (name == "transfer-encoding") {
      ++encodings;
      if (ToLower(value) != "chunked") return Fail(400, "Transfer-Encoding is not 'chunked'");
    }
    if (name == "content-encoding" && ToLower(value) != "identity")
      return Fail(415, "compressed bodies are not taken: send it without Content-Encoding");
    if (name == "expect" && ToLower(value) != "100-continue")
      return Fail(400, "Expect is not '100-continue'");
  }
  if (hosts > 1) return Fail(400, "more than one Host header");
  if (lengths > 1 || encodings > 1 || (lengths > 0 && encodings > 0))
    return Fail(400, "more than one statement of the body's length");
}

void RequestParser::ReadHead() {
  boost::beast::error_code error;
  auto& parser = beast_->parser;
  const size_t used = parser.put(boost::asio::buffer(head_), error);
  if (error == http::error::need_more) error = {};
  if (error == http::error::body_limit)
    return Fail(413, fmt::format("the body is larger than {} bytes", limits_->body_bytes));
  if (error == http::error::bad_version) return Fail(505, "the HTTP version is not 1.0 or 1.1");
  if (error || !parser.is_header_done() || used != head_.size())
    return Fail(400, fmt::format("not a valid request: {}",
                                 error ? error.message() : "the headers end early"));
  const auto& message = parser.get();
  is_http_1_0_ = message.version() == 10;
  if (message.version() != 10 && message.version() != 11)
    return Fail(505, "the HTTP version is not 1.0 or 1.1");
  if (!is_http_1_0_ && message.find(http::field::host) == message.end())
    return Fail(400, "the Host header is missing");
  if (is_http_1_0_ && parser.chunked()) return Fail(400, "a chunked body in HTTP/1.0");
  const std::string_view target(message.target().data(), message.target().size());
  if (target.empty() || target[0] != '/') return Fail(400, "the target does not begin with '/'");
  if (!PercentDecode(target.substr(0, target.find('?'))))
    return Fail(400, "a broken escape in the target");
  keep_alive_ = message.keep_alive();
  const auto expect = message.find(http::field::expect);
  expects_continue_ = expect != message.end() && !is_http_1_0_;
  const bool has_body =
      message.find(http::field::content_length) != message.end() || parser.chunked();
  if (!has_body && (message.method() == http::verb::post || message.method() == http::verb::put))
    return Fail(411, "the body's length is not stated");
  state_ = parser.is_done() ? State::kDone : State::kBody;
}

size_t RequestParser::PushBody(std::string_view data) {
  if (data.empty()) return 0;
  auto& parser = beast_->parser;
  const size_t before = pending_.size();
  std::string joined;
  std::string_view input = data;
  if (before > 0) {
    joined = std::move(pending_);
    joined += data;
    input = joined;
  }
  size_t used = 0;
  while (used < input.size() && !parser.is_done()) {
    boost::beast::error_code error;
    const std::string_view rest = input.substr(used);
    const size_t taken = parser.put(boost::asio::buffer(rest.data(), rest.size()), error);
    used += taken;
    if (error == http::error::need_more) break;
    if (error == http::error::body_limit) {
      Fail(413, fmt::format("the body is larger than {} bytes", limits_->body_bytes));
      return data.size();
    }
    if (error) {
      Fail(400, fmt::format("not a valid body: {}", error.message()));
      return data.size();
    }
    if (taken == 0) break;
  }
  if (parser.is_done()) {
    state_ = State::kDone;
    raw_body_bytes_ += used - before;
    return used - before;
  }
  pending_ = input.substr(used);
  raw_body_bytes_ += data.size();
  if (pending_.size() > kChunkHeadBytes)
    Fail(400, fmt::format("a chunk head of more than {} bytes", kChunkHeadBytes));
  // One-byte chunks with long extensions cost the sender as much as a body over the limit.
  else if (raw_body_bytes_ > 2 * limits_->body_bytes + kChunkHeadBytes)
    Fail(413, "the chunked body is larger than it may be with its chunk heads");
  return data.size();
}

HttpRequest RequestParser::Take() {
  auto message = beast_->parser.release();
  HttpRequest request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  const size_t question = request.target.find('?');
  request.path = PercentDecode(std::string_view(request.target).substr(0, question)).value_or("/");
  if (question != std::string::npos) request.query = request.target.substr(question + 1);
  for (const auto& field : message) {
    request.headers.push_back(
        {ToLower(std::string_view(field.name_string().data(), field.name_string().size())),
         std::string(field.value())});
  }
  request.body = std::move(message.body());
  return request;
}

}  // namespace planish

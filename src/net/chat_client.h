// SPDX-License-Identifier: Apache-2.0
// Client of a server that speaks OpenAI's chat completions: planish serve, llama-server, vLLM. Streamed answers come as typed
// pieces; what a server does not send stays at its default. For `chat --server` and `bench serve`.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "net/http_client.h"

namespace planish {

// The server answered with an error; what() is its own message.
class ServerError : public Error {
 public:
  ServerError(int status, const std::string& message, std::string hint = {})
      : Error(ExitCode::kFailure, message, std::move(hint)), status_(status) {}
  int status() const { return status_; }  // of HTTP; 200 for an error in a stream

 private:
  int status_;
};

struct ChatToolCall {
  std::string id, name, arguments;  // arguments: JSON text as the model wrote it
};

// One event of a stream.
struct ChatPiece {
  std::string id;  // of the completion
  std::string reasoning, content;
  bool has_call = false;         // a part of a tool call came
  size_t thinking_used = 0;      // tokens of reasoning so far; events where the server does not say
  int64_t thinking_budget = -1;  // -1: none, or not known
  size_t prompt_done = 0, prompt_total = 0;  // while the prompt is read; 0: not said

  bool has_text() const { return has_call || !reasoning.empty() || !content.empty(); }
};

struct ChatReply {
  std::string id, reasoning, content,
      finish;  // finish: "stop", "length", "tool_calls"; "" if cancelled
  std::vector<ChatToolCall> calls;
  bool was_cancelled = false;
  // From the server's usage; unknown without it.
  std::optional<size_t> prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens;
  std::string stopped_by;             // what ended the reasoning; "" if not said
  double prompt_s = 0, decode_s = 0;  // of the server; 0 if not said
};

class ChatClient {
 public:
  // url: "http://host:8080"; a "/v1" at its end is understood. key: may be empty.
  ChatClient(std::string url, const std::string& key, HttpClientOptions options = {});

  // Parsed JSON of an answer. ServerError for a status other than 2xx.
  Json Get(const std::string& path);
  Json Post(const std::string& path, const Json& body);

  // Streams POST /v1/chat/completions, or /v1/completions: `request` without stream options. on_piece returns false to
  // cancel. An interrupt (HttpClientOptions::is_cancelled) ends it too and is no error.
  using OnPiece = std::function<bool(const ChatPiece&)>;
  ChatReply Complete(Json request, const OnPiece& on_piece,
                     const std::string& path = "/v1/chat/completions");

  const std::string& url() const { return url_; }

 private:
  std::vector<HttpHeader> Headers() const;
  Json Parsed(const HttpResponse& response, const std::string& path) const;

  std::string url_, key_;
  HttpClient http_;
};

}  // namespace planish

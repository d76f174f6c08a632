// SPDX-License-Identifier: Apache-2.0
#include "net/chat_client.h"

#include <algorithm>

namespace planish {
namespace {

constexpr size_t kCalls = 128;  // of one answer

std::string BaseUrl(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  if (url.ends_with("/v1")) url.resize(url.size() - 3);
  return url;
}

const Json& At(const Json& value, std::initializer_list<std::string_view> path) {
  static const Json null;
  const Json* at = &value;
  for (const std::string_view key : path) {
    at = at->Find(key);
    if (at == nullptr) return null;
  }
  return *at;
}

std::string TextOr(const Json& value, std::string fallback = {}) {
  return value.is_string() ? value.AsString() : fallback;
}

bool IsNumber(const Json& value) {
  using Type = Json::Type;
  return value.type() == Type::kInt || value.type() == Type::kUint || value.type() == Type::kDouble;
}

std::optional<size_t> Count(const Json& value) {
  if (!IsNumber(value) || !(value.AsDouble() >= 0 && value.AsDouble() < 1e15)) return std::nullopt;
  return static_cast<size_t>(value.AsDouble());
}

double Milliseconds(const Json& value) { return IsNumber(value) ? value.AsDouble() / 1000 : 0; }

std::string ErrorMessage(const Json& body) {
  const Json& error = At(body, {"error"});
  return error.is_string() ? error.AsString() : TextOr(At(error, {"message"}));
}

// Reads the events of one stream.
class EventReader {
 public:
  EventReader(const std::string& url, ChatReply* reply, const ChatClient::OnPiece& on_piece)
      : url_(url), reply_(reply), on_piece_(on_piece) {}

  void Take(std::string_view data) {
    if (is_done_ || is_cancelled_) return;
    if (data == "[DONE]") {
      is_done_ = true;
      return;
    }
    const Json event = ParseJson(data, url_, {.reject_duplicate_keys = false});
    if (event.Find("error") != nullptr)
      throw ServerError(200, fmt::format("{}: {}", url_, Quoted(ErrorMessage(event), 500)));
    ReadFigures(event);
    ChatPiece piece = ReadPiece(event);
    if (on_piece_ && !on_piece_(piece)) is_cancelled_ = true;
  }
  bool is_done() const { return is_done_; }
  bool is_cancelled() const { return is_cancelled_; }

 private:
  ChatPiece ReadPiece(const Json& event) {
    ChatPiece piece;
    piece.id = reply_->id = TextOr(At(event, {"id"}), reply_->id);
    const Json& progress = At(event, {"planish", "progress"});
    piece.prompt_done = Count(At(progress, {"done"})).value_or(0);
    piece.prompt_total = Count(At(progress, {"total"})).value_or(0);
    const Json& choices = At(event, {"choices"});
    if (!choices.is_array() || choices.AsArray().empty()) return piece;
    const Json& choice = choices.AsArray()[0];
    const Json& delta = At(choice, {"delta"});
    piece.reasoning = TextOr(At(delta, {"reasoning_content"}), TextOr(At(delta, {"reasoning"})));
    piece.content = TextOr(At(delta, {"content"}), TextOr(At(choice, {"text"})));
    reply_->reasoning += piece.reasoning;
    reply_->content += piece.content;
    if (!piece.reasoning.empty()) ++reasoning_events_;
    const Json& thinking = At(event, {"planish", "thinking"});
    piece.thinking_used = Count(At(thinking, {"used"})).value_or(reasoning_events_);
    if (const auto budget = Count(At(thinking, {"budget"})))
      piece.thinking_budget = static_cast<int64_t>(*budget);
    if (const Json& calls = At(delta, {"tool_calls"}); calls.is_array()) {
      for (const Json& call : calls.AsArray()) ReadCall(call);
      piece.has_call = !calls.AsArray().empty();
    }
    reply_->finish = TextOr(At(choice, {"finish_reason"}), reply_->finish);
    return piece;
  }

  void ReadCall(const Json& part) {
    const size_t index = Count(At(part, {"index"})).value_or(0);
    if (index >= kCalls)
      throw ServerError(200, fmt::format("{}: tool call {} of an answer, expected at most {}", url_,
                                         index, kCalls));
    if (index >= reply_->calls.size()) reply_->calls.resize(index + 1);
    ChatToolCall& call = reply_->calls[index];
    call.id = TextOr(At(part, {"id"}), call.id);
    call.name = TextOr(At(part, {"function", "name"}), call.name);
    call.arguments += TextOr(At(part, {"function", "arguments"}));
  }

  void ReadFigures(const Json& event) {
    if (const Json& usage = At(event, {"usage"}); usage.is_object()) {
      reply_->prompt_tokens = Count(At(usage, {"prompt_tokens"}));
      reply_->completion_tokens = Count(At(usage, {"completion_tokens"}));
      reply_->cached_tokens = Count(At(usage, {"prompt_tokens_details", "cached_tokens"}));
      reply_->reasoning_tokens =
          Count(At(usage, {"completion_tokens_details", "reasoning_tokens"}));
    }
    const Json& planish = At(event, {"planish"});
    if (const Json& timings = At(planish, {"timings"}); timings.is_object()) {
      reply_->prompt_s = Milliseconds(At(timings, {"prompt_ms"}));
      reply_->decode_s = Milliseconds(At(timings, {"decode_ms"}));
    }
    reply_->stopped_by = TextOr(At(planish, {"thinking", "stopped_by"}), reply_->stopped_by);
    if (const Json& timings = At(event, {"timings"}); timings.is_object()) {  // llama-server's
      reply_->prompt_s = Milliseconds(At(timings, {"prompt_ms"}));
      reply_->decode_s = Milliseconds(At(timings, {"predicted_ms"}));
      if (!reply_->cached_tokens) reply_->cached_tokens = Count(At(timings, {"cache_n"}));
      if (!reply_->completion_tokens)
        reply_->completion_tokens = Count(At(timings, {"predicted_n"}));
      const auto computed = Count(At(timings, {"prompt_n"}));
      if (!reply_->prompt_tokens && computed)
        reply_->prompt_tokens = *computed + reply_->cached_tokens.value_or(0);
    }
  }

  const std::string& url_;
  ChatReply* reply_;
  const ChatClient::OnPiece& on_piece_;
  size_t reasoning_events_ = 0;
  bool is_done_ = false, is_cancelled_ = false;
};

}  // namespace

ChatClient::ChatClient(std::string url, const std::string& key, HttpClientOptions options)
    : url_(BaseUrl(std::move(url))), key_(key), http_(url_, std::move(options)) {}

std::vector<HttpHeader> ChatClient::Headers() const {
  std::vector<HttpHeader> headers;
  if (!key_.empty()) headers.push_back({"authorization", "Bearer " + key_});
  return headers;
}

Json ChatClient::Parsed(const HttpResponse& response, const std::string& path) const {
  const std::string where = url_ + path;
  if (response.status / 100 == 2)
    return ParseJson(response.body, where, {.reject_duplicate_keys = false});
  std::string message;
  try {
    message = ErrorMessage(ParseJson(response.body, where, {.reject_duplicate_keys = false}));
  } catch (const Error&) {  // a proxy's page
  }
  if (message.empty()) message = response.body;
  throw ServerError(response.status,
                    fmt::format("{} answers {}: {}", where, response.status, Quoted(message, 500)),
                    response.status == 401 ? "--api-key KEY" : "");
}

Json ChatClient::Get(const std::string& path) {
  return Parsed(http_.Send("GET", path, Headers()), path);
}

Json ChatClient::Post(const std::string& path, const Json& body) {
  std::vector<HttpHeader> headers = Headers();
  headers.push_back({"content-type", "application/json"});
  return Parsed(http_.Send("POST", path, headers, DumpJson(body)), path);
}

ChatReply ChatClient::Complete(Json request, const OnPiece& on_piece, const std::string& path) {
  request.Set("stream", true);
  Json options = Json::MakeObject();
  options.Set("include_usage", true);
  options.Set("include_progress", true);
  request.Set("stream_options", std::move(options));
  std::vector<HttpHeader> headers = Headers();
  headers.push_back({"content-type", "application/json"});
  headers.push_back({"accept", "text/event-stream"});
  ChatReply reply;
  EventReader events(url_, &reply, on_piece);
  SseReader lines([&](std::string_view data) { events.Take(data); });
  try {
    const HttpResponse response =
        http_.Send("POST", path, headers, DumpJson(request), [&](std::string_view piece) {
          lines.Push(piece);
          return !events.is_cancelled();
        });
    if (response.status / 100 != 2) Parsed(response, path);
  } catch (const Error& error) {
    http_.Close();  // the rest of a stream must not be taken for the next answer
    if (error.code() != ExitCode::kInterrupted) throw;
    reply.was_cancelled = true;
  }
  if (events.is_cancelled()) reply.was_cancelled = true;
  if (!reply.was_cancelled && !events.is_done())
    throw ServerError(200, fmt::format("{}: the answer broke off", url_));
  std::erase_if(reply.calls, [](const ChatToolCall& call) { return call.name.empty(); });
  return reply;
}

}  // namespace planish

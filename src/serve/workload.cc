// SPDX-License-Identifier: Apache-2.0
#include "serve/workload.h"

#include <algorithm>
#include <array>
#include <memory>

#include "base/error.h"
#include "base/random.h"

namespace planish {
namespace {

constexpr size_t kConversations = 1'000'000;
constexpr double kTokensPerWord = 1.3;  // of English in common vocabularies

constexpr std::array kWords = {
    "after",   "answer", "apple",  "before", "bridge", "carry",  "city",    "clear",    "cloud",
    "coffee",  "count",  "dance",  "dinner", "early",  "engine", "evening", "family",   "field",
    "flower",  "forest", "garden", "green",  "happy",  "harbor", "house",   "island",   "journey",
    "kitchen", "letter", "light",  "market", "meadow", "mirror", "morning", "mountain", "music",
    "night",   "number", "ocean",  "orange", "paper",  "people", "picture", "planet",   "quiet",
    "rain",    "river",  "school", "season", "silver", "simple", "spring",  "street",   "summer",
    "table",   "travel", "valley", "water",  "window", "winter", "wonder",  "yellow"};

Json Message(const char* role, const std::string& content) {
  Json message = Json::MakeObject();
  message.Set("role", role);
  message.Set("content", content);
  return message;
}

Json Request(const WorkloadOptions& options, size_t output_tokens) {
  Json request = Json::MakeObject();
  if (!options.model.empty()) request.Set("model", options.model);
  request.Set("max_tokens", static_cast<int64_t>(output_tokens));
  request.Set("temperature", 0.0);
  return request;
}

// About `tokens` tokens of words; `stream` tells texts of one seed apart.
std::string Words(uint64_t seed, uint64_t stream, size_t tokens) {
  std::string text;
  const auto words =
      std::max<size_t>(1, static_cast<size_t>(static_cast<double>(tokens) / kTokensPerWord));
  for (size_t i = 0; i < words; ++i) {
    if (i > 0) text += ' ';
    text += kWords[static_cast<size_t>(UniformAt(seed, stream, i) * kWords.size())];
  }
  return text + '.';
}

}  // namespace

Workload RandomWorkload(const WorkloadOptions& options, int32_t first_id, int32_t end_id) {
  if (first_id < 0 || end_id <= first_id)
    throw UsageError("no token ids in [{}, {})", first_id, end_id);
  const auto request = [=](size_t session, size_t, const std::vector<std::string>&) {
    Json ids = Json::MakeArray();
    for (size_t i = 0; i < options.input_tokens; ++i) {
      const double u = UniformAt(options.seed, session, i);
      ids.Append(int64_t{first_id} + static_cast<int64_t>(u * (end_id - first_id)));
    }
    Json body = Request(options, options.output_tokens);
    body.Set("prompt", std::move(ids));
    body.Set("ignore_eos", true);
    return body;
  };
  return {.path = "/v1/completions", .sessions = options.sessions, .request = request};
}

Workload ShareGptWorkload(const WorkloadOptions& options, const std::string& text,
                          const std::string& where,
                          const std::function<size_t(const std::string&)>& count_tokens) {
  const Json file = ParseJson(text, where, {.max_values = 64u << 20});
  if (!file.is_array())
    throw BadFile("{}: it is {}, expected a list of conversations", where, file.type_name());
  struct Pair {
    std::string question;
    size_t answer_tokens;
  };
  auto pairs = std::make_shared<std::vector<Pair>>();
  const auto said_by = [](const Json& turn,
                          std::initializer_list<const char*> names) -> const std::string* {
    const Json *from = turn.Find("from"), *value = turn.Find("value");
    if (from == nullptr || value == nullptr || !from->is_string() || !value->is_string())
      return nullptr;
    const bool is_named = std::any_of(names.begin(), names.end(),
                                      [&](const char* name) { return from->AsString() == name; });
    return is_named && !value->AsString().empty() ? &value->AsString() : nullptr;
  };
  for (const Json& entry : file.AsArray()) {
    if (pairs->size() == std::min(options.sessions, kConversations)) break;
    const Json* turns = entry.Find("conversations");
    if (turns == nullptr || !turns->is_array() || turns->AsArray().size() < 2) continue;
    const std::string* question = said_by(turns->AsArray()[0], {"human", "user"});
    const std::string* answer =
        said_by(turns->AsArray()[1], {"gpt", "chatgpt", "assistant", "bing"});
    if (question == nullptr || answer == nullptr) continue;
    pairs->push_back(
        {*question, std::clamp<size_t>(count_tokens(*answer), 1, options.output_tokens)});
  }
  if (pairs->empty())
    throw BadFile("{}: it has no conversation that a human begins and a model answers", where);
  const auto request = [=](size_t session, size_t, const std::vector<std::string>&) {
    const Pair& pair = (*pairs)[session];
    Json messages = Json::MakeArray();
    messages.Append(Message("user", pair.question));
    Json body = Request(options, pair.answer_tokens);
    body.Set("messages", std::move(messages));
    body.Set("ignore_eos", true);
    return body;
  };
  return {.path = "/v1/chat/completions", .sessions = pairs->size(), .request = request};
}

Workload MultiturnWorkload(const WorkloadOptions& options, const MultiturnOptions& multiturn) {
  const std::string system =
      "You are a helpful assistant. " + Words(options.seed, ~uint64_t{0}, multiturn.system_tokens);
  const auto request = [=](size_t session, size_t turn, const std::vector<std::string>& answers) {
    Json messages = Json::MakeArray();
    if (multiturn.system_tokens > 0) messages.Append(Message("system", system));
    for (size_t i = 0; i <= turn; ++i) {
      const std::string words =
          Words(options.seed, session * multiturn.turns + i, options.input_tokens);
      messages.Append(Message("user", fmt::format("Question {}: {} What follows?", i + 1, words)));
      if (i < turn) messages.Append(Message("assistant", answers[i]));
    }
    Json body = Request(options, options.output_tokens);
    body.Set("messages", std::move(messages));
    if (multiturn.thinks) {
      Json arguments = Json::MakeObject();
      arguments.Set("enable_thinking", true);
      body.Set("chat_template_kwargs", std::move(arguments));
      if (multiturn.thinking_budget > 0)
        body.Set("thinking_budget_tokens", multiturn.thinking_budget);  // llama-server's name too
    }
    return body;
  };
  return {.path = "/v1/chat/completions",
          .sessions = options.sessions,
          .turns = multiturn.turns,
          .request = request};
}

}  // namespace planish

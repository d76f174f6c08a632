// SPDX-License-Identifier: Apache-2.0
// The answers of /v1/chat/completions: chat.completion and its chunks (serve.md 3.1, 7.3).
#pragma once

#include "serve/generation.h"

namespace planish {

class ChatWriter final : public ReplyWriter {
 public:
  std::string Begin(const Generation& generation) override;
  std::string Piece(const Generation& generation, const Choice& choice,
                    const Delta& delta) override;
  std::string Progress(const Generation& generation, size_t done, size_t total,
                       size_t cached) override;
  std::string ChoiceEnd(const Generation& generation, const Choice& choice) override;
  std::string End(const Generation& generation) override;
  std::string Failure(const Generation& generation, const ApiError& error) override;
  Json Whole(const Generation& generation) override;

 private:
  Json Chunk(const Generation& generation) const;
  std::string ChoiceChunk(const Generation& generation, const Choice& choice, Json delta,
                          Json finish_reason, Json logprobs, Json ids) const;
};

// One server-sent event.
std::string SseEvent(const Json& json);

// choices[].logprobs of chat answers, of tokens from `from` on: {"content": [{token, logprob, bytes, top_logprobs}]}.
Json ChatLogprobs(const Generation& generation, const Choice& choice, size_t from);
// Ids of the same tokens.
Json TokenIds(const Choice& choice, size_t from);

}  // namespace planish

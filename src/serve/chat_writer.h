// SPDX-License-Identifier: Apache-2.0
// The answers of /v1/chat/completions: chat.completion and its chunks (serve.md 3.1, 7.3).
#pragma once

#include "serve/stream_writer.h"

namespace planish {

class ChatWriter final : public StreamWriter {
 public:
  ChatWriter() : StreamWriter("chat.completion", "chat.completion.chunk") {}
  std::string Begin(const Generation& generation) override;
  bool Text(const Generation& generation, const Choice& choice, const Delta& delta,
            TextEvent* event) override;
  std::string Piece(const Generation& generation, const Choice& choice,
                    const Delta& delta) override;
  std::string ChoiceEnd(const Generation& generation, const Choice& choice) override;
  Json Whole(const Generation& generation) override;

 private:
  std::string ChoiceChunk(const Generation& generation, const Choice& choice, Json delta,
                          Json finish_reason, Json logprobs, Json ids) const;
};

// choices[].logprobs of chat answers, of tokens from `from` on: {"content": [{token, logprob, bytes, top_logprobs}]}.
Json ChatLogprobs(const Generation& generation, const Choice& choice, size_t from);

}  // namespace planish

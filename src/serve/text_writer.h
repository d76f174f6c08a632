// SPDX-License-Identifier: Apache-2.0
// The answers of /v1/completions: text_completion and its chunks, with echo and the legacy log-probabilities that
// lm-evaluation-harness reads (serve.md 3.2).
#pragma once

#include "serve/stream_writer.h"

namespace planish {

class TextWriter final : public StreamWriter {
 public:
  TextWriter() : StreamWriter("text_completion", "text_completion") {}
  std::string Begin(const Generation& generation) override;
  bool Text(const Generation& generation, const Choice& choice, const Delta& delta,
            TextEvent* event) override;
  std::string Piece(const Generation& generation, const Choice& choice,
                    const Delta& delta) override;
  std::string ChoiceEnd(const Generation& generation, const Choice& choice) override;
  Json Whole(const Generation& generation) override;
};

// logprobs {tokens, token_logprobs, top_logprobs, text_offset}, all of one length: with `echo` the prompt's tokens first, the
// first of them null, then the generated ones from `from` on.
Json LegacyLogprobs(const Generation& generation, const Choice& choice, size_t from, bool echo);

}  // namespace planish

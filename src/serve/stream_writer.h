// SPDX-License-Identifier: Apache-2.0
// What the answers of chat and plain completions share: the head of every object, and of streams the chunks of progress, the end
// and failures.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serve/generation.h"

namespace planish {

class StreamWriter : public ReplyWriter {
 public:
  std::string Progress(const Generation& generation, size_t done, size_t total,
                       size_t cached) override;
  std::string End(const Generation& generation) override;
  std::string Failure(const Generation& generation, const ApiError& error) override;

 protected:
  // Names of the object that answers in one piece and of a part of a stream.
  StreamWriter(const char* whole, const char* chunk) : whole_(whole), chunk_(chunk) {}
  // Both without choices; a chunk has "usage": null where the last one will have it.
  Json EmptyWhole(const Generation& generation) const { return Head(generation, whole_); }
  Json EmptyChunk(const Generation& generation) const;

  // An event around a text: what stands before and behind it.
  struct Envelope {
    uint64_t kind = 0;
    std::string head, tail;
  };
  // The envelope of `kind` (not 0); made once, from an event where the string at `key`, which is its first, is empty.
  const Envelope& EnvelopeOf(uint64_t kind, std::string_view key,
                             const std::function<std::string()>& make);

 private:
  static Json Head(const Generation& generation, const char* object);
  const char *whole_, *chunk_;
  std::vector<std::unique_ptr<Envelope>> envelopes_;
};

// One server-sent event.
std::string SseEvent(const Json& json);
// As within the quotes of a JSON string.
std::string EscapedText(std::string_view text);
// Ids of the tokens from `from` on.
Json TokenIds(const Choice& choice, size_t from);

}  // namespace planish

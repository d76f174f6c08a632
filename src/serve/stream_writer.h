// SPDX-License-Identifier: Apache-2.0
// What the answers of chat and plain completions share: the head of every object, and of streams the chunks of progress, the end
// and failures.
#pragma once

#include <string>

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

 private:
  static Json Head(const Generation& generation, const char* object);
  const char *whole_, *chunk_;
};

// One server-sent event.
std::string SseEvent(const Json& json);
// Ids of the tokens from `from` on.
Json TokenIds(const Choice& choice, size_t from);

}  // namespace planish

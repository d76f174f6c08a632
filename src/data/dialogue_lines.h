// SPDX-License-Identifier: Apache-2.0
// Conversations of a JSONL file, one a line (data/dialogue.h), from a file or standard input, zstd undone on the way.
#pragma once

#include <optional>
#include <string>

#include "base/byte_stream.h"
#include "data/dialogue.h"

namespace planish {

class DialogueLines {
 public:
  // "-" is standard input. Error(kBadFile) for what cannot be opened.
  explicit DialogueLines(const std::string& path) : path_(path), stream_(path) {}

  // The next line that is not empty, without its end. Error(kBadFile) "PATH:LINE: ..." for a line beyond
  // limits::kJsonlLineBytes, and at a place where zstd data is broken.
  bool NextLine(std::string* line);
  // The same, parsed.
  std::optional<Dialogue> Next();
  std::string place() const;  // "PATH:LINE" of the last line

 private:
  bool Fill();

  std::string path_;
  ByteStream stream_;
  std::string buffer_;
  size_t begin_ = 0;  // of what was not handed out yet
  uint64_t number_ = 0;
};

}  // namespace planish

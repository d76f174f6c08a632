// SPDX-License-Identifier: Apache-2.0
#include "data/dialogue_lines.h"

#include "base/error.h"
#include "base/limits.h"

namespace planish {

std::string DialogueLines::place() const { return fmt::format("{}:{}", path_, number_); }

bool DialogueLines::Fill() {
  constexpr size_t kBytes = size_t{64} << 10;
  buffer_.erase(0, begin_);
  begin_ = 0;
  const size_t old = buffer_.size();
  buffer_.resize(old + kBytes);
  const size_t read = stream_.Read(buffer_.data() + old, kBytes);
  buffer_.resize(old + read);
  if (read == 0 && !stream_.damage().empty())
    throw BadFile("{}:{}: {}", path_, number_ + 1, stream_.damage());
  return read > 0;
}

bool DialogueLines::NextLine(std::string* line) {
  for (size_t searched = begin_;;) {
    size_t end = buffer_.find('\n', searched);
    if (end == std::string::npos) {
      searched = buffer_.size() - begin_;
      if (buffer_.size() - begin_ <= limits::kJsonlLineBytes && Fill()) continue;
      if (begin_ == buffer_.size()) return false;
      end = buffer_.size();
    }
    if (end - begin_ > limits::kJsonlLineBytes)
      throw BadFile("{}:{}: the line is longer than {} bytes", path_, number_ + 1,
                    limits::kJsonlLineBytes);
    line->assign(buffer_, begin_, end - begin_);
    begin_ = searched = std::min(end + 1, buffer_.size());
    ++number_;
    if (line->find_first_not_of(" \t\r") != std::string::npos) return true;
  }
}

std::optional<Dialogue> DialogueLines::Next() {
  std::string line;
  if (!NextLine(&line)) return std::nullopt;
  return ParseDialogue(line, place());
}

}  // namespace planish

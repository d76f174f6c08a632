// SPDX-License-Identifier: Apache-2.0
#include "text/reasoning.h"

#include <algorithm>

namespace planish {
namespace {

// Length of the longest end of `text` that is a proper beginning of `tag`.
size_t PartialTag(std::string_view text, std::string_view tag) {
  for (size_t n = std::min(text.size(), tag.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == tag.substr(0, n)) return n;
  }
  return 0;
}

// Moves all of `held` but a possible beginning of `tag` to `out`.
void Release(std::string_view tag, bool at_end, std::string* held, std::string* out) {
  const size_t keep = at_end ? 0 : PartialTag(*held, tag);
  out->append(*held, 0, held->size() - keep);
  held->erase(0, held->size() - keep);
}

}  // namespace

void ReasoningSplitter::Step(Piece* piece, bool at_end) {
  if (mode_ == Mode::kOpenWait) {
    const size_t begin = held_.find_first_not_of(" \t\r\n");
    const std::string_view rest =
        begin == std::string::npos ? std::string_view() : std::string_view(held_).substr(begin);
    if (rest.starts_with(kOpenTag)) {
      held_.erase(0, begin + kOpenTag.size());
      mode_ = Mode::kThink;
    } else if (at_end || !kOpenTag.starts_with(rest)) {
      mode_ = Mode::kAnswer;
    } else {
      return;
    }
  }
  if (mode_ == Mode::kThink) {
    const size_t close = held_.find(kCloseTag);
    if (close == std::string::npos) {
      Release(kCloseTag, at_end, &held_, &piece->reasoning);
      return;
    }
    piece->reasoning.append(held_, 0, close);
    held_.erase(0, close + kCloseTag.size());
    mode_ = Mode::kAnswer;
    trim_newlines_ = true;
  }
  if (mode_ == Mode::kOff) {
    for (size_t stray; (stray = held_.find(kCloseTag)) != std::string::npos;) {
      piece->answer.append(held_, 0, stray);
      held_.erase(0, stray + kCloseTag.size());
    }
    Release(kCloseTag, at_end, &held_, &piece->answer);
    return;
  }
  if (trim_newlines_) {
    const size_t newlines =
        std::min<size_t>(std::min(held_.find_first_not_of('\n'), held_.size()), 2);
    if (newlines == held_.size() && newlines < 2 && !at_end)
      return;  // the second newline may still come
    held_.erase(0, newlines);
    trim_newlines_ = false;
  }
  piece->answer += held_;
  held_.clear();
}

ReasoningSplitter::Piece ReasoningSplitter::Push(std::string_view text) {
  Piece piece;
  held_ += text;
  Step(&piece, /*at_end=*/false);
  return piece;
}

ReasoningSplitter::Piece ReasoningSplitter::Finish() {
  Piece piece;
  Step(&piece, /*at_end=*/true);
  return piece;
}

}  // namespace planish

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

bool ReasoningSplitter::IsLineStart(size_t at) const {
  const size_t last = held_.substr(0, at).find_last_not_of(" \t");
  return last == std::string::npos ? at_line_start_ : held_[last] == '\n';
}

void ReasoningSplitter::Reasoning(size_t count, Piece* piece) {
  at_line_start_ = IsLineStart(count);
  piece->reasoning.append(held_, 0, count);
  held_.erase(0, count);
}

void ReasoningSplitter::Think(Piece* piece, bool at_end) {
  for (size_t at = 0; (at = held_.find('<', at)) != std::string::npos; ++at) {
    const std::string_view rest = std::string_view(held_).substr(at);
    if (rest.starts_with(kCloseTag)) {
      Reasoning(at, piece);
      held_.erase(0, kCloseTag.size());
      mode_ = Mode::kAnswer;
      trim_newlines_ = true;
      return;
    }
    const bool may_call = tool_calls_ && IsLineStart(at);
    if (may_call && (rest.starts_with(kToolcallTag) || rest.starts_with(kToolCallTag))) {
      Reasoning(at, piece);
      mode_ = Mode::kAnswer;
      ended_by_tool_call_ = true;
      return;
    }
    const bool may_begin =
        kCloseTag.starts_with(rest) ||
        (may_call && (kToolcallTag.starts_with(rest) || kToolCallTag.starts_with(rest)));
    if (may_begin && !at_end) return Reasoning(at, piece);
  }
  Reasoning(held_.size(), piece);
}

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
  if (mode_ == Mode::kThink) Think(piece, at_end);
  if (mode_ == Mode::kThink) return;
  if (mode_ == Mode::kOff || ended_by_tool_call_) {
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

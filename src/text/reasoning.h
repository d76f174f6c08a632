// SPDX-License-Identifier: Apache-2.0
// Splits generated text into reasoning and answer at <think> ... </think>. Works on text, never on token ids: the closing tag
// has several token spellings, because '>' merges with the newlines that follow it. A tag may be cut anywhere between
// pieces; bytes that could begin a tag are held back until they are decided.
#pragma once

#include <string>
#include <string_view>

namespace planish {

class ReasoningSplitter {
 public:
  enum class Mode {
    kOff,       // thinking is off: all is answer, a stray closing tag is dropped
    kOpenWait,  // the model may open its own tag as the first thing it writes
    kThink,     // inside the tag (also at the start, when the prompt ends in an open tag)
    kAnswer,    // after the tag: everything is answer, a later <think> is plain text
  };
  struct Piece {
    std::string reasoning, answer;
  };

  explicit ReasoningSplitter(Mode start) : mode_(start) {}
  Piece Push(std::string_view text);
  Piece Finish();  // what was held back, as it is
  Mode mode() const { return mode_; }
  // What is held back as a possible beginning of the closing tag; while in kThink.
  const std::string& held() const { return held_; }

 private:
  void Step(Piece* piece, bool at_end);
  Mode mode_;
  std::string held_;
  bool trim_newlines_ =
      false;  // one "\n\n" (or "\n") after the closing tag is no part of the answer
};

inline constexpr std::string_view kOpenTag = "<think>";
inline constexpr std::string_view kCloseTag = "</think>";

}  // namespace planish

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

  // `tool_calls`: tools are offered, and a call that the model opens at the beginning of a line ends its reasoning even
  // without the closing tag; the opening tag is the first of the answer.
  explicit ReasoningSplitter(Mode start, bool tool_calls = false)
      : mode_(start), tool_calls_(tool_calls) {}
  Piece Push(std::string_view text);
  Piece Finish();  // what was held back, as it is
  Mode mode() const { return mode_; }
  bool ended_by_tool_call() const { return ended_by_tool_call_; }
  // The closing tag was just read: a newline that comes next is no part of the answer.
  bool trims_newlines() const { return trim_newlines_; }
  // What is held back as a possible beginning of the closing tag (or of a call); while in kThink.
  const std::string& held() const { return held_; }

 private:
  void Step(Piece* piece, bool at_end);
  void Think(Piece* piece, bool at_end);
  bool IsLineStart(size_t at) const;
  void Reasoning(size_t count, Piece* piece);
  Mode mode_;
  bool tool_calls_;
  bool ended_by_tool_call_ = false;
  bool at_line_start_ = true;  // the reasoning so far is empty or ends in a newline and blanks
  std::string held_;
  bool trim_newlines_ =
      false;  // one "\n\n" (or "\n") after the closing tag is no part of the answer
};

inline constexpr std::string_view kOpenTag = "<think>";
inline constexpr std::string_view kCloseTag = "</think>";
// What opens a tool call (text/tool_format.h).
inline constexpr std::string_view kToolcallTag = "<TOOLCALL>";
inline constexpr std::string_view kToolCallTag = "<tool_call>";

}  // namespace planish

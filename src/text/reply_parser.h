// SPDX-License-Identifier: Apache-2.0
// A model's whole reply, streamed: reasoning, content and tool calls in the order they come. The reasoning splitter and the
// tool call parser in one, so that a call inside the reasoning is not lost.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/reasoning.h"
#include "text/tool_call_parser.h"
#include "text/tool_format.h"

namespace planish {

struct ReplyEvent {
  enum class Kind {
    kReasoning,
    kContent,
    kCall,       // a call begins: text is its name, complete
    kArguments,  // a fragment of its arguments
    kCallEnd,
  };
  Kind kind = Kind::kContent;
  size_t index = 0;  // of the call, from 0
  std::string text;
  bool operator==(const ReplyEvent&) const = default;
};

class ReplyParser {
 public:
  // `tools`: the list of the request; null or empty: none are offered, and markup of calls is plain content.
  ReplyParser(ReasoningSplitter::Mode start, const Json& tools);
  // Text in pieces that end at character borders (StreamDecoder gives such). Never an empty event text but for kCallEnd.
  std::vector<ReplyEvent> Push(std::string_view text);
  std::vector<ReplyEvent> Finish();

  ReasoningSplitter::Mode mode() const { return splitter_.mode(); }
  bool reasoning_ended_by_call() const { return splitter_.ended_by_tool_call(); }
  size_t calls() const { return parser_.calls(); }
  size_t failures() const { return parser_.failures(); }  // for tool_parse_failures_total

 private:
  void Add(const ReasoningSplitter::Piece& piece, std::vector<ReplyEvent>* events);
  bool has_tools_;
  ReasoningSplitter splitter_;
  ToolCallParser parser_;
};

struct Reply : ToolReply {
  std::string reasoning;
};
// All at once, by the same parser.
Reply ParseReply(std::string_view text, ReasoningSplitter::Mode start, const Json& tools);

}  // namespace planish

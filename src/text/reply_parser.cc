// SPDX-License-Identifier: Apache-2.0
#include "text/reply_parser.h"

namespace planish {
namespace {

bool OffersTools(const Json& tools) { return tools.is_array() && !tools.AsArray().empty(); }

void AddCalls(const std::vector<ToolEvent>& from, std::vector<ReplyEvent>* to) {
  for (const ToolEvent& event : from) {
    ReplyEvent::Kind kind = ReplyEvent::Kind::kContent;
    switch (event.kind) {
      case ToolEvent::Kind::kContent:
        kind = ReplyEvent::Kind::kContent;
        break;
      case ToolEvent::Kind::kCall:
        kind = ReplyEvent::Kind::kCall;
        break;
      case ToolEvent::Kind::kArguments:
        kind = ReplyEvent::Kind::kArguments;
        break;
      case ToolEvent::Kind::kCallEnd:
        kind = ReplyEvent::Kind::kCallEnd;
        break;
    }
    to->push_back({kind, event.index, event.text});
  }
}

}  // namespace

ReplyParser::ReplyParser(ReasoningSplitter::Mode start, const Json& tools)
    : has_tools_(OffersTools(tools)),
      splitter_(start, has_tools_),
      parser_(has_tools_ ? tools : Json()) {}

void ReplyParser::Add(const ReasoningSplitter::Piece& piece, std::vector<ReplyEvent>* events) {
  if (!piece.reasoning.empty())
    events->push_back({ReplyEvent::Kind::kReasoning, 0, piece.reasoning});
  if (piece.answer.empty()) return;
  if (has_tools_) {
    AddCalls(parser_.Push(piece.answer), events);
  } else {
    events->push_back({ReplyEvent::Kind::kContent, 0, piece.answer});
  }
}

std::vector<ReplyEvent> ReplyParser::Push(std::string_view text) {
  std::vector<ReplyEvent> events;
  Add(splitter_.Push(text), &events);
  return events;
}

std::vector<ReplyEvent> ReplyParser::Finish() {
  std::vector<ReplyEvent> events;
  Add(splitter_.Finish(), &events);
  if (has_tools_) AddCalls(parser_.Finish(), &events);
  return events;
}

Reply ParseReply(std::string_view text, ReasoningSplitter::Mode start, const Json& tools) {
  ReplyParser parser(start, tools);
  Reply reply;
  const auto take = [&](const std::vector<ReplyEvent>& events) {
    for (const ReplyEvent& event : events) {
      switch (event.kind) {
        case ReplyEvent::Kind::kReasoning:
          reply.reasoning += event.text;
          break;
        case ReplyEvent::Kind::kContent:
          reply.content += event.text;
          break;
        case ReplyEvent::Kind::kCall:
          reply.calls.push_back({event.text});
          break;
        case ReplyEvent::Kind::kArguments:
          reply.calls.back().arguments += event.text;
          break;
        case ReplyEvent::Kind::kCallEnd:
          reply.calls.back().is_complete = event.text.empty();
          break;
      }
    }
  };
  take(parser.Push(text));
  take(parser.Finish());
  reply.failures = parser.failures();
  return reply;
}

}  // namespace planish

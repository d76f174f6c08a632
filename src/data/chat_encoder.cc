// SPDX-License-Identifier: Apache-2.0
#include "data/chat_encoder.h"

#include <algorithm>

#include "base/error.h"
#include "text/reasoning.h"
#include "text/thinking_toggle.h"

namespace planish {
namespace {

using Toggle = ThinkingSupport::Toggle;

constexpr std::string_view kWhiteSpace = " \t\r\n";
constexpr std::string_view kAfterClose = "\n\n";

// Where the reasoning stands at the end of a prompt.
enum class PromptState { kFree, kInside, kClosed };

PromptState StateOf(std::string_view prompt) {
  const auto at_end = [&](std::string_view tag, size_t at) {
    return at != std::string_view::npos && prompt.size() - at <= tag.size() + kAfterClose.size();
  };
  const size_t open = prompt.rfind(kOpenTag), close = prompt.rfind(kCloseTag);
  const bool is_open =
      open != std::string_view::npos && (close == std::string_view::npos || close < open);
  if (is_open && at_end(kOpenTag, open)) return PromptState::kInside;
  return at_end(kCloseTag, close) ? PromptState::kClosed : PromptState::kFree;
}

// Whether one of the first `count` messages switches thinking itself.
bool HasOwnCommand(const Json::Array& messages, size_t count, Toggle toggle) {
  if (toggle != Toggle::kSlashCommand && toggle != Toggle::kDetailedThinking) return false;
  for (size_t i = 0; i < count; ++i) {
    const Json& message = messages[i];
    const Json* content = message.Find("content");
    if (HasRole(message, "assistant") || content == nullptr || !content->is_string()) continue;
    const std::string& text = content->AsString();
    if (toggle == Toggle::kDetailedThinking ? text.find("detailed thinking o") != std::string::npos
                                            : text.find("/think") != std::string::npos ||
                                                  text.find("/no_think") != std::string::npos)
      return true;
  }
  return false;
}

bool IsEmpty(const Json& message) {
  const Json* content = message.Find("content");
  const Json* calls = message.Find("tool_calls");
  const bool has_content =
      content != nullptr && ((content->is_string() && !content->AsString().empty()) ||
                             (content->is_array() && !content->AsArray().empty()));
  return !has_content && (calls == nullptr || !calls->is_array() || calls->AsArray().empty());
}

bool IsOf(const RenderedSpan& span, int message) {
  return span.origin.kind == Origin::Kind::kMessage && span.origin.message == message;
}

bool IsForeign(const RenderedSpan& span, int message) {
  return span.origin.kind == Origin::Kind::kTools ||
         (span.origin.kind == Origin::Kind::kMessage && span.origin.message != message);
}

// The end of what two texts share, moved back to the end of a line or of a tag: '<think>' and '<tool_call>' share their
// first characters only by chance.
size_t SharedBegin(std::string_view a, std::string_view b, size_t least) {
  size_t at = static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(std::min(a.size(), b.size())),
                    b.begin())
          .first -
      a.begin());
  if (at == a.size() || at == b.size()) return at;
  while (at > least && std::string_view("\n>]").find(a[at - 1]) == std::string_view::npos) --at;
  return at;
}

// Bytes of an empty "<think></think>" at the beginning of `text`, with white space around it; 0 if there is none.
size_t EmptyThinking(std::string_view text) {
  const size_t open = std::min(text.find_first_not_of(kWhiteSpace), text.size());
  if (!text.substr(open).starts_with(kOpenTag)) return 0;
  const size_t inside = text.find_first_not_of(kWhiteSpace, open + kOpenTag.size());
  if (inside == std::string_view::npos || !text.substr(inside).starts_with(kCloseTag)) return 0;
  return std::min(text.find_first_not_of(kWhiteSpace, inside + kCloseTag.size()), text.size());
}

bool BeginsWith(const std::vector<TokenId>& ids, const std::vector<TokenId>& beginning) {
  return beginning.size() <= ids.size() &&
         std::equal(beginning.begin(), beginning.end(), ids.begin());
}

}  // namespace

// An assistant message as the last one of a conversation, and the prompt it answers.
struct ChatEncoder::Turn {
  size_t message = 0;  // its index in the dialogue
  int origin = 0;      // its index among the rendered messages
  Rendered prompt, full;
  std::string prompt_text, full_text;
  std::string frame;  // what the template writes between the last message's text and the answer
  PromptState state = PromptState::kFree;
  std::string reasoning;
  bool writes_reasoning = false;  // it stands in the completion
  bool is_forced = false;         // it was cut and closed: not trained
};

ChatEncoder::ChatEncoder(ChatFormat format) : format_(std::move(format)) {
  PLANISH_CHECK(format_.tokenizer != nullptr && format_.chat_template != nullptr);
  Json user = Json::MakeObject();
  user.Set("role", "user");
  user.Set("content", "Hello");
  ChatInput input;
  input.messages.Append(std::move(user));
  try {
    const std::string without = format_.chat_template->Render(input).Text();
    input.add_generation_prompt = true;
    has_generation_prompt_ = format_.chat_template->Render(input).Text() != without;
  } catch (const Error&) {
    // It wants more than one message: then it is one of those that know what they write.
  }
}

ChatEncoder::Turn ChatEncoder::RenderTurn(const Dialogue& dialogue, size_t message,
                                          bool thinks) const {
  const Json::Array& all = dialogue.messages.AsArray();
  ChatInput input;
  input.messages = Json::Array(all.begin(), all.begin() + static_cast<ptrdiff_t>(message) + 1);
  input.messages.AsArray().back().Remove("reasoning_content");
  input.tools = dialogue.tools;
  input.bos_token = format_.bos_token;
  input.eos_token = format_.eos_token;
  if (dialogue.enable_thinking.has_value() || !HasOwnCommand(all, message, format_.thinking.toggle))
    SetThinking(format_.thinking, thinks, &input);
  Turn turn;
  turn.origin = static_cast<int>(input.messages.AsArray().size()) - 1;
  turn.full = format_.chat_template->Render(input);
  input.messages.AsArray().pop_back();
  input.add_generation_prompt = true;
  turn.prompt = format_.chat_template->Render(input);
  turn.message = message;
  turn.full_text = turn.full.Text();
  if (!has_generation_prompt_) {  // the frame of an answer is no more the model's than elsewhere
    turn.prompt.spans.clear();
    for (const RenderedSpan& span : turn.full.spans) {
      if (IsOf(span, turn.origin)) break;
      turn.prompt.spans.push_back(span);
    }
  }
  turn.prompt_text = turn.prompt.Text();
  for (const RenderedSpan& span : turn.prompt.spans)
    turn.frame = IsForeign(span, turn.origin) ? "" : turn.frame + span.text;
  turn.state = StateOf(turn.prompt_text);
  return turn;
}

EncodedDialogue ChatEncoder::Encode(const Dialogue& dialogue, TrainedTurns turns) const {
  EncodedDialogue out;
  const Json::Array& messages = dialogue.messages.AsArray();
  for (size_t i = messages.size(); i-- > 0;) {
    const Json& message = messages[i];
    if (!HasRole(message, "assistant")) continue;
    if (IsEmpty(message)) {
      ++out.empty_turns;
      continue;
    }
    const std::string reasoning = ReasoningOf(message);
    const bool is_forced = !TrainsReasoning(message);
    const bool has_reasoning = is_forced || !reasoning.empty();
    const bool thinks = dialogue.enable_thinking.value_or(has_reasoning);
    Turn turn = RenderTurn(dialogue, i, thinks);
    turn.reasoning = reasoning;
    turn.is_forced = is_forced;
    if (!thinks && turn.state == PromptState::kInside && format_.thinking.toggle == Toggle::kNone) {
      // A template that always opens the tag: the server closes it for an answer without thinking.
      const std::string close = "\n" + std::string(kCloseTag) + std::string(kAfterClose);
      turn.prompt.spans.push_back({close, {}, false});
      turn.state = PromptState::kClosed;
    }
    turn.writes_reasoning = has_reasoning && (turn.state == PromptState::kInside ||
                                              (turn.state == PromptState::kFree && thinks));
    if (!has_reasoning &&
        (turn.state == PromptState::kInside || (thinks && format_.thinking.supported))) {
      ++out.turns_without_reasoning;
      continue;
    }
    MaskedTokens sample = Tokens(Completion(turn));
    const auto longer =
        std::find_if(out.samples.begin(), out.samples.end(),
                     [&](const MaskedTokens& other) { return BeginsWith(other.ids, sample.ids); });
    if (longer == out.samples.end()) {
      out.samples.push_back(std::move(sample));
    } else {
      for (size_t t = 0; t < sample.ids.size(); ++t) longer->mask[t] |= sample.mask[t];
      longer->trained_bytes += sample.trained_bytes;
    }
    if (turns == TrainedTurns::kLast) break;
  }
  std::reverse(out.samples.begin(), out.samples.end());
  return out;
}

std::vector<ChatEncoder::Segment> ChatEncoder::Completion(const Turn& turn) const {
  // Byte offsets into full_text: the first byte of the answer, and the end of other messages before it.
  size_t own_begin = std::string::npos, foreign_end = 0, at = 0;
  for (const RenderedSpan& span : turn.full.spans) {
    if (own_begin == std::string::npos && IsOf(span, turn.origin)) own_begin = at;
    at += span.text.size();
    if (own_begin == std::string::npos && IsForeign(span, turn.origin)) foreign_end = at;
  }
  if (own_begin == std::string::npos)
    throw BadFile("the chat template renders nothing of messages[{}]", turn.message);
  const size_t begin =
      std::min(own_begin, SharedBegin(turn.full_text, turn.prompt_text, foreign_end));
  if (begin < foreign_end) {
    throw BadFile("the chat template renders what precedes messages[{}] otherwise than its prompt",
                  turn.message);
  }
  std::vector<Piece> pieces;
  size_t own_end = 0, length = 0;  // of the pieces
  at = 0;
  for (const RenderedSpan& span : turn.full.spans) {
    const size_t cut = std::min(span.text.size(), begin > at ? begin - at : 0);
    at += span.text.size();
    if (cut == span.text.size()) continue;
    std::string text = span.text.substr(cut);
    // Behind our reasoning, an empty one that the template writes for an answer without any is dropped.
    if (pieces.empty() && turn.writes_reasoning && !IsOf(span, turn.origin))
      text.erase(0, EmptyThinking(text));
    length += text.size();
    if (IsOf(span, turn.origin)) own_end = length;
    pieces.push_back({std::move(text), span.origin.kind == Origin::Kind::kTemplate});
  }
  std::vector<Segment> segments(1);
  segments[0].is_trained = false;
  for (const RenderedSpan& span : turn.prompt.spans)
    segments[0].pieces.push_back({span.text, span.origin.kind == Origin::Kind::kTemplate});
  std::vector<Segment> answer = SplitAtEndMarks(turn, std::move(pieces), own_end);
  if (turn.writes_reasoning) {
    std::vector<Piece> thinking;
    if (turn.state == PromptState::kFree)
      thinking.push_back({std::string(kOpenTag) + "\n", /*parse_special=*/true});
    if (!turn.reasoning.empty()) thinking.push_back({turn.reasoning + "\n", false});
    const Piece close{std::string(kCloseTag) + std::string(kAfterClose), /*parse_special=*/true};
    if (turn.is_forced) {  // tokens as the server's thinking budget puts them in
      segments.push_back({std::move(thinking), /*is_trained=*/false});
      segments.push_back({{close}, /*is_trained=*/false});
    } else {
      thinking.push_back(close);
      answer[0].pieces.insert(answer[0].pieces.begin(), thinking.begin(), thinking.end());
    }
  }
  segments.insert(segments.end(), answer.begin(), answer.end());
  return segments;
}

std::string ChatEncoder::EndMark(const std::string& text) const {
  const std::vector<TokenId> ids = format_.tokenizer->Encode(text);
  const std::vector<TokenId>& ends = format_.end_ids;
  auto end = std::find_first_of(ids.begin(), ids.end(), ends.begin(), ends.end());
  if (end == ids.end()) {
    end = std::find_if(ids.begin(), ids.end(),
                       [&](TokenId id) { return format_.tokenizer->IsSpecial(id); });
  }
  return end == ids.end() ? "" : std::string(format_.tokenizer->TokenBytes(*end));
}

// Cuts the completion behind its end mark. Some templates write tool calls as a turn of their own: the frame between an
// inner end mark and the call is not the model's.
std::vector<ChatEncoder::Segment> ChatEncoder::SplitAtEndMarks(const Turn& turn,
                                                               std::vector<Piece> pieces,
                                                               size_t own_end) const {
  std::string text;
  for (const Piece& piece : pieces) text += piece.text;
  const std::string tail = text.substr(own_end);
  const std::string mark = EndMark(tail);
  const size_t mark_at = mark.empty() ? std::string::npos : tail.find(mark);
  const size_t blank_at = tail.find_last_not_of(kWhiteSpace) + 1;  // without a mark
  const size_t end = own_end + (mark_at == std::string::npos ? blank_at : mark_at + mark.size());

  // The header that answers begin with.
  std::string_view header = turn.frame;
  if (const size_t last = mark.empty() ? std::string::npos : turn.frame.rfind(mark);
      last != std::string::npos)
    header.remove_prefix(last + mark.size());
  header.remove_prefix(std::min(header.find_first_not_of(kWhiteSpace), header.size()));
  std::vector<Segment> segments(1);
  segments[0].is_trained = true;
  size_t at = 0;
  for (Piece& piece : pieces) {
    const size_t begin = at;
    at += piece.text.size();
    if (begin >= end) break;
    if (at > end) piece.text.resize(end - begin);
    size_t inner = mark.empty() || !piece.parse_special ? std::string::npos : piece.text.find(mark);
    if (inner == std::string::npos || begin + inner >= own_end) {
      segments.back().pieces.push_back(std::move(piece));
      continue;
    }
    inner += mark.size();
    const std::string_view rest = std::string_view(piece.text).substr(inner);
    const size_t blank = std::min(rest.find_first_not_of(kWhiteSpace), rest.size());
    const size_t shared = SharedBegin(rest.substr(blank), header, /*least=*/0);
    const size_t glue = inner + (shared == 0 ? rest.size() : blank + shared);
    segments.back().pieces.push_back({piece.text.substr(0, inner), true});
    segments.push_back({{{piece.text.substr(inner, glue - inner), true}}, /*is_trained=*/false});
    segments.push_back({{{piece.text.substr(glue), true}}, /*is_trained=*/true});
  }
  return segments;
}

MaskedTokens ChatEncoder::Tokens(const std::vector<Segment>& segments) const {
  MaskedTokens out;
  for (const Segment& segment : segments) {
    std::vector<TextSpan> spans;
    for (const Piece& piece : segment.pieces) {
      spans.push_back({piece.text, piece.parse_special});
      if (segment.is_trained) out.trained_bytes += piece.text.size();
    }
    const std::vector<TokenId> ids = format_.tokenizer->EncodeSpans(spans);
    out.ids.insert(out.ids.end(), ids.begin(), ids.end());
    out.mask.resize(out.ids.size(), segment.is_trained);
  }
  return out;
}

}  // namespace planish

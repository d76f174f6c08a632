// SPDX-License-Identifier: Apache-2.0
// Conversations to token ids with a loss mask: exactly what the model writes when it is served is learned, and nothing else.
// For the assistant message i, the prompt is what the server would render before it (messages 0..i-1 with the generation
// prompt, thinking switched), and the completion is what the template renders behind that: content, tool calls with their
// markup, and the end mark. Completions are trained; prompts, a prefilled <think></think> among them, are not.
// Reasoning stands before the answer as "<think>\n...\n</think>\n\n" (without the opening tag if the prompt has it); earlier
// messages are rendered by the template, which drops their reasoning if that is its way.
// Messages share one sample as far as that changes nothing: an earlier message is trained inside the sample of a later one
// if its own prompt and completion, id for id, begin that sample; else it gets a sample of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/dialogue.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace planish {

enum class TrainedTurns { kAll, kLast };  // which assistant messages

struct ChatFormat {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;
  ThinkingSupport thinking;
  std::string bos_token, eos_token;
  std::vector<TokenId>
      end_ids;  // ids that end an answer; without a match, the first special token behind it does
};

struct MaskedTokens {
  std::vector<TokenId> ids;
  std::vector<uint8_t> mask;   // 1: trained
  uint64_t trained_bytes = 0;  // text of the trained tokens
};

struct EncodedDialogue {
  std::vector<MaskedTokens> samples;
  // Assistant messages that gave nothing: empty, or without reasoning where the prompt opens the tag (thinking on).
  uint64_t empty_turns = 0, turns_without_reasoning = 0;
};

class ChatEncoder {
 public:
  explicit ChatEncoder(ChatFormat format);
  // Thinking is switched as the line says, else on for an assistant message with reasoning and off for one without (a
  // command in the user's own text is left to decide). With thinking off, reasoning is left out.
  // Error(kBadFile) if the template fails, or renders the answer into another conversation than it prompts with.
  EncodedDialogue Encode(const Dialogue& dialogue, TrainedTurns turns) const;
  const Tokenizer& tokenizer() const { return *format_.tokenizer; }

 private:
  struct Piece {
    std::string text;
    bool parse_special;
  };
  struct Segment {  // encoded apart from its neighbours
    std::vector<Piece> pieces;
    bool is_trained;
  };
  struct Turn;
  Turn RenderTurn(const Dialogue& dialogue, size_t message, bool thinks) const;
  std::vector<Segment> Completion(const Turn& turn) const;
  std::vector<Segment> SplitAtEndMarks(const Turn& turn, std::vector<Piece> pieces,
                                       size_t own_end) const;
  std::string EndMark(const std::string& text) const;
  MaskedTokens Tokens(const std::vector<Segment>& segments) const;

  ChatFormat format_;
  bool has_generation_prompt_ = true;
};

}  // namespace planish

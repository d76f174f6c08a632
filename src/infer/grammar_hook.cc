// SPDX-License-Identifier: Apache-2.0
#include "infer/grammar_hook.h"

#include <algorithm>

namespace planish {
namespace {

using Mode = ReasoningSplitter::Mode;

std::string_view WithoutBlanks(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

}  // namespace

GrammarHook::GrammarHook(std::shared_ptr<const AnswerGrammar> answer,
                         std::shared_ptr<const GrammarVocabulary> vocabulary, Mode start,
                         std::vector<int32_t> end_ids)
    : answer_(std::move(answer)),
      vocabulary_(std::move(vocabulary)),
      splitter_(start, answer_->reads_tools),
      automaton_(answer_->grammar, vocabulary_),
      end_ids_(std::move(end_ids)),
      mask_(vocabulary_->size()),
      thinking_mask_(vocabulary_->size(), /*allowed=*/true) {
  for (const int32_t id : end_ids_) {
    if (static_cast<size_t>(id) < vocabulary_->size())
      thinking_mask_.Forbid(static_cast<size_t>(id));
  }
  is_direct_ = start == Mode::kOff || start == Mode::kAnswer;
}

void GrammarHook::Answer(std::string_view bytes) {
  if (!bytes.empty() && !is_broken_ && !automaton_.Push(bytes)) is_broken_ = true;
}

TokenHook::Action GrammarHook::Begin() { return Decide(); }

TokenHook::Action GrammarHook::OnToken(int32_t id) {
  if (std::find(end_ids_.begin(), end_ids_.end(), id) != end_ids_.end()) return {};
  const std::string_view bytes = vocabulary_->tokenizer().TokenBytes(id);
  if (is_direct_) {
    Answer(bytes);
  } else {
    Answer(splitter_.Push(bytes).answer);
    is_direct_ = splitter_.mode() == Mode::kAnswer && !splitter_.trims_newlines();
  }
  return Decide();
}

// Would these bytes, next, keep to the grammar?
bool GrammarHook::Simulate(std::string_view bytes) {
  if (is_direct_) return automaton_.Accepts(bytes);
  ReasoningSplitter copy = splitter_;
  return automaton_.Accepts(copy.Push(bytes).answer);
}

void GrammarHook::Judge(std::string_view prefix) {
  const std::vector<int32_t>& tokens = vocabulary_->all().tokens;
  const auto first = std::lower_bound(
      tokens.begin(), tokens.end(), prefix,
      [&](int32_t id, std::string_view text) { return vocabulary_->Bytes(id) < text; });
  for (auto it = first; it != tokens.end() && vocabulary_->Bytes(*it).starts_with(prefix); ++it) {
    if (Simulate(vocabulary_->Bytes(*it))) {
      mask_.Allow(static_cast<size_t>(*it));
    } else {
      mask_.Forbid(static_cast<size_t>(*it));
    }
  }
}

// The model may still open its reasoning: white space and what becomes the opening tag.
void GrammarHook::JudgeOpening() {
  const std::string_view held = WithoutBlanks(splitter_.held());
  for (const int32_t id : vocabulary_->all().tokens) {
    std::string_view text = vocabulary_->Bytes(id);
    const char c = text.front();
    if (c != '<' && c != ' ' && c != '\n' && c != '\t' && c != '\r' && held.empty()) continue;
    if (held.empty()) text = WithoutBlanks(text);
    const std::string_view rest = kOpenTag.substr(held.size());
    if ((text.starts_with(rest) || rest.starts_with(text)) && Simulate(vocabulary_->Bytes(id)))
      mask_.Allow(static_cast<size_t>(id));
  }
}

TokenHook::Action GrammarHook::Decide() {
  Action action;
  if (is_broken_) return action;
  const Mode mode = splitter_.mode();
  if (!is_direct_ && mode == Mode::kThink) {
    // The text may not end before an answer that has to come.
    if (!automaton_.is_complete()) action.mask = &thinking_mask_;
    // A token that closes the reasoning may go on into the answer.
    const std::string& held = splitter_.held();
    if (held.empty()) return action;
    mask_ = automaton_.is_complete() ? TokenMask(vocabulary_->size(), /*allowed=*/true)
                                     : thinking_mask_;
    for (const std::string_view tag : {kCloseTag, kToolcallTag, kToolCallTag}) {
      if (tag.starts_with(held)) Judge(tag.substr(held.size()));
    }
    ++masks_built_;
    action.mask = &mask_;
    return action;
  }
  const bool is_open = !is_direct_ && mode == Mode::kOpenWait;
  if (!is_open && automaton_.is_at_start() && !answer_->opening.empty()) {
    const TextSpan span = {answer_->opening, /*parse_special=*/true};
    action.forced = vocabulary_->tokenizer().EncodeSpans({&span, 1});
    return action;
  }
  mask_ = automaton_.Mask(is_open ? std::string_view(splitter_.held()) : std::string_view());
  ++masks_built_;
  if (is_open) JudgeOpening();
  if (!is_direct_ && !is_open)
    Judge("\n");  // what the splitter takes off the beginning of the answer
  const bool may_end = automaton_.is_complete();
  for (const int32_t id : end_ids_) {
    const auto i = static_cast<size_t>(id);
    if (i >= vocabulary_->size()) continue;
    if (may_end) {
      mask_.Allow(i);
    } else {
      mask_.Forbid(i);
    }
  }
  action.stop = !mask_.AllowsAny();
  action.mask = &mask_;
  return action;
}

}  // namespace planish

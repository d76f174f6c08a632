// SPDX-License-Identifier: Apache-2.0
// Holds the answer of a sequence to a grammar, from the first byte after the reasoning; what is thought is never touched.
// An end token is allowed only where the text may end, so not in the reasoning before an answer that must come. Put after
// the thinking budget in a request's hooks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "infer/answer_grammar.h"
#include "infer/grammar_automaton.h"
#include "infer/hook.h"
#include "text/reasoning.h"

namespace planish {

class GrammarHook : public TokenHook {
 public:
  // `start`: where the reasoning stands at the end of the prompt. `end_ids`: the request's; empty (or with ignore_end): the
  // sequence is stopped when the text is complete and cannot go on.
  GrammarHook(std::shared_ptr<const AnswerGrammar> answer,
              std::shared_ptr<const GrammarVocabulary> vocabulary, ReasoningSplitter::Mode start,
              std::vector<int32_t> end_ids);
  Action Begin() override;
  Action OnToken(int32_t id) override;

  // The answer so far is whole. False at the end of a sequence: it was cut off (finish_reason length).
  bool is_complete() const { return !is_broken_ && automaton_.is_complete(); }
  // Tokens that another hook put in, or one that closed the reasoning and began an answer, broke the grammar; it has let go.
  bool is_broken() const { return is_broken_; }
  size_t masks_built() const { return masks_built_; }

 private:
  Action Decide();
  bool Simulate(std::string_view bytes);
  void Answer(std::string_view bytes);
  // Over tokens that begin with `prefix`: allows or forbids each as Simulate says.
  void Judge(std::string_view prefix);
  void JudgeOpening();

  std::shared_ptr<const AnswerGrammar> answer_;
  std::shared_ptr<const GrammarVocabulary> vocabulary_;
  ReasoningSplitter splitter_;
  GrammarAutomaton automaton_;
  std::vector<int32_t> end_ids_;
  TokenMask mask_;
  TokenMask thinking_mask_;  // all but the end tokens
  bool is_direct_ = false;   // the reasoning is over: bytes go to the automaton as they are
  bool is_broken_ = false;
  size_t masks_built_ = 0;
};

}  // namespace planish

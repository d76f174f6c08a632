// SPDX-License-Identifier: Apache-2.0
// One function a skill, each in a file of its name: says a problem of story->steps() steps and solves it. What does not come
// out (GiveUp, another number of steps) is tried again with other numbers.
#pragma once

#include "problems/story.h"

namespace planish {

void AddSubtractProblem(Story* story);
void MultiplyDivideProblem(Story* story);
void MixedProblem(Story* story);
void MoneyProblem(Story* story);
void PercentProblem(Story* story);
void FractionProblem(Story* story);
void CalendarProblem(Story* story);
void UnitsProblem(Story* story);
void OrderingProblem(Story* story);
void SequenceProblem(Story* story);
void LogicProblem(Story* story);
void LettersProblem(Story* story);

// Parts of these in files of their own: of AddSubtractProblem (amounts.cc),
void TogetherProblem(Story* story);
void ComparisonsProblem(Story* story);
void DifferenceProblem(Story* story);
// of LogicProblem (rules.cc),
void SwitchesProblem(Story* story);
void DirectionsProblem(Story* story);
void RulesProblem(Story* story);
// of LettersProblem (digits.cc).
void DigitsProblem(Story* story);
std::string Spelled(std::string_view word);  // "c a t"

}  // namespace planish

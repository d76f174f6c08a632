// SPDX-License-Identifier: Apache-2.0
// Finds the answer in what a model wrote after its reasoning, and compares it with the key by the type of the answer. Numbers
// are exact after currency, thousands commas, percent signs, units and trailing zeros are gone; fractions are rationals; times
// compare in seconds of the day, words without case, lists in order. Nothing is guessed: "5 or 6" is no number.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "problems/problem.h"  // AnswerType

namespace planish {

// By name, common other names included ("number", "string", "boolean"); empty if unknown.
std::optional<AnswerType> AnswerTypeFromName(std::string_view name);
// From what a key looks like, for files that do not say.
AnswerType GuessAnswerType(std::string_view key);

// In this order: the last "answer is X" or "answer: X", the last \boxed{X}, the last "#### X", else the last number, time, date,
// yes or no, word or line, by type. Without markup and the final period; empty if there is none.
std::optional<std::string> ExtractAnswer(std::string_view text, AnswerType type);

bool SameAnswer(std::string_view found, std::string_view key, AnswerType type);

}  // namespace planish

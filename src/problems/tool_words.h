// SPDX-License-Identifier: Apache-2.0
// How people ask for the weather, a character or a colour: sentence frames ({x} and {y}: what is asked for), places, names.
#pragma once

#include <span>
#include <string>

#include "problems/draw.h"
#include "problems/problem.h"

namespace planish {

using WordFrames = std::span<const char* const>;

extern const WordFrames kWeatherQuestions, kWeatherHere, kCelsiusClauses, kFahrenheitClauses,
    kCharacterQuestions, kColorQuestions, kTwoPlaces, kTwoCharacters, kTwoColors, kFollowUps;

// A frame of the split: every sixth is for tests, and the last of a short table.
size_t FrameIndex(size_t count, Split split, Draw* draw);
// A city the tool knows, another one, or an invented one, at times with its country. Tests have others.
std::string PlaceName(Split split, Draw* draw);
// "#1e90ff", "#abc".
std::string HexColor(Split split, Draw* draw);
// The full name, or the part of it that people say and that nobody else has: "Hermione".
std::string CalledName(const std::string& full_name, Draw* draw);
std::string ConditionInWords(const std::string& condition);  // "snow" -> "snowing"

}  // namespace planish

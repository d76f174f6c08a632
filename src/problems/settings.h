// SPDX-License-Identifier: Apache-2.0
// Where a running count happens: who holds what, and how it grows and shrinks.
#pragma once

#include <span>

#include "problems/story.h"

namespace planish {

struct Setting {
  const char* holder;  // "the library"; empty: a person
  Noun thing;          // empty: any small thing; "food": any food
  std::span<const VerbForms> gains, losses;
  const char* place = "";  // not empty: the things come and go by themselves ("7 cars arrive")
};

// Who and what a story is about, put into its slots: {S} the holder, {A} {B} {C} people, {o} the things, {place}.
const Setting& ChooseSetting(Slots* slots, Draw* draw);

// The verb {v} of a gain or a loss, and {t}, when it happens.
void ChooseEvent(Story* story, const Setting& setting, bool gains);
// "Next, {S.he} {v} {n} {o}.": so many more or fewer, by the verb.
Frames EventFrames();

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// A count of things that goes through several kinds of events: some are bought by the box, a part is given away, the rest is
// shared. Mixed, percentage and fraction problems of many steps are such stories.
#pragma once

#include "problems/story.h"

namespace planish {

// How often each kind of event is chosen, in parts.
struct InventoryMix {
  int changes = 0;    // so many more or fewer: one step
  int groups = 0;     // so many groups of so many more or fewer: two steps
  int times = 0;      // the count doubles: one step
  int fractions = 0;  // a fraction of them goes (two steps), or only that remains (one step)
  int percents = 0;   // the same in percent
  int endings = 0;    // percent: the rest is shared or sold by the piece
};

void InventoryProblem(Story* story, const InventoryMix& mix);

// A percentage of a count, if whole: "20% of 80: 80/10=8,8*2=16". The statements only, and the value; empty if not whole.
std::string WorkedPercent(int64_t percent, int64_t of, int64_t* value);
// "3/4 of 24: 24/4=6,6*3=18", likewise.
std::string WorkedFraction(int64_t a, int64_t b, int64_t of, int64_t* value);
// Percentages that are whole of this count, the common ones first; and simple fractions.
int64_t ChoosePercent(Draw* draw, int64_t of);  // 0: none
bool ChooseFraction(Draw* draw, int64_t of, int64_t* a, int64_t* b);
// "half", "a third", "three quarters", "3/4"
std::string FractionText(Draw* draw, int64_t a, int64_t b);

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// `planish data problems`: made-up tasks as JSONL.
#pragma once

#include <cstdint>
#include <string>

namespace planish {

struct ProblemDataJob {
  std::string output;  // "-": stdout
  std::string kind;    // problems, tools (dialogues with the demo tools), talk, drills (documents)
  std::string form;    // chat, text, test
  std::string mix;     // test, full, easy
  std::string split;   // train, test
  std::string thinking;  // of chat rows: on, off, both (two rows a problem)
  uint64_t seed = 1;
  uint64_t first = 0, count = 0;  // problems first .. first+count-1 of the seed
};

// Rows in the order of the problems, whatever the number of threads. Returns their number.
uint64_t WriteProblemData(const ProblemDataJob& job);

}  // namespace planish

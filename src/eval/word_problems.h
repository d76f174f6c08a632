// SPDX-License-Identifier: Apache-2.0
// Word problems with one short answer: freshly made ones of any seed, or a file of rows {"question", "answer", "answer_type",
// "skill", "steps", "digits"}, of which the first two are needed. The question is the whole prompt: no instruction is added.
#pragma once

#include <memory>

#include "eval/task.h"

namespace planish {

std::unique_ptr<Task> MakeWordProblems();

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Grade-school mathematics of the GSM8K files: rows {"question", "answer"}, whose answer ends in "#### n". gsm8k_boxed is the
// chat form without examples: a sentence that asks for \boxed{}, the problem, and the last box read as a number.
#pragma once

#include <memory>

#include "eval/task.h"

namespace planish {

std::unique_ptr<Task> MakeGsm8kBoxed();

}  // namespace planish

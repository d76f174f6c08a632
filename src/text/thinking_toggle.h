// SPDX-License-Identifier: Apache-2.0
// Switches thinking on or off where a chat template looks for it (see ThinkingSupport in chat_template.h).
#pragma once

#include "text/chat_template.h"

namespace planish {

// Sets the template variable, or puts the command or phrase into the system message (made if there is none). The user's own
// text is never rewritten, only extended; nothing changes if the template cannot be switched.
void SetThinking(const ThinkingSupport& support, bool on, ChatInput* input);

}  // namespace planish

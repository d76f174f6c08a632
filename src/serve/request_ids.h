// SPDX-License-Identifier: Apache-2.0
// Names of requests, answers and tool calls: random, so that nobody guesses another one's.
#pragma once

#include <string>
#include <string_view>

#include "net/http.h"

namespace planish {

std::string RandomBase32(size_t digits);  // a-z2-7, 5 bits each
bool IsRequestId(std::string_view id);    // [A-Za-z0-9._-]{1,64}
// The client's x-request-id if it is one, else a new one.
std::string RequestIdOf(const HttpRequest& request);

}  // namespace planish

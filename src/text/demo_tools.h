// SPDX-License-Identifier: Apache-2.0
// Three small tools to show tool calling with: get_current_weather, describe_harry_potter_character, name_a_color. Local and
// pure: the weather is a table of sample climates with a variation fixed by city and date, and says so.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace planish {

// The list for a request's `tools`: OpenAI's function objects with JSON schemas.
const Json& DemoTools();

// The result of a call. A call that cannot be answered gives {"error": ...}, which a model can read and correct itself by.
// `date`: YYYY-MM-DD, today's for the caller.
Json RunDemoTool(std::string_view name, const Json& arguments, std::string_view date);
// The same from the argument text of a call, as JSON text for the message of role "tool".
std::string RunDemoToolCall(std::string_view name, std::string_view arguments,
                            std::string_view date);

std::vector<std::string> DemoCities();
std::vector<std::string> DemoCharacters();

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "eval/text_generator.h"

namespace planish {

std::string Name(const ThinkingSetting& setting) {
  if (setting.is_off()) return "off";
  return setting.has_budget() ? std::to_string(setting.budget) : "on";
}

const char* Name(ReasoningEnd end) {
  static constexpr const char* kNames[] = {"none", "natural", "budget", "reserve", "unclosed"};
  return kNames[static_cast<size_t>(end)];
}

}  // namespace planish

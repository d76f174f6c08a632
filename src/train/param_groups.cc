// SPDX-License-Identifier: Apache-2.0
#include "train/param_groups.h"

#include <algorithm>

#include "base/error.h"

namespace planish {

bool MatchesGlob(std::string_view glob, std::string_view text) {
  // Greedy with one point of return: linear in glob times text, whatever the pattern.
  size_t g = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      resume = t;
    } else if (g < glob.size() && (glob[g] == '?' || glob[g] == text[t])) {
      ++g;
      ++t;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == '*') ++g;
  return g == glob.size();
}

bool ParamGroups::Decays(const std::string& name, const Shape& shape, ParamRole role) {
  switch (role) {
    case ParamRole::kNorm:
    case ParamRole::kConvBias:
    case ParamRole::kSsmALog:
    case ParamRole::kSsmD:
    case ParamRole::kSsmDtBias:
      return false;
    default:
      return shape.rank() >= 2 && !name.ends_with(".bias");
  }
}

ParamGroup ParamGroups::Of(const std::string& name, const Shape& shape, ParamRole role) const {
  ParamGroup group;
  group.weight_decay = Decays(name, shape, role) ? weight_decay_ : 0.0;
  for (const ParamOverride& item : overrides_) {
    if (!MatchesGlob(item.glob, name)) continue;
    group.weight_decay = item.weight_decay.value_or(group.weight_decay);
    group.lr_multiplier = item.lr_multiplier.value_or(group.lr_multiplier);
    group.is_frozen = item.is_frozen.value_or(group.is_frozen);
  }
  return group;
}

void ParamGroups::CheckAllUsed(const std::vector<std::string>& names) const {
  for (const ParamOverride& item : overrides_) {
    const bool is_used = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return MatchesGlob(item.glob, name);
    });
    if (!is_used)
      throw UsageError("optimizer override {} matches no parameter", Quoted(item.glob, 200));
  }
}

}  // namespace planish

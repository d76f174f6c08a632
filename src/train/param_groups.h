// SPDX-License-Identifier: Apache-2.0
// Which parameters decay, learn faster or stand still: the rule of Megatron-LM (no weight decay for tensors of one dimension
// and biases: norms, conv bias, dt_bias, A_log, D), then overrides by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/param.h"

namespace planish {

struct ParamGroup {
  double weight_decay = 0;
  double lr_multiplier = 1;
  bool is_frozen = false;
  bool operator==(const ParamGroup&) const = default;
};

// Applied in the order given: what a later one sets wins.
struct ParamOverride {
  std::string glob;  // over Hugging Face names: * any characters, ? one
  std::optional<double> weight_decay, lr_multiplier;
  std::optional<bool> is_frozen;
};

bool MatchesGlob(std::string_view glob, std::string_view text);

class ParamGroups {
 public:
  ParamGroups(double weight_decay, std::vector<ParamOverride> overrides)
      : weight_decay_(weight_decay), overrides_(std::move(overrides)) {}

  // True: decayed unless overridden. By shape and role.
  static bool Decays(const std::string& name, const Shape& shape, ParamRole role);
  ParamGroup Of(const std::string& name, const Shape& shape, ParamRole role) const;
  ParamGroup Of(const Param& param) const { return Of(param.name, param.shape, param.role); }
  // Error(kUsage) naming the first override that matches none of `names`: a typing error would pass unseen.
  void CheckAllUsed(const std::vector<std::string>& names) const;

 private:
  double weight_decay_;
  std::vector<ParamOverride> overrides_;
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// What a user allows a child to have of something.
#pragma once

namespace planish {

// A number, or a share of what the parent has.
struct Target {
  double value = 0;
  bool is_share = false;
  double Of(double parent) const { return is_share ? value * parent : value; }
};

}  // namespace planish

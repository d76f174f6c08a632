// SPDX-License-Identifier: Apache-2.0
// Where planish-nano is, the model that comes with the program.
#pragma once

#include <string>

namespace planish {

inline constexpr const char* kEmbeddedModel = "planish-nano";

// The folder: models/planish-nano under the working directory, beside or one above the program (a build in the source tree), or
// in share/planish/ of an installation. Empty if there is none.
std::string FindEmbeddedModel();

}  // namespace planish

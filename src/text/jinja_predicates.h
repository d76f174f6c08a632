// SPDX-License-Identifier: Apache-2.0
// Jinja's tests ("x is defined"), by name.
#pragma once

#include <string_view>

#include "text/jinja_ast.h"

namespace planish::jinja {

Test FindTest(std::string_view name);  // null if there is none

}  // namespace planish::jinja

// SPDX-License-Identifier: Apache-2.0
// The filters of jinja2 that chat templates can use, by name.
#pragma once

#include <string_view>

#include "text/jinja_ast.h"

namespace planish::jinja {

Filter FindFilter(std::string_view name);  // null if there is none
// Its two halves: on texts and single values, and on lists and mappings.
Filter FindTextFilter(std::string_view name);
Filter FindSequenceFilter(std::string_view name);

}  // namespace planish::jinja

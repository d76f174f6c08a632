// SPDX-License-Identifier: Apache-2.0
// Parses Jinja source to a Template with jinja2's grammar and precedences, plus break/continue and
// {% generation %}. Nesting is bounded by limits::kTemplateNesting, so neither parsing nor walking
// nor freeing the tree can exhaust the stack.
#pragma once

#include <memory>
#include <string_view>

#include "text/jinja_ast.h"

namespace planish::jinja {

// Throws Failure with the line.
std::unique_ptr<const Template> ParseTemplate(std::string_view source);

}  // namespace planish::jinja

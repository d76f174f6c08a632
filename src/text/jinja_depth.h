// SPDX-License-Identifier: Apache-2.0
// Bounds how deep expressions, blocks, macros and recursive loops may call each other, so that the
// native stack suffices.
#pragma once

#include <fmt/format.h>

#include "base/limits.h"
#include "text/jinja_interpreter.h"

namespace planish::jinja {

class Interpreter::DepthGuard {
 public:
  explicit DepthGuard(Interpreter* interpreter) : interpreter_(interpreter) {
    if (interpreter_->depth_ >= limits::kTemplateDepth) {
      throw Failure{
          fmt::format("calls and blocks are nested deeper than {} levels (endless recursion?)",
                      limits::kTemplateDepth)};
    }
    ++interpreter_->depth_;
  }
  ~DepthGuard() { --interpreter_->depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  Interpreter* interpreter_;
};

}  // namespace planish::jinja

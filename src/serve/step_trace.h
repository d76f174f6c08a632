// SPDX-License-Identifier: Apache-2.0
// The engine's steps as a file of Chrome trace events (chrome://tracing, Perfetto): when each began, how long it took, its
// rows, and how many requests ran and waited. Used by the engine's thread alone.
#pragma once

#include <chrono>
#include <cstdio>
#include <string>

#include "infer/engine.h"

namespace planish {

class StepTrace {
 public:
  explicit StepTrace(const std::string& path);  // Error(kUsage) if the file cannot be made
  ~StepTrace();                                 // ends the list
  StepTrace(const StepTrace&) = delete;
  StepTrace& operator=(const StepTrace&) = delete;
  // After a step; nothing is written of one without rows.
  void Add(const Engine& engine);

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::FILE* file_;
  bool is_first_ = true;
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace planish {

// Shares out the time between laps: each lap adds what has passed since the last one, or since the beginning.
class Stopwatch {
 public:
  void Lap(double* seconds) {
    const auto now = std::chrono::steady_clock::now();
    *seconds += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }
  void Restart() { last_ = std::chrono::steady_clock::now(); }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace planish

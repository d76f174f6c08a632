// SPDX-License-Identifier: Apache-2.0
// Progress of long work on stderr: on a terminal one line that is redrawn, at most ten times a second; else a plain line
// every ten seconds, so that short work prints nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace planish {

class Progress {
 public:
  // `unit` is counted in `total`: "MiB", "tensors". `begin` of them were done earlier: time says nothing about those.
  // total 0: how much there will be is not known.
  Progress(std::string label, uint64_t total, std::string unit, uint64_t begin = 0);
  ~Progress();  // erases the line of a terminal
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(uint64_t done, const std::string& detail = {});

 private:
  std::string Line(uint64_t done, const std::string& detail, size_t width) const;
  std::string label_, unit_;
  uint64_t total_, begin_;
  bool is_terminal_, was_drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace planish

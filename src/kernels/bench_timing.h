// SPDX-License-Identifier: Apache-2.0
// How the *_bench.cc programs take times and make their operands. Best of several runs where other programs share the machine,
// the median where a peer is timed beside.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/memory.h"

namespace planish {

// Seconds of each run of `body`, fastest first: at least `least` runs, and as many as start within `seconds`.
template <typename Body>
std::vector<double> TimedRuns(double seconds, size_t least, const Body& body) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  std::vector<double> runs;
  for (const auto first = Clock::now(); runs.size() < least || since(first) < seconds;) {
    const auto start = Clock::now();
    body();
    runs.push_back(since(start));
  }
  std::sort(runs.begin(), runs.end());
  return runs;
}

template <typename Body>
double BestSeconds(double seconds, size_t least, const Body& body) {
  return TimedRuns(seconds, least, body).front();
}

// One run before those that count.
template <typename Body>
double MedianSeconds(double seconds, size_t least, const Body& body) {
  body();
  const std::vector<double> runs = TimedRuns(seconds, least, body);
  return runs[runs.size() / 2];
}

// Floats on large pages, uniform in [low, high].
class UniformFloats {
 public:
  UniformFloats(size_t n, float low, float high) : n_(n), buffer_(n * sizeof(float)) {
    uint32_t bits = 12345;
    for (size_t i = 0; i < n; ++i) {
      bits = bits * 1664525u + 1013904223u;
      data()[i] = low + (high - low) * static_cast<float>(bits >> 8) * 0x1p-24f;
    }
  }
  float* data() { return reinterpret_cast<float*>(buffer_.data()); }
  size_t size() const { return n_; }

 private:
  size_t n_;
  AlignedBuffer buffer_;
};

}  // namespace planish

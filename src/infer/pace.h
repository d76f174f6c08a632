// SPDX-License-Identifier: Apache-2.0
// How many prompt tokens a step may take while answers are running, so that these keep their pace: running means of what
// steps took, and how far the worst of late was above them. Decides only sizes of slices, which do not change results.
#pragma once

#include <algorithm>
#include <cstddef>

namespace planish {

struct StepInfo {
  size_t decode_rows = 0, prefill_rows = 0;
  double seconds = 0;
  size_t rows() const { return decode_rows + prefill_rows; }
};

class Pace {
 public:
  // `max_itl_ms`: wanted longest time between two tokens of an answer; 0: no limit.
  explicit Pace(double max_itl_ms) : max_itl_ms_(max_itl_ms) {}

  void Record(const StepInfo& step) {
    const double ms = 1e3 * step.seconds;
    if (step.decode_rows > 0 && step.prefill_rows > 0 && prefill_token_ms_ > 0) {
      const double expected =
          decode_ms_ + prefill_token_ms_ * static_cast<double>(step.prefill_rows);
      margin_ = std::clamp(ms / expected, 1 + kForget * (margin_ - 1), kMost);
    }
    if (step.prefill_rows == 0) {
      Mix(ms, &decode_ms_);
    } else {
      const double own = ms - (step.decode_rows > 0 ? decode_ms_ : 0.0);
      Mix(std::max(own, 0.05 * ms) / static_cast<double>(step.prefill_rows), &prefill_token_ms_);
    }
  }

  // Prompt rows of the next step: at least `least`, at most `most`.
  size_t PrefillRows(size_t decode_rows, size_t least, size_t most) const {
    if (max_itl_ms_ <= 0 || decode_rows == 0) return most;
    if (prefill_token_ms_ <= 0) return std::min(2 * least, most);  // nothing is known yet
    const double rows =
        std::max(0.0, (max_itl_ms_ / (kReserve * margin_) - decode_ms_) / prefill_token_ms_);
    if (rows >= static_cast<double>(most)) return most;
    return std::clamp(static_cast<size_t>(rows), std::min(least, most), most);
  }
  double decode_ms() const { return decode_ms_; }
  double prefill_token_ms() const { return prefill_token_ms_; }

 private:
  // Slices sized by the mean alone put every second step over the bound: prompts cost more the longer they are, and the
  // machine has other work. A bad step is half forgotten after 140 good ones, so one in a hundred still counts.
  static constexpr double kForget = 0.995, kReserve = 1.05, kMost = 2;

  static void Mix(double value, double* mean) {
    constexpr double kWeight = 0.2;  // of the newest step
    *mean = *mean > 0 ? (1 - kWeight) * *mean + kWeight * value : value;
  }

  double max_itl_ms_;
  double decode_ms_ = 0, prefill_token_ms_ = 0;
  double margin_ = 1;  // what steps took at worst / what was expected
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "base/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/log.h"

namespace planish {
namespace {

using Clock = std::chrono::steady_clock;

size_t TerminalWidth() {
  winsize size{};  // asked each time, so a resized window is no problem
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(std::string label, uint64_t total, std::string unit, uint64_t begin)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      begin_(begin),
      is_terminal_(isatty(STDERR_FILENO) != 0),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() {
  if (was_drawn_) fmt::print(stderr, "\r\033[K");
}

std::string Progress::Line(uint64_t done, const std::string& detail, size_t width) const {
  if (total_ == 0) return fmt::format("{} {} {} {}", label_, done, unit_, detail);
  const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total_));
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  const double rest = static_cast<double>(total_ - std::min(done, total_));
  const auto left =
      static_cast<int64_t>(done > begin_ ? elapsed / static_cast<double>(done - begin_) * rest : 0);
  const std::string before = fmt::format("{} {}/{} {} ", label_, done, total_, unit_);
  const std::string after = fmt::format(" {:.0f}% ETA {:02}:{:02}{}{}", 100 * share, left / 60,
                                        left % 60, detail.empty() ? "" : " ", detail);
  if (before.size() + after.size() + 12 > width) return before + after;
  const size_t cells = std::min<size_t>(20, width - before.size() - after.size() - 3);
  const auto filled = static_cast<size_t>(share * static_cast<double>(cells));
  return before + "[" + std::string(filled, '=') + std::string(cells - filled, ' ') + "]" + after;
}

void Progress::Update(uint64_t done, const std::string& detail) {
  if (GetLogLevel() < LogLevel::kInfo) return;
  const auto now = Clock::now();
  if (now - last_ <
      (is_terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10'000)))
    return;
  last_ = now;
  if (is_terminal_) {
    fmt::print(stderr, "\r\033[K{}", Line(done, detail, TerminalWidth() - 1));
    was_drawn_ = true;
  } else {
    fmt::print(stderr, "{}\n", Line(done, detail, 100));
  }
}

}  // namespace planish

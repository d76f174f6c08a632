// SPDX-License-Identifier: Apache-2.0
#include "serve/step_trace.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace planish {

StepTrace::StepTrace(const std::string& path) : file_(std::fopen(path.c_str(), "we")) {
  if (file_ == nullptr)
    throw UsageError("--trace: {} cannot be written: {}", path, std::strerror(errno));
  std::fputs("[", file_);
}

StepTrace::~StepTrace() {
  std::fputs("\n]\n", file_);
  std::fclose(file_);
}

void StepTrace::Add(const Engine& engine) {
  const StepInfo& step = engine.last_step();
  if (step.rows() == 0) return;
  const double now =
      std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start_).count();
  const double took = 1e6 * step.seconds;
  const EngineStats stats = engine.stats();
  fmt::print(
      file_,
      "{}\n{{\"name\":\"step\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":{:.1f},\"dur\":{:.1f},"
      "\"args\":{{\"decode_rows\":{},\"prefill_rows\":{}}}}},\n"
      "{{\"name\":\"requests\",\"ph\":\"C\",\"pid\":1,\"ts\":{:.1f},\"args\":{{\"running\":{},"
      "\"waiting\":{}}}}}",
      is_first_ ? "" : ",", now - took, took, step.decode_rows, step.prefill_rows, now,
      stats.running, stats.waiting);
  is_first_ = false;
}

}  // namespace planish

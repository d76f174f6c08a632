// SPDX-License-Identifier: Apache-2.0
// How the *_bench.cc programs hand figures to tools/bench_guard.py: beside what they print for people, one line "NAME<tab>SHARE"
// for each kernel goes to the file that PLANISH_BENCH_ROWS names. Nothing happens when it is not set.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

namespace planish {

// `share` of the machine's peak (machine_peaks.h) that limits the kernel, 1 being all of it. Names must not change between
// runs and say what decides speed: kernel, type, shape, threads.
inline void ReportBenchRow(const std::string& name, double share) {
  const char* path = std::getenv("PLANISH_BENCH_ROWS");
  if (path == nullptr || *path == '\0') return;
  std::FILE* file = std::fopen(path, "a");
  if (file == nullptr) return;
  std::fprintf(file, "%s\t%.6f\n", name.c_str(), share);
  std::fclose(file);
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// What this machine can do at best: the denominators of every speed that planish prints. Arithmetic in registers, memory by
// the best of many access patterns, the price of waking and joining the thread team; each with one thread and with the team.
// Measured once in some ten seconds, then kept in the user's cache folder.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "kernels/peak_loops.h"

namespace planish {

struct Rate {
  double one_thread = 0;  // a second; 0: not there
  double team = 0;
};

struct MachinePeaks {
  std::string cpu;
  std::string isa;                      // level in force: the figures are of its instructions
  std::vector<std::string> isa_levels;  // all that the CPU and the program have
  int threads = 0;                      // the team

  std::array<Rate, kArithmeticUnitCount>
      arithmetic;  // operations, a multiply-add is two; by ArithmeticUnit
  // Bytes; a copy counts both directions, not the lines that ordinary stores read first.
  Rate read, copy;
  Rate plain_read;                         // by the plainest loop, for comparison
  std::string read_pattern, copy_pattern;  // best of the team

  double region_s = 0;  // entering and leaving a parallel region, one after another
  double region_after_pause_s =
      0;                 // after 200 us of work outside: waiting threads may sleep by then
  double barrier_s = 0;  // one barrier within a region
  std::string spinning;  // GOMP_SPINCOUNT or OMP_WAIT_POLICY in force

  const Rate& of(ArithmeticUnit unit) const { return arithmetic[static_cast<size_t>(unit)]; }
  // Best unit that multiplies in this type, e.g. AMX or VNNI.
  Rate f32() const { return of(ArithmeticUnit::kF32); }
  Rate bf16() const;
  Rate int8() const;
  // The team's f32 arithmetic over one thread's: near 2 if two threads are two cores, near 1 if they share one.
  double thread_scaling() const;
};

std::string CpuName();  // as the system says it, with family and model where names are not unique

// Measures for about `seconds`; the machine should be idle. The team is ThreadCount(), and again afterwards. Needs some 2 GiB
// of memory, less if less is free. Every pattern's rate goes to `patterns` when it is not null.
struct PatternRate {
  std::string pattern;
  bool is_copy = false;
  Rate rate;
};
MachinePeaks MeasurePeaks(double seconds, std::vector<PatternRate>* patterns = nullptr);

Json PeaksToJson(const MachinePeaks& peaks);
// Null if anything is missing, of another type or out of its range.
std::optional<MachinePeaks> PeaksFromJson(const Json& json);

// The file for this CPU, ISA level and team in `folder`; its name carries the version of the format.
std::string PeaksPath(const std::string& folder);
std::string PeaksFolder();  // $XDG_CACHE_HOME/planish or ~/.cache/planish; empty if neither is set
// From the file at PeaksPath, unless it is missing, damaged, or of another machine: then nothing.
std::optional<MachinePeaks> ReadPeaks(const std::string& folder);
// False if it cannot be written: the figures are then measured again next time.
bool WritePeaks(const std::string& folder, const MachinePeaks& peaks);

// From the user's cache folder, else measured for `seconds` and kept there.
MachinePeaks LoadOrMeasurePeaks(double seconds);

}  // namespace planish

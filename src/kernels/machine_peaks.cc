// SPDX-License-Identifier: Apache-2.0
#include "kernels/machine_peaks.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "base/memory.h"
#include "base/parallel.h"
#include "kernels/isa.h"

namespace planish {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class TeamScope {  // another team for one scope
 public:
  explicit TeamScope(int count) : before_(ThreadCount()) { SetThreadCount(count); }
  ~TeamScope() { SetThreadCount(before_); }

 private:
  int before_;
};

// Work per second when each thread of the team calls work(thread) -> amount done.
template <typename Work>
double RateOnce(const Work& work) {
  std::vector<double> done(static_cast<size_t>(ThreadCount()) * 8);  // a cache line each
  const double start = Now();
  ParallelFor(static_cast<size_t>(ThreadCount()), [&](size_t i, int) { done[i * 8] = work(i); });
  const double seconds = Now() - start;
  double total = 0;
  for (const double amount : done) total += amount;
  return total / seconds;
}

// The best of repeated runs: what the machine can do when nothing else disturbs it.
double ArithmeticRate(ArithmeticUnit unit, double seconds) {
  double best = 0;
  size_t rounds = 1000;
  const double end = Now() + seconds;
  do {
    const double start = Now();
    best = std::max(best, RateOnce([&](size_t) { return RunUnit(unit, rounds); }));
    if (Now() - start < seconds / 20) rounds *= 2;
  } while (Now() < end);
  return best;
}

// A buffer far larger than the caches of the machine; consecutive passes take consecutive quarters, so that none finds what
// the one before left behind.
class MemoryBench {
 public:
  // A measurement of eight seconds or more takes 2 GiB; shorter ones have no time to read them.
  explicit MemoryBench(double seconds) {
    constexpr size_t kSmallest = size_t{64} << 20, kLargest = size_t{2} << 30;
    size_t bytes = kLargest;
    while (bytes > kSmallest &&
           (bytes > AvailableBytes() / 4 || static_cast<double>(bytes) > seconds * 0x1p28)) {
      bytes /= 2;
    }
    source_ = AlignedBuffer(bytes);
    target_ = AlignedBuffer(bytes / kPasses);
    std::memset(source_.data(), 1, source_.size());
    std::memset(target_.data(), 1, target_.size());
  }

  double RateOf(const MemoryPattern& pattern) {
    const auto threads = static_cast<size_t>(ThreadCount());
    const size_t pass = source_.size() / kPasses, share = pass / threads / kGrain * kGrain;
    const std::byte* source = source_.data() + turn_++ % kPasses * pass;
    return RateOnce([&](size_t i) {
      return RunMemory(pattern, source + i * share, target_.data() + i * share, share);
    });
  }

 private:
  static constexpr size_t kPasses = 4, kGrain = size_t{16} << 10;
  AlignedBuffer source_, target_;
  size_t turn_ = 0;
};

// Each pattern once, then the three best of each kind until the time is over.
void MeasureMemory(double seconds, bool is_team, MemoryBench* bench,
                   std::vector<PatternRate>* rates) {
  const double end = Now() + seconds;
  const std::vector<MemoryPattern> patterns = MemoryPatterns();
  rates->resize(patterns.size());
  const auto rate = [&](size_t i) -> double& {
    Rate& both = (*rates)[i].rate;
    return is_team ? both.team : both.one_thread;
  };
  const auto run = [&](size_t i) { rate(i) = std::max(rate(i), bench->RateOf(patterns[i])); };
  for (size_t i = 0; i < patterns.size(); ++i) {
    (*rates)[i].pattern = patterns[i].name();
    (*rates)[i].is_copy = patterns[i].is_copy();
    run(i);
  }
  std::vector<size_t> finalists = {0};  // the plain loop too: it is reported
  for (const bool is_copy : {false, true}) {
    std::vector<size_t> kind;
    for (size_t i = 0; i < patterns.size(); ++i)
      if (patterns[i].is_copy() == is_copy) kind.push_back(i);
    std::sort(kind.begin(), kind.end(), [&](size_t a, size_t b) { return rate(a) > rate(b); });
    kind.resize(std::min<size_t>(kind.size(), 3));
    finalists.insert(finalists.end(), kind.begin(), kind.end());
  }
  do {
    for (const size_t i : finalists) run(i);
  } while (Now() < end);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Median of what `once` returns, called for `seconds` or 2001 times, at least five times: a busy machine can make each call
// take milliseconds.
template <typename Once>
double MedianOf(double seconds, const Once& once) {
  std::vector<double> values;
  const double end = Now() + seconds;
  while (values.size() < 5 || (values.size() < 2001 && Now() < end)) values.push_back(once());
  return Median(std::move(values));
}

// An empty region, entered after `pause_s` of other work.
double RegionSeconds(double pause_s) {
  for (const double until = Now() + pause_s; Now() < until;) {
  }
  const double start = Now();
  ParallelFor(static_cast<size_t>(ThreadCount()), [](size_t, int) {});
  return Now() - start;
}

double BarrierSeconds() {
  constexpr size_t kBarriers = 100;
  const double start = Now();
  PassBarriers(kBarriers);
  return (Now() - start) / kBarriers;
}

std::string SpinSetting() {
  if (const char* policy = std::getenv("OMP_WAIT_POLICY"))
    return std::string("OMP_WAIT_POLICY=") + policy;
  const char* count = std::getenv("GOMP_SPINCOUNT");
  return count != nullptr ? std::string("GOMP_SPINCOUNT=") + count : "libgomp's default";
}

Rate Better(const Rate& a, const Rate& b) { return b.team > a.team ? b : a; }

}  // namespace

Rate MachinePeaks::bf16() const {
  return Better(of(ArithmeticUnit::kBf16), of(ArithmeticUnit::kBf16Tiles));
}

Rate MachinePeaks::int8() const {
  return Better(of(ArithmeticUnit::kInt8), of(ArithmeticUnit::kInt8Tiles));
}

double MachinePeaks::thread_scaling() const {
  return f32().one_thread > 0 ? f32().team / f32().one_thread : 0;
}

MachinePeaks MeasurePeaks(double seconds, std::vector<PatternRate>* patterns) {
  MachinePeaks peaks;
  peaks.cpu = CpuName();
  peaks.isa = IsaName();
  peaks.isa_levels = IsaLevels();
  peaks.threads = ThreadCount();
  peaks.spinning = SpinSetting();
  const double half = seconds / 2;  // for one thread and for the team
  MemoryBench memory(seconds);
  std::vector<PatternRate> rates;
  for (const bool is_team : {false, true}) {
    const TeamScope team(is_team ? peaks.threads : 1);
    for (size_t u = 0; u < kArithmeticUnitCount; ++u) {
      const auto unit = static_cast<ArithmeticUnit>(u);
      if (!HasUnit(unit)) continue;
      const double rate = ArithmeticRate(unit, 0.3 * half / kArithmeticUnitCount);
      (is_team ? peaks.arithmetic[u].team : peaks.arithmetic[u].one_thread) = rate;
    }
    MeasureMemory(0.6 * half, is_team, &memory, &rates);
  }
  peaks.plain_read = rates[0].rate;
  for (const PatternRate& pattern : rates) {
    Rate& best = pattern.is_copy ? peaks.copy : peaks.read;
    best.one_thread = std::max(best.one_thread, pattern.rate.one_thread);
    if (pattern.rate.team <= best.team) continue;
    best.team = pattern.rate.team;
    (pattern.is_copy ? peaks.copy_pattern : peaks.read_pattern) = pattern.pattern;
  }
  if (peaks.threads > 1) {
    const double budget = seconds / 30;
    peaks.region_s = MedianOf(budget, [] { return RegionSeconds(0); });
    peaks.region_after_pause_s = MedianOf(budget, [] { return RegionSeconds(200e-6); });
    peaks.barrier_s = MedianOf(budget, BarrierSeconds);
  }
  if (patterns != nullptr) *patterns = std::move(rates);
  return peaks;
}

MachinePeaks LoadOrMeasurePeaks(double seconds) {
  const std::string folder = PeaksFolder();
  if (auto known = ReadPeaks(folder)) return *known;
  const MachinePeaks peaks = MeasurePeaks(seconds);
  WritePeaks(folder, peaks);
  return peaks;
}

}  // namespace planish

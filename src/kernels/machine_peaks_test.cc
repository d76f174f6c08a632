// SPDX-License-Identifier: Apache-2.0
#include "kernels/machine_peaks.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/testing.h"
#include "kernels/isa.h"

namespace planish {
namespace {

MachinePeaks Example() {
  MachinePeaks peaks;
  peaks.cpu = CpuName();
  peaks.isa = IsaName();
  peaks.isa_levels = IsaLevels();
  peaks.threads = ThreadCount();
  for (size_t u = 0; u < kArithmeticUnitCount; ++u)
    peaks.arithmetic[u] = {1e9 * static_cast<double>(u + 1), 2e9 * static_cast<double>(u + 1)};
  peaks.read = {16.5e9, 31.25e9};
  peaks.plain_read = {11e9, 22e9};
  peaks.copy = {18e9, 34e9};
  peaks.read_pattern = "read, 4 streams";
  peaks.copy_pattern = "copy";
  peaks.region_s = 2e-6;
  peaks.region_after_pause_s = 9e-6;
  peaks.barrier_s = 1e-6;
  peaks.spinning = "GOMP_SPINCOUNT=1000";
  return peaks;
}

TEST(MachinePeaks, JsonKeepsEveryFigure) {
  const Json json = PeaksToJson(Example());
  const auto back = PeaksFromJson(json);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(PeaksToJson(*back), json);
  EXPECT_EQ(back->threads, ThreadCount());
  EXPECT_DOUBLE_EQ(back->read.team, 31.25e9);
  EXPECT_DOUBLE_EQ(back->of(ArithmeticUnit::kInt8).one_thread, 3e9);
  EXPECT_DOUBLE_EQ(back->int8().team, 10e9);  // tiles are the better unit here
  EXPECT_DOUBLE_EQ(back->thread_scaling(), 2.0);
}

TEST(MachinePeaks, JsonWithoutAMemberOrWithAnotherTypeIsNoPeaks) {
  const Json json = PeaksToJson(Example());
  for (const auto& [key, value] : json.AsObject()) {
    if (key == "thread_scaling") continue;  // computed
    Json lacking = json;
    lacking.Remove(key);
    EXPECT_FALSE(PeaksFromJson(lacking).has_value()) << "without " << key;
    for (const Json& wrong : {Json(nullptr), Json(true), Json(-1.0), Json(1e300)}) {
      Json changed = json;
      changed.Set(key, wrong);
      EXPECT_FALSE(PeaksFromJson(changed).has_value()) << key << " " << DumpJson(wrong);
    }
  }
  for (const Json& other : {Json(nullptr), Json(1), Json::MakeArray(), Json::MakeObject()})
    EXPECT_FALSE(PeaksFromJson(other).has_value());
}

TEST(PeaksCache, KeepsWhatWasWrittenForThisMachineAndTeam) {
  const testing::TemporaryDir temporary;
  const std::string folder = temporary / "planish";
  EXPECT_FALSE(ReadPeaks(folder).has_value());
  ASSERT_TRUE(WritePeaks(folder, Example()));
  const auto read = ReadPeaks(folder);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(PeaksToJson(*read), PeaksToJson(Example()));
  const int before = ThreadCount();
  SetThreadCount(before + 1);
  EXPECT_FALSE(ReadPeaks(folder).has_value()) << "another team has another file";
  SetThreadCount(before);
}

TEST(PeaksCache, DamagedHostileAndForeignFilesAreAsIfAbsent) {
  const testing::TemporaryDir temporary;
  const std::string folder = temporary / "planish";
  ASSERT_TRUE(WritePeaks(folder, Example()));
  const std::string path = PeaksPath(folder), good = ReadFile(path, 1 << 20);
  for (size_t length = 0; length + 2 < good.size(); length += 37) {
    WriteFile(path, good.substr(0, length));
    EXPECT_FALSE(ReadPeaks(folder).has_value()) << "cut to " << length;
  }
  MachinePeaks foreign = Example();
  foreign.cpu = "another CPU";
  WriteFile(path, DumpJson(PeaksToJson(foreign)));
  EXPECT_FALSE(ReadPeaks(folder).has_value());
  WriteFile(path, std::string(1000, '['));
  EXPECT_FALSE(ReadPeaks(folder).has_value());
  WriteFile(path, good + std::string(1 << 20, ' '));
  EXPECT_FALSE(ReadPeaks(folder).has_value()) << "too large";
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_FALSE(ReadPeaks(folder).has_value()) << "a folder";
  EXPECT_FALSE(WritePeaks(folder, Example()));
  EXPECT_FALSE(WritePeaks("", Example()));
}

TEST(MachinePeaks, EveryUnitThatTheCpuHasCountsItsOperations) {
  for (const std::string& level : IsaLevels()) {
    LimitIsa(level);
    EXPECT_TRUE(HasUnit(ArithmeticUnit::kF32));
    for (size_t u = 0; u < kArithmeticUnitCount; ++u) {
      const auto unit = static_cast<ArithmeticUnit>(u);
      if (!HasUnit(unit)) continue;
      const double once = RunUnit(unit, 3);
      EXPECT_GT(once, 0) << Name(unit) << " " << level;
      EXPECT_DOUBLE_EQ(RunUnit(unit, 6), 2 * once) << Name(unit) << " " << level;
    }
    LimitIsa("");
  }
}

TEST(MachinePeaks, EveryCopyPatternCopiesAndEveryReadPatternLeavesTheTargetAlone) {
  constexpr size_t kBytes = 32 << 10;
  AlignedBuffer source(kBytes), target(kBytes);
  for (size_t i = 0; i < kBytes; ++i) source.data()[i] = static_cast<std::byte>(i * 7 / 64 & 63);
  for (const std::string& level : IsaLevels()) {
    LimitIsa(level);
    for (const MemoryPattern& pattern : MemoryPatterns()) {
      std::memset(target.data(), 0xee, kBytes);
      const double moved = RunMemory(pattern, source.data(), target.data(), kBytes);
      EXPECT_DOUBLE_EQ(moved, pattern.is_copy() ? 2.0 * kBytes : 1.0 * kBytes) << pattern.name();
      const bool copied = std::memcmp(source.data(), target.data(), kBytes) == 0;
      EXPECT_EQ(copied, pattern.is_copy()) << pattern.name() << " " << level;
    }
    LimitIsa("");
  }
}

// No speed is asserted, only that a measurement finds something of everything that is there.
TEST(MachinePeaks, AShortMeasurementFillsEveryFigure) {
  std::vector<PatternRate> patterns;
  const MachinePeaks peaks = MeasurePeaks(0.05, &patterns);
  EXPECT_EQ(peaks.cpu == "unknown CPU", !std::filesystem::exists("/proc/cpuinfo"));
  EXPECT_EQ(peaks.threads, ThreadCount());
  EXPECT_EQ(patterns.size(), MemoryPatterns().size());
  for (size_t u = 0; u < kArithmeticUnitCount; ++u) {
    const auto unit = static_cast<ArithmeticUnit>(u);
    EXPECT_EQ(peaks.of(unit).one_thread > 0, HasUnit(unit)) << Name(unit);
    EXPECT_EQ(peaks.of(unit).team > 0, HasUnit(unit)) << Name(unit);
  }
  EXPECT_GE(peaks.read.team, peaks.plain_read.team);
  EXPECT_GT(peaks.copy.one_thread, 0);
  EXPECT_FALSE(peaks.read_pattern.empty());
  EXPECT_EQ(peaks.barrier_s > 0, peaks.threads > 1);
  EXPECT_TRUE(PeaksFromJson(PeaksToJson(peaks)).has_value());
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// MachinePeaks as JSON and in the user's cache folder. A file there may be anybody's: what does not fit is as if absent.
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "kernels/isa.h"
#include "kernels/machine_peaks.h"

namespace planish {
namespace {

constexpr int kFormat = 1;                   // raise when figures change their meaning
constexpr uint64_t kLargestFile = 64 << 10;  // bytes
constexpr double kLargestRate = 1e18;        // a second
constexpr double kLongestWait = 10;          // seconds

Json RateToJson(const Rate& rate) {
  Json json = Json::MakeObject();
  json.Set("one_thread", rate.one_thread);
  json.Set("team", rate.team);
  return json;
}

// `is_needed`: zero would be a division by zero later.
Rate RateFromJson(const JsonReader& json, bool is_needed) {
  const double low = is_needed ? 1.0 : 0.0;
  return {json.Number("one_thread", low, kLargestRate), json.Number("team", low, kLargestRate)};
}

// First line of /proc/cpuinfo with this key; empty if there is none.
std::string CpuInfo(const std::string& text, std::string_view key) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line(text.data() + at, end - at);
    at = end + 1;
    if (!line.starts_with(key)) continue;
    const size_t colon = line.find(':');
    const std::string_view rest = line.substr(key.size(), colon - std::min(colon, key.size()));
    if (colon == line.npos || rest.find_first_not_of(" \t") != rest.npos) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == line.npos ? "" : std::string(line.substr(begin));
  }
  return "";
}

}  // namespace

std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");  // its size is unknown before the end
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (const std::string name = CpuInfo(text, "model name"); !name.empty())
    return fmt::format("{}, family {} model {}", name, CpuInfo(text, "cpu family"),
                       CpuInfo(text, "model"));
  const std::string part = CpuInfo(text, "CPU part");
  return part.empty()
             ? "unknown CPU"
             : fmt::format("implementer {} part {}", CpuInfo(text, "CPU implementer"), part);
}

Json PeaksToJson(const MachinePeaks& peaks) {
  Json json = Json::MakeObject();
  json.Set("format", kFormat);
  json.Set("cpu", peaks.cpu);
  json.Set("isa", peaks.isa);
  Json levels = Json::MakeArray();
  for (const std::string& level : peaks.isa_levels) levels.Append(level);
  json.Set("isa_levels", std::move(levels));
  json.Set("threads", peaks.threads);
  json.Set("thread_scaling", peaks.thread_scaling());
  Json arithmetic = Json::MakeObject();
  for (size_t u = 0; u < kArithmeticUnitCount; ++u)
    arithmetic.Set(Name(static_cast<ArithmeticUnit>(u)), RateToJson(peaks.arithmetic[u]));
  json.Set("operations_per_s", std::move(arithmetic));
  json.Set("read_bytes_per_s", RateToJson(peaks.read));
  json.Set("read_pattern", peaks.read_pattern);
  json.Set("plain_read_bytes_per_s", RateToJson(peaks.plain_read));
  json.Set("copy_bytes_per_s", RateToJson(peaks.copy));
  json.Set("copy_pattern", peaks.copy_pattern);
  json.Set("region_s", peaks.region_s);
  json.Set("region_after_pause_s", peaks.region_after_pause_s);
  json.Set("barrier_s", peaks.barrier_s);
  json.Set("spinning", peaks.spinning);
  return json;
}

std::optional<MachinePeaks> PeaksFromJson(const Json& json) {
  if (!json.is_object()) return std::nullopt;
  try {
    const JsonReader reader(json, "peaks");
    MachinePeaks peaks;
    reader.Int("format", kFormat, kFormat);
    peaks.cpu = reader.String("cpu");
    peaks.isa = reader.String("isa");
    for (const Json& level : reader.Array("isa_levels")) {
      if (!level.is_string()) return std::nullopt;
      peaks.isa_levels.push_back(level.AsString());
    }
    peaks.threads = static_cast<int>(reader.Int("threads", 1, 1024));
    const JsonReader arithmetic = reader.Object("operations_per_s");
    for (size_t u = 0; u < kArithmeticUnitCount; ++u) {
      const auto unit = static_cast<ArithmeticUnit>(u);
      peaks.arithmetic[u] = RateFromJson(arithmetic.Object(Name(unit)), HasUnit(unit));
    }
    peaks.read = RateFromJson(reader.Object("read_bytes_per_s"), true);
    peaks.plain_read = RateFromJson(reader.Object("plain_read_bytes_per_s"), true);
    peaks.copy = RateFromJson(reader.Object("copy_bytes_per_s"), true);
    peaks.read_pattern = reader.String("read_pattern");
    peaks.copy_pattern = reader.String("copy_pattern");
    peaks.region_s = reader.Number("region_s", 0, kLongestWait);
    peaks.region_after_pause_s = reader.Number("region_after_pause_s", 0, kLongestWait);
    peaks.barrier_s = reader.Number("barrier_s", 0, kLongestWait);
    peaks.spinning = reader.String("spinning");
    return peaks;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string PeaksFolder() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value != nullptr ? value : "";
  };
  // Relative paths in XDG_CACHE_HOME are invalid by its specification.
  if (const std::string cache = variable("XDG_CACHE_HOME"); cache.starts_with('/'))
    return cache + "/planish";
  const std::string home = variable("HOME");
  return home.empty() ? "" : home + "/.cache/planish";
}

std::string PeaksPath(const std::string& folder) {
  std::string name;
  for (const char c : CpuName()) {
    const bool keep = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (keep) name += c;
    if (!keep && !name.empty() && name.back() != '-') name += '-';
  }
  return fmt::format("{}/peaks-v{}-{:.100}-{}-{}t.json", folder, kFormat, name, IsaName(),
                     ThreadCount());
}

std::optional<MachinePeaks> ReadPeaks(const std::string& folder) {
  if (folder.empty()) return std::nullopt;
  const std::string path = PeaksPath(folder);
  try {
    if (!FileExists(path)) return std::nullopt;
    auto peaks = PeaksFromJson(ParseJson(ReadFile(path, kLargestFile), path));
    const bool is_ours = peaks.has_value() && peaks->cpu == CpuName() && peaks->isa == IsaName() &&
                         peaks->threads == ThreadCount();
    return is_ours ? peaks : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

bool WritePeaks(const std::string& folder, const MachinePeaks& peaks) {
  if (folder.empty()) return false;
  try {
    MakeDirectories(folder);
    WriteFile(PeaksPath(folder), DumpJson(PeaksToJson(peaks), JsonStyle::kPython, 2) + "\n");
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace planish

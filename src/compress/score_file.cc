// SPDX-License-Identifier: Apache-2.0
#include "compress/score_file.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"

namespace planish {
namespace {

constexpr uint64_t kScoreBytes = 64u << 20;
constexpr int64_t kFormat = 1;

}  // namespace

ScoreMetric ScoreMetricFromName(const std::string& name) {
  for (size_t i = 0; i < std::size(kScoreMetrics); ++i)
    if (name == kScoreMetrics[i]) return static_cast<ScoreMetric>(i);
  throw UsageError("score is {}, expected kl, loss, cosine or top1", Quoted(name));
}

double ReplacementScore::Of(ScoreMetric metric) const {
  const double values[] = {kl, loss, cosine, top1};
  return values[static_cast<size_t>(metric)];
}

std::string ScoreKey(const CandidateBlock& block, const Candidate& candidate) {
  return candidate.weights.empty() ? fmt::format("block {} {}", block.block, candidate.name)
                                   : candidate.weights;
}

std::string ScoreFile::PathOf(const std::string& folder, size_t part, size_t parts) {
  if (parts == 1) return folder + "/scores.json";
  return fmt::format("{}/scores-{}-of-{}.json", folder, part, parts);
}

std::vector<std::string> ScoreFile::PathsIn(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("scores") && name.ends_with(".json"))
      paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

ScoreFile ScoreFile::Read(const std::string& path) {
  const Json json = ParseJson(planish::ReadFile(path, kScoreBytes), path);
  const JsonReader reader(json, path);
  reader.Int("format", kFormat, kFormat);
  ScoreFile file;
  file.set = {reader.String("parent"), reader.String("rows"), reader.String("precision")};
  file.data = reader.StringOr("data", "");
  file.metric = ScoreMetricFromName(reader.String("metric"));
  file.parent_loss = reader.Number("parent_loss", 0, 1e300);
  const size_t count = reader.Array("scores").size();
  for (size_t i = 0; i < count; ++i) {
    const JsonReader entry = reader.Element("scores", i);
    file.scores[entry.String("child")] = {
        entry.Number("kl", 0, 1e300), entry.Number("loss", -1e300, 1e300),
        entry.Number("cosine", -1, 3), entry.Number("top1", 0, 1)};
  }
  return file;
}

void ScoreFile::Write(const std::string& path) const {
  Json json = Json::MakeObject();
  json.Set("format", kFormat);
  json.Set("parent", set.parent);
  json.Set("rows", set.rows);
  json.Set("data", data);
  json.Set("precision", set.precision);
  json.Set("metric", kScoreMetrics[static_cast<size_t>(metric)]);
  json.Set("parent_loss", parent_loss);
  Json list = Json::MakeArray();
  for (const auto& [child, score] : scores) {
    Json entry = Json::MakeObject();
    entry.Set("child", child);
    entry.Set("kl", score.kl);
    entry.Set("loss", score.loss);
    entry.Set("cosine", score.cosine);
    entry.Set("top1", score.top1);
    list.Append(std::move(entry));
  }
  json.Set("scores", std::move(list));
  WriteFile(path, DumpJson(json, JsonStyle::kPython, 1) + "\n");
}

void ReadScores(BlockLibrary* library) {
  for (const std::string& path : ScoreFile::PathsIn(library->folder)) {
    const ScoreFile file = ScoreFile::Read(path);
    if (file.set.parent != library->parent) continue;
    library->scored_on =
        fmt::format("{} of {}", kScoreMetrics[static_cast<size_t>(file.metric)], file.data);
    for (CandidateBlock& block : library->blocks) {
      for (Candidate& candidate : block.candidates) {
        if (candidate.is_parent) candidate.score = 0;
        const auto found = file.scores.find(ScoreKey(block, candidate));
        if (!candidate.is_parent && found != file.scores.end())
          candidate.score = found->second.Of(file.metric);
      }
    }
  }
}

}  // namespace planish

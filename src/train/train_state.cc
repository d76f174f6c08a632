// SPDX-License-Identifier: Apache-2.0
#include "train/train_state.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"

namespace planish {
namespace {

constexpr uint64_t kManifestBytes = 16u << 20;
constexpr int64_t kVersion = 1;

// One list of the counters serves writing and reading.
template <typename State, typename Visit>
void VisitCounts(State& state, const Visit& visit) {
  visit("step", state.step);
  visit("samples", state.samples);
  visit("tokens", state.tokens);
  visit("schedule_samples", state.schedule_samples);
  visit("schedule_tokens", state.schedule_tokens);
  visit("optimizer_steps", state.optimizer_steps);
  visit("skipped_steps", state.skipped_steps);
  visit("seed", state.seed);
  visit("log_offset", state.log_offset);
  visit("ranks", state.ranks);
  visit("generation", state.generation);
}
template <typename State, typename Visit>
void VisitTexts(State& state, const Visit& visit) {
  visit("config_hash", state.config_hash);
  visit("code_version", state.code_version);
  visit("isa", state.isa);
  visit("recipe", state.recipe);
}

Json StateToJson(const TrainState& state) {
  Json json = Json::MakeObject();
  VisitCounts(state, [&](const char* key, uint64_t value) { json.Set(key, value); });
  json.Set("loss_ema", std::isfinite(state.loss_ema) ? Json(state.loss_ema) : Json(nullptr));
  VisitTexts(state, [&](const char* key, const std::string& value) { json.Set(key, value); });
  json.Set("schedule", state.schedule);
  json.Set("blend", state.blend);
  return json;
}

TrainState StateFromJson(const JsonReader& reader) {
  TrainState state;
  VisitCounts(state, [&](const char* key, uint64_t& value) {
    const Json* found = reader.json().Find(key);
    if (found == nullptr || !found->is_integer() ||
        (found->type() == Json::Type::kInt && found->AsInt() < 0))
      reader.Fail(key, "a count");
    value = found->AsUint();
  });
  state.loss_ema = reader.Has("loss_ema")
                       ? reader.Number("loss_ema", std::numeric_limits<double>::lowest(),
                                       std::numeric_limits<double>::max())
                       : std::nan("");
  VisitTexts(state, [&](const char* key, std::string& value) { value = reader.StringOr(key, ""); });
  state.schedule = reader.Object("schedule").json();
  state.blend = reader.Object("blend").json();
  return state;
}

std::string TextOf(const Json& json) { return DumpJson(json, JsonStyle::kPython, 2) + "\n"; }

std::string PathIn(const std::string& folder, const std::string& name) {
  return (std::filesystem::path(folder) / name).string();
}

}  // namespace

std::vector<ManifestFile> HashFiles(const std::string& folder) {
  std::vector<ManifestFile> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name == kManifestName || !entry.is_regular_file()) continue;
    files.push_back({name, entry.file_size(), Sha256HexOfFile(entry.path().string())});
  }
  std::sort(files.begin(), files.end(),
            [](const ManifestFile& a, const ManifestFile& b) { return a.name < b.name; });
  return files;
}

void WriteManifest(const std::string& folder, const Manifest& manifest) {
  Json json = Json::MakeObject();
  json.Set("format", "planish checkpoint");
  json.Set("version", kVersion);
  json.Set("state", StateToJson(manifest.state));
  Json& files = json.Set("files", Json::MakeObject());
  for (const ManifestFile& file : manifest.files)
    files.Set(file.name, Json::Object{{"bytes", file.bytes}, {"sha256", file.sha256}});
  json.Set("sha256", Sha256Hex(TextOf(json)));
  WriteFile(PathIn(folder, kManifestName), TextOf(json));
}

Manifest ReadManifest(const std::string& folder) {
  const std::string path = PathIn(folder, kManifestName);
  const std::string text = ReadFile(path, kManifestBytes);
  Json json = ParseJson(text, path);
  const Json* sum = json.Find("sha256");
  const bool is_exact = sum != nullptr && sum->is_string() && TextOf(json) == text;
  const std::string expected = is_exact ? sum->AsString() : "";
  if (is_exact) json.Remove("sha256");
  if (!is_exact || Sha256Hex(TextOf(json)) != expected)
    throw BadFile("{}: is damaged: its checksum does not fit", Quoted(path, 300));
  const JsonReader reader(json, path);
  if (reader.Int("version", 0, std::numeric_limits<int64_t>::max()) != kVersion)
    reader.Fail("version", fmt::format("{}", kVersion));
  Manifest manifest;
  manifest.state = StateFromJson(reader.Object("state"));
  const JsonReader files = reader.Object("files");
  for (const auto& [name, value] : files.json().AsObject()) {
    const JsonReader file = files.Object(name);
    manifest.files.push_back(
        {name, static_cast<uint64_t>(file.Int("bytes", 0, std::numeric_limits<int64_t>::max())),
         file.String("sha256")});
  }
  return manifest;
}

void CheckFiles(const std::string& folder, const Manifest& manifest) {
  for (const ManifestFile& file : manifest.files) {
    const std::string path = PathIn(folder, file.name);
    if (!FileExists(path))
      throw BadFile("{}: is missing, {} lists it", Quoted(path, 300), kManifestName);
    std::error_code error;
    const uint64_t bytes = std::filesystem::file_size(path, error);
    if (error || bytes != file.bytes) {
      throw BadFile("{}: is {} bytes, expected {}", Quoted(path, 300), error ? 0 : bytes,
                    file.bytes);
    }
  }
  for (const ManifestFile& file : manifest.files) {
    const std::string path = PathIn(folder, file.name);
    if (Sha256HexOfFile(path) != file.sha256)
      throw BadFile("{}: is damaged: its SHA-256 is not that of {}", Quoted(path, 300),
                    kManifestName);
  }
}

}  // namespace planish

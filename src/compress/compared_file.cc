// SPDX-License-Identifier: Apache-2.0
#include "compress/compared_file.h"

#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace planish {
namespace {

constexpr uint64_t kFileBytes = uint64_t{256} << 20;
constexpr double kAny = 1e300;
constexpr int64_t kMostTokens = int64_t{1} << 50;

Divergence FromJson(const JsonReader& reader) {
  Divergence d;
  d.nll = reader.Number("nll", 0, kAny);
  d.reference_nll = reader.Number("reference_nll", 0, kAny);
  d.kl = reader.Number("kl", 0, kAny);
  d.kl_max = reader.Number("kl_max", 0, kAny);
  d.tokens = static_cast<uint64_t>(reader.Int("tokens", 0, kMostTokens));
  d.top1 = static_cast<uint64_t>(reader.Int("top1", 0, kMostTokens));
  for (const Json& value : reader.Array("sample_kl")) {
    if (!value.is_number()) reader.Fail("sample_kl", "numbers");
    d.sample_kl.push_back(value.AsDouble());
  }
  return d;
}

Json ToJson(const std::string& key, const Divergence& d) {
  Json json = Json::MakeObject(), samples = Json::MakeArray();
  for (const double value : d.sample_kl) samples.Append(value);
  json.Set("key", key);
  json.Set("nll", d.nll);
  json.Set("reference_nll", d.reference_nll);
  json.Set("kl", d.kl);
  json.Set("kl_max", d.kl_max);
  json.Set("tokens", d.tokens);
  json.Set("top1", d.top1);
  json.Set("sample_kl", std::move(samples));
  return json;
}

}  // namespace

ComparedFile::ComparedFile(std::string path) : path_(std::move(path)) {
  if (!FileExists(path_)) return;
  std::istringstream lines(ReadFile(path_, kFileBytes));
  for (std::string line; std::getline(lines, line);) {
    try {
      const Json json = ParseJson(line, path_);
      const JsonReader reader(json, path_);
      found_[reader.String("key")] = FromJson(reader);
      text_ += line + "\n";
    } catch (const Error&) {
      continue;
    }
  }
}

const Divergence* ComparedFile::Find(const std::string& key) const {
  const auto found = found_.find(key);
  return found == found_.end() ? nullptr : &found->second;
}

void ComparedFile::Add(const std::string& key, const Divergence& divergence) {
  found_[key] = divergence;
  text_ += DumpJson(ToJson(key, divergence)) + "\n";
  WriteFile(path_, text_);
}

}  // namespace planish

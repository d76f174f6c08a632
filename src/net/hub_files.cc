// SPDX-License-Identifier: Apache-2.0
// Which files of a repository make up a model. For hub.h.
#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "base/error.h"
#include "net/http.h"
#include "net/hub.h"

namespace planish {
namespace {

constexpr std::array kNames = {"config.json",
                               "generation_config.json",
                               "tokenizer.json",
                               "tokenizer_config.json",
                               "special_tokens_map.json",
                               "added_tokens.json",
                               "chat_template.jinja",
                               "chat_template.json",
                               "vocab.json",
                               "merges.txt",
                               "tokenizer.model",
                               "README.md",
                               "model.safetensors.index.json"};

std::string BaseName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

bool BelongsToFolder(const std::string& path) {
  if (path.find('/') != std::string::npos) return false;
  if (std::find(kNames.begin(), kNames.end(), path) != kNames.end()) return true;
  const std::string lower = ToLower(path);
  return path.ends_with(".safetensors") || lower.starts_with("license") ||
         lower.starts_with("notice");
}

struct Split {
  std::string stem;  // without "-00001-of-00003.gguf"
  size_t number = 1, count = 1;
};

// How split.no and split.count are written in names of GGUF files.
std::optional<Split> SplitOf(const std::string& name) {
  constexpr size_t kTail = 20;  // "-00001-of-00003.gguf"
  if (name.size() <= kTail) return std::nullopt;
  const std::string tail = name.substr(name.size() - kTail);
  const auto digits = [&](size_t at) { return tail.substr(at, 5); };
  const auto is_number = [](const std::string& text) {
    return text.find_first_not_of("0123456789") == std::string::npos;
  };
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || !is_number(digits(1)) ||
      !is_number(digits(10)))
    return std::nullopt;
  return Split{name.substr(0, name.size() - kTail), std::stoul(digits(1)), std::stoul(digits(10))};
}

// "model-Q4_K_M" and "Q4_K_M/model" hold "q4_k_m" as a word; "model-Q4_K_M" does not hold "q4_k".
bool HoldsWord(const std::string& path, const std::string& word) {
  const std::string text = ToLower(path), wanted = ToLower(word);
  const auto is_part = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  };
  for (size_t at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1)) {
    const size_t end = at + wanted.size();
    if ((at == 0 || !is_part(text[at - 1])) && (end == text.size() || !is_part(text[end])))
      return true;
  }
  return false;
}

std::vector<HubFile> SelectGguf(const HubModel& model, const std::string& quantization) {
  std::map<std::string, std::vector<HubFile>> models;  // by name without the part's number
  for (const HubFile& file : model.files) {
    if (!file.path.ends_with(".gguf") || ToLower(BaseName(file.path)).starts_with("mmproj"))
      continue;
    const auto split = SplitOf(file.path);
    models[split ? split->stem : file.path.substr(0, file.path.size() - 5)].push_back(file);
  }
  std::vector<std::string> found;
  std::string choices;
  for (const auto& [stem, files] : models) {
    choices += (choices.empty() ? "" : ", ") + BaseName(stem);
    if (quantization.empty() || HoldsWord(stem, quantization)) found.push_back(stem);
  }
  if (found.empty())
    throw Error(ExitCode::kUsage,
                fmt::format("{} has no file of type {}", model.name, Quoted(quantization)),
                "one of " + choices);
  if (found.size() > 1)
    throw Error(ExitCode::kUsage, fmt::format("{} has several models: {}", model.name, choices),
                fmt::format("planish pull {}:TYPE, e.g. Q4_K_M", model.name));
  std::vector<HubFile> files = models[found[0]];
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  for (size_t i = 0; i < files.size(); ++i) {
    const auto split = SplitOf(files[i].path);
    if (split && (split->number != i + 1 || split->count != files.size()))
      throw Error(
          ExitCode::kNetwork,
          fmt::format(
              "{}: the parts of {} are not complete: part {} of {} stands at place {} of {}",
              model.name, Quoted(found[0]), split->number, split->count, i + 1, files.size()));
  }
  return files;
}

}  // namespace

std::vector<HubFile> SelectModelFiles(const HubModel& model, const std::string& quantization) {
  std::vector<HubFile> folder;
  bool has_weights = false, has_gguf = false, has_config = false;
  for (const HubFile& file : model.files) {
    has_gguf |= file.path.ends_with(".gguf");
    if (!BelongsToFolder(file.path)) continue;
    has_weights |= file.path.ends_with(".safetensors");
    has_config |= file.path == "config.json";
    folder.push_back(file);
  }
  if (has_weights && has_config && quantization.empty()) return folder;
  if (has_gguf) return SelectGguf(model, quantization);
  if (has_weights && has_config)
    throw Error(ExitCode::kUsage,
                fmt::format("{} has no GGUF files, so no type can be chosen", model.name),
                fmt::format("planish pull {}", model.name));
  throw Error(
      ExitCode::kUsage,
      fmt::format("{} has neither config.json with .safetensors nor .gguf files", model.name));
}

}  // namespace planish

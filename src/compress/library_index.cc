// SPDX-License-Identifier: Apache-2.0
#include "compress/library_index.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "compress/child_block.h"
#include "compress/scores.h"

namespace planish {
namespace {

constexpr size_t kAddressDigits = 24;
constexpr size_t kSampledRows = 16;  // of each matrix, for fingerprints
constexpr uint64_t kIndexBytes = 256u << 20;
constexpr int64_t kFormat = 1;

std::string IndexPath(const std::string& folder) { return folder + "/block_library.json"; }

// False if the file is not that child.
bool ReadLosses(const std::string& path, Candidate* candidate) {
  try {
    const Json json = ReadChildNote(path);
    const JsonReader note(json, path);
    const Json* mixer = json.Find("mixer");
    if (mixer == nullptr || MixerFromJson(*mixer, path) != candidate->mixer)
      throw BadFile("{}: holds another child", path);
    candidate->initial_loss = note.Number("initial_loss", 0, 1e300);
    candidate->bld_loss = note.Number("loss", 0, 1e300);
    return true;
  } catch (const Error& error) {
    LogWarning("{}; it is made anew", error.what());
    return false;
  }
}

}  // namespace

std::string FingerprintOf(const Pretrained& model) {
  std::string text =
      fmt::format("{} {} {} {} {}", ModelType(model.config.family), model.config.hidden_size,
                  model.config.vocab_size, model.config.norm_eps, model.config.rope_theta);
  for (const BlockConfig& block : model.config.blocks)
    text += fmt::format("|{} {}", block.layer, DumpJson(MixerToJson(block.mixer)));
  std::vector<float> row;
  model.model->VisitParams([&](const Param& param) {
    text += fmt::format("|{} {} ", param.name, param.shape.ToString());
    const auto add = [&](const float* values, size_t n) {
      text += Sha256Hex({reinterpret_cast<const char*>(values), n * sizeof(float)});
    };
    if (param.vector != nullptr) return add(param.vector->f32(), param.shape.elements());
    const size_t rows = param.shape[0], count = std::min(rows, kSampledRows);
    row.resize(param.shape[1]);
    for (size_t i = 0; i < count; ++i) {
      param.weight->DequantizeRow(i * rows / count, row.data());
      add(row.data(), row.size());
    }
  });
  return Sha256Hex(text);
}

Json TrainingJson(const LibraryOptions& options, size_t seq_len) {
  Json json = Json::MakeObject();
  json.Set("tokens", options.tokens);
  json.Set("step_tokens", static_cast<uint64_t>(options.step_tokens));
  json.Set("seq_len", static_cast<uint64_t>(seq_len));
  json.Set("lr", options.lr);
  json.Set("warmup", options.warmup);
  json.Set("weight_decay", options.weight_decay);
  json.Set("init_tokens", static_cast<uint64_t>(options.init_tokens));
  json.Set("precision", options.precision == Precision::kF32 ? "f32" : "bf16");
  return json;
}

std::string ChildFile(const Json& inputs, size_t block, const MixerConfig& mixer) {
  const std::string text =
      fmt::format("{} {} {} {}", kFormat, DumpJson(inputs), block, DumpJson(MixerToJson(mixer)));
  return fmt::format("library/{}.safetensors", Sha256Hex(text).substr(0, kAddressDigits));
}

Json NoteToJson(const ChildNote& note) {
  Json json = Json::MakeObject();
  json.Set("block", static_cast<uint64_t>(note.block));
  json.Set("name", note.name);
  json.Set("mixer", MixerToJson(note.mixer));
  json.Set("initial_loss", note.initial_loss);
  json.Set("loss", note.loss);
  return json;
}

void FindChildren(const Json& inputs, BlockLibrary* library) {
  library->children = library->made = 0;
  for (CandidateBlock& block : library->blocks) {
    for (Candidate& candidate : block.candidates) {
      if (candidate.is_parent) continue;
      if (!candidate.mixer) {
        candidate.initial_loss = candidate.bld_loss = 1;
        continue;
      }
      ++library->children;
      if (candidate.weights.empty()) {
        const std::string file = ChildFile(inputs, block.block, *candidate.mixer);
        const std::string path = library->folder + "/" + file;
        if (!FileExists(path) || !ReadLosses(path, &candidate)) continue;
        candidate.weights = file;
      }
      ++library->made;
    }
  }
}

void WriteIndex(const BlockLibrary& library) {
  Json json = Json::MakeObject();
  json.Set("format", kFormat);
  json.Set("parent", library.parent);
  json.Set("parent_name", library.parent_name);
  json.Set("data", library.data);
  json.Set("training", library.training);
  Json notes = Json::MakeArray();
  for (const std::string& note : library.notes) notes.Append(note);
  json.Set("notes", std::move(notes));
  json.Set("children", static_cast<uint64_t>(library.children));
  json.Set("made", static_cast<uint64_t>(library.made));
  Json blocks = Json::MakeArray();
  for (const CandidateBlock& block : library.blocks) {
    Json entry = Json::MakeObject();
    entry.Set("block", static_cast<uint64_t>(block.block));
    Json candidates = Json::MakeArray();
    for (Candidate candidate : block.candidates) {
      candidate.score = std::numeric_limits<double>::quiet_NaN();  // scores.json has them
      candidates.Append(CandidateToJson(candidate));
    }
    entry.Set("candidates", std::move(candidates));
    blocks.Append(std::move(entry));
  }
  json.Set("blocks", std::move(blocks));
  WriteFile(IndexPath(library.folder), DumpJson(json, JsonStyle::kPython, 1) + "\n");
}

BlockLibrary LoadLibrary(const std::string& folder) {
  const std::string path = IndexPath(folder);
  const Json json = ParseJson(ReadFile(path, kIndexBytes), path);
  const JsonReader reader(json, path);
  reader.Int("format", kFormat, kFormat);
  BlockLibrary library;
  library.folder = folder;
  library.parent = reader.String("parent");
  library.parent_name = reader.StringOr("parent_name", "");
  library.data = reader.StringOr("data", "");
  if (const Json* training = json.Find("training")) library.training = *training;
  if (reader.Has("notes")) {
    for (const Json& note : reader.Array("notes"))
      if (note.is_string()) library.notes.push_back(note.AsString());
  }
  const size_t count = reader.Array("blocks").size();
  for (size_t i = 0; i < count; ++i) {
    const JsonReader entry = reader.Element("blocks", i);
    CandidateBlock block;
    // In order and complete: a Choice counts on it.
    block.block =
        static_cast<size_t>(entry.Int("block", static_cast<int64_t>(i), static_cast<int64_t>(i)));
    for (const Json& candidate : entry.Array("candidates")) {
      block.candidates.push_back(CandidateFromJson(candidate, entry.PathOf("candidates")));
      const Candidate& read = block.candidates.back();
      if (read.is_parent != (block.candidates.size() == 1))
        entry.Fail("candidates", "the parent's own block first, and only there");
      const bool has_parameters = !read.is_parent && read.mixer.has_value();
      library.children += has_parameters;
      library.made += has_parameters && !read.weights.empty();
    }
    if (block.candidates.empty()) entry.Fail("candidates", "at least the parent's own block");
    library.blocks.push_back(std::move(block));
  }
  ReadScores(&library);
  return library;
}

void RequireParent(const BlockLibrary& library, const Pretrained& parent) {
  if (library.parent == FingerprintOf(parent)) return;
  throw Error(ExitCode::kUsage,
              fmt::format("{} was made from another model ({}) than {}", library.folder,
                          library.parent_name, parent.name),
              "give the parent it was made from, or another folder");
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "cli/training_tokens.h"

#include <chrono>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/tokenize_corpus.h"
#include "data/sft_tokens.h"
#include "data/token_file.h"
#include "model/pretrained.h"

namespace planish {
namespace {

namespace fs = std::filesystem;

bool IsTokenFile(const std::string& path) {
  return !IsDirectory(path) && ReadFilePrefix(path, 8) == "PLTOKENS";
}

// JSONL whose first line has messages (or conversations in another known form).
bool IsChat(const std::string& path) {
  if (IsDirectory(path) || path.find(".jsonl") == path.npos) return false;
  std::string line;
  DialogueLines lines(path);
  if (!lines.NextLine(&line)) return false;
  const Json json = ParseJson(line, lines.place());
  return json.is_object() && json.Find("text") == nullptr;
}

// Names, sizes and times of all files, so that a file of tokens is not taken for another's.
std::string DescribeInputs(const std::vector<std::string>& inputs, const std::string& tokenizer) {
  Json files = Json::MakeArray();
  const auto add = [&](const fs::path& path) {
    Json file = Json::MakeObject();
    file.Set("path", fs::absolute(path).lexically_normal().string());
    file.Set("bytes", static_cast<uint64_t>(fs::file_size(path)));
    file.Set("changed", static_cast<int64_t>(fs::last_write_time(path).time_since_epoch().count()));
    files.Append(std::move(file));
  };
  for (const std::string& input : inputs) {
    if (!FileExists(input)) throw BadFile("{}: there is no such file", Quoted(input, 300));
    if (!IsDirectory(input)) {
      add(input);
      continue;
    }
    for (const auto& entry : fs::recursive_directory_iterator(input))
      if (entry.is_regular_file()) add(entry.path());
  }
  Json json = Json::MakeObject();
  json.Set("tokenizer", tokenizer);
  json.Set("files", std::move(files));
  return DumpJson(json) + "\n";
}

void TokenizeChats(const std::vector<std::string>& inputs, const Pretrained& opened,
                   const std::string& path) {
  if (opened.chat_template == nullptr)
    throw BadFile("{}: has no chat template, but {} holds conversations", Quoted(opened.name, 200),
                  Quoted(inputs[0], 300));
  const ChatEncoder encoder({opened.tokenizer, opened.chat_template, opened.thinking,
                             opened.bos_token, opened.eos_token, opened.eos_ids});
  TokenFileWriter writer(path, {opened.tokenizer->vocab_size(), TokenizerHash(*opened.tokenizer),
                                opened.name, /*has_mask=*/true});
  for (const std::string& input : inputs) {
    DialogueLines lines(input);
    TokenizeDialogues(&lines, encoder, {}, &writer);
  }
  if (writer.document_count() == 0)
    throw BadFile("{}: no answer to train on", Quoted(inputs[0], 300));
  writer.Commit();
  LogInfo("{}: {} tokens of {} conversations, {} of them trained", path, writer.token_count(),
          writer.document_count(), writer.trained_tokens());
}

}  // namespace

TrainingTokens MakeTrainingTokens(const std::vector<std::string>& inputs, const std::string& model,
                                  const std::string& made_path) {
  if (inputs.empty()) throw UsageError("no data is given");
  if (IsTokenFile(inputs[0])) {
    if (inputs.size() > 1)
      throw Error(ExitCode::kUsage, "several token files need a recipe", "data.phases");
    const auto file = TokenFile::Open(inputs[0], TokenFile::Check::kStructure);
    return {inputs[0], file->info().has_mask};
  }
  const Pretrained opened = OpenPretrained(model, {.needs_weights = false});
  const bool is_chat = IsChat(inputs[0]);
  for (const std::string& input : inputs)
    if (IsChat(input) != is_chat)
      throw UsageError("{} and {} are not of one kind, expected documents or conversations",
                       Quoted(inputs[0], 300), Quoted(input, 300));
  const std::string source = DescribeInputs(inputs, TokenizerHash(*opened.tokenizer));
  const std::string source_path = made_path + ".json";
  if (FileExists(made_path)) {
    if (FileExists(source_path) && ReadFile(source_path, uint64_t{1} << 26) == source)
      return {made_path, is_chat};
    throw Error(ExitCode::kUsage, fmt::format("{} was made of other data", Quoted(made_path, 300)),
                "another -o");
  }
  MakeDirectories(fs::path(made_path).parent_path().string());
  if (is_chat) {
    TokenizeChats(inputs, opened, made_path);
  } else {
    const TokenizerWithEos with_eos = OpenTokenizerWithEos(model);
    TokenFileJob job{.inputs = inputs,
                     .documents = {},
                     .output = made_path,
                     .tokenizer = opened.tokenizer,
                     .tokenizer_name = opened.name,
                     .encode = {},
                     .eos = with_eos.eos};
    LogInfo("{}", MakeTokenFile(job));
  }
  WriteFile(source_path, source);
  return {made_path, is_chat};
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "cli/tokenize_corpus.h"

#include <chrono>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "data/batch_encoder.h"
#include "data/token_file.h"
#include "text/chat_template.h"

namespace planish {
namespace {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  double MegabytesPerSecond(uint64_t bytes) const {
    return static_cast<double>(bytes) / 1e6 / std::max(seconds(), 1e-9);
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void CheckNotAnInput(const std::string& output, const std::vector<std::string>& inputs) {
  for (const std::string& input : inputs) {
    std::error_code ignored;
    if (std::filesystem::equivalent(output, input, ignored))
      throw UsageError("{} is both input and output", Quoted(output, 300));
  }
}

std::string DropSuffix(const DocumentReader& reader) {
  const std::string drops = reader.DropText();
  return drops.empty() ? "" : "; " + drops;
}

[[noreturn]] void FailWithoutDocuments(const DocumentReader& reader) {
  throw Error(ExitCode::kBadFile, "the inputs hold no documents" + DropSuffix(reader),
              "--field NAME for JSONL with another field, --document-separator to cut long texts");
}

}  // namespace

std::string MakeTokenFile(const TokenFileJob& job) {
  CheckNotAnInput(job.output, job.inputs);
  DocumentReader reader(job.inputs, job.documents);
  TokenFileWriter writer(job.output, {.vocab_size = job.tokenizer->vocab_size(),
                                      .tokenizer_hash = TokenizerHash(*job.tokenizer),
                                      .tokenizer_name = job.tokenizer_name});
  BatchEncoder encoder(job.tokenizer, {.encode = job.encode, .eos = job.eos});
  Progress progress("tokenize", reader.total_bytes() >> 20, "MiB");
  const Stopwatch watch;
  DocumentBatch batch;
  while (reader.Next(&batch)) {
    const std::vector<std::string_view>& texts = batch.texts();
    encoder.Encode(texts, [&](size_t i, std::span<const TokenId> ids) {
      writer.Append(ids, texts[i].size());
    });
    progress.Update(
        reader.read_bytes() >> 20,
        fmt::format("{:.1f}M tokens, {:.1f} MB/s", static_cast<double>(writer.token_count()) / 1e6,
                    watch.MegabytesPerSecond(writer.source_bytes())));
  }
  if (writer.document_count() == 0) FailWithoutDocuments(reader);
  writer.Commit();
  const auto tokens = static_cast<double>(writer.token_count());
  return fmt::format(
      "{}: {} documents, {} tokens, {} bytes of text, {:.3f} bytes per token{}; {:.1f} s, {:.1f} "
      "MB/s",
      job.output, writer.document_count(), writer.token_count(), writer.source_bytes(),
      static_cast<double>(writer.source_bytes()) / tokens, DropSuffix(reader), watch.seconds(),
      watch.MegabytesPerSecond(writer.source_bytes()));
}

void TrainBpeTokenizer(const TrainBpeJob& job) {
  const std::string tokenizer_path = job.output + "/tokenizer.json";
  if (FileExists(tokenizer_path))
    throw UsageError("{} already holds a tokenizer", Quoted(job.output, 300));
  std::string chat_template;
  if (!job.chat_template.empty()) {
    chat_template = ReadFile(job.chat_template, limits::kTemplateBytes);
    ChatTemplate::Parse(chat_template, job.chat_template);  // a broken one is told before the work
  }
  BpeTrainer trainer(job.pre_tokenizer, job.options);
  DocumentReader reader(job.inputs, job.documents);
  MakeDirectories(job.output);
  Progress progress("count words", reader.total_bytes() >> 20, "MiB");
  const Stopwatch watch;
  uint64_t bytes = 0;
  DocumentBatch batch;
  while (reader.Next(&batch)) {
    trainer.Feed(batch.texts());
    for (const std::string_view text : batch.texts()) bytes += text.size();
    progress.Update(reader.read_bytes() >> 20,
                    fmt::format("{} words, {:.1f} MB/s", trainer.distinct_words(),
                                watch.MegabytesPerSecond(bytes)));
  }
  if (reader.documents() == 0) FailWithoutDocuments(reader);
  const std::shared_ptr<const Tokenizer> tokenizer = trainer.Train();

  Json config = Json::MakeObject();
  if (!job.bos.empty()) config.Set("bos_token", job.bos);
  if (!job.eos.empty()) config.Set("eos_token", job.eos);
  if (!job.pad.empty()) config.Set("pad_token", job.pad);
  config.Set("clean_up_tokenization_spaces", false);
  config.Set("tokenizer_class", "PreTrainedTokenizerFast");
  if (!chat_template.empty()) WriteFile(job.output + "/chat_template.jinja", chat_template);
  WriteFile(job.output + "/tokenizer_config.json", DumpJson(config, JsonStyle::kPython, 2) + "\n");
  WriteFile(tokenizer_path, DumpJson(tokenizer->ToJson(), JsonStyle::kPython, 2) + "\n");

  const bool is_short = tokenizer->vocab_size() < job.options.vocab_size;
  fmt::print("{}: {} tokens{} from {} documents, {} bytes of text{}; {:.1f} s, {:.1f} MB/s\n",
             job.output, tokenizer->vocab_size(),
             is_short ? fmt::format(" (of {} asked for: no more pairs occur {} times)",
                                    job.options.vocab_size,
                                    std::max<uint64_t>(job.options.min_frequency, 1))
                      : "",
             reader.documents(), bytes, DropSuffix(reader), watch.seconds(),
             watch.MegabytesPerSecond(bytes));
}

}  // namespace planish

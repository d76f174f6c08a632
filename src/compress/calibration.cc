// SPDX-License-Identifier: Apache-2.0
#include "compress/calibration.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/random.h"
#include "data/batch_encoder.h"
#include "data/chat_encoder.h"
#include "data/dialogue_lines.h"
#include "data/document.h"
#include "data/token_file.h"

namespace planish {
namespace {

using Ids = std::vector<int32_t>;

// A longer document counts as several when documents are held out, cut at multiples of this many rows.
constexpr size_t kRowsOfPiece = 4;

enum class Kind { kDocuments, kDialogues, kTokens };

bool IsJsonl(const std::string& path) {
  const std::string name = path.ends_with(".zst") ? path.substr(0, path.size() - 4) : path;
  return name.ends_with(".jsonl") || name.ends_with(".ndjson");
}

Kind KindOf(const std::string& path) {
  if (path == "-" || IsDirectory(path)) return Kind::kDocuments;
  if (ReadFilePrefix(path, 8) == "PLTOKENS") return Kind::kTokens;
  if (!IsJsonl(path)) return Kind::kDocuments;
  DialogueLines lines(path);
  std::string line;
  if (!lines.NextLine(&line)) return Kind::kDocuments;
  try {
    return ParseJson(line, lines.place()).Find("messages") != nullptr ? Kind::kDialogues
                                                                      : Kind::kDocuments;
  } catch (const Error&) {
    return Kind::kDocuments;  // whose reader counts bad lines and goes on
  }
}

// Of the rows that come by, `samples` at random, each set of them as likely as any other (reservoir sampling).
class RowChoice {
 public:
  RowChoice(size_t samples, uint64_t seed) : samples_(samples), random_(seed) {}
  void Offer(Ids row) {
    const uint64_t number = seen_++;
    if (kept_.size() < samples_) {
      kept_.emplace_back(number, std::move(row));
      return;
    }
    const uint64_t place = random_.Below(number + 1);
    if (place < samples_) kept_[place] = {number, std::move(row)};
  }
  uint64_t seen() const { return seen_; }
  std::vector<Ids> Take() {
    std::sort(kept_.begin(), kept_.end());
    std::vector<Ids> rows;
    for (auto& [number, row] : kept_) rows.push_back(std::move(row));
    return rows;
  }

 private:
  size_t samples_;
  Random random_;
  uint64_t seen_ = 0;
  std::vector<std::pair<uint64_t, Ids>> kept_;
};

// Documents and conversations to rows.
class RowMaker {
 public:
  RowMaker(const CalibrationOptions& options, bool wants_held_out, size_t samples)
      : options_(options),
        wants_held_out_(wants_held_out),
        most_(kRowsLookedAt * samples),
        choice_(samples, options.seed) {}

  bool is_done() const { return choice_.seen() >= most_; }
  void AddDocument(std::span<const int32_t> ids, std::optional<TokenId> end) {
    const size_t piece = kRowsOfPiece * options_.seq_len;
    for (size_t begin = 0; begin < ids.size(); begin += piece) {
      if (!Counts()) continue;
      const auto part = ids.subspan(begin, std::min(piece, ids.size() - begin));
      open_.insert(open_.end(), part.begin(), part.end());
      if (end && begin + piece >= ids.size()) open_.push_back(*end);
      size_t used = 0;
      for (; open_.size() - used >= options_.seq_len; used += options_.seq_len) Offer(used);
      open_.erase(open_.begin(), open_.begin() + static_cast<ptrdiff_t>(used));
    }
  }
  void AddDialogue(std::span<const int32_t> ids) {
    if (ids.empty() || !Counts()) return;
    open_.insert(open_.end(), ids.begin(), ids.end());
    if (open_.size() < options_.seq_len) return;
    Offer(0);
    open_.clear();
  }
  // Rows do not go on from one file to another: kinds differ.
  void EndFile() { open_.clear(); }
  uint64_t rows() const { return choice_.seen(); }
  std::vector<Ids> Take() { return choice_.Take(); }

 private:
  // Whether the next document belongs to the wanted part; held-out ones are spread evenly.
  bool Counts() {
    const auto i = static_cast<double>(documents_++);
    const bool is_held_out =
        std::floor((i + 1) * options_.held_out) > std::floor(i * options_.held_out);
    return is_held_out == wants_held_out_;
  }
  void Offer(size_t begin) {
    if (is_done()) return;
    const auto first = open_.begin() + static_cast<ptrdiff_t>(begin);
    choice_.Offer(Ids(first, first + static_cast<ptrdiff_t>(options_.seq_len)));
  }

  const CalibrationOptions& options_;
  bool wants_held_out_;
  uint64_t most_;
  RowChoice choice_;
  Ids open_;  // of the row begun
  uint64_t documents_ = 0;
};

void RequireTokenizer(const Pretrained& opened, const std::string& path) {
  if (opened.tokenizer == nullptr)
    throw BadFile("{} has no tokenizer: it cannot read {}", opened.name, Quoted(path, 300));
}

void ReadDocuments(const Pretrained& opened, const std::string& path, RowMaker* maker) {
  RequireTokenizer(opened, path);
  const std::optional<TokenId> end =
      opened.eos_ids.empty() ? std::nullopt : std::optional<TokenId>(opened.eos_ids[0]);
  DocumentReader reader({path}, {});
  BatchEncoder encoder(opened.tokenizer,
                       {.encode = {.parse_special = false, .add_special = true}, .eos = {}});
  DocumentBatch batch;
  while (!maker->is_done() && reader.Next(&batch)) {
    // Ids in small groups: once there are enough rows the rest of a batch need not be encoded.
    constexpr size_t kTexts = 64;
    const std::span<const std::string_view> texts(batch.texts());
    for (size_t begin = 0; begin < texts.size() && !maker->is_done(); begin += kTexts) {
      encoder.Encode(texts.subspan(begin, std::min(kTexts, texts.size() - begin)),
                     [&](size_t, std::span<const TokenId> ids) { maker->AddDocument(ids, end); });
    }
  }
}

void ReadDialogues(const Pretrained& opened, const std::string& path, RowMaker* maker) {
  RequireTokenizer(opened, path);
  if (opened.chat_template == nullptr)
    throw BadFile("{} has no chat template: it cannot read the conversations of {}", opened.name,
                  Quoted(path, 300));
  const ChatEncoder encoder({.tokenizer = opened.tokenizer,
                             .chat_template = opened.chat_template,
                             .thinking = opened.thinking,
                             .bos_token = opened.bos_token,
                             .eos_token = opened.eos_token,
                             .end_ids = {opened.eos_ids.begin(), opened.eos_ids.end()}});
  DialogueLines lines(path);
  while (!maker->is_done()) {
    const std::optional<Dialogue> dialogue = lines.Next();
    if (!dialogue) return;
    // The last answer's sample holds the whole conversation.
    const EncodedDialogue encoded = encoder.Encode(*dialogue, TrainedTurns::kLast);
    if (!encoded.samples.empty()) maker->AddDialogue(encoded.samples.back().ids);
  }
}

void ReadTokens(const Pretrained& opened, const std::string& path, RowMaker* maker) {
  const auto file = TokenFile::Open(path, TokenFile::Check::kStructure);
  if (opened.tokenizer != nullptr)
    file->RequireTokenizer(TokenizerHash(*opened.tokenizer), opened.name);
  file->RequireVocabulary(opened.config.vocab_size);
  Ids ids;
  for (uint64_t d = 0; d < file->document_count() && !maker->is_done(); ++d) {
    ids.resize(file->document_length(d));
    file->ReadIds(file->document_begin(d), ids);
    maker->AddDocument(ids, std::nullopt);  // its writer ended the documents
  }
}

uint64_t HashOf(const std::vector<Ids>& rows) {
  std::string bytes;
  for (const Ids& row : rows)
    bytes.append(reinterpret_cast<const char*>(row.data()), row.size() * sizeof(int32_t));
  return Fnv1a(bytes);
}

std::string NamesOf(const std::vector<std::string>& inputs) {
  std::string names;
  for (const std::string& input : inputs) {
    if (!names.empty()) names += ", ";
    names += std::filesystem::path(input).filename().string();
  }
  return names;
}

CalibrationRows ReadRows(const Pretrained& opened, const CalibrationOptions& options,
                         bool wants_held_out, size_t samples) {
  if (options.inputs.empty()) throw UsageError("no calibration text: --data FILE");
  if (samples == 0 || options.seq_len < 2)
    throw UsageError("calibration needs at least one row of two tokens, asked for are {} of {}",
                     samples, options.seq_len);
  if (!(options.held_out >= 0 && options.held_out < 1))
    throw UsageError("the share of held-out documents is {}, expected 0 or more and below 1",
                     options.held_out);
  RowMaker maker(options, wants_held_out, samples);
  for (const std::string& path : options.inputs) {
    if (maker.is_done()) break;
    switch (KindOf(path)) {
      case Kind::kDocuments:
        ReadDocuments(opened, path, &maker);
        break;
      case Kind::kDialogues:
        ReadDialogues(opened, path, &maker);
        break;
      case Kind::kTokens:
        ReadTokens(opened, path, &maker);
        break;
    }
    maker.EndFile();
  }
  const std::string names = NamesOf(options.inputs);
  if (maker.rows() < samples) {
    throw Error(
        ExitCode::kBadFile,
        fmt::format("{}: the {}text gives {} rows of {} tokens, asked for are {}", names,
                    wants_held_out ? "held-out " : "", maker.rows(), options.seq_len, samples),
        "more --data, fewer --samples, or a shorter --seq-len");
  }
  CalibrationRows rows;
  rows.rows = maker.Take();
  rows.hash = HashOf(rows.rows);
  rows.description = fmt::format("{}: {} rows of {} tokens", names, samples, options.seq_len);
  return rows;
}

}  // namespace

CalibrationRows ReadCalibration(const Pretrained& opened, const CalibrationOptions& options) {
  return ReadRows(opened, options, /*wants_held_out=*/false, options.samples);
}

CalibrationRows ReadHeldOut(const Pretrained& opened, const CalibrationOptions& options,
                            size_t samples) {
  return ReadRows(opened, options, /*wants_held_out=*/true, samples);
}

CalibrationRows PartOf(const CalibrationRows& rows, size_t begin, size_t end) {
  CalibrationRows part;
  part.rows.assign(rows.rows.begin() + static_cast<ptrdiff_t>(begin),
                   rows.rows.begin() + static_cast<ptrdiff_t>(end));
  part.hash = HashOf(part.rows);
  part.description = fmt::format("{}, of these {} to {}", rows.description, begin + 1, end);
  return part;
}

}  // namespace planish

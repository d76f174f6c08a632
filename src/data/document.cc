// SPDX-License-Identifier: Apache-2.0
#include "data/document.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parallel.h"

namespace planish {
namespace {

namespace fs = std::filesystem;
using Format = DocumentOptions::Format;

constexpr size_t kBatchBytes = size_t{8} << 20;
constexpr size_t kReadBytes = size_t{256} << 10;
constexpr size_t kTaskBytes = size_t{64} << 10;  // of records parsed by one task
constexpr size_t kKeptParser = size_t{4} << 20;  // a parser that grew beyond is given back
constexpr uint64_t kWarnings = 5;                // drops that are told one by one
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// The format that a name tells; kAuto if it tells none.
Format FormatOfName(std::string name) {
  if (name.ends_with(".zst")) name.resize(name.size() - 4);
  for (const char* ending : {".jsonl", ".ndjson", ".json"}) {
    if (name.ends_with(ending)) return Format::kJsonl;
  }
  for (const char* ending : {".txt", ".text", ".md"}) {
    if (name.ends_with(ending)) return Format::kText;
  }
  return Format::kAuto;
}

}  // namespace

const char* Name(DocumentDrop drop) {
  constexpr const char* kNames[kDocumentDropKinds] = {
      "none", "bad_json", "no_text", "bad_utf8", "nul", "oversize", "too_deep", "damaged", "empty"};
  return kNames[static_cast<size_t>(drop)];
}

// An input that is being read. Its open record is the tail of the batch's raw_ from record_begin on.
struct DocumentReader::File {
  explicit File(const std::string& path) : stream(path) {}
  ByteStream stream;
  bool is_json = false;
  bool is_started = false;                // the byte order mark has been looked for
  std::string delimiter;                  // empty: none
  uint64_t number = 1;                    // of the open record
  size_t record_begin = 0, searched = 0;  // in raw_
  bool is_skipping = false;               // the rest of a record that was dropped
};

// The text of a line's field; otherwise false, and the record is dropped. The text is valid until the next call.
struct DocumentReader::Parser {
  bool FindField(std::string_view line, std::string_view field, std::string_view* text,
                 DocumentBatch::Record* record) {
    const auto drop = [&](DocumentDrop kind, std::string detail) {
      record->drop = kind;
      record->detail = std::move(detail);
      return false;
    };
    if (parser == nullptr || parser->capacity() > kKeptParser)
      parser = std::make_unique<simdjson::dom::parser>();
    if (parser->capacity() < line.size() &&
        parser->allocate(std::max(line.size(), kTaskBytes), limits::kJsonDepth) !=
            simdjson::SUCCESS) {
      throw Error(ExitCode::kNoMemory,
                  fmt::format("no memory to read a line of {} bytes", line.size()));
    }
    simdjson::dom::element root;
    const simdjson::error_code error =
        parser->parse(line.data(), line.size(), /*realloc_if_needed=*/false).get(root);
    if (error == simdjson::DEPTH_ERROR)
      return drop(DocumentDrop::kTooDeep,
                  fmt::format("is nested deeper than {} levels", limits::kJsonDepth));
    if (error == simdjson::UTF8_ERROR) return drop(DocumentDrop::kBadUtf8, "is not valid UTF-8");
    if (error != simdjson::SUCCESS)
      return drop(DocumentDrop::kBadJson,
                  fmt::format("is not valid JSON: {}", simdjson::error_message(error)));
    simdjson::dom::object object;
    if (root.get(object) != simdjson::SUCCESS)
      return drop(DocumentDrop::kNoText, "is no JSON object");
    simdjson::dom::element value;
    size_t found = 0;
    for (const simdjson::dom::key_value_pair& member : object) {
      if (member.key != field) continue;
      value = member.value;
      ++found;
    }
    if (found == 0)
      return drop(DocumentDrop::kNoText, fmt::format("has no field {}", Quoted(field)));
    if (found > 1)
      return drop(DocumentDrop::kBadJson, fmt::format("has {} fields {}", found, Quoted(field)));
    if (value.get(*text) != simdjson::SUCCESS)
      return drop(DocumentDrop::kNoText, fmt::format("its field {} is no string", Quoted(field)));
    return true;
  }

  std::unique_ptr<simdjson::dom::parser> parser;
};

DocumentReader::DocumentReader(const std::vector<std::string>& inputs, DocumentOptions options)
    : options_(std::move(options)) {
  PLANISH_CHECK(!options_.field.empty() && options_.max_bytes > 0);
  for (const std::string& input : inputs) {
    if (input != "-" && IsDirectory(input))
      AddFolder(input);
    else if (input == "-" || FileExists(input))
      paths_.push_back(input);
    else
      throw BadFile("{}: no such file or folder", Quoted(input, 300));
  }
  if (inputs.empty()) paths_.push_back("-");
  if (std::count(paths_.begin(), paths_.end(), "-") > 1)
    throw UsageError("standard input (-) can be read only once");
  bool is_known = true;
  for (const std::string& path : paths_) {
    total_bytes_ += FileSizeOrZero(path);
    is_known &= fs::is_regular_file(path);
  }
  if (!is_known) total_bytes_ = 0;
}

DocumentReader::~DocumentReader() = default;

void DocumentReader::AddFolder(const std::string& folder) {
  std::vector<std::string> found;
  size_t others = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with(".")) {
      std::error_code ignored;
      if (at->is_directory(ignored)) at.disable_recursion_pending();
      continue;
    }
    std::error_code ignored;
    if (!at->is_regular_file(ignored)) continue;
    if (options_.format != Format::kAuto || FormatOfName(name) != Format::kAuto)
      found.push_back(at->path().string());
    else
      ++others;
  }
  if (error) throw BadFile("{}: cannot be listed: {}", Quoted(folder, 300), error.message());
  if (found.empty()) {
    throw Error(
        ExitCode::kBadFile,
        fmt::format("{}: holds no documents: none of its {} files is .jsonl, .ndjson, .json, "
                    ".txt, .text or .md (also .zst)",
                    Quoted(folder, 300), others),
        "--format text to take all files");
  }
  if (others > 0)
    LogWarning("{}: {} files of other kinds are not read", Quoted(folder, 300), others);
  std::sort(found.begin(), found.end());
  paths_.insert(paths_.end(), found.begin(), found.end());
}

uint64_t DocumentReader::read_bytes() const {
  return closed_bytes_ + (file_ == nullptr ? 0 : file_->stream.consumed());
}

uint64_t DocumentReader::dropped() const {
  uint64_t sum = 0;
  for (size_t kind = 1; kind < kDocumentDropKinds; ++kind) sum += drops_[kind];
  return sum - drops_[static_cast<size_t>(DocumentDrop::kEmpty)];
}

std::string DocumentReader::DropText() const {
  std::string text;
  for (size_t kind = 1; kind < kDocumentDropKinds; ++kind) {
    if (drops_[kind] == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", drops_[kind],
                        Name(static_cast<DocumentDrop>(kind)));
  }
  if (text.empty()) return text;
  return fmt::format("{} dropped: {}",
                     dropped() + drops_[static_cast<size_t>(DocumentDrop::kEmpty)], text);
}

bool DocumentReader::OpenNext() {
  if (next_path_ == paths_.size()) return false;
  const std::string& path = paths_[next_path_++];
  file_ = std::make_unique<File>(path);
  return true;
}

bool DocumentReader::Next(DocumentBatch* batch) {
  batch->records_.clear();
  batch->texts_.clear();
  ReadRecords(batch);
  const bool is_over = file_ == nullptr && next_path_ == paths_.size();
  if (is_over && batch->records_.empty()) return false;
  ParseRecords(batch);
  Settle(batch);
  return true;
}

void DocumentReader::ReadRecords(DocumentBatch* batch) {
  std::string& raw = batch->raw_;
  raw = std::move(open_record_);
  open_record_.clear();
  if (file_ != nullptr) file_->record_begin = 0;
  for (;;) {
    if (file_ == nullptr) {
      if (!OpenNext()) break;
      file_->record_begin = file_->searched = raw.size();
    }
    if (file_->record_begin >= kBatchBytes) break;
    const size_t old = raw.size();
    raw.resize(old + kReadBytes);
    const size_t n = file_->stream.Read(raw.data() + old, kReadBytes);
    raw.resize(old + n);
    if (n == 0) {
      if (file_->stream.damage().empty()) {
        EndFile(batch);
      } else {
        Damage(batch);
      }
      continue;
    }
    CutRecords(/*at_end=*/false, batch);
  }
  if (file_ != nullptr) {
    open_record_ = raw.substr(file_->record_begin);
    raw.resize(file_->record_begin);
    file_->searched -= file_->record_begin;
  }
  raw.append(simdjson::SIMDJSON_PADDING, '\0');
}

// Looks at the first bytes of a file.
void DocumentReader::StartFile(std::string* raw) {
  File& file = *file_;
  file.is_started = true;
  if (raw->compare(file.record_begin, kByteOrderMark.size(), kByteOrderMark) == 0)
    raw->erase(file.record_begin, kByteOrderMark.size());
  const std::string& path = paths_[next_path_ - 1];
  Format format = options_.format;
  if (format == Format::kAuto) format = FormatOfName(path);
  if (format == Format::kAuto) {
    const bool is_object = raw->compare(file.record_begin, 1, "{") == 0;
    format = is_object && !fs::is_regular_file(path) ? Format::kJsonl : Format::kText;
  }
  file.is_json = format == Format::kJsonl;
  file.delimiter = file.is_json ? "\n" : options_.separator;
}

// All records that end in what was read so far.
void DocumentReader::CutRecords(bool at_end, DocumentBatch* batch) {
  std::string& raw = batch->raw_;
  File& file = *file_;
  if (!file.is_started) {
    if (!at_end && raw.size() - file.record_begin < kByteOrderMark.size()) return;
    StartFile(&raw);
  }
  if (!file.delimiter.empty()) {
    for (;;) {
      const size_t end = raw.find(file.delimiter, file.searched);
      if (end == std::string::npos) break;
      EndRecord(end, batch);
      file.record_begin = file.searched = end + file.delimiter.size();
      file.is_skipping = false;
      ++file.number;
    }
    // The last bytes may begin a delimiter.
    file.searched =
        std::max(file.record_begin, raw.size() - std::min(raw.size(), file.delimiter.size() - 1));
  } else {
    file.searched = raw.size();
  }
  if (!file.is_skipping &&
      raw.size() - file.record_begin > options_.max_bytes + file.delimiter.size()) {
    file.is_skipping = true;
    AddDrop(DocumentDrop::kOversize, fmt::format("longer than {} bytes", options_.max_bytes),
            batch);
  }
  if (file.is_skipping) {
    raw.erase(file.record_begin, file.searched - file.record_begin);
    file.searched = file.record_begin;
  }
}

void DocumentReader::EndRecord(size_t end, DocumentBatch* batch) {
  const File& file = *file_;
  if (file.is_skipping) return;
  const size_t size = end - file.record_begin;
  if (size > options_.max_bytes)
    return AddDrop(DocumentDrop::kOversize, fmt::format("longer than {} bytes", options_.max_bytes),
                   batch);
  batch->records_.push_back({.begin = file.record_begin,
                             .size = size,
                             .file = static_cast<uint32_t>(next_path_ - 1),
                             .number = file.number,
                             .is_json = file.is_json});
}

void DocumentReader::AddDrop(DocumentDrop drop, std::string detail, DocumentBatch* batch) {
  batch->records_.push_back({.begin = file_->record_begin,
                             .size = 0,
                             .file = static_cast<uint32_t>(next_path_ - 1),
                             .number = file_->number,
                             .drop = drop,
                             .is_json = file_->is_json,
                             .detail = std::move(detail)});
}

void DocumentReader::EndFile(DocumentBatch* batch) {
  CutRecords(/*at_end=*/true, batch);
  if (batch->raw_.size() > file_->record_begin) EndRecord(batch->raw_.size(), batch);
  closed_bytes_ += file_->stream.consumed();
  file_.reset();
}

// The open record has lost its end. What comes next is taken as the begin of another one; a file that is one document is over.
void DocumentReader::Damage(DocumentBatch* batch) {
  if (!file_->is_started) StartFile(&batch->raw_);
  AddDrop(DocumentDrop::kDamaged, file_->stream.damage(), batch);
  ++file_->number;
  batch->raw_.resize(file_->record_begin);
  file_->searched = file_->record_begin;
  file_->is_skipping = file_->delimiter.empty();
}

void DocumentReader::ParseRecords(DocumentBatch* batch) {
  std::vector<size_t> begins;  // of the tasks, in records
  size_t bytes = kTaskBytes;
  for (size_t i = 0; i < batch->records_.size(); ++i) {
    if (bytes >= kTaskBytes) {
      begins.push_back(i);
      bytes = 0;
    }
    bytes += batch->records_[i].size + 64;
  }
  const size_t tasks = begins.size();
  begins.push_back(batch->records_.size());
  batch->unescaped_.resize(std::max(tasks, batch->unescaped_.size()));
  while (parsers_.size() < static_cast<size_t>(ThreadCount()))
    parsers_.push_back(std::make_unique<Parser>());
  ParallelFor(tasks, [&](size_t task, int thread) {
    std::string& unescaped = batch->unescaped_[task];
    size_t size = 0;
    for (size_t i = begins[task]; i < begins[task + 1]; ++i)
      size += batch->records_[i].is_json ? batch->records_[i].size : 0;
    unescaped.clear();
    unescaped.reserve(
        size);  // a text is no longer than the line it stands in, so the views below stay valid
    for (size_t i = begins[task]; i < begins[task + 1]; ++i)
      ParseRecord(batch->raw_, parsers_[static_cast<size_t>(thread)].get(), &batch->records_[i],
                  &unescaped);
  });
}

// Sets the record's text or its drop.
void DocumentReader::ParseRecord(const std::string& raw, Parser* parser,
                                 DocumentBatch::Record* record, std::string* unescaped) const {
  if (record->drop != DocumentDrop::kNone) return;
  const std::string_view bytes = std::string_view(raw).substr(record->begin, record->size);
  const auto drop = [&](DocumentDrop kind, std::string detail = {}) {
    record->drop = kind;
    record->detail = std::move(detail);
  };
  std::string_view text = bytes;
  if (record->is_json) {
    if (bytes.find_first_not_of(" \t\r") == std::string_view::npos) {
      record->text = {};  // a blank line is no record
      return;
    }
    if (!parser->FindField(bytes, options_.field, &text, record)) return;
    const size_t begin = unescaped->size();
    unescaped->append(text);
    text = std::string_view(*unescaped).substr(begin);
  }
  if (text.empty()) {  // between two separators it is nothing to mention
    if (record->is_json) drop(DocumentDrop::kEmpty);
    return;
  }
  if (!simdjson::validate_utf8(text.data(), text.size()))
    return drop(DocumentDrop::kBadUtf8, "is not valid UTF-8");
  if (std::memchr(text.data(), 0, text.size()) != nullptr)
    return drop(DocumentDrop::kNul, "contains U+0000");
  record->text = text;
}

// Counts what was dropped, in order: the first drop of all decides the Error, however many threads there are.
void DocumentReader::Settle(DocumentBatch* batch) {
  for (const DocumentBatch::Record& record : batch->records_) {
    if (record.drop == DocumentDrop::kNone) {
      if (!record.text.empty()) batch->texts_.push_back(record.text);
      continue;
    }
    ++drops_[static_cast<size_t>(record.drop)];
    if (record.drop == DocumentDrop::kEmpty) continue;
    const std::string& path = paths_[record.file];
    const std::string where = fmt::format("{}: {} {}", path == "-" ? "stdin" : Quoted(path, 300),
                                          record.is_json ? "line" : "document", record.number);
    if (options_.is_strict) throw BadFile("{}: {}", where, record.detail);
    const uint64_t count = dropped();
    if (count <= kWarnings)
      LogWarning("{}: dropped: {}{}", where, record.detail,
                 count == kWarnings ? " (further drops are counted only)" : "");
  }
  documents_ += batch->texts_.size();
}

}  // namespace planish

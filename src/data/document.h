// SPDX-License-Identifier: Apache-2.0
// Documents of training text, read from JSONL (one object a line, the text in one field) and plain text files, both also as
// zstd, from folders and from standard input. Order is that of the inputs; folders are walked in order of their paths. Memory
// is bounded by the batch and the longest document allowed, whatever the input. What is no document is left out and counted,
// or an Error with Options::is_strict.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"

namespace planish {

// Why a record gave no document.
enum class DocumentDrop : uint8_t {
  kNone,
  kBadJson,   // a line that is no JSON, or has the field twice
  kNoText,    // no object with the field, or the field is no string
  kBadUtf8,   // ill-formed UTF-8, in the file or by \ud800 escapes
  kNul,       // contains U+0000
  kOversize,  // longer than Options::max_bytes
  kTooDeep,   // JSON nested deeper than limits::kJsonDepth
  kDamaged,   // a place where zstd data is broken: the records around it are lost
  kEmpty,     // the empty text; never an error
};
inline constexpr size_t kDocumentDropKinds = static_cast<size_t>(DocumentDrop::kEmpty) + 1;
const char* Name(DocumentDrop drop);  // "bad_json"

struct DocumentOptions {
  enum class Format {
    kAuto,
    kJsonl,
    kText
  };  // kAuto: by the name; of standard input by its first byte
  Format format = Format::kAuto;
  std::string field = "text";
  std::string separator;  // between the documents of a text file; empty: the file is one document
  bool is_strict = false;
  uint64_t max_bytes = limits::kJsonlLineBytes;  // of a line or a document
};

class DocumentBatch {
 public:
  // Valid as long as the batch is neither destroyed nor read into again. Valid UTF-8, not empty, no NUL.
  const std::vector<std::string_view>& texts() const { return texts_; }

 private:
  friend class DocumentReader;
  struct Record {
    size_t begin, size;  // in raw_
    uint32_t file;
    uint64_t number;  // line, or document of a text file; from 1
    DocumentDrop drop = DocumentDrop::kNone;
    bool is_json = false;
    std::string_view text;
    std::string detail;  // of a drop
  };
  std::string raw_;
  std::vector<Record> records_;
  std::vector<std::string> unescaped_;  // texts of JSON strings
  std::vector<std::string_view> texts_;
};

class DocumentReader {
 public:
  // inputs: files, folders, "-" for standard input (at most once). Without any: standard input. Folders give their *.jsonl,
  // *.ndjson, *.txt, *.text and *.md, also with .zst; with a format given, all their files except hidden ones. Error(kBadFile)
  // for inputs that do not exist, and for folders without such files.
  DocumentReader(const std::vector<std::string>& inputs, DocumentOptions options);
  ~DocumentReader();

  // The next documents, about 8 MiB of them, parsed on all threads; false at the end. A batch can be without any.
  bool Next(DocumentBatch* batch);

  uint64_t total_bytes() const { return total_bytes_; }  // of all files as they are; 0: unknown
  uint64_t read_bytes() const;                           // of those, so far
  uint64_t documents() const { return documents_; }
  const std::array<uint64_t, kDocumentDropKinds>& drops() const { return drops_; }
  uint64_t dropped() const;      // all kinds but kEmpty
  std::string DropText() const;  // "3 dropped: 2 bad_json, 1 nul"; empty if nothing was

 private:
  struct File;
  struct Parser;
  void AddFolder(const std::string& folder);
  bool OpenNext();
  void ReadRecords(DocumentBatch* batch);
  void StartFile(std::string* raw);
  void CutRecords(bool at_end, DocumentBatch* batch);
  void EndRecord(size_t end, DocumentBatch* batch);
  void EndFile(DocumentBatch* batch);
  void Damage(DocumentBatch* batch);
  void AddDrop(DocumentDrop drop, std::string detail, DocumentBatch* batch);
  void ParseRecords(DocumentBatch* batch);
  void ParseRecord(const std::string& raw, Parser* parser, DocumentBatch::Record* record,
                   std::string* unescaped) const;
  void Settle(DocumentBatch* batch);

  DocumentOptions options_;
  std::vector<std::string> paths_;
  std::unique_ptr<File> file_;  // the open one
  size_t next_path_ = 0;
  std::string open_record_;  // of a batch's last record: what was read of it
  uint64_t total_bytes_ = 0, closed_bytes_ = 0, documents_ = 0;
  std::array<uint64_t, kDocumentDropKinds> drops_{};
  std::vector<std::unique_ptr<Parser>> parsers_;  // by thread
};

}  // namespace planish

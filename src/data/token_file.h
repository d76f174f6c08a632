// SPDX-License-Identifier: Apache-2.0
// Token files: documents as token ids, made once by `planish tokenize` or `planish data sft tokenize` and memory-mapped by
// the trainer. All numbers are little-endian; every section starts at a multiple of 64 bytes, zeros fill the gaps.
//
//   header, 128 bytes   0 "PLTOKENS"  8 u32 version = 1  12 u32 bytes per id: 2 or 4  16 u64 vocabulary size
//                       24 u64 flags (bit 0: loss mask present)  32 SHA-256 of the tokenizer  64 its name, 64 bytes
//   ids                 token_count * (2 | 4) bytes
//   document starts     u64 [document_count + 1]: first 0, strictly rising, last token_count
//   source bytes        u64 [document_count + 1]: bytes of text before document i; first 0, never falling
//   loss mask           only with flag bit 0: bit t % 8 of byte t / 8 says that token t is a training target
//   footer, 64 bytes    0 u64 token_count  8 u64 document_count  16 u64 source bytes  24 u64 tokens whose mask is 1
//                       32 u64 largest id  40 u64 checksum  48 u64 0  56 "PLTOKEND"
//
// The checksum is FNV-1a over the 64-bit words of everything before the footer. The counts stand at the end because the file
// is written front to back; its size must be exactly what they say, so a cut or grown file never opens.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "text/tokenizer.h"

namespace planish {

// SHA-256 (64 hex digits) of the tokenizer's canonical tokenizer.json: equal for equal tokenizers, wherever they came from.
std::string TokenizerHash(const Tokenizer& tokenizer);

struct TokenFileInfo {
  uint64_t vocab_size = 0;     // ids are below it; at most 65536 makes a file of 2-byte ids
  std::string tokenizer_hash;  // 64 hex digits
  std::string tokenizer_name;  // for messages; cut after 64 bytes
  bool has_mask = false;
};

// Writes documents one after another; keeps 16 bytes a document and one bit a masked token in memory. Nothing appears at
// `path` before Commit. Error(kFailure) if a write fails.
class TokenFileWriter {
 public:
  TokenFileWriter(const std::string& path, const TokenFileInfo& info);
  // An empty document is left out (its source bytes are counted with the next one). `mask` [ids] of 0 and 1 exactly when
  // the file has a mask. Error(kBadFile) for an id outside the vocabulary.
  void Append(std::span<const TokenId> ids, uint64_t source_bytes,
              std::span<const uint8_t> mask = {});
  void Commit();

  uint64_t token_count() const { return starts_.back(); }
  uint64_t document_count() const { return starts_.size() - 1; }
  uint64_t source_bytes() const { return source_bytes_; }
  uint64_t trained_tokens() const { return trained_tokens_; }

 private:
  void Write(const void* data, size_t size);
  void Align();
  void AppendMask(std::span<const uint8_t> mask);

  std::string path_;
  FileWriter file_;
  TokenFileInfo info_;
  std::vector<uint64_t> starts_{0}, sources_{0};  // [documents + 1]
  std::vector<uint8_t> mask_;                     // bits
  std::vector<uint16_t> narrow_;                  // one document's ids as they are stored
  uint64_t source_bytes_ = 0, trained_tokens_ = 0, largest_id_ = 0;
  uint64_t checksum_, word_ = 0;  // of what is written; the bytes of the word begun
  size_t word_bytes_ = 0;
};

// A token file opened for reading. Immutable; safe to share between threads.
class TokenFile {
 public:
  enum class Check {
    kAll,        // also reads every id once: checksum and range
    kStructure,  // header, footer, sizes and document table
  };
  // Error(kBadFile) naming the file and what is wrong with it.
  static std::shared_ptr<const TokenFile> Open(const std::string& path, Check check = Check::kAll);

  const std::string& path() const { return file_->path(); }
  const TokenFileInfo& info() const { return info_; }
  uint64_t token_count() const { return token_count_; }
  uint64_t document_count() const { return document_count_; }
  uint64_t source_bytes() const { return source_bytes_; }
  uint64_t trained_tokens() const { return trained_tokens_; }  // all of them without a mask
  uint64_t largest_id() const { return largest_id_; }
  uint64_t checksum() const {
    return checksum_;
  }  // identifies the content, e.g. when a run resumes

  // Error(kBadFile) naming both tokenizers unless the file was made with this one.
  void RequireTokenizer(const std::string& hash, const std::string& name) const;
  // Error(kBadFile) unless every id is below the model's vocabulary (which may be padded beyond the tokenizer's).
  void RequireVocabulary(uint64_t model_vocab_size) const;

  uint64_t document_begin(uint64_t document) const { return starts_[document]; }
  uint64_t document_length(uint64_t document) const {
    return starts_[document + 1] - starts_[document];
  }
  uint64_t DocumentOf(uint64_t token) const;  // the document that holds this token
  // out[i] = token begin + i. Error(kBadFile) for an id outside the vocabulary (a file changed since it was checked).
  void ReadIds(uint64_t begin, std::span<TokenId> out) const;
  // out[i] = 1 if token begin + i is a training target; all ones without a mask.
  void ReadMask(uint64_t begin, std::span<uint8_t> out) const;
  // Bytes of text before token `token` in [0, token_count], taking a document's bytes as spread evenly over its tokens, so
  // that the differences of any cut add up to source_bytes().
  uint64_t SourceBytesBefore(uint64_t token) const;

 private:
  TokenFile() = default;
  void Parse();
  void CheckDocuments() const;
  void CheckContents() const;

  std::shared_ptr<const FileBytes> file_;
  TokenFileInfo info_;
  size_t id_bytes_ = 0;
  uint64_t token_count_ = 0, document_count_ = 0, source_bytes_ = 0, trained_tokens_ = 0;
  uint64_t largest_id_ = 0, checksum_ = 0;
  // Into the mapping:
  const std::byte* ids_ = nullptr;
  const uint64_t* starts_ = nullptr;   // [documents + 1]
  const uint64_t* sources_ = nullptr;  // [documents + 1]
  const uint8_t* mask_ = nullptr;      // bits; null without a mask
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "data/token_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"

namespace planish {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are mapped as they are");

constexpr char kMagic[] = "PLTOKENS", kEndMagic[] = "PLTOKEND";
constexpr uint64_t kVersion = 1, kMaskFlag = 1;
constexpr size_t kAlignment = 64, kHashBytes = 32, kNameBytes = 64;
constexpr uint64_t kFnvBasis = 0xCBF29CE484222325u, kFnvPrime = 0x100000001B3u;

struct Header {
  char magic[8];
  uint32_t version, id_bytes;
  uint64_t vocab_size, flags;
  uint8_t tokenizer_hash[kHashBytes];
  char tokenizer_name[kNameBytes];
};
static_assert(sizeof(Header) == 128);

struct Footer {
  uint64_t token_count, document_count, source_bytes, trained_tokens, largest_id, checksum, zero;
  char magic[8];
};
static_assert(sizeof(Footer) == kAlignment);

constexpr uint64_t Aligned(uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

void ParseHex(const std::string& hex, uint8_t* out) {
  PLANISH_CHECK(hex.size() == 2 * kHashBytes, "tokenizer hash {}", Quoted(hex));
  for (size_t i = 0; i < kHashBytes; ++i) {
    const int high = HexDigit(hex[2 * i]), low = HexDigit(hex[2 * i + 1]);
    PLANISH_CHECK(high >= 0 && low >= 0, "tokenizer hash {}", Quoted(hex));
    out[i] = static_cast<uint8_t>(high * 16 + low);
  }
}

std::string ToHex(const uint8_t* bytes, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += fmt::format("{:02x}", bytes[i]);
  return out;
}

std::string Described(const std::string& name, const std::string& hash) {
  return fmt::format("{} (SHA-256 {}...)", name.empty() ? "without a name" : Quoted(name),
                     hash.substr(0, 16));
}

}  // namespace

std::string TokenizerHash(const Tokenizer& tokenizer) {
  return Sha256Hex(DumpJson(tokenizer.ToJson()));
}

TokenFileWriter::TokenFileWriter(const std::string& path, const TokenFileInfo& info)
    : path_(path), file_(path), info_(info), checksum_(kFnvBasis) {
  PLANISH_CHECK(info.vocab_size > 0 && info.vocab_size <= limits::kVocabSize, "vocabulary of {}",
                info.vocab_size);
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof(header.magic));
  header.version = kVersion;
  header.id_bytes = info.vocab_size <= 65536 ? 2 : 4;
  header.vocab_size = info.vocab_size;
  header.flags = info.has_mask ? kMaskFlag : 0;
  ParseHex(info.tokenizer_hash, header.tokenizer_hash);
  std::memcpy(header.tokenizer_name, info.tokenizer_name.data(),
              std::min(info.tokenizer_name.size(), kNameBytes));
  Write(&header, sizeof(header));
}

void TokenFileWriter::Write(const void* data, size_t size) {
  file_.Write(data, size);
  const auto* bytes = static_cast<const uint8_t*>(data);
  for (; size > 0 && word_bytes_ > 0; --size) {  // finish the word begun
    word_ |= uint64_t{*bytes++} << (8 * word_bytes_);
    if (++word_bytes_ < 8) continue;
    checksum_ = (checksum_ ^ word_) * kFnvPrime;
    word_ = 0;
    word_bytes_ = 0;
  }
  for (; size >= 8; size -= 8, bytes += 8) {
    uint64_t word;
    std::memcpy(&word, bytes, 8);
    checksum_ = (checksum_ ^ word) * kFnvPrime;
  }
  for (; size > 0; --size) word_ |= uint64_t{*bytes++} << (8 * word_bytes_++);
}

void TokenFileWriter::Align() {
  static constexpr char kZeros[kAlignment] = {};
  Write(kZeros, Aligned(file_.written()) - file_.written());
}

void TokenFileWriter::Append(std::span<const TokenId> ids, uint64_t source_bytes,
                             std::span<const uint8_t> mask) {
  PLANISH_CHECK(mask.size() == (info_.has_mask ? ids.size() : 0), "{} mask values for {} ids",
                mask.size(), ids.size());
  source_bytes_ += source_bytes;
  if (ids.empty()) return;
  for (const TokenId id : ids) {
    if (id < 0 || static_cast<uint64_t>(id) >= info_.vocab_size) {
      throw BadFile("{}: document {} holds id {}, expected ids below the vocabulary size {}",
                    Quoted(path_, 300), document_count(), id, info_.vocab_size);
    }
    largest_id_ = std::max(largest_id_, static_cast<uint64_t>(id));
  }
  if (info_.has_mask) AppendMask(mask);
  if (info_.vocab_size <= 65536) {
    narrow_.assign(ids.begin(), ids.end());
    Write(narrow_.data(), narrow_.size() * sizeof(uint16_t));
  } else {
    Write(ids.data(), ids.size_bytes());
  }
  starts_.push_back(starts_.back() + ids.size());
  sources_.push_back(source_bytes_);
}

void TokenFileWriter::AppendMask(std::span<const uint8_t> mask) {
  uint64_t token = token_count();
  mask_.resize((token + mask.size() + 7) / 8);
  for (const uint8_t trained : mask) {
    PLANISH_CHECK(trained <= 1);
    mask_[token / 8] |= static_cast<uint8_t>(trained << (token % 8));
    trained_tokens_ += trained;
    ++token;
  }
}

void TokenFileWriter::Commit() {
  sources_.back() = document_count() > 0 ? source_bytes_ : 0;
  if (!info_.has_mask) trained_tokens_ = token_count();
  Align();
  Write(starts_.data(), starts_.size() * sizeof(uint64_t));
  Align();
  Write(sources_.data(), sources_.size() * sizeof(uint64_t));
  Align();
  Write(mask_.data(), mask_.size());
  Align();
  Footer footer{token_count(), document_count(), sources_.back(), trained_tokens_,
                largest_id_,   checksum_,        /*zero=*/0,      {}};
  std::memcpy(footer.magic, kEndMagic, sizeof(footer.magic));
  file_.Write(&footer, sizeof(footer));
  file_.Commit();
}

std::shared_ptr<const TokenFile> TokenFile::Open(const std::string& path, Check check) {
  std::shared_ptr<TokenFile> file(new TokenFile);
  file->file_ = FileBytes::Open(path, FileBytes::Access::kMap);
  file->Parse();
  file->CheckDocuments();
  if (check == Check::kAll) file->CheckContents();
  return file;
}

void TokenFile::Parse() {
  const std::string name = Quoted(path(), 300);
  const std::span<const std::byte> bytes = file_->bytes();
  if (bytes.size() < 8 || std::memcmp(bytes.data(), kMagic, 8) != 0) {
    throw Error(ExitCode::kBadFile, fmt::format("{}: is not a token file", name),
                "make one with `planish tokenize FILE... -o NAME` or `planish data sft tokenize`");
  }
  if (bytes.size() < sizeof(Header) + sizeof(Footer) || bytes.size() % kAlignment != 0)
    throw BadFile("{}: token file of {} bytes is cut off", name, bytes.size());
  Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.version != kVersion)
    throw BadFile("{}: token file of version {}, expected {}", name, header.version, kVersion);
  if (header.vocab_size == 0 || header.vocab_size > limits::kVocabSize)
    throw BadFile("{}: vocabulary size {}, expected 1 to {}", name, header.vocab_size,
                  limits::kVocabSize);
  if (header.id_bytes != 2 && header.id_bytes != 4)
    throw BadFile("{}: {} bytes per id, expected 2 or 4", name, header.id_bytes);
  if (header.flags > kMaskFlag) throw BadFile("{}: unknown flags {:#x}", name, header.flags);
  Footer footer;
  std::memcpy(&footer, bytes.data() + bytes.size() - sizeof(footer), sizeof(footer));
  if (std::memcmp(footer.magic, kEndMagic, 8) != 0 || footer.zero != 0)
    throw BadFile("{}: token file of {} bytes is cut off: it has no footer", name, bytes.size());
  // Bounded by the file's size, so that no sum below wraps.
  if (footer.token_count > bytes.size() || footer.document_count > bytes.size() / 8)
    throw BadFile("{}: claims {} tokens in {} documents, more than its {} bytes can hold", name,
                  footer.token_count, footer.document_count, bytes.size());

  const bool has_mask = (header.flags & kMaskFlag) != 0;
  const uint64_t table = (footer.document_count + 1) * sizeof(uint64_t);
  const uint64_t starts_at = Aligned(sizeof(Header) + footer.token_count * header.id_bytes);
  const uint64_t sources_at = Aligned(starts_at + table);
  const uint64_t mask_at = Aligned(sources_at + table);
  const uint64_t end = Aligned(mask_at + (has_mask ? (footer.token_count + 7) / 8 : 0));
  if (end + sizeof(Footer) != bytes.size())
    throw BadFile("{}: token file of {} bytes, expected {} for {} tokens in {} documents", name,
                  bytes.size(), end + sizeof(Footer), footer.token_count, footer.document_count);
  if (footer.token_count > 0 && footer.largest_id >= header.vocab_size)
    throw BadFile("{}: holds id {}, expected ids below the vocabulary size {}", name,
                  footer.largest_id, header.vocab_size);

  info_ = {header.vocab_size, ToHex(header.tokenizer_hash, kHashBytes),
           std::string(header.tokenizer_name, strnlen(header.tokenizer_name, kNameBytes)),
           has_mask};
  id_bytes_ = header.id_bytes;
  token_count_ = footer.token_count;
  document_count_ = footer.document_count;
  source_bytes_ = footer.source_bytes;
  trained_tokens_ = footer.trained_tokens;
  largest_id_ = footer.largest_id;
  checksum_ = footer.checksum;
  ids_ = bytes.data() + sizeof(Header);
  starts_ = reinterpret_cast<const uint64_t*>(bytes.data() + starts_at);
  sources_ = reinterpret_cast<const uint64_t*>(bytes.data() + sources_at);
  if (has_mask) mask_ = reinterpret_cast<const uint8_t*>(bytes.data() + mask_at);
}

void TokenFile::CheckDocuments() const {
  const std::string name = Quoted(path(), 300);
  if (starts_[0] != 0 || starts_[document_count_] != token_count_)
    throw BadFile("{}: documents span tokens {} to {}, expected 0 to {}", name, starts_[0],
                  starts_[document_count_], token_count_);
  if (sources_[0] != 0 || sources_[document_count_] != source_bytes_)
    throw BadFile("{}: documents span source bytes {} to {}, expected 0 to {}", name, sources_[0],
                  sources_[document_count_], source_bytes_);
  for (uint64_t d = 0; d < document_count_; ++d) {
    if (starts_[d + 1] <= starts_[d])
      throw BadFile("{}: document {} starts at token {} and ends at {}", name, d, starts_[d],
                    starts_[d + 1]);
    if (sources_[d + 1] < sources_[d])
      throw BadFile("{}: document {} starts at source byte {} and ends at {}", name, d, sources_[d],
                    sources_[d + 1]);
  }
  if (trained_tokens_ > token_count_)
    throw BadFile("{}: claims {} trained tokens of {}", name, trained_tokens_, token_count_);
}

namespace {

template <typename Id>
uint64_t LargestId(const std::byte* ids, uint64_t begin, uint64_t end) {
  const auto* values = reinterpret_cast<const Id*>(ids);
  Id largest = 0;
  for (uint64_t i = begin; i < end; ++i) largest = std::max(largest, values[i]);
  return largest;
}

}  // namespace

void TokenFile::CheckContents() const {
  constexpr uint64_t kSlice = uint64_t{16} << 20;  // pages are given back slice by slice
  const std::string name = Quoted(path(), 300);
  const uint64_t end = file_->size() - sizeof(Footer);
  const uint64_t ids_end = sizeof(Header) + token_count_ * id_bytes_;
  uint64_t checksum = kFnvBasis, largest = 0;
  for (uint64_t begin = 0; begin < end; begin += kSlice) {
    const uint64_t slice_end = std::min(begin + kSlice, end);
    const auto* words = reinterpret_cast<const uint64_t*>(file_->bytes().data());
    for (uint64_t w = begin / 8; w < slice_end / 8; ++w)
      checksum = (checksum ^ words[w]) * kFnvPrime;
    const uint64_t from = std::max<uint64_t>(begin, sizeof(Header));
    const uint64_t to = std::min(slice_end, ids_end);
    if (from < to) {
      const uint64_t first = (from - sizeof(Header)) / id_bytes_;
      const uint64_t last = (to - sizeof(Header)) / id_bytes_;
      largest = std::max(largest, id_bytes_ == 2 ? LargestId<uint16_t>(ids_, first, last)
                                                 : LargestId<uint32_t>(ids_, first, last));
    }
    file_->Release(begin, slice_end - begin);
  }
  if (checksum != checksum_)
    throw BadFile("{}: damaged: checksum {:016x}, expected {:016x}", name, checksum, checksum_);
  if (largest != largest_id_)
    throw BadFile("{}: the largest id is {}, its footer says {}", name, largest, largest_id_);
  uint64_t trained = mask_ == nullptr ? token_count_ : 0;
  for (uint64_t i = 0; mask_ != nullptr && i < (token_count_ + 7) / 8; ++i)
    trained += static_cast<uint64_t>(std::popcount(mask_[i]));
  if (trained != trained_tokens_)
    throw BadFile("{}: {} tokens are trained, its footer says {}", name, trained, trained_tokens_);
}

void TokenFile::RequireTokenizer(const std::string& hash, const std::string& name) const {
  if (hash == info_.tokenizer_hash) return;
  throw Error(
      ExitCode::kBadFile,
      fmt::format("{}: was made with another tokenizer: {}, expected {}", Quoted(path(), 300),
                  Described(info_.tokenizer_name, info_.tokenizer_hash), Described(name, hash)),
      "tokenize the text again with the tokenizer of the model");
}

void TokenFile::RequireVocabulary(uint64_t model_vocab_size) const {
  if (token_count_ == 0 || largest_id_ < model_vocab_size) return;
  throw BadFile("{}: holds id {}, expected ids below the model's vocabulary size {}",
                Quoted(path(), 300), largest_id_, model_vocab_size);
}

uint64_t TokenFile::DocumentOf(uint64_t token) const {
  PLANISH_CHECK(token < token_count_, "token {} of {}", token, token_count_);
  const uint64_t* after = std::upper_bound(starts_, starts_ + document_count_ + 1, token);
  return static_cast<uint64_t>(after - starts_) - 1;
}

void TokenFile::ReadIds(uint64_t begin, std::span<TokenId> out) const {
  PLANISH_CHECK(begin <= token_count_ && out.size() <= token_count_ - begin, "tokens {} + {} of {}",
                begin, out.size(), token_count_);
  const auto convert = [&](const auto* values) {
    std::remove_cvref_t<decltype(*values)> largest = 0;
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = static_cast<TokenId>(values[begin + i]);
      largest = std::max(largest, values[begin + i]);
    }
    return uint64_t{largest};
  };
  const uint64_t largest = id_bytes_ == 2 ? convert(reinterpret_cast<const uint16_t*>(ids_))
                                          : convert(reinterpret_cast<const uint32_t*>(ids_));
  if (!out.empty() && largest >= info_.vocab_size)
    throw BadFile("{}: holds id {} among tokens {} to {}, expected ids below {}",
                  Quoted(path(), 300), largest, begin, begin + out.size(), info_.vocab_size);
}

void TokenFile::ReadMask(uint64_t begin, std::span<uint8_t> out) const {
  PLANISH_CHECK(begin <= token_count_ && out.size() <= token_count_ - begin, "tokens {} + {} of {}",
                begin, out.size(), token_count_);
  if (mask_ == nullptr) {
    std::fill(out.begin(), out.end(), uint8_t{1});
    return;
  }
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = (mask_[(begin + i) / 8] >> ((begin + i) % 8)) & 1;
}

uint64_t TokenFile::SourceBytesBefore(uint64_t token) const {
  if (token >= token_count_) return source_bytes_;
  const uint64_t d = DocumentOf(token);
  const __uint128_t bytes = sources_[d + 1] - sources_[d];
  return sources_[d] +
         static_cast<uint64_t>(bytes * (token - starts_[d]) / (starts_[d + 1] - starts_[d]));
}

}  // namespace planish

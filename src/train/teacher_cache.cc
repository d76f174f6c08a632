// SPDX-License-Identifier: Apache-2.0
#include "train/teacher_cache.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "data/token_file.h"
#include "tensor/dtype.h"

namespace planish {
namespace {

constexpr char kMagic[] = "PLTEACHR";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 192, kHashedBytes = 184, kRecordHeader = 16;

template <class T>
T ReadAt(std::span<const std::byte> bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}
template <class T>
void WriteAt(std::string* bytes, size_t offset, T value) {
  std::memcpy(bytes->data() + offset, &value, sizeof value);
}

void PutHash(const std::string& hex, size_t offset, std::string* bytes) {
  for (size_t i = 0; i < 32 && 2 * i + 1 < hex.size(); ++i)
    (*bytes)[offset + i] = static_cast<char>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
}
std::string GetHash(std::span<const std::byte> bytes, size_t offset) {
  std::string hex;
  for (size_t i = 0; i < 32; ++i)
    hex += fmt::format("{:02x}", static_cast<unsigned>(bytes[offset + i]));
  return hex;
}

std::string_view Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string HeaderOf(const TeacherCacheInfo& info) {
  std::string header(kHeaderBytes, '\0');
  std::memcpy(header.data(), kMagic, 8);
  WriteAt(&header, 8, kVersion);
  WriteAt(&header, 12, info.k);
  WriteAt(&header, 16, info.vocab_size);
  WriteAt(&header, 24, info.temperature);
  PutHash(info.data_hash, 32, &header);
  PutHash(info.tokenizer_hash, 64, &header);
  PutHash(info.teacher, 96, &header);
  WriteAt(&header, 128, info.samples);
  WriteAt(&header, kHashedBytes, Fnv1a(std::string_view(header).substr(0, kHashedBytes)));
  return header;
}

TeacherCacheInfo ReadHeader(std::span<const std::byte> bytes, const std::string& path) {
  if (bytes.size() < kHeaderBytes || std::memcmp(bytes.data(), kMagic, 8) != 0)
    throw BadFile("{}: no cache of a teacher, as `distill --cache-teacher` writes them",
                  Quoted(path, 300));
  if (ReadAt<uint64_t>(bytes, kHashedBytes) != Fnv1a(Text(bytes.first(kHashedBytes))))
    throw BadFile("{}: the header is damaged", Quoted(path, 300));
  if (ReadAt<uint32_t>(bytes, 8) != kVersion)
    throw BadFile("{}: version {}, expected {}", Quoted(path, 300), ReadAt<uint32_t>(bytes, 8),
                  kVersion);
  TeacherCacheInfo info{.k = ReadAt<uint32_t>(bytes, 12),
                        .vocab_size = ReadAt<uint64_t>(bytes, 16),
                        .samples = ReadAt<uint64_t>(bytes, 128),
                        .temperature = ReadAt<double>(bytes, 24),
                        .data_hash = GetHash(bytes, 32),
                        .tokenizer_hash = GetHash(bytes, 64),
                        .teacher = GetHash(bytes, 96)};
  if (info.k == 0 || info.k > info.vocab_size || info.vocab_size > UINT32_MAX)
    throw BadFile("{}: {} ids of a vocabulary of {}", Quoted(path, 300), info.k, info.vocab_size);
  return info;
}

uint64_t BytesOfRows(uint64_t rows, uint64_t k) { return rows * (4 + 6 * k); }

// Bytes of the whole record that begins at `offset`; 0 if it is not all there.
uint64_t RecordBytes(std::span<const std::byte> bytes, uint64_t offset, uint64_t k) {
  if (offset > bytes.size() || bytes.size() - offset < kRecordHeader) return 0;
  const uint64_t rows = ReadAt<uint32_t>(bytes, offset);
  const uint64_t length = kRecordHeader + BytesOfRows(rows, k);
  return length <= bytes.size() - offset ? length : 0;
}

bool IsIntact(std::span<const std::byte> record) {
  return ReadAt<uint64_t>(record, 8) == Fnv1a(Text(record.subspan(kRecordHeader)));
}

std::string HashOrZeros(const Pretrained& model) {
  return model.tokenizer == nullptr ? std::string(64, '0') : TokenizerHash(*model.tokenizer);
}

}  // namespace

std::string DataHash(const Loader& loader) { return Sha256Hex(DumpJson(loader.Signature())); }

TeacherCache::TeacherCache(const std::string& path)
    : file_(FileBytes::Open(path, FileBytes::Access::kMap)),
      info_(ReadHeader(file_->bytes(), path)) {
  uint64_t offset = kHeaderBytes;
  while (offset < file_->size()) {
    const uint64_t length = RecordBytes(file_->bytes(), offset, info_.k);
    if (length == 0 || records_.size() == info_.samples)
      throw BadFile("{}: is cut or grown after sample {} of {}", Quoted(path, 300), records_.size(),
                    info_.samples);
    records_.push_back(offset);
    offset += length;
  }
  if (records_.size() != info_.samples)
    throw BadFile("{}: holds {} samples, expected {}", Quoted(path, 300), records_.size(),
                  info_.samples);
  identity_ = Sha256Hex(Text(file_->bytes().first(kHeaderBytes)));
}

void TeacherCache::Require(const Pretrained& student, double temperature,
                           const std::string& data_hash, uint64_t samples) const {
  const std::string hint = "--cache-teacher makes one for this recipe";
  const std::string path = Quoted(file_->path(), 300);
  if (info_.vocab_size != student.config.vocab_size)
    throw Error(ExitCode::kBadFile,
                fmt::format("{}: is of a teacher with {} ids, the student has {}", path,
                            info_.vocab_size, student.config.vocab_size),
                hint);
  const std::string tokenizer = HashOrZeros(student), none(64, '0');
  if (tokenizer != none && info_.tokenizer_hash != none && tokenizer != info_.tokenizer_hash)
    throw Error(ExitCode::kBadFile,
                fmt::format("{}: is of a teacher with another tokenizer than the student's", path),
                hint);
  if (info_.data_hash != data_hash || info_.samples != samples)
    throw Error(
        ExitCode::kBadFile,
        fmt::format("{}: is of other data, seed, lengths or batches than the recipe's", path),
        hint);
  if (info_.temperature != temperature)
    throw Error(ExitCode::kBadFile,
                fmt::format("{}: is of temperature {}, the recipe's is {}", path, info_.temperature,
                            temperature),
                hint);
}

CachedRows TeacherCache::Read(const TokenBatch& batch) const {
  CachedRows rows;
  size_t t = 0;
  for (const TokenBatch::Row& row : batch.rows) {
    size_t kept = 0;
    for (const size_t end = t + row.tokens; t < end; ++t) kept += batch.weights[t] != 0;
    PLANISH_CHECK(row.sample < records_.size());
    const uint64_t offset = records_[row.sample];
    const auto record =
        file_->bytes().subspan(offset, RecordBytes(file_->bytes(), offset, info_.k));
    const size_t count = ReadAt<uint32_t>(record, 0), values = count * info_.k;
    if (count != kept || !IsIntact(record))
      throw BadFile("{}: sample {} is damaged or of other data", Quoted(file_->path(), 300),
                    row.sample);
    const size_t rest = rows.rest.size(), before = rows.ids.size();
    rows.rest.resize(rest + count);
    rows.ids.resize(before + values);
    rows.log_probs.resize(before + values);
    const std::byte* at = record.data() + kRecordHeader;
    std::memcpy(rows.rest.data() + rest, at, 4 * count);
    at += 4 * count;
    for (size_t i = 0; i < values; ++i, at += 2) {
      uint16_t half;
      std::memcpy(&half, at, sizeof half);
      rows.log_probs[before + i] = FloatFromF16(half);
    }
    std::memcpy(rows.ids.data() + before, at, 4 * values);
    for (size_t i = before; i < before + values; ++i)
      if (rows.ids[i] >= info_.vocab_size)
        throw BadFile("{}: sample {} has id {} of a vocabulary of {}", Quoted(file_->path(), 300),
                      row.sample, rows.ids[i], info_.vocab_size);
  }
  return rows;
}

TeacherCacheWriter::TeacherCacheWriter(const std::string& path, const TeacherCacheInfo& info)
    : path_(path), info_(info) {
  const std::string part = path + ".part", header = HeaderOf(info);
  uint64_t keep = 0;
  if (ReadFilePrefix(part, kHeaderBytes) == header) {
    const auto file = FileBytes::Open(part, FileBytes::Access::kMap);
    keep = kHeaderBytes;
    while (samples_ < info.samples) {
      const uint64_t length = RecordBytes(file->bytes(), keep, info.k);
      if (length == 0 || !IsIntact(file->bytes().subspan(keep, length))) break;
      keep += length;
      ++samples_;
    }
  }
  file_ = std::make_unique<AppendFile>(part, keep);
  if (keep == 0) file_->Append(header);
}

void TeacherCacheWriter::Append(const CachedRows& rows) {
  const size_t count = rows.rest.size(), values = rows.ids.size();
  PLANISH_CHECK(samples_ < info_.samples && values == count * info_.k);
  std::string record(kRecordHeader + BytesOfRows(count, info_.k), '\0');
  WriteAt(&record, 0, static_cast<uint32_t>(count));
  size_t at = kRecordHeader;
  for (const float rest : rows.rest) {
    WriteAt(&record, at, rest);
    at += 4;
  }
  for (const float log_prob : rows.log_probs) {
    WriteAt(&record, at, F16FromFloat(std::max(log_prob, -65504.0f)));
    at += 2;
  }
  if (values > 0) std::memcpy(record.data() + at, rows.ids.data(), 4 * values);
  WriteAt(&record, 8, Fnv1a(std::string_view(record).substr(kRecordHeader)));
  file_->Append(record);
  ++samples_;
}

void TeacherCacheWriter::Commit() {
  PLANISH_CHECK(samples_ == info_.samples);
  RenamePath(path_ + ".part", path_);
}

}  // namespace planish

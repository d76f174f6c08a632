// SPDX-License-Identifier: Apache-2.0
// What a teacher says of every trained token of a run, written once by `planish distill --cache-teacher`: its k likeliest ids
// with their log-probabilities, and the probability of all others. Training then needs no teacher in memory. Little-endian:
//
//   header, 192 bytes   0 "PLTEACHR"  8 u32 version = 1  12 u32 k  16 u64 vocabulary size  24 f64 temperature
//                       32 SHA-256 of the order of data  64 SHA-256 of the tokenizer (0 if the model has none)
//                       96 SHA-256 of the teacher  128 u64 samples  136 zeros  184 u64 FNV-1a of the 184 bytes before
//   one record a sample, in the order of the run
//                       0 u32 rows (trained tokens)  4 u32 0  8 u64 FNV-1a of what follows
//                       16 f32 [rows] probability of all other ids; f16 [rows, k] log-probabilities; u32 [rows, k] ids, the
//                       likeliest first
//
// 4 + 6 k bytes a trained token. The file must end with the last record. While it is made it is called NAME.part and may stop
// after any record; making it again goes on there.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "data/loader.h"
#include "data/token_batch.h"
#include "model/pretrained.h"
#include "train/recipe.h"

namespace planish {

// SHA-256 of everything that the order of a run's samples depends on.
std::string DataHash(const Loader& loader);

// Of the trained tokens of a batch, one after the other.
struct CachedRows {
  std::vector<uint32_t> ids;     // [rows, k]
  std::vector<float> log_probs;  // [rows, k]
  std::vector<float> rest;       // [rows]
};

struct TeacherCacheInfo {
  uint32_t k = 0;
  uint64_t vocab_size = 0, samples = 0;
  double temperature = 1;
  std::string data_hash, tokenizer_hash, teacher;  // 64 hex digits each
};

class TeacherCache {
 public:
  // Error(kBadFile) for what is no whole cache.
  explicit TeacherCache(const std::string& path);

  // Error(kBadFile) unless it was made for this vocabulary, temperature and order of data.
  void Require(const Pretrained& student, double temperature, const std::string& data_hash,
               uint64_t samples) const;
  // Of the rows of a training batch. Error(kBadFile) for bytes that changed since they were written.
  CachedRows Read(const TokenBatch& batch) const;

  size_t k() const { return info_.k; }
  const TeacherCacheInfo& info() const { return info_; }
  const std::string& identity() const { return identity_; }

 private:
  std::shared_ptr<const FileBytes> file_;
  TeacherCacheInfo info_;
  std::string identity_;
  std::vector<uint64_t> records_;  // [samples]: where each begins
};

// Appends records to PATH.part; Commit gives it its name.
class TeacherCacheWriter {
 public:
  // Goes on with a PATH.part of the same header; begins anew otherwise.
  TeacherCacheWriter(const std::string& path, const TeacherCacheInfo& info);
  uint64_t samples() const { return samples_; }  // written so far
  // The next sample's rows.
  void Append(const CachedRows& rows);
  void Commit();
  uint64_t bytes() const { return file_->size(); }

 private:
  std::string path_;
  TeacherCacheInfo info_;
  uint64_t samples_ = 0;
  std::unique_ptr<AppendFile> file_;
};

// How much the bucket of the other ids loses, measured with the run's student on its first batch.
struct CacheReport {
  bool is_complete = false;  // false: stopped
  uint64_t samples = 0, bytes = 0;
  double mean_rest = 0;  // probability of ids that are not kept, mean over all rows of this session
  double full_kl = 0, cached_kl = 0;  // nats a token
};
// Runs the recipe's teacher (distill.teacher) over the run's data. `is_stop_asked` is asked after every sample.
CacheReport CacheTeacher(const Recipe& recipe, const std::string& path,
                         const std::function<bool()>& is_stop_asked);

}  // namespace planish

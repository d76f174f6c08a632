// SPDX-License-Identifier: Apache-2.0
// The training stream: phases of blended datasets (blend.h), each dataset a stream or packed examples. Sample n (one row of
// at most seq_len tokens) is a pure function of (options, datasets, n): resuming needs the sample counter alone, ranks and
// micro-batches take any ranges they like, and threads may ask at the same time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/blend.h"
#include "data/packed_rows.h"
#include "data/stream_rows.h"
#include "data/token_batch.h"
#include "data/token_file.h"

namespace planish {

struct Dataset {
  std::string name;  // unique; its order of rows depends on it, not on its place in the list
  std::shared_ptr<const TokenFile> file;
};

struct LoaderPhase {
  // The phase ends when this many tokens were drawn since the beginning of the run, counting seq_len for every row.
  uint64_t until_tokens = 0;
  double epochs =
      0;  // instead of until_tokens, for a phase with one dataset: so many passes over it
  size_t seq_len = 0;
  std::vector<BlendShare> shares;
};

enum class RowMode {
  kStream,  // pretraining: documents joined and cut at seq_len
  kPacked,  // SFT: whole examples, rows of at most seq_len tokens
};

struct LoaderOptions {
  uint64_t seed = 1234;
  RowMode mode = RowMode::kStream;
  bool resets_documents = true;  // kStream: documents of a row do not see each other
  bool shuffles = true;          // false: rows in file order
  PackingOptions packing;        // kPacked
  double max_epochs = 0;         // of each dataset; 0: no limit
  Exhausted exhausted = Exhausted::kError;
  uint64_t batch_tokens =
      0;  // phases are lengthened to whole batches of this size; 0: they are not
};

class Loader {
 public:
  // Error(kUsage) for phases that make no sense, Error(kBadFile) for an empty dataset or datasets of different tokenizers.
  Loader(std::vector<Dataset> datasets, const std::vector<LoaderPhase>& phases,
         const LoaderOptions& options);

  // Rows `sample` to `sample + count - 1` as one batch.
  TokenBatch Micro(uint64_t sample, size_t count) const;

  uint64_t samples() const { return blend_->samples(); }  // of all phases
  size_t phases() const { return blend_->phases().size(); }
  uint64_t phase_begin(uint32_t phase) const { return blend_->phase_begin(phase); }
  uint32_t PhaseOf(uint64_t sample) const { return blend_->PhaseOf(sample); }
  size_t SeqLenOf(uint64_t sample) const;
  // Tokens of samples 0..sample-1, counting seq_len for every row: what until_tokens and schedules count.
  uint64_t TokensBefore(uint64_t sample) const;
  const std::vector<Dataset>& datasets() const { return datasets_; }

  struct Usage {
    uint64_t rows = 0;
    double epochs = 0;      // passes over the dataset
    LongExamples too_long;  // kPacked: of one epoch at the longest seq_len it is read with
  };
  // What samples 0..sample-1 took from a dataset.
  Usage UsageOf(uint32_t dataset, uint64_t sample) const;
  // Everything the stream depends on. A run that resumes compares it with what it stored: another list of datasets, seed
  // or phase would silently give another stream.
  Json Signature() const;

 private:
  const RowSource& Source(uint32_t dataset, uint64_t seq_len) const;
  void OpenSources(const std::vector<LoaderPhase>& phases);
  std::vector<BlendPhase> BlendPhases(const std::vector<LoaderPhase>& phases) const;

  struct LengthSource {
    uint64_t seq_len;
    std::unique_ptr<RowSource> rows;
  };
  std::vector<Dataset> datasets_;
  LoaderOptions options_;
  std::vector<std::vector<LengthSource>>
      sources_;  // [datasets], by the row lengths they are read with
  std::unique_ptr<Blend> blend_;
};

}  // namespace planish

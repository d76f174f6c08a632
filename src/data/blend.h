// SPDX-License-Identifier: Apache-2.0
// Which dataset gives sample n: phases one after another, in each a deficit round robin over its shares (round_robin.h).
// Everything is a pure function of n, so a run resumes, and ranks divide the stream, by the sample counter alone.
// Rows of one length are counted through all phases: a dataset that comes back in a later phase goes on where it was,
// and begins anew only where the row length changed (its rows are other rows then).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "data/round_robin.h"

namespace planish {

struct BlendShare {
  uint32_t dataset;  // index into the list of datasets
  double weight;     // share of the samples: rows, not documents
};
struct BlendPhase {
  uint64_t samples;     // rows of this phase
  uint64_t row_tokens;  // seq_len
  std::vector<BlendShare> shares;
};

// What to do with a dataset that would be read more often than it may be.
enum class Exhausted {
  kError,        // refuse before the run begins
  kRenormalise,  // it drops out there, and the others share by their weights
};
inline constexpr uint64_t kNoLimit = UINT64_MAX;

class Blend {
 public:
  // `capacity(dataset, row_tokens)`: rows the dataset may give in all, kNoLimit without a cap. Tokens read in rows of
  // other lengths count against it. `name(dataset)` for messages. Error(kUsage) for an empty or doubled share, a weight
  // that is not positive, and an exhausted dataset (by choice, or when none is left).
  Blend(std::vector<BlendPhase> phases, Exhausted exhausted,
        const std::function<uint64_t(uint32_t, uint64_t)>& capacity,
        const std::function<std::string(uint32_t)>& name);

  struct Draw {
    uint32_t phase, dataset;
    uint64_t nth;  // earlier samples of this dataset with the same row length
  };
  Draw At(uint64_t sample) const;  // sample < samples()
  uint64_t samples() const { return samples_; }
  const std::vector<BlendPhase>& phases() const { return phases_; }
  uint64_t phase_begin(uint32_t phase) const { return phase_begins_[phase]; }  // its first sample
  uint32_t PhaseOf(uint64_t sample) const;
  // Rows of that length which the dataset gave among samples 0..sample-1.
  uint64_t RowsBefore(uint64_t sample, uint32_t dataset, uint64_t row_tokens) const;

 private:
  // Samples from `begin` on are drawn from `members` with fixed weights, until the next stretch.
  struct Stretch {
    uint64_t begin;
    uint32_t phase;
    std::vector<uint32_t> members;  // datasets
    std::vector<uint64_t> before;   // [members] rows of this length drawn earlier
    std::shared_ptr<const RoundRobin> order;
  };
  const Stretch& StretchOf(uint64_t sample) const;
  uint64_t TokensBefore(uint64_t sample, uint32_t dataset) const;
  uint64_t StretchEnd(size_t stretch) const;
  void AddPhase(uint32_t phase, Exhausted exhausted,
                const std::function<uint64_t(uint32_t, uint64_t)>& capacity,
                const std::function<std::string(uint32_t)>& name);

  std::vector<BlendPhase> phases_;
  std::vector<uint64_t> phase_begins_;
  std::vector<Stretch> stretches_;
  uint64_t samples_ = 0;
};

}  // namespace planish

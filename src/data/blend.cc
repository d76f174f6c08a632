// SPDX-License-Identifier: Apache-2.0
#include "data/blend.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace planish {
namespace {

void CheckShares(const BlendPhase& phase, size_t number,
                 const std::function<std::string(uint32_t)>& name) {
  if (phase.shares.empty()) throw UsageError("phase {}: no dataset", number);
  for (size_t i = 0; i < phase.shares.size(); ++i) {
    const BlendShare& share = phase.shares[i];
    if (!std::isfinite(share.weight) || share.weight <= 0) {
      throw UsageError("phase {}: weight of {} is {}, expected a positive number", number,
                       name(share.dataset), share.weight);
    }
    for (size_t j = 0; j < i; ++j) {
      if (phase.shares[j].dataset == share.dataset)
        throw UsageError("phase {}: {} is listed twice", number, name(share.dataset));
    }
  }
}

uint64_t SaturatingProduct(uint64_t a, uint64_t b) {
  const __uint128_t product = static_cast<__uint128_t>(a) * b;
  return product > UINT64_MAX ? UINT64_MAX : static_cast<uint64_t>(product);
}

}  // namespace

Blend::Blend(std::vector<BlendPhase> phases, Exhausted exhausted,
             const std::function<uint64_t(uint32_t, uint64_t)>& capacity,
             const std::function<std::string(uint32_t)>& name)
    : phases_(std::move(phases)) {
  if (phases_.empty()) throw UsageError("no phase: nothing to train on");
  for (uint32_t p = 0; p < phases_.size(); ++p) {
    CheckShares(phases_[p], p + 1, name);
    if (phases_[p].samples == 0 || phases_[p].samples > UINT64_MAX / 2 - samples_)
      throw UsageError("phase {}: {} samples", p + 1, phases_[p].samples);
    phase_begins_.push_back(samples_);
    AddPhase(p, exhausted, capacity, name);
    samples_ += phases_[p].samples;
  }
}

void Blend::AddPhase(uint32_t phase, Exhausted exhausted,
                     const std::function<uint64_t(uint32_t, uint64_t)>& capacity,
                     const std::function<std::string(uint32_t)>& name) {
  const uint64_t row_tokens = phases_[phase].row_tokens;
  const uint64_t end = samples_ + phases_[phase].samples;
  std::vector<BlendShare> shares = phases_[phase].shares;
  for (uint64_t begin = samples_; begin < end;) {
    Stretch stretch{begin, phase, {}, {}, nullptr};
    std::vector<double> weights;
    for (const BlendShare& share : shares) {
      stretch.members.push_back(share.dataset);
      stretch.before.push_back(RowsBefore(begin, share.dataset, row_tokens));
      weights.push_back(share.weight);
    }
    if (shares.empty()) {
      throw UsageError("phase {}: every dataset is exhausted after {} of {} samples", phase + 1,
                       begin - samples_, phases_[phase].samples);
    }
    stretch.order = std::make_shared<const RoundRobin>(PartsOf(weights));
    // The first draw beyond a dataset's capacity ends the stretch.
    uint64_t stretch_end = end;
    size_t spent = shares.size();
    for (uint32_t m = 0; m < stretch.members.size(); ++m) {
      const uint32_t dataset = stretch.members[m];
      const uint64_t rows = capacity(dataset, row_tokens);
      if (rows == kNoLimit) continue;
      const uint64_t other_tokens =
          TokensBefore(begin, dataset) - SaturatingProduct(stretch.before[m], row_tokens);
      const uint64_t taken = stretch.before[m] + (other_tokens + row_tokens - 1) / row_tokens;
      const uint64_t left = rows > taken ? rows - taken : 0;
      const uint64_t position = stretch.order->PositionOf(m, left);
      if (position >= stretch_end - begin) continue;
      if (exhausted == Exhausted::kError) {
        const uint64_t wanted = taken + stretch.order->CountBefore(m, end - begin);
        throw Error(
            ExitCode::kUsage,
            fmt::format("phase {}: would draw {} rows of {} tokens from {}, which may give {}",
                        phase + 1, wanted, row_tokens, name(dataset), rows),
            "raise max_epochs, lower the weight or the number of tokens, or let exhausted datasets "
            "drop out");
      }
      stretch_end = begin + position;
      spent = m;
    }
    const uint64_t next = stretch_end;
    if (next > begin) stretches_.push_back(std::move(stretch));
    if (spent < shares.size()) shares.erase(shares.begin() + static_cast<ptrdiff_t>(spent));
    begin = next;
  }
}

const Blend::Stretch& Blend::StretchOf(uint64_t sample) const {
  const auto after =
      std::upper_bound(stretches_.begin(), stretches_.end(), sample,
                       [](uint64_t n, const Stretch& stretch) { return n < stretch.begin; });
  return *(after - 1);
}

Blend::Draw Blend::At(uint64_t sample) const {
  PLANISH_CHECK(sample < samples_, "sample {} of {}", sample, samples_);
  const Stretch& stretch = StretchOf(sample);
  const RoundRobin::Draw draw = stretch.order->At(sample - stretch.begin);
  return {stretch.phase, stretch.members[draw.member], stretch.before[draw.member] + draw.nth};
}

uint32_t Blend::PhaseOf(uint64_t sample) const {
  const auto after = std::upper_bound(phase_begins_.begin(), phase_begins_.end(), sample);
  return static_cast<uint32_t>(after - phase_begins_.begin()) - 1;
}

uint64_t Blend::StretchEnd(size_t stretch) const {
  if (stretch + 1 < stretches_.size()) return stretches_[stretch + 1].begin;
  const uint32_t phase = stretches_[stretch].phase;
  return phase_begins_[phase] + phases_[phase].samples;
}

uint64_t Blend::RowsBefore(uint64_t sample, uint32_t dataset, uint64_t row_tokens) const {
  uint64_t rows = 0;
  for (size_t i = 0; i < stretches_.size() && stretches_[i].begin < sample; ++i) {
    const Stretch& stretch = stretches_[i];
    if (phases_[stretch.phase].row_tokens != row_tokens) continue;
    const auto member = std::find(stretch.members.begin(), stretch.members.end(), dataset);
    if (member == stretch.members.end()) continue;
    const auto m = static_cast<uint32_t>(member - stretch.members.begin());
    rows += stretch.order->CountBefore(m, std::min(sample, StretchEnd(i)) - stretch.begin);
  }
  return rows;
}

uint64_t Blend::TokensBefore(uint64_t sample, uint32_t dataset) const {
  std::vector<uint64_t> lengths;
  uint64_t tokens = 0;
  for (const BlendPhase& phase : phases_) {
    if (std::find(lengths.begin(), lengths.end(), phase.row_tokens) != lengths.end()) continue;
    lengths.push_back(phase.row_tokens);
    const uint64_t add =
        SaturatingProduct(RowsBefore(sample, dataset, phase.row_tokens), phase.row_tokens);
    tokens = tokens > UINT64_MAX - add ? UINT64_MAX : tokens + add;
  }
  return tokens;
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "data/loader.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/hash.h"

namespace planish {
namespace {

constexpr uint64_t kMaxSeqLen = uint64_t{1} << 30;

void CheckDatasets(const std::vector<Dataset>& datasets) {
  for (size_t i = 0; i < datasets.size(); ++i) {
    const TokenFile& file = *datasets[i].file;
    if (file.token_count() == 0)
      throw BadFile("{}: dataset {} is empty", Quoted(file.path(), 300), Quoted(datasets[i].name));
    const TokenFileInfo& first = datasets[0].file->info();
    file.RequireTokenizer(first.tokenizer_hash, first.tokenizer_name);
    for (size_t j = 0; j < i; ++j) {
      if (datasets[j].name == datasets[i].name)
        throw UsageError("two datasets are called {}", Quoted(datasets[i].name));
    }
  }
}

void CheckPhase(const LoaderPhase& phase, size_t number, size_t datasets) {
  if (phase.seq_len < 2 || phase.seq_len > kMaxSeqLen)
    throw UsageError("phase {}: seq_len is {}, expected 2 to {}", number, phase.seq_len,
                     kMaxSeqLen);
  if (phase.shares.empty()) throw UsageError("phase {}: no dataset", number);
  for (const BlendShare& share : phase.shares)
    PLANISH_CHECK(share.dataset < datasets, "dataset {} of {}", share.dataset, datasets);
  if ((phase.until_tokens > 0) == (phase.epochs > 0))
    throw UsageError("phase {}: expected one of until_tokens and epochs", number);
  if (!(phase.epochs >= 0 && phase.epochs <= 1e6))
    throw UsageError("phase {}: epochs is {}, expected at most a million", number, phase.epochs);
  if (phase.epochs > 0 && phase.shares.size() != 1)
    throw UsageError("phase {}: epochs needs a single dataset; give until_tokens", number);
}

Json PackingSignature(const PackingOptions& packing) {
  static constexpr const char* kNames[] = {"truncate", "drop", "split"};
  Json out = Json::MakeObject();
  out.Set("long_examples", kNames[static_cast<size_t>(packing.long_examples)]);
  out.Set("window", uint64_t{packing.window});
  out.Set("max_examples", uint64_t{packing.max_examples});
  return out;
}

}  // namespace

Loader::Loader(std::vector<Dataset> datasets, const std::vector<LoaderPhase>& phases,
               const LoaderOptions& options)
    : datasets_(std::move(datasets)), options_(options), sources_(datasets_.size()) {
  if (datasets_.empty()) throw UsageError("no dataset to train on");
  CheckDatasets(datasets_);
  if (!std::isfinite(options.max_epochs) || options.max_epochs < 0)
    throw UsageError("max_epochs is {}, expected 0 or a positive number", options.max_epochs);
  for (size_t p = 0; p < phases.size(); ++p) CheckPhase(phases[p], p + 1, datasets_.size());
  OpenSources(phases);
  std::vector<BlendPhase> blended = BlendPhases(phases);
  uint64_t all_samples = 1;
  for (const BlendPhase& phase : blended) all_samples += phase.samples;
  blend_ = std::make_unique<Blend>(
      std::move(blended), options_.exhausted,
      [&](uint32_t dataset, uint64_t seq_len) {
        if (options_.max_epochs == 0) return kNoLimit;
        // Cut at what the run could take at most, so that no epoch is laid out which it will not reach.
        const uint64_t rows = Source(dataset, seq_len).RowsIn(options_.max_epochs, all_samples);
        return rows < all_samples ? rows : kNoLimit;
      },
      [&](uint32_t dataset) { return datasets_[dataset].name; });
}

void Loader::OpenSources(const std::vector<LoaderPhase>& phases) {
  for (const LoaderPhase& phase : phases) {
    for (const BlendShare& share : phase.shares) {
      std::vector<LengthSource>& sources = sources_[share.dataset];
      const auto same = [&](const LengthSource& source) { return source.seq_len == phase.seq_len; };
      if (std::any_of(sources.begin(), sources.end(), same)) continue;
      const Dataset& dataset = datasets_[share.dataset];
      const RowOrder order{options_.seed, Fnv1a(dataset.name), options_.shuffles};
      std::unique_ptr<RowSource> rows;
      if (options_.mode == RowMode::kStream) {
        rows = std::make_unique<StreamRows>(dataset.file, phase.seq_len, options_.resets_documents,
                                            order);
      } else {
        rows = std::make_unique<PackedRows>(dataset.file, phase.seq_len, options_.packing, order);
      }
      sources.push_back({phase.seq_len, std::move(rows)});
    }
  }
}

std::vector<BlendPhase> Loader::BlendPhases(const std::vector<LoaderPhase>& phases) const {
  std::vector<BlendPhase> out;
  uint64_t tokens = 0;
  for (size_t p = 0; p < phases.size(); ++p) {
    const LoaderPhase& phase = phases[p];
    uint64_t samples = 0;
    if (phase.epochs > 0) {
      samples = Source(phase.shares[0].dataset, phase.seq_len).RowsIn(phase.epochs, kNoLimit >> 8);
      samples = std::max<uint64_t>(samples, 1);
    } else if (phase.until_tokens > tokens) {
      samples = (phase.until_tokens - tokens + phase.seq_len - 1) / phase.seq_len;
    } else {
      throw UsageError("phase {}: ends at {} tokens, but {} were drawn before it", p + 1,
                       phase.until_tokens, tokens);
    }
    if (options_.batch_tokens > 0) {
      if (options_.batch_tokens % phase.seq_len != 0)
        throw UsageError("phase {}: a batch of {} tokens is no multiple of seq_len {}", p + 1,
                         options_.batch_tokens, phase.seq_len);
      const uint64_t batch = options_.batch_tokens / phase.seq_len;
      samples = (samples + batch - 1) / batch * batch;
    }
    if (samples > (UINT64_MAX / 2 - tokens) / phase.seq_len)
      throw UsageError("phase {}: too many tokens", p + 1);
    tokens += samples * phase.seq_len;
    out.push_back({samples, phase.seq_len, phase.shares});
  }
  return out;
}

const RowSource& Loader::Source(uint32_t dataset, uint64_t seq_len) const {
  for (const LengthSource& source : sources_[dataset]) {
    if (source.seq_len == seq_len) return *source.rows;
  }
  PLANISH_CHECK(false, "dataset {} has no rows of {}", dataset, seq_len);
  std::abort();
}

TokenBatch Loader::Micro(uint64_t sample, size_t count) const {
  TokenBatch batch;
  for (size_t i = 0; i < count; ++i) {
    const Blend::Draw draw = blend_->At(sample + i);
    const uint64_t seq_len = blend_->phases()[draw.phase].row_tokens;
    const size_t tokens = Source(draw.dataset, seq_len).AppendRow(draw.nth, &batch);
    batch.rows.push_back({sample + i, draw.dataset, static_cast<uint32_t>(tokens)});
  }
  return batch;
}

size_t Loader::SeqLenOf(uint64_t sample) const {
  return blend_->phases()[blend_->PhaseOf(sample)].row_tokens;
}

uint64_t Loader::TokensBefore(uint64_t sample) const {
  uint64_t tokens = 0;
  for (uint32_t p = 0; p < phases() && phase_begin(p) < sample; ++p) {
    const BlendPhase& phase = blend_->phases()[p];
    tokens += std::min(phase.samples, sample - phase_begin(p)) * phase.row_tokens;
  }
  return tokens;
}

Loader::Usage Loader::UsageOf(uint32_t dataset, uint64_t sample) const {
  Usage usage;
  uint64_t longest = 0;
  for (const LengthSource& source : sources_[dataset]) {
    const uint64_t rows = blend_->RowsBefore(sample, dataset, source.seq_len);
    usage.rows += rows;
    usage.epochs += source.rows->EpochsOf(rows);
    const auto* packed = dynamic_cast<const PackedRows*>(source.rows.get());
    if (packed == nullptr || source.seq_len < longest) continue;
    longest = source.seq_len;
    usage.too_long = packed->long_examples();
  }
  return usage;
}

Json Loader::Signature() const {
  Json out = Json::MakeObject();
  out.Set("seed", options_.seed);
  out.Set("mode", options_.mode == RowMode::kStream ? "stream" : "packed");
  out.Set("shuffles", options_.shuffles);
  if (options_.mode == RowMode::kStream) out.Set("resets_documents", options_.resets_documents);
  if (options_.mode == RowMode::kPacked) out.Set("packing", PackingSignature(options_.packing));
  out.Set("max_epochs", options_.max_epochs);
  out.Set("renormalises", options_.exhausted == Exhausted::kRenormalise);
  Json datasets = Json::MakeArray();
  for (const Dataset& dataset : datasets_) {
    Json item = Json::MakeObject();
    item.Set("name", dataset.name);
    item.Set("tokens", dataset.file->token_count());
    item.Set("checksum", fmt::format("{:016x}", dataset.file->checksum()));
    datasets.Append(std::move(item));
  }
  out.Set("datasets", std::move(datasets));
  Json phases = Json::MakeArray();
  for (const BlendPhase& phase : blend_->phases()) {
    Json item = Json::MakeObject();
    item.Set("samples", phase.samples);
    item.Set("seq_len", phase.row_tokens);
    Json shares = Json::MakeObject();
    for (const BlendShare& share : phase.shares)
      shares.Set(datasets_[share.dataset].name, share.weight);
    item.Set("weights", std::move(shares));
    phases.Append(std::move(item));
  }
  out.Set("phases", std::move(phases));
  return out;
}

}  // namespace planish

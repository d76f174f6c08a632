// SPDX-License-Identifier: Apache-2.0
#include "compress/cost_measure.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "compress/step_timer.h"
#include "model/planner.h"
#include "tensor/blocks.h"

namespace planish {
namespace {

constexpr size_t kStackVocabulary = 256;
// More than this between two uses of a weight leaves nothing of it in any cache that is sold today.
constexpr size_t kLargestReuse = size_t{1} << 30;

// Bytes that pass through the caches of all threads.
class CacheSweep {
 public:
  explicit CacheSweep(size_t bytes) : buffer_(bytes) {
    if (bytes > 0) std::memset(buffer_.data(), 1, bytes);
  }
  void Run(size_t bytes) {
    constexpr size_t kPiece = size_t{1} << 20;
    const size_t pieces = std::min(bytes, buffer_.size()) / kPiece;
    std::vector<uint64_t> sums(pieces);
    ParallelFor(pieces, [&](size_t i, int) {
      const std::byte* data = buffer_.data() + i * kPiece;
      uint64_t sum = 0, word;
      for (size_t at = 0; at < kPiece; at += 64) {
        std::memcpy(&word, data + at, sizeof(word));
        sum += word;
      }
      sums[i] = sum;
    });
  }

 private:
  AlignedBuffer buffer_;
};

// The parent with `copies` blocks of one mixer and a small vocabulary.
ModelConfig StackConfig(const ModelConfig& parent, const std::optional<MixerConfig>& mixer,
                        size_t copies) {
  ModelConfig config = parent;
  config.vocab_size = std::min(parent.vocab_size, kStackVocabulary);
  config.tie_embeddings = true;
  config.blocks.clear();
  if (!mixer) return config;
  const bool is_whole = parent.family == Family::kNemotronH;
  const Slot slot = is_whole                                    ? Slot::kWhole
                    : std::holds_alternative<FfnConfig>(*mixer) ? Slot::kFfn
                                                                : Slot::kAttention;
  for (size_t i = 0; i < copies; ++i) config.blocks.push_back({i, slot, *mixer});
  config.n_layers = copies;
  return config;
}

ModelConfig HeadConfig(const ModelConfig& parent) {
  ModelConfig config = parent;
  config.blocks.clear();
  config.tie_embeddings = true;  // rows of an untied embedding are a few kilobytes
  return config;
}

size_t BytesOfBlock(const MixerConfig& mixer, const CostConditions& conditions,
                    const CostSetting& setting) {
  const MixerCost cost = CostOf(mixer, conditions.hidden_size);
  const size_t sequences = setting.is_decode ? setting.rows : 1;
  const size_t kv = BytesOf(conditions.states.kv, cost.kv_elements_per_token / 32 * 32);
  return BytesOf(conditions.weights, cost.parameters / 256 * 256) +
         sequences * (kv * (setting.context + (setting.is_decode ? 1 : setting.rows)) +
                      cost.ssm_elements * 4 + cost.conv_elements * 4);
}

struct Stack {
  const CostRequest* request;
  std::optional<MixerConfig> mixer;
  size_t copies = 0;
  std::unique_ptr<StepTimer> timer;
  std::vector<double> samples;
};

// One group: stacks that are in memory together, measured in one setting.
class Group {
 public:
  Group(const CostSetting& setting, const MeasureOptions& options)
      : setting_(setting), options_(options) {}

  void Add(const CostRequest& request, const std::optional<MixerConfig>& mixer, size_t copies) {
    const ModelConfig config =
        mixer ? StackConfig(*request.parent, mixer, copies) : HeadConfig(*request.parent);
    const CostConditions& conditions = request.table->conditions();
    stacks_.push_back({&request, mixer, copies, nullptr, {}});
    stacks_.back().timer =
        std::make_unique<StepTimer>(config, conditions, /*has_head=*/!mixer.has_value());
    std::unique_ptr<StepTimer>& empty = empty_[&request];
    if (empty != nullptr) return;
    empty = std::make_unique<StepTimer>(StackConfig(*request.parent, std::nullopt, 0), conditions,
                                        /*has_head=*/false);
  }

  void Measure() {
    size_t most = 0;
    for (const auto& [request, timer] : empty_) {
      timer->Prepare(setting_);
      most = std::max(most, request->table->conditions().reuse_bytes);
    }
    for (Stack& stack : stacks_) stack.timer->Prepare(setting_);
    CacheSweep sweep(std::min(most, kLargestReuse));
    const auto time = [&](const CostRequest& request, StepTimer* timer) {
      const size_t own = timer->bytes(), between = request.table->conditions().reuse_bytes;
      sweep.Run(between > own ? between - own : 0);
      return timer->Time();
    };
    for (size_t round = 0; round < options_.warm_ups + options_.samples; ++round) {
      std::map<const CostRequest*, double> nothing;
      for (const auto& [request, timer] : empty_) nothing[request] = time(*request, timer.get());
      for (Stack& stack : stacks_) {
        const double seconds = time(*stack.request, stack.timer.get());
        if (round < options_.warm_ups) continue;
        stack.samples.push_back(stack.mixer ? (seconds - nothing[stack.request]) /
                                                  static_cast<double>(stack.copies)
                                            : seconds);
      }
    }
    for (Stack& stack : stacks_)
      stack.request->table->Add(
          {stack.mixer, setting_, SecondsOf(stack.samples), stack.copies, stack.samples.size()});
  }

 private:
  const CostSetting& setting_;
  const MeasureOptions& options_;
  std::vector<Stack> stacks_;
  std::map<const CostRequest*, std::unique_ptr<StepTimer>> empty_;  // no blocks, by request
};

// One entry that a table lacks.
struct Missing {
  const CostRequest* request;
  std::optional<MixerConfig> mixer;

  uint64_t BytesOfCopy(const CostSetting& setting) const {
    const CostConditions& conditions = request->table->conditions();
    return 2 * (mixer ? BytesOfBlock(*mixer, conditions, setting)
                      : StreamedBytes(HeadConfig(*request->parent), conditions, setting));
  }
};

// What is no block first, then each mixer once.
std::vector<Missing> EntriesOf(std::span<const CostRequest> requests) {
  std::vector<Missing> entries;
  for (const CostRequest& request : requests) {
    const size_t begin = entries.size();
    entries.push_back({&request, std::nullopt});
    for (const MixerConfig& mixer : request.mixers) {
      const auto is_it = [&](const Missing& entry) { return entry.mixer == mixer; };
      if (std::none_of(entries.begin() + static_cast<ptrdiff_t>(begin), entries.end(), is_it))
        entries.push_back({&request, mixer});
    }
  }
  return entries;
}

Seconds Repeat(const MeasureOptions& options, const std::function<double()>& time) {
  std::vector<double> samples;
  for (size_t i = 0; i < options.warm_ups; ++i) time();
  for (size_t i = 0; i < options.samples; ++i) samples.push_back(time());
  return SecondsOf(std::move(samples));
}

void RequireMemory(const ModelConfig& config, const CostConditions& conditions,
                   const CostSetting& setting) {
  const size_t needed = StreamedBytes(config, conditions, setting);
  // Packed views stand beside what they were made from.
  const size_t with_views = needed * (conditions.act == ActMode::kInt8 ? 2 : 1);
  if (with_views > AvailableBytes())
    throw Error(ExitCode::kNoMemory, fmt::format("a model of this shape needs {}, but {} is free",
                                                 GiB(with_views), GiB(AvailableBytes())));
}

}  // namespace

void FillForSpeed(DType type, Model* model) {
  std::map<std::pair<size_t, size_t>, const Weight*> filled;
  model->VisitParams([&](const Param& param) {
    if (param.weight == nullptr) {
      *param.vector = Tensor::F32(param.shape);
      // Norms of 1; decays and steps of a Mamba-2 block that has been trained are of this order.
      std::fill_n(param.vector->f32(), param.shape.elements(),
                  param.role == ParamRole::kSsmDtBias ? -4.0f : 1.0f);
      return;
    }
    const size_t out = param.shape[0], in = param.shape[1];
    const bool has_blocks = in % Traits(type).block_elems == 0;
    *param.weight = Weight(param.name, out, in, has_blocks ? type : DType::kF16);
    const Weight*& first = filled[{out, in}];
    if (first != nullptr) {
      std::memcpy(param.weight->mutable_data(), first->data(), first->bytes());
      return;
    }
    first = param.weight;
    std::byte* data = param.weight->mutable_data();
    const size_t row_bytes = param.weight->row_bytes();
    ParallelFor(out, [&](size_t r, int) {
      std::vector<float> row(in);
      FillNormal(1, 0, r, row);
      for (float& value : row) value *= 0.02f;
      QuantizeRow(param.weight->dtype(), row.data(), data + r * row_bytes, in);
    });
  });
  model->ParamsChanged();
}

size_t StreamedBytes(const ModelConfig& config, const CostConditions& conditions,
                     const CostSetting& setting) {
  size_t bytes = BytesOf(conditions.weights, config.vocab_size * config.hidden_size / 256 * 256);
  for (const BlockConfig& block : config.blocks)
    bytes += BytesOfBlock(block.mixer, conditions, setting);
  return bytes;
}

bool MeasureCosts(std::span<const CostRequest> requests, std::span<const CostSetting> settings,
                  const MeasureOptions& options) {
  PLANISH_CHECK(options.samples > 0 && options.copies > 0);
  const uint64_t memory = options.memory > 0 ? options.memory : AvailableBytes() / 2;
  const std::vector<Missing> entries = EntriesOf(requests);
  size_t done = 0;
  for (const CostSetting& setting : settings) {
    std::vector<Missing> missing;
    for (const Missing& entry : entries)
      if (!entry.request->table->Has(entry.mixer, setting)) missing.push_back(entry);
    done += entries.size() - missing.size();
    while (!missing.empty()) {
      if (options.deadline && std::chrono::steady_clock::now() > *options.deadline) return false;
      if (options.progress)
        options.progress(done, entries.size() * settings.size(), Describe(setting));
      Group group(setting, options);
      uint64_t taken = 0;
      size_t count = 0;
      for (; count < missing.size(); ++count) {
        const Missing& entry = missing[count];
        const uint64_t one = entry.BytesOfCopy(setting);
        const size_t copies = entry.mixer
                                  ? std::clamp<uint64_t>(memory / 4 / std::max<uint64_t>(one, 1), 2,
                                                         std::max<size_t>(2, options.copies))
                                  : 1;
        if (count > 0 && taken + copies * one > memory) break;
        if (count == 0 && copies * one > AvailableBytes())
          throw Error(ExitCode::kNoMemory,
                      fmt::format("{} blocks of these shapes need {}, but {} is free", copies,
                                  GiB(copies * one), GiB(AvailableBytes())));
        group.Add(*entry.request, entry.mixer, copies);
        taken += copies * one;
      }
      group.Measure();
      missing.erase(missing.begin(), missing.begin() + static_cast<ptrdiff_t>(count));
      done += count;
      if (options.save) options.save();
    }
  }
  return true;
}

Seconds MeasureStep(const ModelConfig& config, const CostConditions& conditions,
                    const CostSetting& setting, const MeasureOptions& options) {
  RequireMemory(config, conditions, setting);
  StepTimer timer(config, conditions, /*has_head=*/true);
  timer.Prepare(setting);
  return Repeat(options, [&] { return timer.Time(); });
}

Seconds MeasurePrompt(const ModelConfig& config, const CostConditions& conditions, size_t tokens,
                      const MeasureOptions& options) {
  RequireMemory(config, conditions, {.is_decode = false, .rows = tokens});
  StepTimer timer(config, conditions, /*has_head=*/true);
  return Repeat(options, [&] { return timer.TimePrompt(tokens); });
}

}  // namespace planish

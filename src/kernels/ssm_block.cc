// SPDX-License-Identifier: Apache-2.0
// See ssm_block.h. A task takes one run through one SSM group: its heads, the B and C they share, and its norm.
#include "kernels/ssm_block.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/parallel.h"
#include "hwy/cache_control.h"
#include "kernels/bf16_panels.h"
#include "kernels/scratch.h"
#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssm_block.cc"
#include "hwy/foreach_target.h"
#include "kernels/conv1d-inl.h"
#include "kernels/norm-inl.h"
#include "kernels/ssm_chunk-inl.h"
#include "kernels/ssm_scan-inl.h"
#include "kernels/time_step-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// A range of columns of x|B|C that belongs to the group, and where it goes in the group's own row x | B | C.
struct Columns {
  size_t from, count, to;
};

class GroupTask {
 public:
  GroupTask(const SsmLayer& layer, const SsmRun& run, size_t group, bool has_panels, float* memory)
      : layer_(layer),
        run_(run),
        group_(group),
        heads_(layer.dims.heads / layer.dims.groups),
        P_(layer.dims.head_dim),
        N_(layer.dims.state),
        width_(PaddedColumns(P_)),
        channels_(heads_ * P_),
        row_(channels_ + 2 * N_),
        has_panels_(has_panels && width_ == P_) {
    Place(memory);
  }
  static size_t Floats(const SsmLayer& layer) {
    const SsmRun none = {};
    GroupTask task(layer, none, 0, false, nullptr);
    return task.Place(nullptr);
  }

  void Run() {
    for (size_t begin = 0; begin < run_.count;) {
      const size_t at = (run_.position + begin) % kSsmGrid;
      const size_t count = std::min(kSsmGrid - at, run_.count - begin);
      Convolve(begin, count);
      PrepareSteps(begin, count);
      const bool is_blocked = has_panels_ && count > kSsmFewTokens;
      const bool is_tiled = is_blocked && chunk_.tiles != nullptr;
      y_ = is_tiled ? xbc_ : own_y_;  // tiles may overwrite x
      y_stride_ = is_tiled ? row_ : channels_;
      if (is_blocked)
        PrepareChunk(xbc_ + channels_, xbc_ + channels_ + N_, row_, count, N_, chunk_);
      for (size_t h = 0; h < heads_; ++h) {
        WantRows(h, begin, count);
        if (!is_tiled) PrefetchWanted();
        Head(h, begin, count, is_blocked);
      }
      Gate(begin, count);
      begin += count;
    }
    for (const Columns& columns : Parts()) KeepHistory(columns);
    if (PassesCaches()) hwy::FlushStream();
  }

 private:
  size_t Place(float* memory) {
    size_t used = 0;
    const auto floats = [&](size_t n) {
      float* p = memory == nullptr ? nullptr : memory + used;
      used += RoundUpToLine(n);
      return p;
    };
    xbc_ = floats(kSsmGrid * row_);
    own_y_ = floats(kSsmGrid * channels_);
    steps_ = floats(kSsmGrid * heads_);
    padded_x_ = floats(kSsmGrid * width_);
    padded_y_ = floats(kSsmGrid * width_);
    state_ = floats(N_ * width_);
    return used + chunk_.Place(layer_.dims, memory == nullptr ? nullptr : memory + used);
  }

  std::array<Columns, 3> Parts() const {
    const size_t G = layer_.dims.groups;
    return {{{group_ * channels_, channels_, 0},
             {layer_.d_in() + group_ * N_, N_, channels_},
             {layer_.d_in() + (G + group_) * N_, N_, channels_ + N_}}};
  }

  void Convolve(size_t begin, size_t count) {
    const size_t conv_dim = layer_.conv_dim();
    for (const Columns& c : Parts()) {
      const ConvBlock<float> block{
          run_.in + layer_.d_in() + c.from,
          layer_.in_width(),
          run_.conv + c.from,
          conv_dim,
          layer_.conv_taps + c.from,
          conv_dim,
          layer_.conv_bias != nullptr ? layer_.conv_bias + c.from : nullptr,
          layer_.conv_width,
          c.count};
      ConvTokens(block, begin, begin + count, xbc_ + c.to, row_);
    }
  }

  void KeepHistory(const Columns& c) {
    const size_t conv_dim = layer_.conv_dim(), rows = layer_.conv_width - 1;
    const size_t kept = run_.count < rows ? rows - run_.count : 0;  // of the old history
    const size_t bytes = c.count * sizeof(float);
    float* history = run_.conv + c.from;
    for (size_t i = 0; i < kept; ++i)
      std::memcpy(history + i * conv_dim, history + (i + run_.count) * conv_dim, bytes);
    const float* x = run_.in + layer_.d_in() + c.from;
    for (size_t i = kept; i < rows; ++i)
      std::memcpy(history + i * conv_dim, x + (run_.count - rows + i) * layer_.in_width(), bytes);
  }

  // What to fetch while head h is at work: its share of the chunk's z rows and of the next chunk's x, B and C. Rows lie 90 KB
  // apart (9B shape), too far for the hardware to guess.
  void WantRows(size_t h, size_t begin, size_t count) {
    const size_t first = h * count / heads_, end = (h + 1) * count / heads_;
    wanted_count_ = 0;
    for (size_t t = begin + first; t < begin + end; ++t) {
      wanted_[wanted_count_++] = {run_.in + t * layer_.in_width() + group_ * channels_, channels_};
      if (t + count >= run_.count) continue;
      const float* next = run_.in + (t + count) * layer_.in_width() + layer_.d_in();
      for (const Columns& c : Parts()) wanted_[wanted_count_++] = {next + c.from, c.count};
    }
  }
  void PrefetchWanted() const {
    for (const SsmWanted& wanted : Wanted())
      for (size_t i = 0; i < wanted.floats; i += 16) __builtin_prefetch(wanted.data + i, 0, 2);
  }
  std::span<const SsmWanted> Wanted() const { return {wanted_, wanted_count_}; }

  // The output of so many rows is larger than the second-level cache.
  bool PassesCaches() const {
    constexpr size_t kManyBytes = size_t{2} << 20;
    return run_.count * layer_.d_in() * sizeof(float) >= kManyBytes;
  }

  void Gate(size_t begin, size_t count) {
    const size_t first = group_ * channels_;
    for (size_t t = 0; t < count; ++t) {
      const float* z = run_.in + (begin + t) * layer_.in_width() + first;
      float* out = run_.out + (begin + t) * layer_.d_in() + first;
      float* y = y_ + t * y_stride_;
      if (PassesCaches())
        GatedNormGroupPastCaches(y, z, layer_.norm + first, channels_, layer_.norm_eps, out);
      else
        GatedNormGroup(y, z, layer_.norm + first, channels_, layer_.norm_eps, out);
    }
  }

  // steps_[t, h] of the group's heads.
  void PrepareSteps(size_t begin, size_t count) {
    const size_t first = group_ * heads_;
    for (size_t t = 0; t < count; ++t) {
      const float* raw =
          run_.in + (begin + t) * layer_.in_width() + layer_.d_in() + layer_.conv_dim() + first;
      TimeSteps(raw, layer_.dt_bias + first, heads_, layer_.dt_low, layer_.dt_high,
                steps_ + t * heads_);
    }
  }

  void Head(size_t h, size_t begin, size_t count, bool is_blocked) {
    const FloatTag d;
    const size_t head = group_ * heads_ + h;
    HWY_ALIGN float dt[kSsmGrid] = {}, decay[kSsmGrid];
    for (size_t t = 0; t < count; ++t) dt[t] = steps_[t * heads_ + h];
    HeadTokens tokens{.count = count,
                      .N = N_,
                      .width = width_,
                      .x = xbc_ + h * P_,
                      .x_stride = row_,
                      .B = xbc_ + channels_,
                      .b_stride = row_,
                      .C = xbc_ + channels_ + N_,
                      .c_stride = row_,
                      .decay = decay,
                      .dt = dt,
                      .D = layer_.D[head],
                      .y = y_ + h * P_,
                      .y_stride = y_stride_};
    if (width_ != P_) {
      CopyRows(tokens.x, row_, P_, count, padded_x_, width_);
      tokens.x = padded_x_;
      tokens.y = padded_y_;
      tokens.x_stride = tokens.y_stride = width_;
    }
    if (!is_blocked) {
      const FloatVec A = hn::Set(d, layer_.A[head]);
      for (size_t t = 0; t < count; t += kLanes)
        hn::Store(hn::Exp(d, hn::Mul(hn::Load(d, dt + t), A)), d, decay + t);
    }
    Advance(tokens, head, run_.position + begin + count - 1, is_blocked);
    if (width_ != P_) CopyRows(padded_y_, width_, P_, count, y_ + h * P_, y_stride_);
  }

  // y and the state after the tokens; `position` of the last of them.
  void Advance(const HeadTokens& tokens, size_t head, size_t position, bool is_blocked) {
    const RoundingNoise noise(position, head);
    const size_t offset = head * N_ * P_;
    if (run_.state_type == DType::kBF16) {
      uint16_t* stored = static_cast<uint16_t*>(run_.state) + offset;
      if (tokens.count == 1 && width_ == P_) return StepHead(tokens, Bf16State(stored, noise));
      WidenState(stored, N_, P_, state_, width_);
      AdvanceFloat(tokens, head, state_, is_blocked);
      RoundState(state_, width_, N_, P_, noise, stored);
      return;
    }
    float* stored = static_cast<float*>(run_.state) + offset;
    if (width_ == P_) return AdvanceFloat(tokens, head, stored, is_blocked);
    CopyRows(stored, P_, P_, N_, state_, width_);
    AdvanceFloat(tokens, head, state_, is_blocked);
    CopyRows(state_, width_, P_, N_, stored, P_);
  }

  void AdvanceFloat(const HeadTokens& tokens, size_t head, float* state, bool is_blocked) {
    if (is_blocked) return ChunkHead(tokens, layer_.A[head], state, chunk_, Wanted());
    if (tokens.count == 1) return StepHead(tokens, FloatState(state));
    ScanHead(tokens, state);
  }

  const SsmLayer& layer_;
  const SsmRun& run_;
  size_t group_;
  size_t heads_;  // of the group
  size_t P_, N_;
  size_t width_;     // P in whole vectors
  size_t channels_;  // of the group's x
  size_t row_;       // of the group's x | B | C
  bool has_panels_;
  float* xbc_;       // [kSsmGrid, row]
  float* own_y_;     // [kSsmGrid, channels]
  float* steps_;     // [kSsmGrid, heads]
  float* padded_x_;  // [kSsmGrid, width], likewise y
  float* padded_y_;
  float* state_;        // [N, width]
  float* y_ = nullptr;  // of the chunk: own_y_, or the place of x
  size_t y_stride_ = 0;
  ChunkScratch chunk_;
  SsmWanted wanted_[4 * kSsmGrid];  // a row's z, x, B and C
  size_t wanted_count_ = 0;
};

size_t GroupTaskFloats(const SsmLayer& layer) { return GroupTask::Floats(layer); }

void RunGroupTask(const SsmLayer& layer, const SsmRun& run, size_t group, bool has_panels,
                  float* memory) {
  GroupTask(layer, run, group, has_panels, memory).Run();
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(GroupTaskFloats);
HWY_EXPORT(RunGroupTask);

void SsmBlock(const SsmLayer& layer, std::span<const SsmRun> runs, SsmArithmetic arithmetic) {
  const size_t G = layer.dims.groups;
  PLANISH_DCHECK(G > 0 && layer.dims.heads % G == 0);
  if (runs.empty() || layer.dims.StateSize() == 0) return;
  const bool has_panels = arithmetic == SsmArithmetic::kFast && HasBf16Units();
  static thread_local Scratch memory;
  const size_t floats = RoundUpToLine(HWY_DYNAMIC_DISPATCH(GroupTaskFloats)(layer));
  float* scratch = memory.Floats(static_cast<size_t>(ThreadCount()) * floats);
  // Slices stand behind the decode rows and are the longest: they start first.
  ParallelFor(runs.size() * G, [&](size_t task, int thread) {
    const SsmRun& run = runs[runs.size() - 1 - task / G];
    std::optional<PanelScope> scope;
    if (has_panels && run.count > kSsmFewTokens) scope.emplace();
    HWY_DYNAMIC_DISPATCH(RunGroupTask)
    (layer, run, task % G, has_panels, scratch + static_cast<size_t>(thread) * floats);
  });
}

}  // namespace planish
#endif  // HWY_ONCE

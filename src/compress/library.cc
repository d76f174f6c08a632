// SPDX-License-Identifier: Apache-2.0
#include "compress/library.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/stopwatch.h"
#include "compress/block_distill.h"
#include "compress/child_init.h"
#include "compress/hidden_stream.h"
#include "compress/library_index.h"
#include "compress/scores.h"

namespace planish {
namespace {

// Consecutive blocks whose children are trained in one pass over the tokens.
struct Group {
  size_t begin = 0, end = 0;
  size_t parameters = 0;  // of the children to make
};

class Builder {
 public:
  Builder(const Pretrained& parent, const CalibrationRows& train, const CalibrationRows& held_out,
          const LibraryOptions& options, BlockLibrary* library, Json inputs)
      : parent_(parent),
        options_(options),
        library_(*library),
        inputs_(std::move(inputs)),
        runner_(parent.model.get()),
        D_(parent.config.hidden_size) {
    const size_t row = train.rows[0].size();
    const size_t step_rows = std::max<size_t>(1, options.step_tokens / row);
    const size_t used = std::min<size_t>(
        train.rows.size(), (options.tokens + step_rows * row - 1) / (step_rows * row) * step_rows);
    batches_ = PackRows(train.rows, 0, used, step_rows * row);
    step_tokens_ = step_rows * row;
    steps_ = (options.tokens + step_tokens_ - 1) / step_tokens_;
    const size_t init_rows =
        std::min(train.rows.size(), std::max<size_t>(1, options.init_tokens / row));
    init_ = PackRows(train.rows, 0, init_rows, init_rows * row);
    held_out_ = PackRows(held_out.rows, 0, held_out.rows.size(), step_tokens_);
    const uint64_t stream_bytes = HiddenStream::BytesOf(
        used * row + init_rows * row + held_out.tokens(), parent.config.hidden_size);
    const uint64_t memory = options.memory != 0 ? options.memory : AvailableBytes() / 2;
    is_kept_ = stream_bytes <= memory / 2;
    child_memory_ = is_kept_ ? memory - stream_bytes : memory;
  }

  void Run();

 private:
  struct Child {
    Candidate* candidate;
    size_t block;
    std::unique_ptr<ChildTrainer> trainer;
    ErrorSums before, after;
  };

  bool IsMissing(const CandidateBlock& block, const Candidate& candidate) const {
    return block.block % options_.parts == options_.part && !candidate.is_parent &&
           candidate.mixer && candidate.weights.empty();
  }
  std::vector<Group> Groups() const;
  DistillSettings Settings() const;
  void Initialise(const Group& group, HiddenStream* init, std::vector<Child>* children);
  void Evaluate(const Group& group, bool moves_on, HiddenStream* held_out,
                std::vector<Child>* children, ErrorSums Child::*result);
  void Train(const Group& group, HiddenStream* stream, std::vector<Child>* children,
             Progress* progress, uint64_t* done);
  void Store(std::vector<Child>* children);

  const Pretrained& parent_;
  const LibraryOptions& options_;
  BlockLibrary& library_;
  Json inputs_;
  BlockRunner runner_;
  size_t D_;
  std::vector<RowBatch> batches_, init_, held_out_;
  size_t step_tokens_ = 0, steps_ = 0;
  bool is_kept_ = false;
  uint64_t child_memory_ = 0;
  Workspace workspace_;
  std::vector<float> gradients_;
};

// Where hidden states are kept a block is a group of its own, which loses least when the work is cut off. Elsewhere the parent
// begins anew for every group, so groups are as large as memory lets them be.
std::vector<Group> Builder::Groups() const {
  std::vector<Group> groups;
  for (const CandidateBlock& block : library_.blocks) {
    size_t parameters = 0;
    for (const Candidate& candidate : block.candidates) {
      if (IsMissing(block, candidate)) parameters += CostOf(*candidate.mixer, D_).parameters;
    }
    if (parameters == 0) continue;
    const bool joins =
        !is_kept_ && !groups.empty() &&
        ChildTrainer::BytesOf(groups.back().parameters + parameters) <= child_memory_;
    if (!joins) groups.push_back({block.block, block.block, 0});
    groups.back().end = block.block + 1;
    groups.back().parameters += parameters;
  }
  return groups;
}

DistillSettings Builder::Settings() const {
  DistillSettings settings;
  const uint64_t total = std::max<uint64_t>(1, uint64_t{steps_} * step_tokens_);
  settings.schedule = {
      .kind = ScheduleKind::kCosine,
      .max_lr = options_.lr,
      .min_lr = options_.lr / 10,
      .init_lr = 0,
      .warmup = static_cast<uint64_t>(options_.warmup * static_cast<double>(total)),
      .total = total};
  CheckSchedule(settings.schedule);
  settings.optimizer.weight_decay = options_.weight_decay;
  settings.precision = options_.precision;
  return settings;
}

void Builder::Initialise(const Group& group, HiddenStream* init, std::vector<Child>* children) {
  const DistillSettings settings = Settings();
  init->ForBlocks(
      0, group.begin, group.end, /*moves_on=*/true, &workspace_,
      [&](size_t b, const BlockRows& rows) {
        CandidateBlock& block = library_.blocks[b];
        for (Candidate& candidate : block.candidates) {
          if (!IsMissing(block, candidate)) continue;
          auto child = InitialChild(parent_, b, *candidate.mixer, rows);
          children->push_back({&candidate,
                               b,
                               std::make_unique<ChildTrainer>(std::move(child), D_, settings),
                               {},
                               {}});
        }
      });
}

void Builder::Evaluate(const Group& group, bool moves_on, HiddenStream* held_out,
                       std::vector<Child>* children, ErrorSums Child::*result) {
  for (size_t i = 0; i < held_out->size(); ++i) {
    held_out->ForBlocks(i, group.begin, group.end, moves_on, &workspace_,
                        [&](size_t b, const BlockRows& rows) {
                          for (Child& child : *children)
                            if (child.block == b)
                              (child.*result).Add(child.trainer->Evaluate(rows, &workspace_));
                        });
  }
}

void Builder::Train(const Group& group, HiddenStream* stream, std::vector<Child>* children,
                    Progress* progress, uint64_t* done) {
  for (size_t step = 0; step < steps_; ++step) {
    const size_t i = step % stream->size();
    const bool is_last_use = step + stream->size() >= steps_;
    stream->ForBlocks(i, group.begin, group.end, is_last_use, &workspace_,
                      [&](size_t b, const BlockRows& rows) {
                        for (Child& child : *children)
                          if (child.block == b) child.trainer->Step(rows, &gradients_, &workspace_);
                      });
    *done += step_tokens_;
    if (progress != nullptr)
      progress->Update(*done, fmt::format("block {} of {}, {} children", group.begin + 1,
                                          library_.blocks.size(), children->size()));
  }
}

void Builder::Store(std::vector<Child>* children) {
  for (Child& child : *children) {
    const double before = child.before.normalised();
    double after = child.after.normalised();
    if (!std::isfinite(before))
      throw RuntimeError("block {}: its outputs, or those of {}, are not finite", child.block,
                         child.candidate->name);
    if (!(after <= before)) {
      child.trainer->Restore();
      after = before;
    }
    const std::string file = ChildFile(inputs_, child.block, *child.candidate->mixer);
    const ChildNote note{child.block, child.candidate->name, child.candidate->mixer, before, after};
    const std::unique_ptr<Mixer> mixer = child.trainer->Take();
    SaveChild(library_.folder + "/" + file, mixer.get(), NoteToJson(note));
    library_.trained_tokens += uint64_t{steps_} * step_tokens_;
  }
  FindChildren(inputs_, &library_);
  WriteIndex(library_);
}

void Builder::Run() {
  const std::vector<Group> groups = Groups();
  if (groups.empty()) return;
  const bool trains = steps_ > 0;
  // Not kept longer than the first group: a sample of one batch is computed again at little cost.
  HiddenStream init(&runner_, std::move(init_), Precision::kF32, is_kept_);
  HiddenStream stream(&runner_, std::move(batches_), options_.precision, is_kept_);
  HiddenStream held_out(&runner_, std::move(held_out_), options_.precision, is_kept_);
  std::optional<Progress> progress;
  const uint64_t group_tokens = uint64_t{steps_} * step_tokens_;
  if (options_.shows_progress)
    progress.emplace("Distilling blocks", group_tokens * groups.size(), "tokens");
  uint64_t done = 0;
  double spent = 0, spent_parameters = 0;
  for (const Group& group : groups) {
    if (options_.deadline) {
      const double expected =
          spent_parameters == 0 ? 0
                                : spent / spent_parameters * static_cast<double>(group.parameters);
      if (std::chrono::steady_clock::now() + std::chrono::duration<double>(expected) >=
          *options_.deadline)
        return;
    }
    Stopwatch watch;
    std::vector<Child> children;
    Initialise(group, &init, &children);
    Evaluate(group, /*moves_on=*/!trains, &held_out, &children, &Child::before);
    if (trains) {
      Train(group, &stream, &children, progress ? &*progress : nullptr, &done);
      Evaluate(group, /*moves_on=*/true, &held_out, &children, &Child::after);
    } else {
      for (Child& child : children) child.after = child.before;
    }
    Store(&children);
    watch.Lap(&spent);
    spent_parameters += static_cast<double>(group.parameters);
  }
}

void CheckRows(const CalibrationRows& rows, const char* what) {
  if (rows.rows.empty() || rows.rows[0].empty())
    throw UsageError("a block library needs {} rows, there are none", what);
  for (const auto& row : rows.rows)
    PLANISH_CHECK(row.size() == rows.rows[0].size(), "{} rows differ in length", what);
}

}  // namespace

BlockLibrary BuildLibrary(const Pretrained& parent, const SearchSpace& space,
                          const CalibrationRows& train, const CalibrationRows& held_out,
                          const LibraryOptions& options, const std::string& folder) {
  CheckRows(train, "training");
  CheckRows(held_out, "held-out");
  PLANISH_CHECK(options.part < options.parts && space.blocks.size() == parent.config.blocks.size());
  double seconds = 0;
  Stopwatch watch;
  BlockLibrary library;
  library.folder = folder;
  library.parent = FingerprintOf(parent);
  library.parent_name = parent.name;
  library.data = train.description;
  library.training = TrainingJson(options, train.rows[0].size());
  library.blocks = space.blocks;
  library.notes = space.notes;
  Json inputs = Json::MakeObject();
  inputs.Set("parent", library.parent);
  inputs.Set("train", fmt::format("{:016x}", train.hash));
  inputs.Set("held_out", fmt::format("{:016x}", held_out.hash));
  inputs.Set("training", library.training);
  MakeDirectories(folder + "/library");
  FindChildren(inputs, &library);
  WriteIndex(library);
  if (!library.is_complete()) Builder(parent, train, held_out, options, &library, inputs).Run();
  watch.Lap(&seconds);
  library.seconds = seconds;
  ReadScores(&library);
  return library;
}

}  // namespace planish

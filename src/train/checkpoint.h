// SPDX-License-Identifier: Apache-2.0
// Checkpoints of a training run. RUN/checkpoints/step-00000100/ is a Hugging Face model folder (bf16 weights, config,
// tokenizer, template, model card), or a PEFT adapter's folder where low-rank adapters are trained, and beside it
//   master.safetensors   every float parameter (masters), by its Hugging Face name, and what is trained beside the model
//   optim.safetensors    moments "m" [n] and "v" [n] of the flat parameter space, metadata: range, space, layout (a hash of
//                        names and offsets); of R ranks optim-0000r-of-0000R.safetensors, ranges of any cut
//   state.json           the manifest (train/train_state.h), written last
// Commit: all of it goes to step-N.tmp, each file flushed; state.json; folder flushed; rename to step-N; parent flushed. A
// folder under its final name is whole. `latest` names the newest, as a hint for people. The newest is the one saved last
// (TrainState::generation), which is another than the one of the most steps after going back to an earlier checkpoint.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "model/adapter.h"
#include "model/pretrained.h"
#include "train/optimizer.h"
#include "train/train_state.h"

namespace planish {

struct CheckpointPolicy {
  uint64_t keep_last = 2;         // at least 2
  uint64_t keep_every_steps = 0;  // checkpoints of these steps stay for good; 0: none
};

// What is saved. SaveAsync copies the tensors, but uses config, tokenizer and the list of parameters later: the model must
// outlive the store.
struct CheckpointParts {
  Pretrained* model = nullptr;           // masters in model->model
  const Optimizer* optimizer = nullptr;  // of the whole flat space
  // Of the model's adapters, if it has some: they are saved instead of the model.
  const AdapterConfig* adapter = nullptr;
  std::vector<Param> others;  // trained beside the model: among the masters only
  TrainState state;
  std::string description;  // a paragraph for the model card
};

class CheckpointStore {
 public:
  // `folder`: RUN/checkpoints, made when needed. One store at a time per folder (the run's lock sees to it).
  CheckpointStore(std::string folder, CheckpointPolicy policy);
  ~CheckpointStore();  // waits
  CheckpointStore(const CheckpointStore&) = delete;
  CheckpointStore& operator=(const CheckpointStore&) = delete;

  // Saves and gives the checkpoint's folder. Then removes what the policy does not keep, never before the new one was read
  // back and verified. Error(kFailure) if anything failed (a full disk, say): older checkpoints are untouched, what was
  // written is removed. Calls Wait first, whose result is lost.
  std::string Save(const CheckpointParts& parts);
  // The same on a thread of its own from a copy of the tensors. Calls Wait first, whose result is lost. Adapters, which are
  // small, are saved before the call returns.
  void SaveAsync(const CheckpointParts& parts);
  // Waits for the save under way. The failure of the last SaveAsync, once; nullopt if there was none.
  std::optional<Error> Wait();

  // The newest checkpoint that verifies; those passed over are warned of. nullopt if there is none at all.
  // Error(kBadFile) if there are some and none is good.
  std::optional<std::string> NewestValid() const;

  // For several ranks: rank 0 begins, every rank writes its shard (WriteOptimizerShard), rank 0 commits once all have
  // succeeded, or discards. `parts.optimizer` is not used.
  std::string Begin(uint64_t step) const;  // the temporary folder, empty
  std::string Commit(const std::string& temporary, const CheckpointParts& parts) const;
  void Discard(const std::string& temporary) const noexcept;

 private:
  struct Tensors;
  std::string SaveTensors(const CheckpointParts& parts, const Tensors& tensors) const;
  std::string CommitTensors(const std::string& temporary, const CheckpointParts& parts,
                            const Tensors& tensors) const;
  void RemoveOld() const;

  std::string folder_;
  CheckpointPolicy policy_;
  std::thread writer_;
  std::optional<Error> failure_;  // of writer_, once it has ended
};

// The moments of the optimizer's range, as shard `rank` of `ranks`, into a folder being written.
void WriteOptimizerShard(const Optimizer& optimizer, size_t rank, size_t ranks,
                         const std::string& folder);

// Reads the manifest and checks every file against it. Error(kBadFile) naming the file that is missing or changed.
TrainState VerifyCheckpoint(const std::string& folder);

// Every float parameter of the model (vectors, and matrices that HoldMasters made), and `others`, from master.safetensors of a
// verified folder. Call FlatParams::ValuesChanged or Model::ParamsChanged then. Error(kBadFile) naming a tensor that is missing, of
// another shape or unknown to the model.
void LoadMasters(const std::string& folder, Model* model, const std::vector<Param>& others = {});
// Moments of the optimizer's range, whatever number of ranks wrote them, and its step counter. Error(kBadFile) if they belong
// to other parameters, or m is of another type.
void LoadOptimizer(const std::string& folder, const TrainState& state, Optimizer* optimizer);

}  // namespace planish

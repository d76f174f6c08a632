// SPDX-License-Identifier: Apache-2.0
#include "cli/hidden_states.h"

#include <algorithm>

namespace planish {

Tensor HiddenStates(const Model& model, std::span<const int32_t> ids, HiddenPath path) {
  constexpr size_t kSlice = 512;
  Workspace workspace;
  Tensor hidden = Tensor::F32({ids.size(), model.config().hidden_size});
  if (path == HiddenPath::kForward) {
    model.Forward(ids, SeqLayout(ids.size()), hidden.f32(), &workspace);
    return hidden;
  }
  SequenceState sequence = model.NewSequence();
  const size_t slice = path == HiddenPath::kDecode ? 1 : kSlice;
  for (size_t begin = 0; begin < ids.size(); begin += slice) {
    const StepRun run{0, std::min(slice, ids.size() - begin), &sequence,
                      path == HiddenPath::kDecode};
    model.Step(ids.subspan(begin, run.count), {&run, 1}, hidden.row(begin), &workspace);
  }
  return hidden;
}

}  // namespace planish

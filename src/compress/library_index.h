// SPDX-License-Identifier: Apache-2.0
// Internal to the block library: addresses of children, their notes, and block_library.json.
#pragma once

#include <string>

#include "compress/library.h"

namespace planish {

// Everything but block and mixer that decides a child's bits.
Json TrainingJson(const LibraryOptions& options, size_t seq_len);
// "library/<24 digits>.safetensors", from `inputs` (fingerprint, data, training), block and mixer.
std::string ChildFile(const Json& inputs, size_t block, const MixerConfig& mixer);

struct ChildNote {
  size_t block = 0;
  std::string name;
  std::optional<MixerConfig> mixer;
  double initial_loss = 0, loss = 0;
};
Json NoteToJson(const ChildNote& note);

// Sets weights and losses of the candidates whose files are there, and counts them. A file that cannot be read or is another
// child's counts as absent, with a warning.
void FindChildren(const Json& inputs, BlockLibrary* library);
void WriteIndex(const BlockLibrary& library);

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Text of any kind to a token file for a training run: documents (JSONL with "text", plain text, folders), conversations (JSONL
// with "messages", through the model's chat template), or a token file as it is.
#pragma once

#include <string>
#include <vector>

namespace planish {

struct TrainingTokens {
  std::string path;      // of the token file
  bool is_chat = false;  // conversations: rows of whole examples, the loss counts the answers
};

// `inputs` in the ids of the model. What has to be made is `made_path`; if it is there already, it must be of the same inputs
// (sizes and times of files, in made_path.json), else Error(kUsage). Error(kBadFile) for what cannot be read.
TrainingTokens MakeTrainingTokens(const std::vector<std::string>& inputs, const std::string& model,
                                  const std::string& made_path);

}  // namespace planish

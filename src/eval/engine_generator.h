// SPDX-License-Identifier: Apache-2.0
// Texts from a model in this process, many at a time through the engine's slots. A reply does not depend on the batch: the
// engine promises that, and everything here belongs to one request.
#pragma once

#include "eval/text_generator.h"
#include "infer/engine.h"
#include "model/pretrained.h"

namespace planish {

struct EngineGeneratorOptions {
  size_t batch = 32;   // sequences at a time
  size_t context = 0;  // positions of a sequence, 0: the model's
};

class EngineGenerator : public TextGenerator {
 public:
  // `opened` must stay, and have tokenizer and weights.
  EngineGenerator(const Pretrained* opened, const EngineGeneratorOptions& options);

  bool has_thinking() const override { return opened_->thinking.supported; }
  // Error(kUsage) for thinking asked of a model without it. A budget B leaves the answer whole: the limit of a sequence is B,
  // the grace behind it, the closing tag and the answer's tokens. Without a budget the reasoning may fill the context up to
  // where the answer begins, and is closed there (ReasoningEnd::kReserve).
  void Run(std::span<const TextRequest> requests, const ThinkingSetting& thinking,
           const Done& done) override;
  Json Describe() const override;

 private:
  void SubmitWriting(const TextRequest& asked, size_t index, const ThinkingSetting& thinking,
                     const Done& done);
  void SubmitScoring(const TextRequest& asked, size_t index, const Done& done);

  const Pretrained* opened_;
  EngineGeneratorOptions options_;
  Engine engine_;
};

}  // namespace planish

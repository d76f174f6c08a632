// SPDX-License-Identifier: Apache-2.0
#include "train/text_samples.h"

#include "infer/generate.h"

namespace planish {

std::vector<TextSample> WriteSamples(const Pretrained& model, const SampleSection& section,
                                     uint64_t seed) {
  std::vector<TextSample> samples;
  if (model.tokenizer == nullptr) return samples;
  for (const std::string& prompt : section.prompts) {
    const Prompt encoded = EncodeText(model, prompt);
    if (encoded.ids.empty()) continue;  // a model without BOS cannot begin from nothing
    Engine engine(model.model.get(),
                  {.slots = 1, .context = encoded.ids.size() + section.max_new_tokens});
    GenerateOptions options;
    options.max_new_tokens = section.max_new_tokens;
    options.sampling.temperature = section.temperature;
    options.sampling.seed = seed;
    samples.push_back({prompt, Generate(model, &engine, encoded, options).text});
  }
  return samples;
}

}  // namespace planish

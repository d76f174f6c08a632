// SPDX-License-Identifier: Apache-2.0
// From a choice of candidates to a model: the parent with the chosen children in its blocks, in memory or as a Hugging Face
// folder (DeciLM for Llama parents, the hybrid's own config for Nemotron-H; model/config_edit.h).
#pragma once

#include <memory>

#include "compress/library.h"
#include "compress/slice.h"

namespace planish {

class Realisation {
 public:
  // Both must outlive this. Error(kUsage) for a library of another parent, Error(kUsage) for a choice that names a child that
  // is not made yet or that no config can say.
  Realisation(const Pretrained& parent, const BlockLibrary& library, const Choice& choice);
  ~Realisation();

  const EditedConfig& edited() const { return edited_; }
  const ModelConfig& config() const { return edited_.config; }
  // All parameters as owned floats.
  Pretrained InMemory() const;
  // With the parent's tokenizer and template. Matrices in `type`: F32, BF16 or F16. Error(kUsage) if `folder` holds a model.
  void Write(const std::string& folder, DType type, const ExportProgress& progress = nullptr) const;

 private:
  ParamRows Rows() const;

  const Pretrained& parent_;
  EditedConfig edited_;
  struct Source;
  std::unique_ptr<Source> source_;
};

}  // namespace planish

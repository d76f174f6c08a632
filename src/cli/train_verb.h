// SPDX-License-Identifier: Apache-2.0
// What `planish pretrain` and `planish sft` share: options, plan, the run, Ctrl-C.
#pragma once

#include "cli/verb.h"
#include "train/recipe.h"

namespace planish {

class TrainVerb : public Verb {
 public:
  const char* group() const override { return "make"; }
  void Declare(OptionSet* options) override;
  bool PrintConfig(const OptionSet& options) override;
  ExitCode Run(const OptionSet& options) override;

 protected:
  virtual Recipe Defaults() const { return {}; }
  virtual void Check(const Recipe&) const {}

 private:
  Recipe Load(const OptionSet& options) const;
  ExitCode DryRun(const Recipe& recipe) const;

  std::vector<std::string> recipes_, settings_;
  std::string config_, output_, resume_ = "auto", branch_;
  int64_t ranks_ = 1, max_restarts_ = 0, steps_ = 0, seed_ = 0, save_every_ = 0, eval_every_ = 0;
  std::string precision_ = "bf16";
  uint64_t memory_ = 0;
  bool is_mpi_ = false, dry_run_ = false, rebase_data_ = false;
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// What `planish pretrain`, `sft` and `distill` share: options, plan, the run, Ctrl-C.
#pragma once

#include <functional>
#include <optional>

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
  // More options, their effect on the recipe as settings, and a recipe made of options alone when none is named.
  virtual void DeclareMore(OptionSet*) {}
  virtual void AddSettings(const OptionSet&, std::vector<std::string>*) const {}
  virtual std::optional<Recipe> RecipeOfOptions(const OptionSet&) const { return std::nullopt; }
  // Work in place of the training run; nullopt: none. It asks `is_stop_asked` now and then.
  virtual std::optional<ExitCode> RunInstead(const Recipe&,
                                             const std::function<bool()>& /*is_stop_asked*/) {
    return std::nullopt;
  }
  // After a run, on its first rank.
  virtual void Finish(const Recipe&, const std::string& /*folder*/) const {}
  const std::string& output() const { return output_; }

 private:
  Recipe Load(const OptionSet& options) const;
  ExitCode DryRun(const Recipe& recipe) const;
  std::optional<ExitCode> RunInsteadOf(const Recipe& recipe);

  std::vector<std::string> recipes_, settings_;
  std::string config_, output_, resume_ = "auto", branch_;
  int64_t ranks_ = 1, max_restarts_ = 0, steps_ = 0, seed_ = 0, save_every_ = 0, eval_every_ = 0;
  std::string precision_ = "bf16";
  uint64_t memory_ = 0;
  bool is_mpi_ = false, dry_run_ = false, rebase_data_ = false;
};

}  // namespace planish

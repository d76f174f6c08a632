// SPDX-License-Identifier: Apache-2.0
// `planish pretrain RECIPE`: a new model (model.config) or a trained one further (model.init) on streams of documents.
#include "cli/train_verb.h"
#include "cli/verbs.h"

namespace planish {
namespace {

class PretrainVerb : public TrainVerb {
 public:
  const char* name() const override { return "pretrain"; }
  const char* summary() const override {
    return "trains a new model, or a trained one further, by a recipe; resumes after any end";
  }
  const char* examples() const override {
    return "  planish pretrain recipes/tiny/tiny.toml -o runs/tiny\n  planish pretrain my.toml "
           "--set schedule.lr=3e-4 --set schedule.steps=1000 --dry-run";
  }
};

}  // namespace

std::unique_ptr<Verb> MakePretrain() { return std::make_unique<PretrainVerb>(); }

}  // namespace planish

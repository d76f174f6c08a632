// SPDX-License-Identifier: Apache-2.0
// `planish sft RECIPE`: a trained model on examples, packed whole into rows; the loss counts what the token files' mask says.
#include "cli/train_verb.h"
#include "cli/verbs.h"

namespace planish {
namespace {

class SftVerb : public TrainVerb {
 public:
  const char* name() const override { return "sft"; }
  const char* summary() const override {
    return "fine-tunes a model on chats or other masked examples by a recipe";
  }
  const char* examples() const override {
    return "  planish sft chat.toml -o runs/chat\n  planish sft chat.toml --set "
           "model.init=my-model --set schedule.epochs=2";
  }

 protected:
  Recipe Defaults() const override {
    Recipe recipe;
    recipe.data.mode = RowMode::kPacked;
    return recipe;
  }
  void Check(const Recipe& recipe) const override {
    if (recipe.model.init.empty())
      throw UsageError("sft needs a trained model: model.init is not given");
  }
};

}  // namespace

std::unique_ptr<Verb> MakeSft() { return std::make_unique<SftVerb>(); }

}  // namespace planish

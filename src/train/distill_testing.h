// SPDX-License-Identifier: Apache-2.0
// For tests of distillation: a trained teacher, runs that learn from it, and what tells two of them apart.
#pragma once

#include <gtest/gtest.h>

#include "base/parallel.h"
#include "train/distiller.h"
#include "train/train_testing.h"

namespace planish::testing {

// A teacher of a few steps, as a folder: trained once for all tests of the process, on one thread (the steps are tiny).
class DistillRun : public TinyRun {
 public:
  DistillRun() {
    SetThreadCount(1);
    static const std::unique_ptr<const TinyRun> first = [] {
      auto made = std::make_unique<const TinyRun>();
      Trainer(made->MakeRecipe(
                  {"schedule.steps=20", "schedule.decay_steps=5", "checkpoint.every_steps=0"}),
              made->Options("teacher"))
          .Run();
      return made;
    }();
    teacher_ =
        *CheckpointStore(first->Options("teacher").folder + "/checkpoints", {}).NewestValid();
  }
  ~DistillRun() { SetThreadCount(0); }
  const std::string& teacher() const { return teacher_; }
  // config.json of a student that is narrower than the teacher.
  std::string narrow() const {
    const std::string path = dir() / "narrow.json";
    std::string config = kTinyConfig;
    config.replace(config.find("\"hidden_size\": 32"), 17, "\"hidden_size\": 24");
    WriteFile(path, config);
    return path;
  }
  Recipe MakeDistill(std::vector<std::string> settings = {}) const {
    settings.insert(settings.begin(), "distill.teacher='" + teacher_ + "'");
    return MakeRecipe(settings);
  }
  // The student is the teacher itself.
  Recipe MakeSame(std::vector<std::string> settings = {}) const {
    settings.insert(settings.begin(),
                    {"model={init='" + teacher_ + "'}", "distill.teacher='" + teacher_ + "'"});
    std::string text = kTinyRecipe;
    text.erase(text.find("config = "), std::string("config = \"config.json\"\n").size());
    return ParseRecipe(text, "same.toml", dir().path(), settings);
  }
  std::string Run(const std::string& name, const Recipe& recipe) const {
    const TrainOptions options = Options(name);
    EXPECT_EQ(Trainer(recipe, options).Run(), TrainEnd::kFinished);
    return options.folder;
  }

 private:
  std::string teacher_;
};

inline std::vector<std::string> DistilledOf(const std::string& folder) {
  std::vector<std::string> lines = MetricsOf(folder);
  size_t i = 0;
  for (const StepRecord& r : ReadRunLog(folder).steps)
    lines.at(i++) +=
        fmt::format(" kl {} {} ce {} hidden {} agreement {}", r.distill->kl, r.distill->reverse_kl,
                    r.distill->ce, r.distill->hidden, r.distill->agreement);
  return lines;
}

inline void ExpectSameRun(const std::string& a, const std::string& b) {
  const RunBits x = BitsOf(a), y = BitsOf(b);
  EXPECT_EQ(x.masters, y.masters);
  EXPECT_EQ(x.moments, y.moments);
  EXPECT_EQ(DistilledOf(a), DistilledOf(b));
}

inline Error ErrorOf(const std::function<void()>& function) {
  try {
    function();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(ExitCode::kOk, "");
}

}  // namespace planish::testing

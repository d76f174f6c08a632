// SPDX-License-Identifier: Apache-2.0
// recipes/planish_nano from nothing to the averaged model, at one percent of its size: the recipe itself is what is tested.
#include <filesystem>

#include "base/file.h"
#include "base/testing.h"
#include "run_program.h"

namespace planish::testing {
namespace {

// A stand-in for the documentation of Debian packages, which would have to be downloaded: planish's own.
void WriteDocs(const std::string& folder) {
  std::filesystem::create_directories(folder);
  std::string lines;
  const std::string root = PLANISH_SOURCE_DIR;
  std::vector<std::string> files{root + "/README.md"};
  for (const auto& entry : std::filesystem::directory_iterator(root + "/docs")) {
    if (entry.path().extension() == ".md") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) {
    Json row = Json::MakeObject();
    row.Set("text", ReadFile(file, 1 << 24));
    lines += DumpJson(row) + "\n";
  }
  WriteFile(folder + "/train.jsonl", lines);
}

// Runs the recipe until its model stands; a call that pauses is followed by another.
void RunRecipe(const std::string& work, const std::string& docs, const std::string& threads,
               const std::string& minutes) {
  for (int call = 0; call < 60; ++call) {
    const Outcome outcome =
        RunAnyProgram("bash", {PLANISH_SOURCE_DIR "/recipes/planish_nano/run.sh", work},
                      {.environment = {{"PLANISH", PLANISH_BINARY},
                                       {"SCALE", "1"},
                                       {"DOCS", docs},
                                       {"OMP_NUM_THREADS", threads},
                                       {"STAGE_MINUTES", minutes}},
                       .limit_s = 1500});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    if (FileExists(work + "/planish-nano/model.safetensors")) return;
    ASSERT_NE(outcome.err.find("paused"), std::string::npos) << outcome.err;
  }
  FAIL() << "the recipe did not end in 60 calls";
}

TEST(PlanishNanoRecipe, TwoRunsGiveTheSameBytesSlow) {
  const TemporaryDir dir;
  const std::string docs = dir / "docs", once = dir / "once", again = dir / "again";
  WriteDocs(docs);
  ASSERT_NO_FATAL_FAILURE(RunRecipe(once, docs, "1", "60"));
  ASSERT_NO_FATAL_FAILURE(RunRecipe(again, docs, "2", "1"));  // pauses after every minute
  for (const char* file : {"model.safetensors", "config.json", "tokenizer.json",
                           "generation_config.json", "chat_template.jinja"}) {
    EXPECT_TRUE(ReadFile(once + "/planish-nano/" + file, 1 << 26) ==
                ReadFile(again + "/planish-nano/" + file, 1 << 26))
        << file;
  }
}

}  // namespace
}  // namespace planish::testing

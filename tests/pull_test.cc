// SPDX-License-Identifier: Apache-2.0
// `planish pull` against a hub in this process.
#include <filesystem>

#include "base/testing.h"
#include "golden_case.h"
#include "net/fake_hub.h"
#include "run_program.h"

namespace planish::testing {
namespace {

std::string Content(size_t size) {
  std::string text;
  while (text.size() < size) text += fmt::format("{:08d}\n", text.size());
  return text;
}

TEST(Pull, AModelFolderIsBroughtAndOpens) {
  std::map<std::string, std::string> files = {{"pytorch_model.bin", Content(5'000)}};
  for (const std::string& name : GoldenModels()) {
    const std::string folder = GoldenDir() + "/models/" + name;
    if (!FileExists(folder + "/tokenizer.json")) continue;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.is_regular_file())
        files[entry.path().filename().string()] = ReadFile(entry.path().string(), 1 << 26);
    }
    break;
  }
  if (files.size() == 1)
    GTEST_SKIP() << GoldenDir() << "/models has no model with a tokenizer: set PLANISH_GOLDEN";
  FakeHub hub(files);
  hub.token = "hf_secret";
  hub.cuts = 1;
  TemporaryDir work;
  const RunOptions options{.environment = {{"HF_ENDPOINT", hub.url()}, {"HF_TOKEN", "hf_secret"}}};
  const std::string folder = OutputOf({"pull", "owner/name", "-o", work / "model"}, options);
  EXPECT_EQ(folder, (work / "model") + "\n");
  EXPECT_FALSE(FileExists(work / "model/pytorch_model.bin"));
  for (const char* name : {"config.json", "tokenizer.json"})
    EXPECT_EQ(ReadFile(work / "model/" + name, 1 << 26), files[name]) << name;
  OutputOf({"info", "-m", work / "model"});
  const size_t asked = hub.store().requests().size();
  OutputOf({"pull", "owner/name", "-o", work / "model", "--endpoint", hub.url()}, options);
  EXPECT_EQ(hub.store().requests().size(), asked) << "all of it was there";
}

TEST(Pull, PartsOfAGgufFileComeTogether) {
  FakeHub hub({{"m-Q8_0-00001-of-00002.gguf", Content(3'000)},
               {"m-Q8_0-00002-of-00002.gguf", Content(2'000)},
               {"m-Q4_0.gguf", Content(1'500)}});
  TemporaryDir work;
  const RunOptions options{.environment = {{"HF_ENDPOINT", hub.url() + "/"}, {"HF_TOKEN", ""}}};
  EXPECT_EQ(OutputOf({"pull", "owner/name:q8_0", "-o", work / "m"}, options),
            (work / "m/m-Q8_0-00001-of-00002.gguf") + "\n");
  EXPECT_EQ(ReadFile(work / "m/m-Q8_0-00002-of-00002.gguf", 1 << 20), Content(2'000));
  EXPECT_FALSE(FileExists(work / "m/m-Q4_0.gguf"));
  EXPECT_EQ(OutputOf({"pull", "owner/name:Q4_0", "--list"}, options), "1503\tm-Q4_0.gguf\n");
}

TEST(Pull, FailuresAreOneLineAndTheirStatus) {
  FakeHub hub({{"m-Q8_0.gguf", Content(3'000)}, {"m-Q4_0.gguf", Content(3'000)}});
  const auto fails = [&](std::vector<std::string> arguments, int status, const char* word,
                         const std::string& endpoint) {
    arguments.insert(arguments.begin(), "pull");
    const Outcome outcome =
        RunProgram(arguments, {.environment = {{"HF_ENDPOINT", endpoint}, {"HF_TOKEN", ""}}});
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_EQ(Lines(outcome.err).size(), 1u) << outcome.err;
    EXPECT_NE(outcome.err.find(word), std::string::npos) << outcome.err;
  };
  fails({"owner/name"}, 2, "m-Q4_0, m-Q8_0", hub.url());
  fails({"owner/name:Q5_K"}, 2, "m-Q4_0, m-Q8_0", hub.url());
  fails({"owner/name:"}, 2, "type is missing", hub.url());
  fails({"owner/other"}, 5, "404", hub.url());
  fails({"../x"}, 2, "OWNER/NAME", hub.url());
  fails({"a/b", "c/d"}, 2, "one name", hub.url());
  fails({"owner/name"}, 5, "127.0.0.1:1", "http://127.0.0.1:1");
  hub.token = "x";
  fails({"owner/name"}, 5, "HF_TOKEN", hub.url());
}

}  // namespace
}  // namespace planish::testing

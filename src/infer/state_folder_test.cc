// SPDX-License-Identifier: Apache-2.0
// States in files: found again after a restart to the bit, by the same model only; damaged, foreign and half-written files cost
// nothing but their states; a process killed at any system call of a write leaves a folder that works.
#include "infer/state_folder.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/testing.h"
#include "infer/engine_testing.h"

namespace planish {
namespace {

namespace fs = std::filesystem;
using testing::Listing;

constexpr size_t kCache = size_t{64} << 20;
constexpr uint64_t kRoom = uint64_t{1} << 30;

int SkipFlush(std::string_view call) { return call == "fsync" ? kFaultSkip : 0; }

class StateFolderTest : public ::testing::TestWithParam<TestModel> {
 protected:
  void SetUp() override {
    SetFaultHook(SkipFlush);
    SetLogLevel(LogLevel::kQuiet);  // each damaged file gets a warning
  }
  void TearDown() override {
    SetFaultHook(nullptr);
    SetLogLevel(log_level_);
  }

  EngineOptions Options() const {
    return {.cache_bytes = kCache, .cache_dir = folder_.path(), .fingerprint = fingerprint_};
  }
  // A folder with one state of 40 tokens; its path.
  std::string WriteOne(uint64_t seed = 1) {
    Engine engine(&model_, Options());
    Request request = Greedy(RandomIds(model_, 41, seed), 1);
    request.snapshot_at = {40};
    engine.Run(request);
    engine.SaveAll();
    const auto files = Listing(folder_.path(), ".state");
    return files.empty() ? "" : folder_ / files.front();
  }
  std::unique_ptr<StateFolder> Open(uint64_t max_bytes = kRoom) const {
    return std::make_unique<StateFolder>(&model_, folder_.path(), fingerprint_, max_bytes);
  }

  const LogLevel log_level_ = GetLogLevel();
  const Model& model_ = ModelFor(GetParam());
  const std::string fingerprint_ = StateFingerprint(const_cast<Model*>(&model_));
  testing::TemporaryDir folder_;
};

TEST_P(StateFolderTest, ARestartedEngineResumesAndGivesTheBitsOfAColdOne) {
  Request request = Greedy(RandomIds(model_, 150, 1), 8);
  request.cache_salt = "tenant";
  Outcome cold, warm;
  RequestResult result;
  {
    Engine engine(&model_, Options());
    Start(&engine, request, &cold);
    engine.RunUntilIdle();
    engine.SaveAll();
    EXPECT_GT(engine.stats().folder.written, 0u);
    EXPECT_FALSE(engine.SaveOne());
  }
  Engine engine(&model_, Options());
  EXPECT_GT(engine.stats().folder.files, 0u);
  Start(&engine, request, &warm, &result);
  engine.RunUntilIdle();
  EXPECT_GE(result.resumed_tokens, 128u);
  EXPECT_EQ(warm, cold);
  EXPECT_EQ(engine.stats().folder.loaded, 1u);
  engine.cache()->CheckInvariants();
  request.cache_salt = "another";
  EXPECT_EQ(engine.Run(request).resumed_tokens, 0u);
}

TEST_P(StateFolderTest, PackedStatesSurviveARestartAndAreNoStatesOfAnExactServer) {
  EngineOptions options = Options();
  options.packs_cache = true;
  const auto kept_as = CacheSsmType(model_, true);
  options.fingerprint = StateFingerprint(const_cast<Model*>(&model_), kept_as);
  EXPECT_EQ(options.fingerprint == fingerprint_, !kept_as.has_value());
  const Request request = Greedy(RandomIds(model_, 150, 1), 8);
  const Request again = Greedy(request.prompt, 8);
  RequestResult before;
  {
    Engine engine(&model_, options);
    engine.Run(request);
    before = engine.Run(again);
    EXPECT_GE(before.resumed_tokens, 128u);
    engine.SaveAll();
    engine.cache()->CheckInvariants();
  }
  {
    Engine engine(&model_, options);
    const RequestResult after = engine.Run(again);
    EXPECT_EQ(after.resumed_tokens, before.resumed_tokens);
    EXPECT_EQ(after.ids, before.ids) << "packed once, the same from memory and from a file";
    EXPECT_EQ(engine.stats().folder.loaded, 1u);
    engine.cache()->CheckInvariants();
  }
  EXPECT_EQ(Open()->stats().files > 0, !kept_as.has_value());
}

TEST_P(StateFolderTest, WhatIsEvictedIsWrittenAndComesBack) {
  EngineOptions options = Options();
  options.cache_bytes = 3 * StateSizeOf(model_).Bytes(64);
  Engine engine(&model_, options);
  std::vector<Request> requests;
  std::vector<RequestResult> cold;
  for (uint64_t i = 0; i < 8; ++i) {
    requests.push_back(Greedy(RandomIds(model_, 60, i), 3));
    cold.push_back(engine.Run(requests.back()));
  }
  EXPECT_GT(engine.stats().folder.written, 3u);
  for (size_t i = 0; i < 8; ++i) {
    const RequestResult again = engine.Run(requests[i]);
    EXPECT_EQ(again.ids, cold[i].ids);
    EXPECT_GE(again.resumed_tokens, 32u) << i;
  }
  engine.cache()->CheckInvariants();
}

TEST_P(StateFolderTest, FilesOfAnotherModelOrDamagedOnesAreDeletedAndOthersLeftAlone) {
  const std::string path = WriteOne();
  ASSERT_FALSE(path.empty());
  const std::string whole = ReadFile(path, kRoom);
  WriteFile(folder_ / "notes.txt", "mine");
  WriteFile(folder_ / "x.state.999999999.tmp", "half");  // of a process that cannot be
  WriteFile(folder_ / ("x.state." + std::to_string(getpid()) + ".tmp"), "being written");
  WriteFile(folder_ / "empty.state", "");
  fs::create_symlink(folder_ / "notes.txt", folder_ / "link.state");
  EXPECT_EQ(Open()->stats().files, 1u);
  EXPECT_FALSE(FileExists(folder_ / "empty.state"));
  EXPECT_FALSE(FileExists(folder_ / "x.state.999999999.tmp"));
  EXPECT_TRUE(FileExists(folder_ / ("x.state." + std::to_string(getpid()) + ".tmp")));
  EXPECT_TRUE(fs::is_symlink(folder_ / "link.state"));
  EXPECT_EQ(ReadFile(folder_ / "notes.txt", 10), "mine");
  // Any flipped byte or missing end: gone at the start or, in the state itself, when it is asked for.
  Random random(3);
  for (int round = 0; round < 60; ++round) {
    std::string damaged = whole;
    if (round % 3 == 0) {
      damaged.resize(random.Below(whole.size()));
    } else {
      const size_t at = random.Below(round % 3 == 1 ? 400 : whole.size());
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << random.Below(8)));
    }
    WriteFile(path, damaged);
    const auto folder = Open();
    if (!folder->files().empty()) {
      EXPECT_FALSE(folder->Load(std::string(folder->files().begin()->first)).has_value());
    }
    EXPECT_TRUE(folder->files().empty());
    EXPECT_FALSE(FileExists(path));
  }
  // A file that goes while the program runs is no error either.
  WriteFile(path, whole);
  const auto folder = Open();
  ASSERT_EQ(folder->files().size(), 1u);
  fs::remove(path);
  EXPECT_FALSE(folder->Load(std::string(folder->files().begin()->first)).has_value());
  WriteFile(path, whole);
  const std::string other(64, '0');
  EXPECT_EQ(StateFolder(&model_, folder_.path(), other, kRoom).stats().files, 0u);
  EXPECT_FALSE(FileExists(path)) << "of another model";
}

TEST_P(StateFolderTest, TheLeastRecentlyUsedFilesMakeRoom) {
  const auto first = WriteOne(1);
  const uint64_t bytes = fs::file_size(first);
  const auto folder = Open(3 * bytes + 100);
  Random random(1);
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const Ids ids = RandomIds(model_, 40, 100 + seed);
    SequenceState state = model_.NewSequence();
    std::vector<float> hidden(40 * model_.config().hidden_size);
    Workspace workspace;
    const StepRun run{0, 40, &state, false};
    model_.Step(ids, {&run, 1}, hidden.data(), &workspace);
    ASSERT_TRUE(folder->Write("r", ids, {.cuts = {40}}, state));
    EXPECT_TRUE(folder->Write("r", ids, {.cuts = {40}}, state)) << "it is there";
    EXPECT_LE(folder->stats().bytes, 3 * bytes + 100);
    EXPECT_TRUE(folder->Has("r", ids, {.cuts = {40}}));
    EXPECT_FALSE(folder->Has("r", ids, {}));
    if (seed == 1) {
      EXPECT_FALSE(Open(10)->Write("r", ids, {}, state)) << "larger than all";
    }
  }
  EXPECT_FALSE(FileExists(first));
  EXPECT_EQ(Listing(folder_.path(), ".state").size(), folder->stats().files);
}

TEST_P(StateFolderTest, AFullDiskCostsNoRequest) {
  SetFaultHook([](std::string_view call) { return call == "write" ? ENOSPC : 0; });
  Engine engine(&model_, Options());
  EXPECT_EQ(engine.Run(Greedy(RandomIds(model_, 60, 1), 3)).ids.size(), 3u);
  engine.SaveAll();
  EXPECT_GT(engine.stats().folder.failed, 0u);
  EXPECT_TRUE(Listing(folder_.path()).empty());
}

TEST_P(StateFolderTest, AProcessKilledAtAnyCallOfAWriteLeavesAWholeFileOrNone) {
  const Ids ids = RandomIds(model_, 40, 1);
  SequenceState state = model_.NewSequence();
  std::vector<float> hidden(40 * model_.config().hidden_size);
  Workspace workspace;
  const StepRun run{0, 40, &state, false};
  model_.Step(ids, {&run, 1}, hidden.data(), &workspace);
  size_t kills = 0;
  for (int at = 0;; ++at) {
    const pid_t child = fork();
    if (child == 0) {
      int calls = 0;
      SetFaultHook([&](std::string_view call) {
        if (calls++ == at) _exit(9);
        return SkipFlush(call);
      });
      StateFolder folder(&model_, folder_.path(), fingerprint_, kRoom);
      _exit(folder.Write("r", ids, {}, state) ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    const auto folder = Open();
    EXPECT_LE(Listing(folder_.path()).size(), folder->files().size()) << "no leftovers";
    const bool is_there = !folder->files().empty();
    if (is_there) {
      const std::string name = folder->files().begin()->first;
      EXPECT_TRUE(folder->Load(name).has_value());
      fs::remove(folder_ / name);
    }
    if (WEXITSTATUS(status) == 0) {
      EXPECT_TRUE(is_there);
      break;
    }
    ASSERT_EQ(WEXITSTATUS(status), 9);
    ++kills;
  }
  EXPECT_GE(kills, 4u);
}

TEST_P(StateFolderTest, TheFingerprintTellsModelsAndModesApart) {
  EXPECT_EQ(fingerprint_, StateFingerprint(const_cast<Model*>(&model_)));
  for (const TestModel& other : kTestModels) {
    if (other.name == GetParam().name) continue;
    EXPECT_NE(fingerprint_, StateFingerprint(const_cast<Model*>(&ModelFor(other))));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, StateFolderTest, ::testing::ValuesIn(kTestModels),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

}  // namespace
}  // namespace planish

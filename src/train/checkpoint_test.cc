// SPDX-License-Identifier: Apache-2.0
// What is saved comes back to the bit; nothing that fails or dies at any system call costs an older checkpoint.
#include "train/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/testing.h"
#include "model/masters.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

namespace fs = std::filesystem;
using testing::GoldenDir;
using testing::Listing;
using testing::TemporaryDir;

constexpr uint64_t kMax = uint64_t{1} << 30;

// A model that "trains" on gradients made up from step and place: all that checkpoints see of a run.
class TinyRun {
 public:
  explicit TinyRun(const std::string& model = "nemotron_h_a", OptimizerConfig config = {})
      : opened(OpenPretrained(GoldenDir() + "/models/" + model)) {
    HoldMasters(opened.model.get());
    flat = std::make_unique<FlatParams>(opened.model.get());
    optimizer = std::make_unique<Optimizer>(flat.get(), config, flat->all());
    state.seed = uint64_t{1} << 63;  // beyond int64
    state.config_hash = "abc";
    state.recipe = "[optimizer]\nname = \"\u00e4\"\n";
    state.blend.Set("web", uint64_t{12345});
  }

  void Step() {
    std::vector<float> gradients(flat->size());
    for (size_t i = 0; i < gradients.size(); ++i)
      gradients[i] = static_cast<float>((i * 37 + state.step * 101) % 97) / 97.0f - 0.4f;
    optimizer->Step(gradients.data(), 0.1, 1e-3);
    flat->ValuesChanged();
    ++state.step;
    state.samples += 8;
    state.tokens += 8192;
    state.loss_ema = 0.9 * state.loss_ema + 0.1 / 3.0;
  }
  CheckpointParts Parts() {
    return {.model = &opened, .optimizer = optimizer.get(), .state = state, .description = {}};
  }
  void Load(const std::string& folder) {
    state = VerifyCheckpoint(folder);
    LoadMasters(folder, opened.model.get());
    LoadOptimizer(folder, state, optimizer.get());
    flat->ValuesChanged();
  }
  // Everything that the rest of a run depends on, but for the generation, which counts savings.
  std::string Bits() const {
    std::vector<float> values(flat->size());
    flat->ReadValues(flat->all(), values.data());
    std::string bits(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    for (const Tensor* moment : {&optimizer->first_moment(), &optimizer->second_moment()})
      bits.append(reinterpret_cast<const char*>(moment->data()), moment->bytes());
    return bits + fmt::format("{} {} {} {} {}", optimizer->steps(), state.step, state.samples,
                              state.tokens, state.loss_ema);
  }

  Pretrained opened;
  std::unique_ptr<FlatParams> flat;
  std::unique_ptr<Optimizer> optimizer;
  TrainState state;
};

std::string NameOf(const std::string& path) { return fs::path(path).filename().string(); }

std::string Newest(const CheckpointStore& store) {
  const std::optional<std::string> found = store.NewestValid();
  return found ? NameOf(*found) : "none";
}

// The disk is not waited for: what a flush is good for shows only when the power fails.
int SkipFlush(std::string_view call) { return call == "fsync" ? kFaultSkip : 0; }

class Checkpoint : public ::testing::Test {
 protected:
  void SetUp() override { SetFaultHook(SkipFlush); }
  void TearDown() override { SetFaultHook(nullptr); }
  TemporaryDir folder_;
};

TEST_F(Checkpoint, AResumedRunHasTheBitsOfAnUndisturbedOne) {
  for (const bool bf16 : {false, true}) {
    for (const char* model : {"nemotron_h_a", "llama_a"}) {
      const OptimizerConfig config{.has_bf16_momentum = bf16};
      const std::string root = folder_ / fmt::format("{}{}", model, bf16);
      TinyRun whole(model, config), first(model, config), second(model, config);
      for (int i = 0; i < 5; ++i) whole.Step();
      for (int i = 0; i < 2; ++i) first.Step();
      CheckpointStore store(root, {});
      const std::string saved = store.Save(first.Parts());
      EXPECT_EQ(NameOf(saved), "step-00000002");
      EXPECT_EQ(store.NewestValid(), saved);
      EXPECT_EQ(ReadFile(root + "/latest", kMax), "step-00000002\n");
      second.Load(saved);
      EXPECT_EQ(second.Bits(), first.Bits());
      EXPECT_EQ(second.state.seed, first.state.seed);
      EXPECT_EQ(second.state.recipe, first.state.recipe);
      EXPECT_EQ(DumpJson(second.state.blend), DumpJson(first.state.blend));
      EXPECT_EQ(second.state.generation, 1u);
      for (int i = 0; i < 3; ++i) second.Step();
      EXPECT_EQ(second.Bits(), whole.Bits()) << model;
    }
  }
}

TEST_F(Checkpoint, TheFolderIsAModelThatAnyVerbOpens) {
  TinyRun run;
  run.Step();
  CheckpointParts parts = run.Parts();
  parts.description = "Trained on nothing.";
  const std::string saved = CheckpointStore(folder_ / "c", {}).Save(parts);
  Pretrained opened = OpenPretrained(saved);
  EXPECT_NE(opened.tokenizer, nullptr);
  EXPECT_EQ(opened.config.blocks, run.opened.config.blocks);
  size_t compared = 0;
  std::map<std::string, const float*> values;
  for (const FlatParams::Entry& entry : run.flat->entries()) values[entry.name] = entry.value;
  for (const StoredTensor& tensor : ReadSafetensorsFolder(saved, FileBytes::Access::kRead)) {
    ASSERT_TRUE(values.contains(tensor.name)) << tensor.name;
    ASSERT_EQ(tensor.view.dtype, DType::kBF16);
    const auto* bits = reinterpret_cast<const uint16_t*>(tensor.view.data);
    for (size_t i = 0; i < tensor.view.elements(); ++i)
      ASSERT_EQ(bits[i], BF16FromFloat(values[tensor.name][i])) << tensor.name << " " << i;
    compared += tensor.view.elements();
  }
  EXPECT_EQ(compared, run.flat->elements());
  const std::string card = ReadFile(saved + "/README.md", kMax);
  EXPECT_NE(card.find("Trained on nothing."), std::string::npos);
  EXPECT_NE(card.find("8192 tokens"), std::string::npos) << card;
}

TEST_F(Checkpoint, SavingOnTheSideWritesTheStateOfTheCallWhateverFollows) {
  TinyRun run;
  run.Step();
  const std::string want = CheckpointStore(folder_ / "a", {}).Save(run.Parts());
  CheckpointStore store(folder_ / "b", {});
  store.SaveAsync(run.Parts());
  for (int i = 0; i < 3; ++i) run.Step();
  EXPECT_FALSE(store.Wait());
  const std::string got = *store.NewestValid();
  ASSERT_EQ(Listing(got), Listing(want));
  for (const std::string& name : Listing(want))
    EXPECT_EQ(ReadFile(got + "/" + name, kMax), ReadFile(want + "/" + name, kMax)) << name;
}

TEST_F(Checkpoint, AdaptersAreSavedInPlaceOfTheModelAndGoOnToTheBit) {
  const AdapterConfig config{.rank = 4, .alpha = 8, .target_modules = {"in_proj", "q_proj"}};
  const auto tuned = [&] {
    auto run = std::make_unique<TinyRun>();
    AddAdapters(run->opened.model.get(), config, /*seed=*/5);
    run->flat = std::make_unique<FlatParams>(run->opened.model.get(), [](const Param& param) {
      return param.role == ParamRole::kAdapter;
    });
    run->optimizer =
        std::make_unique<Optimizer>(run->flat.get(), OptimizerConfig{}, run->flat->all());
    return run;
  };
  const auto first = tuned(), second = tuned();
  first->Step();
  CheckpointStore store(folder_ / "c", {});
  CheckpointParts parts = first->Parts();
  parts.adapter = &config;
  store.SaveAsync(parts);
  first->Step();
  EXPECT_FALSE(store.Wait());
  const std::string saved = *store.NewestValid();
  EXPECT_TRUE(FileExists(saved + "/adapter_model.safetensors"));
  EXPECT_FALSE(FileExists(saved + "/config.json"));
  second->Load(saved);
  second->Step();
  EXPECT_EQ(second->Bits(), first->Bits());
  // The PEFT files hold the step that was saved.
  TinyRun plain;
  EXPECT_EQ(LoadAdapter(saved, plain.opened.model.get()).rank, 4u);
}

TEST_F(Checkpoint, MomentsOfAnyNumberOfRanksAreReadByAnyOther) {
  TinyRun run;
  for (int i = 0; i < 2; ++i) run.Step();
  const auto part_of = [&](size_t rank, size_t ranks) {
    Optimizer part(run.flat.get(), {}, run.flat->RangeOf(rank, ranks));
    const auto copy = [&](const Tensor& from, Tensor* to) {
      std::memcpy(to->data(), from.f32() + part.range().begin, to->bytes());
    };
    copy(run.optimizer->first_moment(), part.mutable_first_moment());
    copy(run.optimizer->second_moment(), part.mutable_second_moment());
    part.SetSteps(run.optimizer->steps());
    return part;
  };
  const auto same = [](const Tensor& a, const Tensor& b) {
    return a.bytes() == b.bytes() && std::memcmp(a.data(), b.data(), a.bytes()) == 0;
  };
  for (const size_t writers : {1, 2, 3}) {
    CheckpointStore store(folder_ / fmt::format("{}", writers), {});
    const std::string temporary = store.Begin(run.state.step);
    for (size_t rank = 0; rank < writers; ++rank)
      WriteOptimizerShard(part_of(rank, writers), rank, writers, temporary);
    const std::string saved = store.Commit(temporary, run.Parts());
    const TrainState state = VerifyCheckpoint(saved);
    for (const size_t readers : {1, 2, 5}) {
      for (size_t rank = 0; rank < readers; ++rank) {
        const Optimizer want = part_of(rank, readers);
        Optimizer got(run.flat.get(), {}, want.range());
        LoadOptimizer(saved, state, &got);
        EXPECT_EQ(got.steps(), 2u);
        EXPECT_TRUE(same(got.first_moment(), want.first_moment()));
        EXPECT_TRUE(same(got.second_moment(), want.second_moment()));
      }
    }
    if (writers == 1) continue;
    fs::remove(saved + "/optim-00002-of-" + fmt::format("{:05}.safetensors", writers));
    Optimizer all(run.flat.get(), {}, run.flat->all());
    EXPECT_THROW(LoadOptimizer(saved, state, &all), Error);
  }
}

TEST_F(Checkpoint, StateOfOtherParametersOrTypesIsRefused) {
  TinyRun run;
  run.Step();
  const std::string saved = CheckpointStore(folder_ / "c", {}).Save(run.Parts());
  const auto message = [&](auto&& load) -> std::string {
    try {
      load();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadFile);
      return error.what();
    }
    return "";
  };
  TinyRun other("llama_a");
  EXPECT_NE(
      message([&] { LoadOptimizer(saved, {}, other.optimizer.get()); }).find("other parameters"),
      std::string::npos);
  EXPECT_NE(message([&] { LoadMasters(saved, other.opened.model.get()); }).find("has no model."),
            std::string::npos);
  TinyRun half("nemotron_h_a", {.has_bf16_momentum = true});
  EXPECT_NE(message([&] { LoadOptimizer(saved, {}, half.optimizer.get()); }).find("m is f32"),
            std::string::npos);
}

TEST_F(Checkpoint, ThePolicyKeepsTheLastAndEveryNth) {
  TinyRun run;
  const std::string root = folder_ / "c";
  CheckpointStore store(root, {.keep_last = 2, .keep_every_steps = 3});
  for (int i = 0; i < 7; ++i) {
    run.Step();
    store.Save(run.Parts());
  }
  EXPECT_EQ(Listing(root), (std::vector<std::string>{"latest", "step-00000003", "step-00000006",
                                                     "step-00000007"}));
  // Going back: what is saved last is the newest, and replaces another of its step.
  run.Load(root + "/step-00000003");
  store.Save(run.Parts());
  EXPECT_EQ(Newest(store), "step-00000003");
  run.Step();
  store.Save(run.Parts());
  EXPECT_EQ(Newest(store), "step-00000004");
  EXPECT_EQ(Listing(root), (std::vector<std::string>{"latest", "step-00000003", "step-00000004",
                                                     "step-00000006"}));
}

TEST_F(Checkpoint, AFolderWithoutCheckpointsHasNone) {
  EXPECT_EQ(CheckpointStore(folder_ / "absent", {}).NewestValid(), std::nullopt);
}

// Fails one call of a save, or all from there on.
class Faults {
 public:
  Faults(size_t first, bool persists, int error) {
    SetFaultHook([this, first, persists, error](std::string_view name) {
      const size_t call = calls_++;
      return call == first || (persists && call > first) ? error : SkipFlush(name);
    });
  }
  ~Faults() { SetFaultHook(SkipFlush); }
  size_t calls() const { return calls_; }

 private:
  size_t calls_ = 0;
};

TEST_F(Checkpoint, AFailureOfAnyCallLeavesTheOlderCheckpointsAndTheNextSaveSucceeds) {
  TinyRun run;
  run.Step();
  const std::string root = folder_ / "c";
  CheckpointStore store(root, {});
  store.Save(run.Parts());
  run.Step();
  size_t failures = 0, call = 0;
  for (;; ++call) {
    const bool persists = call % 2 == 1;
    bool has_failed = false;
    size_t calls = 0;
    {
      Faults faults(call, persists, call % 3 == 0 ? EIO : ENOSPC);
      try {
        store.Save(run.Parts());
      } catch (const Error& error) {
        has_failed = true;
        EXPECT_EQ(error.code(), ExitCode::kFailure) << error.what();
      }
      calls = faults.calls();
    }
    failures += has_failed;
    const std::string newest = Newest(store);
    EXPECT_TRUE(newest == "step-00000001" || newest == "step-00000002") << call << ": " << newest;
    if (!has_failed) {
      EXPECT_EQ(newest, "step-00000002") << call;
    }
    EXPECT_NO_THROW(VerifyCheckpoint(root + "/step-00000001"));
    if (calls <= call) break;  // the whole save went by before the call to fail
    fs::remove_all(root + "/step-00000002");
  }
  EXPECT_GT(failures, 25u);
  EXPECT_EQ(Listing(root, ".tmp"), std::vector<std::string>{});
  run.Step();
  store.Save(run.Parts());
  EXPECT_EQ(Newest(store), "step-00000003");
}

TEST_F(Checkpoint, AFullDiskIsReportedByWaitAndTheRunGoesOn) {
  TinyRun run;
  run.Step();
  CheckpointStore store(folder_ / "c", {});
  store.Save(run.Parts());
  run.Step();
  {
    Faults faults(20, /*persists=*/true, ENOSPC);
    store.SaveAsync(run.Parts());
    const std::optional<Error> error = store.Wait();
    ASSERT_TRUE(error);
    EXPECT_NE(std::string(error->what()).find("No space left on device"), std::string::npos)
        << error->what();
    EXPECT_FALSE(store.Wait());  // told once
  }
  EXPECT_EQ(Newest(store), "step-00000001");
  run.Step();
  store.SaveAsync(run.Parts());
  EXPECT_FALSE(store.Wait());
  EXPECT_EQ(Newest(store), "step-00000003");
}

TEST_F(Checkpoint, AKillAtAnyCallLosesNothingButTheSaveUnderWay) {
  const int threads = ThreadCount();
  SetThreadCount(1);  // a child has no team
  TinyRun run;
  run.Step();
  const std::string root = folder_ / "c";
  CheckpointStore(root, {}).Save(run.Parts());
  run.Step();
  CheckpointStore(root, {}).Save(run.Parts());
  const std::string before = run.Bits();
  run.Step();
  const std::string after = run.Bits();
  size_t killed = 0;
  TinyRun resumed;
  for (size_t call = 0;; ++call) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      size_t calls = 0;
      SetFaultHook([&](std::string_view name) {
        if (calls++ == call) _exit(137);
        return SkipFlush(name);
      });
      CheckpointStore(root, {}).Save(run.Parts());
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFEXITED(status));
    // A new process takes the newest that is whole.
    CheckpointStore store(root, {});
    const std::optional<std::string> newest = store.NewestValid();
    ASSERT_TRUE(newest) << call;
    resumed.Load(*newest);
    if (NameOf(*newest) == "step-00000003") {
      EXPECT_EQ(resumed.Bits(), after) << call;
    } else {
      EXPECT_EQ(NameOf(*newest), "step-00000002") << call;
      EXPECT_EQ(resumed.Bits(), before) << call;
    }
    if (WEXITSTATUS(status) == 0) {
      EXPECT_EQ(NameOf(*newest), "step-00000003");
      break;
    }
    ASSERT_EQ(WEXITSTATUS(status), 137);
    ++killed;
    fs::remove_all(root + "/step-00000003");
  }
  EXPECT_GT(killed, 25u);
  EXPECT_EQ(Listing(root), (std::vector<std::string>{"latest", "step-00000002", "step-00000003"}));
  SetThreadCount(threads);
}

void FlipBit(const std::string& path, size_t bit) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(bit / 8));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(bit / 8));
  file.put(static_cast<char>(byte ^ (1 << (bit % 8))));
}

TEST_F(Checkpoint, AFlippedBitInAnyFileIsFoundAndTheOneBeforeIsTaken) {
  TinyRun run;
  CheckpointStore store(folder_ / "c", {});
  for (int i = 0; i < 2; ++i) {
    run.Step();
    store.Save(run.Parts());
  }
  const std::string newest = *store.NewestValid();
  Random random(21);
  size_t flips = 0;
  for (const std::string& name : Listing(newest)) {
    const std::string path = newest + "/" + name;
    const size_t bits = 8 * fs::file_size(path);
    for (int i = 0; i < 3; ++i, ++flips) {
      const size_t bit = random.Below(bits);
      FlipBit(path, bit);
      try {
        VerifyCheckpoint(newest);
        ADD_FAILURE() << name << ", bit " << bit << " of seed 21 went unseen";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::kBadFile);
        EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
      }
      FlipBit(path, bit);
    }
    FlipBit(path, bits / 2);
    EXPECT_EQ(Newest(store), "step-00000001") << name;
    FlipBit(path, bits / 2);
    fs::rename(path, path + ".away");
    EXPECT_EQ(Newest(store), "step-00000001") << name << " is missing";
    fs::rename(path + ".away", path);
  }
  EXPECT_GE(flips, 21u);
  EXPECT_EQ(Newest(store), "step-00000002");
  // Nothing is made up when none is left.
  FlipBit(newest + "/master.safetensors", 8000);
  FlipBit(folder_ / "c/step-00000001/optim.safetensors", 8000);
  try {
    store.NewestValid();
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("none of 2 checkpoints"), std::string::npos)
        << error.what();
  }
}

TEST_F(Checkpoint, EveryBitOfTheManifestCounts) {
  TinyRun run;
  run.Step();
  const std::string saved = CheckpointStore(folder_ / "c", {}).Save(run.Parts());
  const std::string path = saved + "/state.json", text = ReadFile(path, kMax);
  for (size_t bit = 0; bit < 8 * text.size(); bit += 61) {
    std::string changed = text;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    std::ofstream(path, std::ios::binary) << changed;
    EXPECT_THROW(ReadManifest(saved), Error) << "bit " << bit;
  }
  std::ofstream(path, std::ios::binary) << text << " ";
  EXPECT_THROW(ReadManifest(saved), Error);
  std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(ReadManifest(saved).state.step, 1u);
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "compress/library.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/testing.h"
#include "compress/block_runner.h"
#include "compress/compress_testing.h"
#include "compress/realise.h"
#include "compress/scores.h"
#include "eval/divergence.h"

namespace planish {
namespace {

using namespace testing;  // the helpers of tests

const SpaceOptions kSpace = {
    .attention = "kv=1,linear,none", .ffn = "50,none", .mamba = "heads=50%,none"};

struct Fixture {
  explicit Fixture(const char* config = kTinyHybrid, SpaceOptions space_options = kSpace)
      : parent(TinyModel(config, 11)), space(MakeSearchSpace(parent.config, space_options)) {
    SetLogLevel(LogLevel::kQuiet);
    train = Rows(8, 21);
    held_out = Rows(3, 22);
    options = {.tokens = 20 * 48,
               .step_tokens = 48,
               .lr = 0.003,
               .init_tokens = 96,
               .precision = Precision::kF32};
  }
  CalibrationRows Rows(size_t count, uint64_t seed) const {
    return {RandomIds(parent, count, 24, seed), seed, fmt::format("random rows {}", seed)};
  }
  BlockLibrary Build(const std::string& folder) const {
    return BuildLibrary(parent, space, train, held_out, options, folder);
  }
  Choice ParentsChoice() const { return Choice(space.blocks.size(), 0); }
  Choice Replace(size_t block, const std::string& name) const {
    Choice choice = ParentsChoice();
    const auto& candidates = space.blocks[block].candidates;
    for (size_t i = 0; i < candidates.size(); ++i)
      if (candidates[i].name == name) choice[block] = i;
    EXPECT_NE(choice[block], 0u) << name;
    return choice;
  }

  Pretrained parent;
  SearchSpace space;
  CalibrationRows train, held_out;
  LibraryOptions options;
  TemporaryDir dir;
};

// Names and contents of a library's child files.
std::vector<std::string> FilesOf(const std::string& folder) {
  std::vector<std::string> files;
  for (const std::string& name : Listing(folder + "/library"))
    files.push_back(name + " " + Sha256HexOfFile(folder + "/library/" + name));
  return files;
}

double KlOf(const Pretrained& child, const Pretrained& parent, const CalibrationRows& rows) {
  return CompareModels(*child.model, *parent.model, rows.rows).mean_kl();
}

TEST(Library, DistillationLowersTheLossOfEveryKindOfChild) {
  for (const char* config : {kTinyHybrid, kTinyLlama}) {
    Fixture f(config);
    f.train = f.Rows(60, 23);
    f.options.tokens = 2 * f.train.tokens();
    const BlockLibrary library = f.Build(f.dir / "lib");
    EXPECT_TRUE(library.is_complete());
    size_t children = 0;
    for (const CandidateBlock& block : library.blocks) {
      EXPECT_TRUE(block.candidates[0].weights.empty());
      for (const Candidate& candidate : block.candidates) {
        if (!candidate.mixer) {
          EXPECT_EQ(candidate.bld_loss, 1);
        } else if (!candidate.is_parent) {
          ++children;
          EXPECT_TRUE(FileExists(f.dir / "lib/" + candidate.weights));
          EXPECT_LE(candidate.bld_loss, candidate.initial_loss) << candidate.name << block.block;
          // Heads of a random Mamba-2 block say nothing of each other: half of them have little to learn.
          if (!std::holds_alternative<Mamba2Config>(*candidate.mixer)) {
            EXPECT_LT(candidate.bld_loss, candidate.initial_loss) << candidate.name << block.block;
          }
          EXPECT_GT(candidate.bld_loss, 0);
        }
      }
    }
    EXPECT_EQ(children, library.children);
    EXPECT_EQ(FilesOf(f.dir / "lib").size(), children);
  }
}

TEST(Library, ResumedSplitRecomputedAndOneThreadedBuildsGiveTheSameFiles) {
  Fixture f;
  f.Build(f.dir / "whole");
  const std::vector<std::string> expected = FilesOf(f.dir / "whole");

  // Killed after some children: the rest is made anew, what is there is left alone.
  f.Build(f.dir / "resumed");
  const auto names = Listing(f.dir / "resumed/library");
  for (size_t i = 0; i < names.size(); i += 2)
    std::filesystem::remove(f.dir / "resumed/library/" + names[i]);
  std::filesystem::remove(f.dir / "resumed/block_library.json");
  const auto kept_time = std::filesystem::last_write_time(f.dir / "resumed/library/" + names[1]);
  EXPECT_TRUE(f.Build(f.dir / "resumed").is_complete());
  EXPECT_EQ(FilesOf(f.dir / "resumed"), expected);
  EXPECT_EQ(std::filesystem::last_write_time(f.dir / "resumed/library/" + names[1]), kept_time);

  // Two parts into one folder.
  f.options.parts = 2;
  EXPECT_FALSE(f.Build(f.dir / "parts").is_complete());
  f.options.part = 1;
  EXPECT_TRUE(f.Build(f.dir / "parts").is_complete());
  EXPECT_EQ(FilesOf(f.dir / "parts"), expected);
  f.options.part = 0;
  f.options.parts = 1;

  // Without room for hidden states, all blocks in one group and one by one.
  for (const uint64_t memory : {uint64_t{60000}, uint64_t{1}}) {
    f.options.memory = memory;
    f.Build(f.dir / fmt::format("memory{}", memory));
    EXPECT_EQ(FilesOf(f.dir / fmt::format("memory{}", memory)), expected) << memory;
  }
  f.options.memory = 0;

  const Threads threads(1);
  f.Build(f.dir / "one");
  EXPECT_EQ(FilesOf(f.dir / "one"), expected);
}

TEST(Library, WithoutTrainingChildrenAreAsInitialised) {
  Fixture f;
  f.options.tokens = 0;
  const BlockLibrary library = f.Build(f.dir / "lib");
  EXPECT_TRUE(library.is_complete());
  for (const CandidateBlock& block : library.blocks)
    for (const Candidate& candidate : block.candidates)
      EXPECT_EQ(candidate.bld_loss, candidate.initial_loss);
}

TEST(Library, ADeadlineThatHasPassedMakesNothingAndLosesNothing) {
  Fixture f;
  f.options.deadline = std::chrono::steady_clock::now();
  BlockLibrary library = f.Build(f.dir / "lib");
  EXPECT_FALSE(library.is_complete());
  EXPECT_EQ(library.made, 0u);
  EXPECT_EQ(LoadLibrary(f.dir / "lib").children, library.children);
  f.options.deadline.reset();
  EXPECT_TRUE(f.Build(f.dir / "lib").is_complete());
}

TEST(Library, TheIndexReadsBackAndDamagedFilesAreRefusedOrMadeAnew) {
  Fixture f;
  const BlockLibrary built = f.Build(f.dir / "lib");
  const BlockLibrary loaded = LoadLibrary(f.dir / "lib");
  EXPECT_TRUE(loaded.is_complete());
  ASSERT_EQ(loaded.blocks.size(), built.blocks.size());
  for (size_t b = 0; b < built.blocks.size(); ++b) {
    ASSERT_EQ(loaded.blocks[b].candidates.size(), built.blocks[b].candidates.size());
    for (size_t c = 0; c < built.blocks[b].candidates.size(); ++c) {
      EXPECT_EQ(loaded.blocks[b].candidates[c].mixer, built.blocks[b].candidates[c].mixer);
      EXPECT_EQ(loaded.blocks[b].candidates[c].weights, built.blocks[b].candidates[c].weights);
      EXPECT_EQ(loaded.blocks[b].candidates[c].bld_loss, built.blocks[b].candidates[c].bld_loss);
    }
  }
  EXPECT_NO_THROW(RequireParent(loaded, f.parent));
  const Pretrained other = TinyModel(kTinyHybrid, 12);
  EXPECT_THROW(RequireParent(loaded, other), Error);

  const std::vector<std::string> expected = FilesOf(f.dir / "lib");
  const std::string victim = f.dir / "lib/library/" + Listing(f.dir / "lib/library")[0];
  WriteFile(victim, ReadFile(victim, 1u << 20).substr(0, 100));
  f.Build(f.dir / "lib");
  EXPECT_EQ(FilesOf(f.dir / "lib"), expected);

  const std::string index = ReadFile(f.dir / "lib/block_library.json", 1u << 20);
  for (size_t cut = 0; cut < index.size(); cut += 97) {
    WriteFile(f.dir / "lib/block_library.json", index.substr(0, cut));
    EXPECT_THROW(LoadLibrary(f.dir / "lib"), Error) << cut;
  }
  EXPECT_THROW(LoadLibrary(f.dir / "nothing"), Error);
}

TEST(Library, TheFingerprintKnowsValuesNotStorage) {
  Pretrained a = TinyModel(kTinyHybrid, 11);
  const std::string before = FingerprintOf(a);
  EXPECT_EQ(FingerprintOf(TinyModel(kTinyHybrid, 11)), before);
  a.model->VisitParams([](const Param& param) {
    if (param.name.ends_with("o_proj.weight"))
      reinterpret_cast<float*>(param.weight->mutable_data())[0] += 1;
  });
  EXPECT_NE(FingerprintOf(a), before);
}

TEST(Scores, EqualTheKlOfTheRealisedModelAndTheParentsIsZero) {
  for (const char* config : {kTinyHybrid, kTinyLlama}) {
    const Fixture f(config);
    BlockLibrary library = f.Build(f.dir / "lib");
    const CalibrationRows rows = f.Rows(5, 31);
    const ScoreOptions options{.precision = Precision::kF32, .batch_tokens = 50};
    EXPECT_TRUE(ScoreLibrary(f.parent, rows, options, &library));
    for (const CandidateBlock& block : library.blocks) {
      EXPECT_EQ(block.candidates[0].score, 0);
      for (size_t c = 1; c < block.candidates.size(); ++c) {
        Choice choice = f.ParentsChoice();
        choice[block.block] = c;
        const Realisation realisation(f.parent, library, choice);
        const double kl = KlOf(realisation.InMemory(), f.parent, rows);
        // The same but for the order in which the head's products of 32 terms are summed. By Cauchy-Schwarz their sizes add up
        // to less than 38 (normed hidden states, weights within 4 deviations of 0.3), so logits differ by 32 roundoffs of
        // that; a KL changes by at most 4 (1 + KL) times as much.
        const double logit_error = 32 * 0x1p-24 * 38;
        EXPECT_NEAR(block.candidates[c].score, kl, 4 * (1 + kl) * logit_error)
            << config << block.candidates[c].name;
        EXPECT_GT(kl, 0);
      }
    }
    const Realisation same(f.parent, library, f.ParentsChoice());
    EXPECT_EQ(KlOf(same.InMemory(), f.parent, rows), 0);
  }
}

TEST(Scores, DoNotDependOnThreadsBatchesPartsOrInterruptions) {
  Fixture f;
  BlockLibrary library = f.Build(f.dir / "lib");
  const CalibrationRows rows = f.Rows(5, 32);
  const std::string path = f.dir / "lib/scores.json";
  const auto scores = [&] {
    std::vector<double> all;
    for (const CandidateBlock& block : LoadLibrary(f.dir / "lib").blocks)
      for (const Candidate& candidate : block.candidates) all.push_back(candidate.score);
    return all;
  };
  ScoreOptions options{.precision = Precision::kF32};
  {
    const Threads threads(1);
    ScoreLibrary(f.parent, rows, options, &library);
  }
  const std::vector<double> expected = scores();
  for (const double score : expected) EXPECT_TRUE(std::isfinite(score));
  std::filesystem::remove(path);
  options.batch_tokens = 1;
  const Threads threads(2);
  ScoreLibrary(f.parent, rows, options, &library);
  EXPECT_EQ(scores(), expected);

  std::filesystem::remove(path);
  options.parts = 2;
  for (options.part = 0; options.part < 2; ++options.part)
    EXPECT_TRUE(ScoreLibrary(f.parent, rows, options, &library));
  EXPECT_FALSE(FileExists(path));
  EXPECT_EQ(scores(), expected);
  for (const size_t part : {0, 1})
    std::filesystem::remove(f.dir / fmt::format("lib/scores-{}-of-2.json", part));

  options.part = 0;
  options.parts = 1;
  options.deadline = std::chrono::steady_clock::now();
  EXPECT_FALSE(ScoreLibrary(f.parent, rows, options, &library));
  options.deadline.reset();
  EXPECT_TRUE(ScoreLibrary(f.parent, rows, options, &library));
  EXPECT_EQ(scores(), expected);
}

TEST(Scores, AnotherMetricNeedsNoMeasurementAndOtherRowsDo) {
  const Fixture f;
  BlockLibrary library = f.Build(f.dir / "lib");
  const CalibrationRows rows = f.Rows(3, 33);
  ScoreOptions options{.precision = Precision::kF32};
  EXPECT_TRUE(ScoreLibrary(f.parent, rows, options, &library));
  const double kl = library.blocks[1].candidates[1].score;
  options.metric = ScoreMetric::kCosine;
  options.deadline = std::chrono::steady_clock::now();
  EXPECT_TRUE(ScoreLibrary(f.parent, rows, options, &library));
  const double cosine = library.blocks[1].candidates[1].score;
  EXPECT_NE(cosine, kl);
  EXPECT_GT(cosine, 0);
  EXPECT_LT(cosine, 2);
  EXPECT_FALSE(ScoreLibrary(f.parent, f.Rows(3, 34), options, &library));
  EXPECT_THROW(ScoreLibrary(f.parent, {}, options, &library), Error);
}

TEST(Realise, ANoOpEqualsAConfigWithoutTheBlock) {
  const Fixture f;
  const BlockLibrary library = f.Build(f.dir / "lib");
  const Realisation realisation(f.parent, library, f.Replace(1, "no_op"));
  ASSERT_EQ(realisation.config().blocks.size(), 3u);
  const Pretrained child = realisation.InMemory();
  const std::vector<int32_t> ids = f.train.rows[0];
  const size_t T = ids.size(), D = f.parent.config.hidden_size;
  Workspace workspace;
  std::vector<float> hidden(T * D), expected(T * D), stream(T * D);
  child.model->Forward(ids, SeqLayout(T), hidden.data(), &workspace);
  const BlockRunner runner(f.parent.model.get());
  const SeqLayout layout(T);
  const Pass pass{.layout = layout, .workspace = &workspace};
  runner.Embed(ids, stream.data());
  runner.Run(pass, 0, 1, stream.data());
  runner.Run(pass, 2, 4, stream.data());
  runner.Norm(4, stream.data(), T, expected.data());
  EXPECT_EQ(hidden, expected);
}

TEST(Realise, AFolderOpensAgainAsTheSameModel) {
  for (const char* config : {kTinyHybrid, kTinyLlama}) {
    const Fixture f(config);
    const BlockLibrary library = f.Build(f.dir / "lib");
    Choice choice;
    for (const CandidateBlock& block : library.blocks)
      choice.push_back((block.block + 1) % block.candidates.size());
    const Realisation realisation(f.parent, library, choice);
    realisation.Write(f.dir / "child", DType::kF32);
    EXPECT_THROW(realisation.Write(f.dir / "child", DType::kF32), Error);
    const Pretrained opened = OpenPretrained(f.dir / "child");
    EXPECT_EQ(CompareModels(*opened.model, *realisation.InMemory().model, f.train.rows).kl, 0);
  }
}

TEST(Realise, AChildThatIsNotMadeYetIsRefused) {
  Fixture f;
  f.options.deadline = std::chrono::steady_clock::now();
  const BlockLibrary library = f.Build(f.dir / "lib");
  EXPECT_THROW(Realisation(f.parent, library, f.Replace(1, "ffn=50%")), Error);
  EXPECT_NO_THROW(Realisation(f.parent, library, f.Replace(1, "no_op")));
}

}  // namespace
}  // namespace planish

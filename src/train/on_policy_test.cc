// SPDX-License-Identifier: Apache-2.0
// A student's own answers in place of those of the data: what they are, and that training on them is training on any tokens.
#include "train/on_policy.h"

#include <gtest/gtest.h>

#include "base/parallel.h"
#include "infer/engine.h"
#include "model/export.h"
#include "train/comm_testing.h"
#include "train/distill_testing.h"

namespace planish {
namespace {

using testing::TinyRun;

class OnPolicyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    SetThreadCount(1);
    student_ = OpenForTraining({.config = run_.dir() / "config.json"}, 5);
  }
  void TearDown() override { SetThreadCount(0); }

  // Two rows of several documents whose second halves are trained.
  TokenBatch Batch(const std::vector<std::string>& settings = {}) const {
    std::vector<std::string> all = {
        "data.mode='packed'",
        "data.phases=[{datasets=[{path='" + run_.dir().path() + "/masked.tok'}]}]",
        "batch.seq_len=48", "batch.tokens=192"};
    all.insert(all.end(), settings.begin(), settings.end());
    const Recipe recipe = run_.MakeRecipe(all);
    const Loader loader = OpenLoader(recipe, DescribeForTraining(recipe.model));
    return loader.Micro(0, 3);
  }

  TinyRun run_;
  Pretrained student_;
};

std::vector<TokenId> Part(const std::vector<TokenId>& all, size_t begin, size_t count) {
  return {all.begin() + static_cast<ptrdiff_t>(begin),
          all.begin() + static_cast<ptrdiff_t>(begin + count)};
}

void ExpectSame(const TokenBatch& a, const TokenBatch& b) {
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_EQ(a.targets, b.targets);
  EXPECT_EQ(a.weights, b.weights);
  EXPECT_EQ(a.document_lengths, b.document_lengths);
}

TEST(OnPolicy, SharesAreExactAndSpread) {
  for (const double share : {0.0, 0.1, 0.25, 1.0 / 3, 0.5, 0.9, 1.0}) {
    size_t count = 0;
    for (uint64_t n = 0; n < 3000; ++n) {
      count += IsOnPolicy(share, n);
      EXPECT_NEAR(static_cast<double>(count), share * static_cast<double>(n + 1), 1.001);
    }
  }
}

TEST_F(OnPolicyTest, AnswersAreWhatTheEngineDrawsForEachPromptAlone) {
  const TokenBatch batch = Batch();
  ASSERT_GT(batch.document_lengths.size(), batch.rows.size()) << "rows of several documents";
  const OnPolicyOptions options{.share = 1, .seed = 11};
  const TokenBatch own = WithOwnAnswers(student_, batch, options);
  ASSERT_EQ(own.document_lengths.size(), batch.document_lengths.size());
  ASSERT_EQ(own.rows.size(), batch.rows.size());
  size_t from = 0, to = 0, row = 0, row_end = batch.rows[0].tokens, own_tokens = 0, answers = 0;
  for (size_t d = 0, place = 0; d < batch.document_lengths.size(); ++d, ++place) {
    const size_t length = batch.document_lengths[d], own_length = own.document_lengths[d];
    ASSERT_LE(own_length, length) << "a pass never gets longer";
    size_t prompt = 1;
    while (batch.weights[from + prompt - 1] == 0) ++prompt;
    ASSERT_GT(prompt, 1u) << "these documents have a masked part";
    EXPECT_EQ(Part(own.ids, to, prompt), Part(batch.ids, from, prompt));
    for (size_t t = 0; t < own_length; ++t)
      EXPECT_EQ(own.weights[to + t], t + 1 >= prompt && t + 1 < own_length)
          << "trained: what was drawn, all of it";
    const size_t drawn = own_length - prompt;
    const std::vector<TokenId> answer = Part(own.targets, to + prompt - 1, drawn);
    EXPECT_EQ(Part(own.ids, to + prompt, drawn), answer);
    EXPECT_TRUE(own_length == length || answer.back() == 257) << "ends only by the end";
    Engine engine(student_.model.get(), {.slots = 1, .context = 64});
    Request request{.prompt = {batch.ids.begin() + static_cast<ptrdiff_t>(from),
                               batch.ids.begin() + static_cast<ptrdiff_t>(from + prompt)}};
    request.max_new_tokens = length - prompt;
    request.end_ids = student_.eos_ids;
    request.sampling.seed = 11 ^ ((batch.rows[row].sample + 1) * 0x9e3779b97f4a7c15u);
    request.sampling.choice = place;
    const RequestResult alone = engine.Run(request);
    EXPECT_EQ(answer, std::vector<TokenId>(alone.ids.begin(), alone.ids.end()));
    answers += drawn;
    from += length, to += own_length, own_tokens += own_length;
    if (from == row_end && row + 1 <= batch.rows.size()) {
      EXPECT_EQ(own.rows[row].tokens, own_tokens);
      EXPECT_EQ(own.rows[row].sample, batch.rows[row].sample);
      own_tokens = 0, place = SIZE_MAX;
      if (++row < batch.rows.size()) row_end += batch.rows[row].tokens;
    }
  }
  EXPECT_EQ(to, own.ids.size());
  EXPECT_GT(answers, 20u);
  SetThreadCount(2);
  ExpectSame(WithOwnAnswers(student_, batch, options), own);
  const TokenBatch other = WithOwnAnswers(student_, batch, {.share = 1, .seed = 12});
  EXPECT_NE(own.targets, other.targets);
}

TEST_F(OnPolicyTest, OtherRowsAndDocumentsWithoutAnswersStay) {
  const TokenBatch batch = Batch();
  ExpectSame(WithOwnAnswers(student_, batch, {.share = 0}), batch);
  // A half: of rows 0, 1, 2 only the second; it is what it is at a share of 1.
  const TokenBatch half = WithOwnAnswers(student_, batch, {.share = 0.5, .seed = 3});
  const TokenBatch all = WithOwnAnswers(student_, batch, {.share = 1, .seed = 3});
  EXPECT_EQ(half.rows[0].tokens, batch.rows[0].tokens);
  EXPECT_EQ(half.rows[1].tokens, all.rows[1].tokens);
  const size_t first = batch.rows[0].tokens, second = all.rows[1].tokens;
  EXPECT_EQ(Part(half.ids, 0, first), Part(batch.ids, 0, first));
  EXPECT_EQ(Part(half.ids, first, second), Part(all.ids, all.rows[0].tokens, second));
  TokenBatch silent = batch;
  std::fill(silent.weights.begin(), silent.weights.end(), 0);
  std::fill(silent.targets.begin(), silent.targets.end(), 0);
  ExpectSame(WithOwnAnswers(student_, silent, {.share = 1}), silent);
  // Documents that are trained from their first token on keep so many, or half.
  TokenBatch text = batch;
  std::fill(text.weights.begin(), text.weights.end(), 1);
  const TokenBatch own = WithOwnAnswers(student_, text, {.share = 1, .prompt_tokens = 5});
  size_t to = 0;
  for (size_t d = 0; d < text.document_lengths.size(); ++d) {
    const size_t prompt = std::min<size_t>(5, text.document_lengths[d] / 2);
    for (size_t t = 0; t < own.document_lengths[d]; ++t)
      EXPECT_EQ(own.weights[to + t], t + 1 >= prompt && t + 1 < own.document_lengths[d]) << d;
    to += own.document_lengths[d];
  }
}

// The same tokens from a token file with a mask give the same batch, and so the same losses and gradients to the bit.
TEST_F(OnPolicyTest, GradientsAreThoseOfTheSameTokensFromAFile) {
  const TokenBatch batch = Batch();
  const TokenBatch own = WithOwnAnswers(student_, batch, {.share = 1, .seed = 4});
  const std::string teacher = run_.dir() / "teacher";
  Pretrained made = OpenForTraining({.config = run_.dir() / "config.json"}, 9);
  ExportHf(&made, teacher, DType::kBF16, uint64_t{1} << 30, {});
  DistillSection section;
  section.teacher = teacher;
  section.kind = DistillKind::kReverse;
  Distiller distiller(section, student_, "", 0, /*seed=*/1);
  FlatParams flat(student_.model.get());
  const std::unique_ptr<Comm> comm = MakeLocalComm();
  MicroPass pass(student_.model.get(), {.precision = Precision::kF32}, 1, 0, &distiller);
  StepTimes times;
  const auto gradients = [&](const TokenBatch& tokens, LossSums* sums) {
    GradientSum sum(&flat, comm.get(), 1);
    sum.BeginLeaf();
    *sums = pass.Train(tokens, &times).loss;
    sum.EndLeaf();
    const float* found = sum.Finish();
    return std::vector<float>(found, found + flat.size());
  };
  const Pretrained described = DescribeForTraining({.config = run_.dir() / "config.json"});
  size_t begin = 0, compared = 0;
  for (size_t d = 0; d < own.document_lengths.size(); ++d) {
    const size_t length = own.document_lengths[d];
    // One document alone, as it would stand in a row of its own.
    TokenBatch alone{
        .ids = Part(own.ids, begin, length),
        .targets = Part(own.targets, begin, length),
        .weights = {own.weights.begin() + static_cast<ptrdiff_t>(begin),
                    own.weights.begin() + static_cast<ptrdiff_t>(begin + length)},
        .document_lengths = {length},
        .rows = {{.sample = 0, .dataset = 0, .tokens = static_cast<uint32_t>(length)}}};
    begin += length;
    std::vector<uint8_t> mask = {0};
    mask.insert(mask.end(), alone.weights.begin(), alone.weights.end() - 1);
    const std::string file = run_.dir() / fmt::format("own{}.tok", d);
    TokenFileWriter writer(file, {.vocab_size = described.config.vocab_size,
                                  .tokenizer_hash = TokenizerHash(*described.tokenizer),
                                  .tokenizer_name = "synthetic",
                                  .has_mask = true});
    writer.Append(alone.ids, 1, mask);
    writer.Commit();
    const Recipe recipe = run_.MakeRecipe(
        {"data.mode='packed'", "batch.seq_len=48", "batch.tokens=48", "batch.micro_samples=1",
         "schedule.steps=1", "schedule.warmup_steps=0", "schedule.decay_steps=0",
         "data.phases=[{datasets=[{path='" + file + "'}]}]"});
    const TokenBatch offline = OpenLoader(recipe, described).Micro(0, 1);
    ExpectSame(alone, offline);
    LossSums a, b;
    EXPECT_EQ(gradients(alone, &a), gradients(offline, &b));
    EXPECT_EQ(a.distill.objective, b.distill.objective);
    EXPECT_EQ(a.kept, static_cast<size_t>(std::count(mask.begin(), mask.end(), 1)));
    EXPECT_GT(a.distill.objective, 0);
    if (++compared == 3) break;
  }
}

std::vector<std::string> OwnAnswers(const testing::DistillRun& run,
                                    const std::vector<std::string>& more) {
  std::vector<std::string> settings = {
      "data.mode='packed'",
      "data.phases=[{datasets=[{path='" + run.dir().path() + "/masked.tok'}]}]",
      "batch.seq_len=48",
      "batch.tokens=192",
      "batch.micro_samples=1",
      "schedule.decay_steps=2"};
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

TEST(OnPolicyRun, StopsThreadsAndRanksChangeNoBit) {
  const testing::DistillRun run;
  const auto settings = OwnAnswers(run, {"distill.on_policy=0.5", "distill.kind=reverse_kl",
                                         "schedule.steps=8", "checkpoint.every_steps=1"});
  const std::string whole = run.Run("whole", run.MakeDistill(settings));
  TrainOptions options = run.Options("parts");
  for (const uint64_t stop : {3, 6, 0}) {
    options.stop_at_step = stop;
    SetThreadCount(stop == 3 ? 2 : 1);
    Trainer(run.MakeDistill(settings), options).Run();
  }
  testing::ExpectSameRun(whole, options.folder);
  RunRanks(2, [&](Comm& comm) {
    SetThreadCount(1);
    TrainOptions ranks = run.Options("ranks");
    ranks.comm = &comm;
    Trainer(run.MakeDistill(settings), ranks).Run();
  });
  EXPECT_EQ(testing::DistilledOf(whole), testing::DistilledOf(run.Options("ranks").folder));
  // It is no run on the data's answers, and may not go on as one.
  const auto off = OwnAnswers(run, {"distill.kind=reverse_kl", "schedule.steps=8"});
  EXPECT_NE(testing::DistilledOf(whole),
            testing::DistilledOf(run.Run("off", run.MakeDistill(off))));
  EXPECT_NE(std::string(testing::ErrorOf([&] { Trainer(run.MakeDistill(off), options); }).what())
                .find("distill.on_policy"),
            std::string::npos);
}

TEST(OnPolicyRun, TheStudentComesNearerToItsTeacherOnItsOwnAnswers) {
  const testing::DistillRun run;
  for (const char* kind : {"forward_kl", "reverse_kl"}) {
    const std::string folder = run.Run(
        kind, run.MakeDistill(OwnAnswers(
                  run, {"distill.on_policy=1", std::string("distill.kind=") + kind,
                        "schedule.steps=40", "checkpoint.every_steps=0", "eval.every_steps=20",
                        "eval.datasets=[{path='" + run.dir().path() + "/masked.tok'}]"})));
    const RunLog log = ReadRunLog(folder);
    const auto learnt = [&](const StepRecord& step) {
      return kind == std::string("forward_kl") ? step.distill->kl : step.distill->reverse_kl;
    };
    EXPECT_LT(learnt(log.steps.back()), 0.5 * learnt(log.steps.front())) << kind;
    // And on the answers of the data, which it never saw.
    ASSERT_EQ(log.evals.size(), 2u);
    EXPECT_LT(log.evals[1].kl, 0.9 * log.evals[0].kl) << kind;
  }
}

}  // namespace
}  // namespace planish

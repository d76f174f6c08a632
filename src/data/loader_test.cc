// SPDX-License-Identifier: Apache-2.0
#include "data/loader.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/testing.h"
#include "data/data_testing.h"

namespace planish {
namespace {

using testing::CountingDocuments;
using testing::MakeTokenFile;
using testing::TemporaryDir;

bool Same(const TokenBatch& a, const TokenBatch& b) {
  const auto rows_equal = [](const TokenBatch::Row& x, const TokenBatch::Row& y) {
    return x.sample == y.sample && x.dataset == y.dataset && x.tokens == y.tokens;
  };
  return a.ids == b.ids && a.targets == b.targets && a.weights == b.weights &&
         a.document_lengths == b.document_lengths &&
         std::equal(a.rows.begin(), a.rows.end(), b.rows.begin(), b.rows.end(), rows_equal);
}

void Append(TokenBatch* all, const TokenBatch& more) {
  const auto add = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  add(all->ids, more.ids);
  add(all->targets, more.targets);
  add(all->weights, more.weights);
  add(all->document_lengths, more.document_lengths);
  add(all->rows, more.rows);
}

std::string ErrorOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

class LoaderTest : public ::testing::Test {
 protected:
  // Ids of dataset i start at i * 100000.
  Dataset Make(const std::string& name, size_t documents, size_t max_length, TokenId first_id,
               bool has_mask = false) {
    return {name, MakeTokenFile(
                      dir_ / (name + ".tokens"),
                      CountingDocuments(documents, max_length, Fnv1a(name), first_id, has_mask))};
  }
  std::vector<Dataset> Three(bool has_mask = false) {
    return {Make("a", 90, 40, 0, has_mask), Make("b", 60, 60, 100'000, has_mask),
            Make("c", 40, 20, 200'000, has_mask)};
  }
  TemporaryDir dir_;
};

std::vector<LoaderPhase> TwoPhases() {
  return {{4000, 0, 16, {{0, 0.5}, {1, 0.3}, {2, 0.2}}}, {9000, 0, 32, {{0, 1}, {1, 2}}}};
}

TEST_F(LoaderTest, AnyCutOfTheStreamGivesTheSameRowsFromAnyThread) {
  for (const RowMode mode : {RowMode::kStream, RowMode::kPacked}) {
    LoaderOptions options;
    options.mode = mode;
    options.packing.window = 16;
    const auto datasets = Three();
    const Loader loader(datasets, TwoPhases(), options);
    const uint64_t samples = loader.samples();
    ASSERT_EQ(samples, 250u + 157u);
    const TokenBatch all = loader.Micro(0, samples);
    for (const size_t step : {1u, 3u, 8u, 100u}) {
      TokenBatch joined;
      const Loader fresh(datasets, TwoPhases(), options);
      for (uint64_t n = 0; n < samples; n += step)
        Append(&joined, fresh.Micro(n, std::min<uint64_t>(step, samples - n)));
      EXPECT_TRUE(Same(all, joined)) << step;
    }
    // From the end to the beginning: nothing depends on what was asked before.
    const Loader fresh(datasets, TwoPhases(), options);
    std::vector<TokenBatch> rows(samples);
    for (uint64_t n = samples; n-- > 0;) rows[n] = fresh.Micro(n, 1);
    TokenBatch joined;
    for (const TokenBatch& row : rows) Append(&joined, row);
    EXPECT_TRUE(Same(all, joined));
    // Ranks that take every R-th micro-batch, each in a thread, make up the whole.
    for (const uint64_t ranks : {2u, 3u}) {
      const Loader shared(datasets, TwoPhases(), options);
      std::vector<TokenBatch> parts(samples);
      std::vector<std::thread> threads;
      for (uint64_t rank = 0; rank < ranks; ++rank) {
        threads.emplace_back([&, rank] {
          for (uint64_t n = rank; n < samples; n += ranks) parts[n] = shared.Micro(n, 1);
        });
      }
      for (std::thread& thread : threads) thread.join();
      TokenBatch whole;
      for (const TokenBatch& part : parts) Append(&whole, part);
      EXPECT_TRUE(Same(all, whole)) << ranks;
    }
  }
}

TEST_F(LoaderTest, EveryStreamRowComesOnceAnEpochInAnotherOrder) {
  const auto datasets = std::vector<Dataset>{Make("a", 90, 40, 0)};
  const uint64_t rows = datasets[0].file->token_count() / 16;
  LoaderOptions options;
  const Loader loader(datasets, {{0, 3, 16, {{0, 1}}}}, options);
  ASSERT_EQ(loader.samples(), 3 * rows);
  std::vector<std::vector<TokenId>> orders(3);
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    std::set<TokenId> firsts;
    for (uint64_t i = 0; i < rows; ++i) {
      const TokenBatch batch = loader.Micro(epoch * rows + i, 1);
      ASSERT_EQ(batch.ids.size(), 16u);
      for (size_t t = 0; t < 16; ++t) ASSERT_EQ(batch.ids[t], batch.ids[0] + static_cast<int>(t));
      ASSERT_EQ(batch.ids[0] % 16, 0);
      orders[epoch].push_back(batch.ids[0]);
      firsts.insert(batch.ids[0]);
    }
    EXPECT_EQ(firsts.size(), rows);
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(orders[1], orders[2]);
  options.seed = 99;
  EXPECT_NE(Loader(datasets, {{0, 1, 16, {{0, 1}}}}, options).Micro(0, rows).ids,
            loader.Micro(0, rows).ids);
}

TEST_F(LoaderTest, WithoutShufflingRowsStandInFileOrder) {
  LoaderOptions options;
  options.shuffles = false;
  options.resets_documents = false;
  const auto datasets = std::vector<Dataset>{Make("a", 90, 40, 0)};
  const Loader loader(datasets, {{0, 2, 16, {{0, 1}}}}, options);
  const uint64_t rows = loader.samples() / 2;
  const TokenBatch batch = loader.Micro(0, 2 * rows);
  for (size_t t = 0; t < batch.ids.size(); ++t)
    ASSERT_EQ(batch.ids[t], static_cast<TokenId>(t % (rows * 16)));
  EXPECT_EQ(batch.document_lengths, std::vector<size_t>(2 * rows, 16));
  EXPECT_EQ(batch.targets[15], 16);  // across the cut
}

TEST_F(LoaderTest, PackingNeverLosesOrDoublesAnExampleInAnEpoch) {
  for (const bool shuffles : {true, false}) {
    for (const LongExample policy :
         {LongExample::kTruncate, LongExample::kDrop, LongExample::kSplit}) {
      for (const size_t window : {1u, 7u, 4096u}) {
        LoaderOptions options;
        options.mode = RowMode::kPacked;
        options.shuffles = shuffles;
        options.packing = {policy, window, 0};
        const auto datasets = std::vector<Dataset>{Make("a", 300, 40, 0, true)};
        const TokenFile& file = *datasets[0].file;
        constexpr size_t kRow = 32;
        const Loader one(datasets, {{0, 1, kRow, {{0, 1}}}}, options);
        const Loader two(datasets, {{0, 2, kRow, {{0, 1}}}}, options);
        for (uint64_t epoch = 0; epoch < 2; ++epoch) {
          const uint64_t begin = epoch == 0 ? 0 : one.samples();
          const uint64_t end = epoch == 0 ? one.samples() : two.samples();
          std::map<uint64_t, uint64_t> seen;  // tokens of each document
          uint64_t trained = 0, tokens = 0;
          for (uint64_t n = begin; n < end; ++n) {
            const TokenBatch batch = two.Micro(n, 1);
            ASSERT_LE(batch.ids.size(), kRow);
            size_t at = 0;
            for (const size_t length : batch.document_lengths) {
              const auto first = static_cast<uint64_t>(batch.ids[at]);
              const uint64_t document = file.DocumentOf(first);
              const uint64_t done = first - file.document_begin(document);
              ASSERT_EQ(done % kRow, 0u);
              ASSERT_TRUE(done == 0 || policy == LongExample::kSplit);
              ASSERT_EQ(length, std::min<uint64_t>(kRow, file.document_length(document) - done));
              for (size_t t = 0; t < length; ++t)
                ASSERT_EQ(batch.ids[at + t], static_cast<TokenId>(first + t));
              ASSERT_TRUE(seen[first]++ == 0) << "twice in an epoch";
              at += length;
              tokens += length;
            }
            for (const uint8_t weight : batch.weights) trained += weight;
          }
          uint64_t expected_tokens = 0, expected_trained = 0, too_long = 0;
          for (uint64_t d = 0; d < file.document_count(); ++d) {
            uint64_t length = file.document_length(d);
            too_long += length > kRow;
            if (length > kRow && policy == LongExample::kDrop) continue;
            if (policy == LongExample::kTruncate) length = std::min<uint64_t>(length, kRow);
            expected_tokens += length;
            std::vector<uint8_t> mask(length);
            file.ReadMask(file.document_begin(d), mask);
            for (size_t t = 1; t < length; ++t) expected_trained += mask[t];
          }
          EXPECT_EQ(tokens, expected_tokens);
          EXPECT_EQ(trained, expected_trained);
          const Loader::Usage usage = two.UsageOf(0, end);
          EXPECT_EQ(usage.rows, end);
          EXPECT_EQ(usage.epochs, static_cast<double>(epoch + 1));
          EXPECT_EQ(usage.too_long.examples, too_long);
          EXPECT_EQ(usage.too_long.lost_tokens,
                    policy == LongExample::kSplit ? 0 : file.token_count() - expected_tokens);
          EXPECT_GT(too_long, 10u);
        }
      }
    }
  }
}

TEST_F(LoaderTest, PackedEpochsDifferAndOneExampleARowIsPossible) {
  LoaderOptions options;
  options.mode = RowMode::kPacked;
  options.packing.max_examples = 1;
  const auto datasets = std::vector<Dataset>{Make("a", 50, 30, 0)};
  const Loader loader(datasets, {{0, 2, 30, {{0, 1}}}}, options);
  ASSERT_EQ(loader.samples(), 100u);
  EXPECT_NE(loader.Micro(0, 50).ids, loader.Micro(50, 50).ids);
  EXPECT_EQ(loader.Micro(0, 50).document_lengths.size(), 50u);
}

TEST_F(LoaderTest, BlendsAreExactOverLongRuns) {
  const auto datasets = Three();
  const Loader loader(datasets, {{uint64_t{16} << 32, 0, 16, {{0, 0.61}, {1, 0.3}, {2, 0.09}}}},
                      {});
  const uint64_t n = 3'000'000'000;
  EXPECT_EQ(loader.UsageOf(0, n).rows, 1'830'000'000u);
  EXPECT_EQ(loader.UsageOf(1, n).rows, 900'000'000u);
  EXPECT_EQ(loader.UsageOf(2, n).rows, 270'000'000u);
  EXPECT_EQ(loader.TokensBefore(n), n * 16);
  const TokenBatch batch = loader.Micro(n, 100);
  std::vector<int> counts(3);
  for (const TokenBatch::Row& row : batch.rows) ++counts[row.dataset];
  EXPECT_EQ(counts, (std::vector<int>{61, 30, 9}));
  for (size_t r = 0; r < 100; ++r)
    EXPECT_EQ(static_cast<uint32_t>(batch.ids[r * 16]) / 100'000, batch.rows[r].dataset);
}

TEST_F(LoaderTest, PhasesEndOnWholeBatchesAndKnowTheirTokens) {
  LoaderOptions options;
  options.batch_tokens = 128;
  const auto datasets = Three();
  const Loader loader(datasets, TwoPhases(), options);
  EXPECT_EQ(loader.phase_begin(1), 256u);  // 4000 tokens are 31.25 batches of 8 rows
  EXPECT_EQ(loader.TokensBefore(loader.phase_begin(1)), 4096u);
  EXPECT_EQ(loader.samples(), 256u + 156u);
  EXPECT_EQ(loader.TokensBefore(loader.samples()), 9088u);
  EXPECT_EQ(loader.SeqLenOf(255), 16u);
  EXPECT_EQ(loader.SeqLenOf(256), 32u);
}

TEST_F(LoaderTest, MoreEpochsThanAllowedAreAnErrorBeforeTheRunOrAreRenormalised) {
  for (const RowMode mode : {RowMode::kStream, RowMode::kPacked}) {
    LoaderOptions options;
    options.mode = mode;
    options.max_epochs = 2;
    const auto datasets = Three();
    const std::vector<LoaderPhase> phases = {{4000, 0, 64, {{0, 1}, {2, 1}}}};
    const std::string text = ErrorOf([&] { Loader(datasets, phases, options); });
    EXPECT_NE(text.find("rows of 64 tokens from c"), std::string::npos) << text;
    options.exhausted = Exhausted::kRenormalise;
    const Loader loader(datasets, phases, options);
    EXPECT_EQ(loader.UsageOf(2, loader.samples()).epochs, 2.0);
    EXPECT_EQ(loader.UsageOf(0, loader.samples()).rows + loader.UsageOf(2, loader.samples()).rows,
              loader.samples());
    options.max_epochs = 1e5;
    options.exhausted = Exhausted::kError;
    EXPECT_EQ(Loader(datasets, phases, options).samples(), 63u);
  }
}

TEST_F(LoaderTest, ADatasetKeepsItsOrderWhenOthersComeAndGo) {
  const auto datasets = Three();
  const Loader alone({datasets[1]}, {{640, 0, 16, {{0, 1}}}}, {});
  const Loader last(datasets, {{640, 0, 16, {{1, 1}}}}, {});
  EXPECT_EQ(alone.Micro(0, 40).ids, last.Micro(0, 40).ids);
  const Loader twin({{"b2", datasets[1].file}}, {{640, 0, 16, {{0, 1}}}}, {});
  EXPECT_NE(alone.Micro(0, 40).ids, twin.Micro(0, 40).ids);
}

TEST_F(LoaderTest, TheSignatureTellsStreamsApart) {
  const auto datasets = Three();
  const auto signature = [&](const std::vector<Dataset>& list, LoaderOptions options) {
    return DumpJson(Loader(list, TwoPhases(), options).Signature());
  };
  const std::string base = signature(datasets, {});
  EXPECT_EQ(signature(datasets, {}), base);
  EXPECT_NE(signature(datasets, {.seed = 5}), base);
  EXPECT_NE(signature(datasets, {.resets_documents = false}), base);
  EXPECT_NE(signature(datasets, {.mode = RowMode::kPacked}), base);
  auto others = datasets;
  std::swap(others[0], others[1]);
  EXPECT_NE(signature(others, {}), base);
  others = datasets;
  others[2].file = Make("d", 40, 20, 200'001).file;
  EXPECT_NE(signature(others, {}), base);
}

TEST_F(LoaderTest, SenselessInputIsRefusedWithAClearMessage) {
  const auto datasets = Three();
  const std::vector<LoaderPhase> good = {{640, 0, 16, {{0, 1}}}};
  const auto error = [&](std::vector<Dataset> list, std::vector<LoaderPhase> phases,
                         LoaderOptions options = {}) {
    return ErrorOf([&] { Loader(std::move(list), phases, options); });
  };
  EXPECT_EQ(error(datasets, good), "");
  EXPECT_EQ(error({}, good), "no dataset to train on");
  EXPECT_EQ(error(datasets, {}), "no phase: nothing to train on");
  const Dataset empty{"e", MakeTokenFile(dir_ / "e.tokens", {})};
  EXPECT_NE(error({empty}, good).find("dataset 'e' is empty"), std::string::npos);
  const Dataset other{"o", MakeTokenFile(dir_ / "o.tokens", {{{1, 2}, {}, 0}}, "another")};
  EXPECT_NE(error({datasets[0], other}, good).find("made with another tokenizer"),
            std::string::npos);
  EXPECT_EQ(error({datasets[0], datasets[0]}, good), "two datasets are called 'a'");
  EXPECT_NE(error(datasets, {{640, 0, 1, {{0, 1}}}}).find("seq_len is 1"), std::string::npos);
  EXPECT_NE(error(datasets, {{0, 0, 16, {{0, 1}}}}), "");
  EXPECT_NE(error(datasets, {{640, 1, 16, {{0, 1}}}}), "");
  EXPECT_NE(error(datasets, {{0, 1, 16, {{0, 1}, {1, 1}}}}).find("single dataset"),
            std::string::npos);
  EXPECT_NE(error(datasets, {{640, 0, 16, {{0, 1}}}, {640, 0, 16, {{0, 1}}}}).find("phase 2: ends"),
            std::string::npos);
  EXPECT_NE(error(datasets, {{640, 0, 1 << 20, {{0, 1}}}}).find("less than one row"),
            std::string::npos);
  EXPECT_NE(error(datasets, good, {.batch_tokens = 100}).find("no multiple"), std::string::npos);
  EXPECT_NE(error(datasets, good, {.max_epochs = -1}), "");
  const Dataset long_only{"l", MakeTokenFile(dir_ / "l.tokens", {{{1, 2, 3}, {}, 0}})};
  EXPECT_NE(error({long_only}, {{0, 1, 2, {{0, 1}}}},
                  {.mode = RowMode::kPacked, .packing = {LongExample::kDrop, 4096, 0}})
                .find("none of 1 examples fits"),
            std::string::npos);
}

}  // namespace
}  // namespace planish

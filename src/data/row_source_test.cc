// SPDX-License-Identifier: Apache-2.0
// Rows of token files against the definition, and what validation reads.
#include "data/row_source.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"
#include "base/testing.h"
#include "data/data_testing.h"
#include "data/validation_rows.h"

namespace planish {
namespace {

using testing::CountingDocuments;
using testing::MakeTokenFile;
using testing::TemporaryDir;
using testing::TestDocument;

// The rule, token by token: what each token of the file predicts in stream mode.
struct Prediction {
  TokenId target;
  uint8_t weight;
  bool operator==(const Prediction&) const = default;
};
std::vector<Prediction> StreamPredictions(const std::vector<TestDocument>& documents,
                                          bool resets_documents) {
  std::vector<TokenId> ids;
  std::vector<uint8_t> mask, is_last;
  for (const TestDocument& document : documents) {
    ids.insert(ids.end(), document.ids.begin(), document.ids.end());
    mask.insert(mask.end(), document.mask.begin(), document.mask.end());
    is_last.resize(ids.size());
    is_last.back() = 1;
  }
  if (mask.empty()) mask.assign(ids.size(), 1);
  std::vector<Prediction> out(ids.size(), {0, 0});
  for (size_t t = 0; t + 1 < ids.size(); ++t) {
    if (mask[t + 1] == 1 && !(resets_documents && is_last[t])) out[t] = {ids[t + 1], 1};
  }
  return out;
}

void ExpectConsistent(const TokenBatch& batch) {
  ASSERT_EQ(batch.targets.size(), batch.ids.size());
  ASSERT_EQ(batch.weights.size(), batch.ids.size());
  size_t tokens = 0;
  for (const size_t length : batch.document_lengths) {
    ASSERT_GT(length, 0u);
    tokens += length;
  }
  ASSERT_EQ(tokens, batch.ids.size());
}

TEST(RowSource, StreamTokensFollowTheRuleForEveryCut) {
  const TemporaryDir dir;
  for (const bool has_mask : {false, true}) {
    const auto documents = CountingDocuments(25, 7, 3, 0, has_mask);
    const auto file = MakeTokenFile(dir / "a.tokens", documents);
    for (const bool resets_documents : {false, true}) {
      const auto expected = StreamPredictions(documents, resets_documents);
      for (uint64_t begin = 0; begin < file->token_count(); ++begin) {
        for (size_t count = 1; begin + count <= file->token_count(); ++count) {
          TokenBatch batch;
          AppendStreamTokens(*file, begin, count, resets_documents, &batch);
          ExpectConsistent(batch);
          size_t starts = 1;
          for (size_t t = 0; t < count; ++t) {
            ASSERT_EQ(batch.ids[t], static_cast<TokenId>(begin + t));
            ASSERT_EQ((Prediction{batch.targets[t], batch.weights[t]}), expected[begin + t]);
            starts += t > 0 && file->document_begin(file->DocumentOf(begin + t)) == begin + t;
          }
          ASSERT_EQ(batch.document_lengths.size(), resets_documents ? starts : 1);
        }
      }
    }
  }
}

TEST(RowSource, RowsAppendToABatchWithoutTouchingWhatIsThere) {
  const TemporaryDir dir;
  const auto file = MakeTokenFile(dir / "a.tokens", CountingDocuments(10, 9, 5));
  TokenBatch both, first, second;
  AppendStreamTokens(*file, 3, 8, true, &both);
  AppendDocument(*file, 20, 5, false, &both);
  AppendStreamTokens(*file, 3, 8, true, &first);
  AppendDocument(*file, 20, 5, false, &second);
  const auto joined = [](auto a, const auto& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  };
  EXPECT_EQ(both.ids, joined(first.ids, second.ids));
  EXPECT_EQ(both.targets, joined(first.targets, second.targets));
  EXPECT_EQ(both.weights, joined(first.weights, second.weights));
  EXPECT_EQ(both.document_lengths, joined(first.document_lengths, second.document_lengths));
}

TEST(RowSource, ADocumentPredictsItsNextTokensAndAPieceTheOneBehindIt) {
  const TemporaryDir dir;
  const auto file =
      MakeTokenFile(dir / "a.tokens", {{{1, 2, 3, 4}, {0, 1, 0, 1}, 0}, {{5}, {1}, 0}});
  TokenBatch whole, piece, single;
  AppendDocument(*file, 0, 4, false, &whole);
  EXPECT_EQ(whole.targets, (std::vector<TokenId>{2, 0, 4, 0}));
  EXPECT_EQ(whole.weights, (std::vector<uint8_t>{1, 0, 1, 0}));
  AppendDocument(*file, 0, 3, true, &piece);
  EXPECT_EQ(piece.targets, (std::vector<TokenId>{2, 0, 4}));
  EXPECT_EQ(piece.weights, (std::vector<uint8_t>{1, 0, 1}));
  AppendDocument(*file, 4, 1, false, &single);
  EXPECT_EQ(single.weights, (std::vector<uint8_t>{0}));
  EXPECT_EQ(single.document_lengths, (std::vector<size_t>{1}));
}

TEST(ValidationRows, ReadEveryTokenOnceInOrderAndBytesAddUp) {
  const TemporaryDir dir;
  const auto documents = CountingDocuments(30, 9, 7, 0, true);
  const auto file = MakeTokenFile(dir / "a.tokens", documents);
  for (const auto mode : {ValidationRows::Mode::kStream, ValidationRows::Mode::kJoined,
                          ValidationRows::Mode::kWholeExamples}) {
    for (const size_t row_tokens : {1u, 2u, 9u, 16u, 1000u}) {
      if (mode == ValidationRows::Mode::kWholeExamples && row_tokens < 9) continue;
      const ValidationRows rows(file, row_tokens, mode);
      const auto expected = StreamPredictions(documents, mode != ValidationRows::Mode::kJoined);
      uint64_t next = 0, bytes = 0;
      for (uint64_t r = 0; r < rows.rows(); ++r) {
        const TokenBatch batch = rows.Read(r, 1);
        ExpectConsistent(batch);
        ASSERT_LE(batch.ids.size(), row_tokens);
        ASSERT_EQ(batch.rows[0].tokens, batch.ids.size());
        for (size_t t = 0; t < batch.ids.size(); ++t, ++next) {
          ASSERT_EQ(batch.ids[t], static_cast<TokenId>(next));
          ASSERT_EQ((Prediction{batch.targets[t], batch.weights[t]}), expected[next]);
        }
        bytes += rows.SourceBytes(r, 1);
      }
      EXPECT_EQ(next, file->token_count());
      EXPECT_EQ(bytes, file->source_bytes());
      EXPECT_EQ(rows.SourceBytes(0, rows.rows()), bytes);
      EXPECT_EQ(rows.Read(0, rows.rows()).ids.size(), next);
    }
  }
}

TEST(ValidationRows, LongExamplesStandAloneAndAreTruncated) {
  const TemporaryDir dir;
  const auto file =
      MakeTokenFile(dir / "a.tokens", {{{1, 2}, {}, 4}, {{3, 4, 5, 6, 7, 8}, {}, 5}, {{9}, {}, 1}});
  const ValidationRows rows(file, 4, ValidationRows::Mode::kWholeExamples);
  ASSERT_EQ(rows.rows(), 3u);
  EXPECT_EQ(rows.Read(0, 3).ids, (std::vector<TokenId>{1, 2, 3, 4, 5, 6, 9}));
  EXPECT_EQ(rows.Read(1, 1).targets, (std::vector<TokenId>{4, 5, 6, 0}));
}

TEST(ValidationRows, StopAfterMaxTokensAndRefuseEmptyFiles) {
  const TemporaryDir dir;
  const auto file = MakeTokenFile(dir / "a.tokens", CountingDocuments(30, 9, 7));
  EXPECT_EQ(ValidationRows(file, 8, ValidationRows::Mode::kStream, 17).rows(), 3u);
  const auto empty = MakeTokenFile(dir / "b.tokens", {});
  EXPECT_THROW(ValidationRows(empty, 8, ValidationRows::Mode::kStream), Error);
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "text/bpe.h"

#include <gtest/gtest.h>

#include <map>

#include "text/byte_level.h"
#include "text/tokenizer_testing.h"

namespace planish {
namespace {

struct Model {
  std::vector<std::string> tokens;
  std::vector<BpeMerge> merges;
};

// All words over "ab" up to length 8 that random merges reach.
Model RandomModel(RandomText* random) {
  Model model{{"a", "b"}, {}};
  std::map<std::string, TokenId> ids{{"a", 0}, {"b", 1}};
  for (int i = 0; i < 40; ++i) {
    const auto left = static_cast<TokenId>(random->Below(model.tokens.size()));
    const auto right = static_cast<TokenId>(random->Below(model.tokens.size()));
    const std::string whole =
        model.tokens[static_cast<size_t>(left)] + model.tokens[static_cast<size_t>(right)];
    if (whole.size() > 8) continue;
    const auto [at, is_new] = ids.emplace(whole, static_cast<TokenId>(model.tokens.size()));
    if (is_new) model.tokens.push_back(whole);
    model.merges.push_back({left, right, at->second});
  }
  return model;
}

Vocabulary Indexed(const std::vector<std::string>& tokens) {
  Vocabulary vocabulary(tokens);
  for (size_t id = 0; id < tokens.size(); ++id) vocabulary.Index(static_cast<TokenId>(id));
  return vocabulary;
}

// The definition: merge the best-ranked adjacent pair, leftmost first, until none is left.
std::vector<TokenId> MergeNaively(const Model& model, std::string_view piece) {
  std::map<std::pair<TokenId, TokenId>, std::pair<size_t, TokenId>> ranks;
  for (size_t i = 0; i < model.merges.size(); ++i) {
    ranks[{model.merges[i].left, model.merges[i].right}] = {i, model.merges[i].result};
  }
  std::vector<TokenId> ids;
  for (const char c : piece) ids.push_back(c == 'a' ? 0 : 1);
  for (;;) {
    size_t best = ~size_t{0}, at = 0;
    TokenId result = kNoToken;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = ranks.find({ids[i], ids[i + 1]});
      if (found != ranks.end() && found->second.first < best) {
        best = found->second.first;
        at = i;
        result = found->second.second;
      }
    }
    if (result == kNoToken) return ids;
    ids[at] = result;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
}

TEST(Bpe, ShortAndLongPiecesMergeAsTheDefinitionSays) {
  RandomText random(11);
  for (int round = 0; round < 200; ++round) {
    const Model model = RandomModel(&random);
    const Vocabulary vocabulary = Indexed(model.tokens);
    const Bpe bpe(&vocabulary, model.merges, {});
    BpeScratch scratch;
    for (const size_t size : {1, 2, 3, 7, 8, 30, 31, 32, 33, 40, 200}) {
      std::string piece;
      while (piece.size() < size) piece.push_back("ab"[random.Below(2)]);
      const std::vector<TokenId> expected = MergeNaively(model, piece);
      for (int again = 0; again < 2; ++again) {  // the second time from the cache
        std::vector<TokenId> ids{42};
        bpe.Encode(piece, &scratch, &ids);
        ids.erase(ids.begin());
        ASSERT_EQ(ids, expected) << piece;
      }
      std::vector<TokenId> traced;
      std::vector<uint32_t> begins;
      bpe.EncodeTraced(piece, &scratch, &traced, &begins);
      ASSERT_EQ(traced, expected);
      uint32_t at = 0;
      for (size_t i = 0; i < traced.size(); ++i) {
        ASSERT_EQ(begins[i], at);
        at += static_cast<uint32_t>(vocabulary.Bytes(traced[i]).size());
      }
    }
  }
}

TEST(Bpe, BytesWithoutATokenVanishOrBecomeUnk) {
  const Vocabulary vocabulary = Indexed({"a", "?", "aa"});
  const std::vector<BpeMerge> merges{{0, 0, 2}};
  BpeScratch one, two, three;
  std::vector<TokenId> ids;
  Bpe(&vocabulary, merges, {}).Encode("axxa", &one, &ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{2}));
  ids.clear();
  Bpe(&vocabulary, merges, {false, 1, false}).Encode("axxa", &two, &ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{0, 1, 1, 0}));
  ids.clear();
  Bpe(&vocabulary, merges, {false, 1, true}).Encode("axxa", &three, &ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{0, 1, 0}));
}

TEST(Bpe, IgnoreMergesTakesAWholePieceThatIsAToken) {
  const Vocabulary vocabulary = Indexed({"a", "b", "ab"});
  BpeScratch one, two;
  std::vector<TokenId> ids;
  Bpe(&vocabulary, {}, {true}).Encode("ab", &one, &ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{2}));
  ids.clear();
  Bpe(&vocabulary, {}, {false}).Encode("ab", &two, &ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{0, 1}));
  EXPECT_FALSE(Bpe(&vocabulary, {}, {}).MergesReachAllTokens({0, 1, 2}));
  EXPECT_TRUE(Bpe(&vocabulary, {{0, 1, 2}}, {}).MergesReachAllTokens({0, 1, 2}));
}

TEST(Bpe, PiecesOfNulBytesOfDifferentLengthDoNotShareACacheEntry) {
  std::string nul;
  AppendByteLevel(std::string_view("\0", 1), &nul);
  const Vocabulary vocabulary = Indexed({nul});
  const Bpe bpe(&vocabulary, {}, {});
  BpeScratch scratch;
  for (size_t n = 1; n < 40; ++n) {
    std::vector<TokenId> ids;
    bpe.Encode(std::string(n, '\0'), &scratch, &ids);
    EXPECT_EQ(ids.size(), n);
  }
}

}  // namespace
}  // namespace planish

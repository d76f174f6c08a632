// SPDX-License-Identifier: Apache-2.0
#include "text/word_counts.h"

#include <gtest/gtest.h>

#include <map>

#include "text/tokenizer_testing.h"

namespace planish {
namespace {

using Counts = std::map<std::string, uint64_t>;

Counts ToMap(const WordCounts& words) {
  Counts map;
  words.ForEach([&](std::string_view word, uint64_t count) {
    EXPECT_TRUE(map.emplace(word, count).second) << "visited twice: " << word;
  });
  return map;
}

TEST(WordCounts, AgreesWithAMapForWordsOfAllLengthsAndBytes) {
  RandomText random(5);
  Counts expected;
  WordCounts words;
  for (int i = 0; i < 30000; ++i) {
    std::string word(random.Below(40), '\0');  // NULs and lengths around the border of 15 bytes
    for (char& c : word) c = static_cast<char>(random.Below(2) * 255 * random.Below(2));
    if (random.Below(3) == 0) word = random.Bytes(random.Below(20));
    const uint64_t count = random.Below(5) + 1;
    words.Add(word, count);
    if (!word.empty()) expected[word] += count;
  }
  EXPECT_EQ(words.size(), expected.size());
  EXPECT_EQ(ToMap(words), expected);
}

TEST(WordCounts, SumsOfTablesAreTableOfSums) {
  RandomText random(6);
  WordCounts parts[2], whole;
  for (int i = 0; i < 5000; ++i) {
    const std::string word = random.Bytes(random.Below(24));
    parts[i % 2].Add(word);
    whole.Add(word);
  }
  parts[0].Add(parts[1]);
  EXPECT_EQ(ToMap(parts[0]), ToMap(whole));
  EXPECT_EQ(WordCounts().size(), 0u);
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "data/batch_encoder.h"

#include <gtest/gtest.h>

#include "base/parallel.h"
#include "text/bpe_train.h"

namespace planish {
namespace {

using Ids = std::vector<TokenId>;

TEST(BatchEncoder, IdsAreThoseOfEachTextAloneForAnyNumberOfThreads) {
  std::vector<std::string> texts = {"", "a", "<eos> is text\n"};
  std::string lines;
  for (int i = 0; lines.size() < 300'000; ++i)
    lines += (i % 5 == 0 ? "\n" : "") + std::string("The line ") + std::to_string(i) +
             (i % 3 == 0 ? " ends.\n" : "; it's\nGoing on \n");
  texts.push_back(lines);                      // cut at lines
  texts.push_back(std::string(140'000, 'x'));  // cannot be cut
  for (int i = 0; i < 500; ++i) texts.push_back("document " + std::to_string(i));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  for (const char* pre_tokenizer : {"llama3", "gpt-2", "qwen2", "tekken", "smollm"}) {
    BpeTrainer trainer(pre_tokenizer, {.vocab_size = 400, .special_tokens = {"<eos>", "<pad>"}});
    trainer.Feed(std::span(views).first(4));
    const std::shared_ptr<const Tokenizer> tokenizer = trainer.Train();
    ASSERT_TRUE(tokenizer->CutsAtLines(true));
    for (const bool parse_special : {false, true}) {
      const EncodeOptions encode{.parse_special = parse_special};
      for (const int threads : {1, 3}) {
        SetThreadCount(threads);
        BatchEncoder encoder(tokenizer, {.encode = encode, .eos = 0});
        size_t next = 0;
        for (int round = 0; round < 2; ++round) {  // buffers are used again
          next = 0;
          encoder.Encode(views, [&](size_t i, std::span<const TokenId> ids) {
            ASSERT_EQ(i, next++);
            Ids expected = tokenizer->Encode(texts[i], encode);
            expected.push_back(0);
            ASSERT_EQ(Ids(ids.begin(), ids.end()), expected) << pre_tokenizer << " text " << i;
          });
        }
        EXPECT_EQ(next, texts.size());
      }
    }
  }
  SetThreadCount(0);
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Speed of BPE training by stage: words counted, merges learned, in MB of text a second. Usage: bpe_train_bench TEXT_FILE
// [VOCAB_SIZE [PRE_TOKENIZER]]; texts are parted by blank lines.
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/file.h"
#include "base/parallel.h"
#include "text/bpe_train.h"

int main(int argc, char** argv) {
  using namespace planish;
  using Clock = std::chrono::steady_clock;
  if (argc < 2) {
    std::fprintf(stderr, "usage: bpe_train_bench TEXT_FILE [VOCAB_SIZE [PRE_TOKENIZER]]\n");
    return 2;
  }
  LimitSpinning(argv);
  const std::string text = ReadFile(argv[1], uint64_t{4} << 30);
  std::vector<std::string_view> texts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find("\n\n", begin), text.size());
    if (end > begin) texts.emplace_back(text.data() + begin, end - begin);
    begin = end + 2;
  }
  const size_t vocab_size = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 32768;
  const std::string pre_tokenizer = argc > 3 ? argv[3] : "llama3";
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  for (int repeat = 0; repeat < 3; ++repeat) {
    BpeTrainer trainer(pre_tokenizer, {.vocab_size = vocab_size, .min_frequency = 2});
    const auto start = Clock::now();
    constexpr size_t kBatch = 4096;
    for (size_t i = 0; i < texts.size(); i += kBatch)
      trainer.Feed(std::span(texts).subspan(i, std::min(kBatch, texts.size() - i)));
    const auto counted = Clock::now();
    const size_t distinct = trainer.distinct_words();
    const size_t tokens = trainer.Train()->vocab_size();
    const auto stop = Clock::now();
    const auto seconds = [](auto a, auto b) {
      return std::chrono::duration<double>(b - a).count();
    };
    std::printf(
        "%d threads, %.0f MB, %zu distinct words, %zu tokens: counting %.2f s (%.0f MB/s), "
        "merging %.2f s, together %.1f MB/s\n",
        ThreadCount(), megabytes, distinct, tokens, seconds(start, counted),
        megabytes / seconds(start, counted), seconds(counted, stop),
        megabytes / seconds(start, stop));
  }
  return 0;
}

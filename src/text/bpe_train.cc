// SPDX-License-Identifier: Apache-2.0
#include "text/bpe_train.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/limits.h"
#include "base/parallel.h"
#include "text/byte_level.h"
#include "text/merge_learner.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

namespace planish {
namespace {

constexpr size_t kByteValues = 256;
// Long texts are cut into tasks of this size, so that one document keeps all threads busy.
constexpr size_t kTaskBytes = size_t{256} << 10;

// The tokens so far, by id and by spelling.
struct TokenTable {
  std::vector<std::string> spelled;
  std::unordered_map<std::string, TokenId> ids;

  TokenId Put(const std::string& token) {
    const auto [found, is_new] = ids.emplace(token, static_cast<TokenId>(spelled.size()));
    if (is_new) spelled.push_back(token);
    return found->second;
  }
};

// In order of the characters that spell them, which is not the order of the bytes.
std::vector<std::pair<std::string, size_t>> SpelledBytes() {
  std::vector<std::pair<std::string, size_t>> spelled(kByteValues);
  for (size_t byte = 0; byte < kByteValues; ++byte) {
    const char c = static_cast<char>(byte);
    AppendByteLevel({&c, 1}, &spelled[byte].first);
    spelled[byte].second = byte;
  }
  std::sort(spelled.begin(), spelled.end());  // UTF-8 sorts as its code points do
  return spelled;
}

// A pair that was merged twice keeps its later rank.
std::vector<BpeMerge> WithoutRepeats(const std::vector<BpeMerge>& merges) {
  std::unordered_map<uint64_t, size_t> last;
  const auto key = [](const BpeMerge& merge) {
    return static_cast<uint64_t>(merge.left) << 32 | static_cast<uint64_t>(merge.right);
  };
  for (size_t rank = 0; rank < merges.size(); ++rank) last[key(merges[rank])] = rank;
  std::vector<BpeMerge> kept;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    if (last[key(merges[rank])] == rank) kept.push_back(merges[rank]);
  }
  return kept;
}

void CheckAddedToken(const std::string& token) {
  if (token.empty()) throw UsageError("a special token is empty");
  if (ValidUtf8Prefix(token) != token.size())
    throw UsageError("special token {} is not valid UTF-8", Quoted(token));
  if (token.size() > limits::kAddedTokenBytes) {
    throw UsageError("special token {} has {} bytes, at most {} are allowed", Quoted(token),
                     token.size(), limits::kAddedTokenBytes);
  }
}

}  // namespace

LearnedBpe LearnBpe(const WordCounts& words, const BpeTrainOptions& options) {
  TokenTable table;
  for (const auto* tokens : {&options.special_tokens, &options.text_tokens})
    for (const std::string& token : *tokens) table.Put(token);
  std::vector<TokenId> byte_ids(kByteValues);
  for (const auto& [spelled, byte] : SpelledBytes()) byte_ids[byte] = table.Put(spelled);
  MergeLearner learner(words, byte_ids, options.max_token_length);
  std::vector<BpeMerge> merges;
  std::vector<bool> is_made(table.spelled.size());  // by a merge
  while (table.spelled.size() < options.vocab_size) {
    const MergeLearner::Best best = learner.Next();
    if (best.count == 0 || best.count < options.min_frequency) break;
    const TokenId result = table.Put(table.spelled[static_cast<size_t>(best.left)] +
                                     table.spelled[static_cast<size_t>(best.right)]);
    is_made.resize(table.spelled.size());
    learner.Merge(result, /*is_new=*/!is_made[static_cast<size_t>(result)]);
    is_made[static_cast<size_t>(result)] = true;
    merges.push_back({best.left, best.right, result});
  }
  return {std::move(table.spelled), WithoutRepeats(merges)};
}

struct BpeTrainer::Thread {
  PreTokenizeScratch scratch;
  TracedText normal;
  WordCounts words;
};

BpeTrainer::BpeTrainer(const std::string& pre_tokenizer, BpeTrainOptions options)
    : options_(std::move(options)) {
  TokenizerParts parts;
  if (!SetPreTokenizer(pre_tokenizer, &parts)) {
    throw UsageError("unknown pre-tokenizer {}, expected one of: {}", Quoted(pre_tokenizer),
                     fmt::join(PreTokenizerNames(), " "));
  }
  pre_tokenizer_name_ = pre_tokenizer;
  std::set<std::string> seen;
  for (auto* tokens : {&options_.special_tokens, &options_.text_tokens}) {
    std::erase_if(*tokens, [&](const std::string& token) { return !seen.insert(token).second; });
    for (const std::string& token : *tokens) CheckAddedToken(token);
  }
  const size_t special = options_.special_tokens.size() + options_.text_tokens.size();
  if (special > limits::kAddedTokens)
    throw UsageError("{} special tokens, at most {} are allowed", special, limits::kAddedTokens);
  if (options_.vocab_size < kByteValues + special || options_.vocab_size > limits::kVocabSize) {
    throw UsageError(
        "a vocabulary of {} tokens: expected {} (256 bytes and {} special tokens) to {}",
        options_.vocab_size, kByteValues + special, special, limits::kVocabSize);
  }
  normalizer_ = Normalizer(parts.normalizer, pre_tokenizer);
  pre_tokenizer_ = PreTokenizer(parts.pre_tokenizer, pre_tokenizer);
  PLANISH_CHECK(pre_tokenizer_.cuts_at_lines());
}

BpeTrainer::~BpeTrainer() = default;

void BpeTrainer::Feed(std::span<const std::string_view> texts) {
  std::vector<std::string_view> tasks;
  for (std::string_view text : texts) {
    while (text.size() > kTaskBytes) {
      const size_t cut = PlaceToCut(text, kTaskBytes);
      tasks.push_back(text.substr(0, cut));
      text.remove_prefix(cut);
    }
    if (!text.empty()) tasks.push_back(text);
  }
  const auto threads = static_cast<size_t>(ThreadCount());
  while (threads_.size() < threads) threads_.push_back(std::make_unique<Thread>());
  ParallelFor(tasks.size(), [&](size_t i, int thread) {
    Thread& own = *threads_[static_cast<size_t>(thread)];
    std::string_view text = tasks[i];
    if (!normalizer_.empty() &&
        normalizer_.Apply(text, /*trace=*/false, &own.scratch.regex, &own.normal)) {
      text = own.normal.text;
    }
    for (const Piece& piece : pre_tokenizer_.Split(text, &own.scratch)) own.words.Add(piece.text);
  });
}

size_t BpeTrainer::distinct_words() const {
  size_t words = 0;
  for (const auto& thread : threads_) words += thread->words.size();
  return words;
}

std::shared_ptr<const Tokenizer> BpeTrainer::Train() {
  WordCounts words;
  for (std::unique_ptr<Thread>& thread : threads_) {
    if (words.size() == 0)
      words = std::move(thread->words);
    else
      words.Add(thread->words);
    thread.reset();
  }
  threads_.clear();
  if (words.size() == 0) throw UsageError("there is no text to learn from");
  LearnedBpe learned = LearnBpe(words, options_);
  words = {};
  TokenizerParts parts;
  SetPreTokenizer(pre_tokenizer_name_, &parts);
  parts.in_model.assign(learned.tokens.size(), true);
  parts.tokens = std::move(learned.tokens);
  parts.merges = std::move(learned.merges);
  const size_t special = options_.special_tokens.size();
  for (size_t id = 0; id < special + options_.text_tokens.size(); ++id) {
    parts.added.push_back(
        {.id = static_cast<TokenId>(id), .content = parts.tokens[id], .special = id < special});
  }
  return TokenizerBuilder::Build(std::move(parts), "trained tokenizer");
}

}  // namespace planish

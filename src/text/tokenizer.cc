// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.h"

#include <algorithm>

#include "base/error.h"
#include "base/limits.h"
#include "text/tokenizer_impl.h"
#include "text/utf8.h"

namespace planish {
namespace {

constexpr size_t kPooled = 16;  // scratches kept for later calls
constexpr size_t kPooledPieces = size_t{1}
                                 << 20;  // a scratch that held a longer text is not worth keeping

Vocabulary IndexedVocabulary(const Normalizer& normalizer, TokenizerParts* parts) {
  RegexScratch scratch;
  for (const AddedToken& token : parts->added) {
    // Hugging Face tokenizers decode an added token that is matched in normalised text to its normal form.
    TracedText normal;
    if (token.normalized && !parts->in_model[static_cast<size_t>(token.id)] &&
        normalizer.Apply(token.content, /*trace=*/false, &scratch, &normal)) {
      parts->tokens[static_cast<size_t>(token.id)] = normal.text;
    }
  }
  Vocabulary vocabulary(parts->tokens);
  std::vector<bool> is_control(parts->tokens.size());
  for (const AddedToken& token : parts->added) {
    if (token.special) is_control[static_cast<size_t>(token.id)] = true;
  }
  // Control tokens are found by AddedTokenMatcher only: with ignore_merges, a piece of a user's text that spells one must
  // stay text. (A control token of one byte is that byte's token too.)
  for (size_t id = 0; id < parts->tokens.size(); ++id) {
    const auto token = static_cast<TokenId>(id);
    if (parts->in_model[id] && (!is_control[id] || vocabulary.Bytes(token).size() == 1))
      vocabulary.Index(token);
  }
  parts->tokens = {};
  return vocabulary;
}

BpeOptions OptionsOf(const TokenizerParts& parts, const std::string& where) {
  BpeOptions options{parts.ignore_merges, kNoToken, parts.fuse_unk};
  if (parts.unk_token.empty()) return options;
  for (size_t id = 0; id < parts.tokens.size(); ++id) {
    if (parts.in_model[id] && parts.tokens[id] == parts.unk_token)
      options.unk = static_cast<TokenId>(id);
  }
  if (options.unk == kNoToken) {
    throw BadFile("{}: unk_token {} is not in the vocabulary", where, Quoted(parts.unk_token));
  }
  return options;
}

AddedTokenMatcher RawMatcher(const std::vector<AddedToken>& added) {
  std::vector<AddedToken> tokens;
  std::vector<std::string> patterns;
  for (const AddedToken& token : added) {
    if (token.normalized) continue;
    tokens.push_back(token);
    patterns.push_back(token.content);
  }
  return tokens.empty() ? AddedTokenMatcher() : AddedTokenMatcher(std::move(tokens), patterns);
}

AddedTokenMatcher NormalMatcher(const std::vector<AddedToken>& added,
                                const Normalizer& normalizer) {
  std::vector<AddedToken> tokens;
  std::vector<std::string> patterns;
  RegexScratch scratch;
  for (const AddedToken& token : added) {
    if (!token.normalized) continue;
    tokens.push_back(token);
    TracedText normal;
    patterns.push_back(normalizer.Apply(token.content, /*trace=*/false, &scratch, &normal)
                           ? normal.text
                           : token.content);
  }
  return tokens.empty() ? AddedTokenMatcher() : AddedTokenMatcher(std::move(tokens), patterns);
}

// Calls `plain(begin, end)` for the text between the matches and `token(match)` for each match, in order, over [begin, end).
template <typename Plain, typename Token>
void Walk(const std::vector<AddedMatch>& matches, size_t begin, size_t end, Plain plain,
          Token token) {
  for (const AddedMatch& match : matches) {
    if (begin < match.begin) plain(begin, match.begin);
    token(match);
    begin = match.end;
  }
  if (begin < end) plain(begin, end);
}

}  // namespace

MergeResolver::MergeResolver(const TokenizerParts& parts, std::string where)
    : where_(std::move(where)) {
  ids_.reserve(parts.tokens.size());
  for (size_t id = 0; id < parts.tokens.size(); ++id) {
    if (parts.in_model[id]) ids_.emplace(parts.tokens[id], static_cast<TokenId>(id));
  }
}

TokenId MergeResolver::Find(std::string_view token, size_t index) const {
  if (token.empty()) throw BadFile("{}: merge {} has an empty part", where_, index);
  const auto found = ids_.find(token);
  if (found == ids_.end())
    throw BadFile("{}: merge {} names {}, which is not in the vocabulary", where_, index,
                  Quoted(token));
  return found->second;
}

BpeMerge MergeResolver::Resolve(std::string_view left, std::string_view right, size_t index) {
  BpeMerge merge{};
  merge.left = Find(left, index);
  merge.right = Find(right, index);
  whole_.assign(left).append(right);
  merge.result = Find(whole_, index);
  return merge;
}

BpeMerge MergeResolver::Resolve(std::string_view both, size_t index) {
  const size_t space = both.find(' ');
  if (space == std::string_view::npos || both.find(' ', space + 1) != std::string_view::npos) {
    throw BadFile("{}: merge {} is {}, expected two tokens separated by one space", where_, index,
                  Quoted(both));
  }
  return Resolve(both.substr(0, space), both.substr(space + 1), index);
}

std::shared_ptr<const Tokenizer> TokenizerBuilder::Build(TokenizerParts parts,
                                                         const std::string& where) {
  PLANISH_CHECK(parts.tokens.size() == parts.in_model.size());
  uint64_t bytes = 0;
  for (const std::string& token : parts.tokens) bytes += token.size();
  if (parts.tokens.size() > limits::kVocabSize || bytes > limits::kTokenizerBytes) {
    throw BadFile("{}: {} tokens of {} bytes together; at most {} tokens of {} bytes are allowed",
                  where, parts.tokens.size(), bytes, limits::kVocabSize, limits::kTokenizerBytes);
  }
  if (parts.merges.size() > limits::kMerges) {
    throw BadFile("{}: {} merges, at most {} are allowed", where, parts.merges.size(),
                  limits::kMerges);
  }
  if (parts.added.size() > limits::kAddedTokens) {
    throw BadFile("{}: {} added tokens, at most {} are allowed", where, parts.added.size(),
                  limits::kAddedTokens);
  }
  std::sort(parts.added.begin(), parts.added.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  std::unordered_map<std::string_view, TokenId> contents;
  uint64_t added_bytes = 0;
  for (const AddedToken& token : parts.added) {
    PLANISH_CHECK(token.id >= 0 && static_cast<size_t>(token.id) < parts.tokens.size());
    const std::string_view content = token.content;
    if (content.empty()) throw BadFile("{}: added token {} is empty", where, token.id);
    if (content.size() > limits::kAddedTokenBytes) {
      throw BadFile("{}: added token {} has {} bytes, at most {} are allowed", where, token.id,
                    content.size(), limits::kAddedTokenBytes);
    }
    if (ValidUtf8Prefix(content) != content.size()) {
      throw BadFile("{}: added token {} is not valid UTF-8: {}", where, token.id, Quoted(content));
    }
    if (const auto [other, is_new] = contents.emplace(content, token.id); !is_new) {
      throw BadFile("{}: added tokens {} and {} have the same content {}", where, other->second,
                    token.id, Quoted(content));
    }
    added_bytes += content.size();
  }
  if (added_bytes > limits::kAddedTokensTotalBytes) {
    throw BadFile("{}: the added tokens have {} bytes together, at most {} are allowed", where,
                  added_bytes, limits::kAddedTokensTotalBytes);
  }
  std::shared_ptr<Tokenizer> tokenizer(new Tokenizer());
  tokenizer->impl_ = std::make_unique<Tokenizer::Impl>(std::move(parts), where);
  return tokenizer;
}

Tokenizer::Impl::Impl(TokenizerParts given, const std::string& where)
    : parts(std::move(given)),
      normalizer(parts.normalizer, where),
      vocabulary(std::vector<std::string>{}),
      bpe([&] {
        const BpeOptions options = OptionsOf(parts, where);
        vocabulary = IndexedVocabulary(normalizer, &parts);
        return Bpe(&vocabulary, parts.merges, options);
      }()),
      pre_tokenizer(parts.pre_tokenizer, where),
      raw_matcher(RawMatcher(parts.added)),
      normal_matcher(NormalMatcher(parts.added, normalizer)),
      is_special(vocabulary.size()) {
  for (const AddedToken& token : parts.added) {
    if (token.special) is_special[static_cast<size_t>(token.id)] = true;
    added_ids.emplace(token.content, token.id);
  }
}

std::unique_ptr<EncodeScratch> Tokenizer::Impl::TakeScratch() const {
  {
    const std::lock_guard lock(pool_mutex);
    if (!pool.empty()) {
      std::unique_ptr<EncodeScratch> scratch = std::move(pool.back());
      pool.pop_back();
      return scratch;
    }
  }
  return std::make_unique<EncodeScratch>();
}

void Tokenizer::Impl::ReturnScratch(std::unique_ptr<EncodeScratch> scratch) const {
  if (scratch->pre.pieces.capacity() > kPooledPieces ||
      scratch->pre.next.capacity() > kPooledPieces)
    return;
  scratch->normal = {};
  const std::lock_guard lock(pool_mutex);
  if (pool.size() < kPooled) pool.push_back(std::move(scratch));
}

void Tokenizer::Impl::EncodeText(std::string_view text, const std::vector<TextRange>& special,
                                 EncodeScratch* scratch, const EncodeSink& sink) const {
  if (text.size() >= UINT32_MAX) {
    throw UsageError("a text of {} bytes is too long to encode in one piece (limit {})",
                     text.size(), UINT32_MAX);
  }
  std::vector<AddedMatch>& matches = scratch->matches;
  matches.clear();
  for (const TextRange& range : special) raw_matcher.Find(text, range.begin, range.end, &matches);
  Walk(
      matches, 0, text.size(),
      [&](size_t begin, size_t end) {
        EncodePlain(text, {begin, end}, special, scratch, sink);
      },
      [&](const AddedMatch& match) {
        sink.ids->push_back(match.id);
        if (sink.origins != nullptr) sink.origins->push_back(match.begin);
      });
}

void Tokenizer::Impl::EncodePlain(std::string_view text, TextRange range,
                                  const std::vector<TextRange>& special, EncodeScratch* scratch,
                                  const EncodeSink& sink) const {
  while (range.begin < range.end) {
    const size_t valid = ValidUtf8Prefix(text.substr(range.begin, range.end - range.begin));
    if (valid > 0) EncodeValid(text, {range.begin, range.begin + valid}, special, scratch, sink);
    range.begin += valid;
    if (range.begin == range.end) break;
    const size_t before = sink.ids->size();
    bpe.Encode(text.substr(range.begin, 1), &scratch->bpe, sink.ids);
    if (sink.origins != nullptr)
      sink.origins->insert(sink.origins->end(), sink.ids->size() - before, range.begin);
    range.begin += 1;
  }
}

void Tokenizer::Impl::EncodeValid(std::string_view text, TextRange range,
                                  const std::vector<TextRange>& special, EncodeScratch* scratch,
                                  const EncodeSink& sink) const {
  std::string_view view = text.substr(range.begin, range.end - range.begin);
  std::span<const size_t> origins;
  const bool matches_here = !normal_matcher.empty() && !special.empty();
  const bool is_all_special =
      special.size() == 1 && special[0].end - special[0].begin == text.size();
  if (!normalizer.empty()) {
    const bool trace = sink.origins != nullptr || (matches_here && !is_all_special);
    if (normalizer.Apply(view, trace, &scratch->pre.regex, &scratch->normal)) {
      view = scratch->normal.text;
      origins = scratch->normal.origins;
      if (trace) {
        for (size_t& origin : scratch->normal.origins) origin += range.begin;
      }
    }
  }
  const bool is_moved = view.data() != text.data() + range.begin;
  if (!matches_here) return EncodePieces(view, range.begin, origins, scratch, sink);

  // Ranges of `text` become ranges of `view`.
  const auto place = [&](size_t offset) -> size_t {
    offset = std::clamp(offset, range.begin, range.end);
    if (offset == range.end) return view.size();
    if (!is_moved) return offset - range.begin;
    if (origins.empty()) return 0;  // is_all_special: the only other border is the start
    return static_cast<size_t>(std::lower_bound(origins.begin(), origins.end(), offset) -
                               origins.begin());
  };
  std::vector<AddedMatch>& matches = scratch->inner_matches;
  matches.clear();
  for (const TextRange& part : special) {
    const size_t begin = place(part.begin), end = place(part.end);
    if (begin < end) normal_matcher.Find(view, begin, end, &matches);
  }
  const auto rest = [&](size_t begin, size_t end) {
    return origins.empty() ? origins : origins.subspan(begin, end - begin);
  };
  Walk(
      matches, 0, view.size(),
      [&](size_t begin, size_t end) {
        EncodePieces(view.substr(begin, end - begin), range.begin + begin, rest(begin, end),
                     scratch, sink);
      },
      [&](const AddedMatch& match) {
        sink.ids->push_back(match.id);
        if (sink.origins == nullptr) return;
        sink.origins->push_back(origins.empty() ? range.begin + match.begin : origins[match.begin]);
      });
}

void Tokenizer::Impl::EncodePieces(std::string_view text, size_t base,
                                   std::span<const size_t> origins, EncodeScratch* scratch,
                                   const EncodeSink& sink) const {
  const std::vector<Piece>& pieces = pre_tokenizer.Split(text, &scratch->pre);
  if (sink.origins == nullptr) {
    for (const Piece& piece : pieces) bpe.Encode(piece.text, &scratch->bpe, sink.ids);
    return;
  }
  for (const Piece& piece : pieces) {
    scratch->begins.clear();
    bpe.EncodeTraced(piece.text, &scratch->bpe, sink.ids, &scratch->begins);
    // A space that ByteLevel put in front comes from no byte: it counts as the first byte of its piece.
    const bool is_view =
        piece.text.data() >= text.data() && piece.text.data() < text.data() + text.size();
    const bool has_added_space = !is_view && text[piece.origin] != ' ' && piece.text[0] == ' ';
    for (const uint32_t begin : scratch->begins) {
      const size_t at = piece.origin + (has_added_space && begin > 0 ? begin - 1 : begin);
      sink.origins->push_back(origins.empty() ? base + at : origins[at]);
    }
  }
}

Tokenizer::Tokenizer() = default;
Tokenizer::~Tokenizer() = default;

std::vector<TokenId> Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 4 + impl_->parts.prefix.size() + impl_->parts.suffix.size() + 4);
  Append(text, options, &ids);
  return ids;
}

void Tokenizer::Append(std::string_view text, const EncodeOptions& options,
                       std::vector<TokenId>* ids) const {
  const TokenizerParts& parts = impl_->parts;
  if (options.add_special) ids->insert(ids->end(), parts.prefix.begin(), parts.prefix.end());
  std::vector<TextRange> special;
  if (options.parse_special && !text.empty()) special.push_back({0, text.size()});
  std::unique_ptr<EncodeScratch> scratch = impl_->TakeScratch();
  impl_->EncodeText(text, special, scratch.get(), {ids, nullptr});
  impl_->ReturnScratch(std::move(scratch));
  if (options.add_special) ids->insert(ids->end(), parts.suffix.begin(), parts.suffix.end());
}

bool Tokenizer::CutsAtLines(bool parse_special) const {
  const TokenizerParts& parts = impl_->parts;
  for (const NormalizeStep& step : parts.normalizer) {
    if (step.kind != NormalizeStep::Kind::kNfc && step.kind != NormalizeStep::Kind::kNfd &&
        step.kind != NormalizeStep::Kind::kNfkc && step.kind != NormalizeStep::Kind::kNfkd)
      return false;
  }
  for (const AddedToken& token : parts.added) {
    if (parse_special &&
        (token.lstrip || token.rstrip || token.content.find('\n') != std::string::npos))
      return false;
  }
  return impl_->pre_tokenizer.cuts_at_lines();
}

std::vector<TokenId> Tokenizer::EncodeSpans(std::span<const TextSpan> spans,
                                            std::vector<uint32_t>* owner) const {
  std::string text;
  std::vector<size_t> ends;  // of the spans in `text`
  std::vector<TextRange> special;
  for (const TextSpan& span : spans) {
    if (span.parse_special && !span.text.empty()) {
      if (!special.empty() && special.back().end == text.size())
        special.back().end += span.text.size();
      else
        special.push_back({text.size(), text.size() + span.text.size()});
    }
    text += span.text;
    ends.push_back(text.size());
  }
  std::vector<TokenId> ids;
  std::vector<size_t> origins;
  std::unique_ptr<EncodeScratch> scratch = impl_->TakeScratch();
  impl_->EncodeText(text, special, scratch.get(), {&ids, owner == nullptr ? nullptr : &origins});
  impl_->ReturnScratch(std::move(scratch));
  if (owner != nullptr) {
    owner->clear();
    for (const size_t origin : origins) {
      owner->push_back(
          static_cast<uint32_t>(std::upper_bound(ends.begin(), ends.end(), origin) - ends.begin()));
    }
  }
  return ids;
}

std::string Tokenizer::Decode(std::span<const TokenId> ids, bool skip_special) const {
  std::string bytes;
  for (const TokenId id : ids) {
    if (!skip_special || !IsSpecial(id)) bytes += TokenBytes(id);
  }
  return ValidUtf8Prefix(bytes) == bytes.size() ? bytes : LossyUtf8(bytes);
}

std::string_view Tokenizer::TokenBytes(TokenId id) const {
  if (id < 0 || static_cast<size_t>(id) >= vocab_size()) return {};
  return impl_->vocabulary.Bytes(id);
}

bool Tokenizer::IsSpecial(TokenId id) const {
  return id >= 0 && static_cast<size_t>(id) < vocab_size() &&
         impl_->is_special[static_cast<size_t>(id)];
}

std::optional<TokenId> Tokenizer::Find(std::string_view content) const {
  if (const auto found = impl_->added_ids.find(content); found != impl_->added_ids.end())
    return found->second;
  const TokenId id = content.empty() ? kNoToken : impl_->vocabulary.Find(content);
  return id == kNoToken ? std::nullopt : std::optional(id);
}

size_t Tokenizer::vocab_size() const { return impl_->vocabulary.size(); }
const std::vector<AddedToken>& Tokenizer::added_tokens() const { return impl_->parts.added; }
std::vector<TokenId> Tokenizer::PrefixIds() const { return impl_->parts.prefix; }
std::vector<TokenId> Tokenizer::SuffixIds() const { return impl_->parts.suffix; }

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Tokenizers from and to the vocabulary of a GGUF file (tokenizer.ggml.model = "gpt2"). GGUF names a pre-tokenizer instead of
// describing it; the table below says what each name means in Hugging Face terms, which decide where llama.cpp differs.
#include <algorithm>

#include "base/error.h"
#include "base/limits.h"
#include "text/byte_level.h"
#include "text/tokenizer_impl.h"

namespace planish {
namespace {

enum TokenType : int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

struct NamedPreTokenizer {
  const char* name;
  SplitPattern pattern;
  bool has_digits;  // a Digits step (one by one) first
  bool has_nfc;
  bool ignore_merges;
};
// The first of several names for one thing is the one written. smaug-bpe and dbrx are Llama 3's pattern without ignore_merges.
constexpr NamedPreTokenizer kNamed[] = {
    {"llama-bpe", SplitPattern::kLlama3, false, false, true},
    {"llama3", SplitPattern::kLlama3, false, false, true},
    {"llama-v3", SplitPattern::kLlama3, false, false, true},
    {"pixtral", SplitPattern::kLlama3, false, false, true},
    {"smaug-bpe", SplitPattern::kLlama3, false, false, false},
    {"dbrx", SplitPattern::kLlama3, false, false, false},
    {"qwen2", SplitPattern::kQwen2, false, true, false},
    {"deepseek-r1-qwen", SplitPattern::kQwen2, false, true, false},
    {"tekken", SplitPattern::kTekken, false, false, true},
    {"smollm", SplitPattern::kGpt2, true, false, false},
    {"starcoder", SplitPattern::kGpt2, true, false, false},
    {"refact", SplitPattern::kGpt2, true, false, false},
    {"gpt-2", SplitPattern::kGpt2, false, false, false},
    {"default", SplitPattern::kGpt2, false, false, false},
};

std::vector<PreTokenizeStep> StepsOf(const NamedPreTokenizer& named) {
  std::vector<PreTokenizeStep> steps;
  if (named.has_digits) {
    PreTokenizeStep digits;
    digits.kind = PreTokenizeStep::Kind::kDigits;
    digits.individual_digits = true;
    steps.push_back(digits);
  }
  PreTokenizeStep byte_level;
  byte_level.use_regex = named.pattern == SplitPattern::kGpt2;
  if (!byte_level.use_regex) {
    PreTokenizeStep split;
    split.kind = PreTokenizeStep::Kind::kSplit;
    split.pattern = PatternText(named.pattern);
    steps.push_back(split);
  }
  steps.push_back(byte_level);
  return steps;
}

std::vector<NormalizeStep> NormalizerOf(const NamedPreTokenizer& named) {
  return named.has_nfc ? std::vector<NormalizeStep>{NormalizeStep{}} : std::vector<NormalizeStep>{};
}

const NamedPreTokenizer& ByName(const std::string& name, const std::string& where) {
  std::string known;
  for (const NamedPreTokenizer& named : kNamed) {
    if (named.name == name) return named;
    known += fmt::format(" {}", named.name);
  }
  throw BadFile("{}: tokenizer.ggml.pre is {}, expected one of:{}", where, Quoted(name), known);
}

}  // namespace

std::vector<std::string> PreTokenizerNames() {
  std::vector<std::string> names;
  for (const NamedPreTokenizer& named : kNamed) names.push_back(named.name);
  return names;
}

bool SetPreTokenizer(const std::string& name, TokenizerParts* parts) {
  for (const NamedPreTokenizer& named : kNamed) {
    if (named.name != name) continue;
    parts->pre_tokenizer = StepsOf(named);
    parts->normalizer = NormalizerOf(named);
    return true;
  }
  return false;
}

namespace {

// "<0x0A>": exactly two hexadecimal digits.
bool ParseByteToken(std::string_view token, char* byte) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return false;
  const int high = digit(token[3]), low = digit(token[4]);
  *byte = static_cast<char>(high * 16 + low);
  return high >= 0 && low >= 0;
}

void CheckId(const std::optional<TokenId>& id, const char* key, size_t vocab_size,
             const std::string& where) {
  if (id && (*id < 0 || static_cast<size_t>(*id) >= vocab_size)) {
    throw BadFile("{}: tokenizer.ggml.{} is {}, expected an id below {}", where, key, *id,
                  vocab_size);
  }
}

void ReadTokens(const GgufVocabulary& vocabulary, const std::string& where, TokenizerParts* parts) {
  const size_t n = vocabulary.tokens.size();
  std::unordered_map<std::string_view, size_t> seen;
  for (size_t id = 0; id < n; ++id) {
    const std::string& token = vocabulary.tokens[id];
    const int64_t type = vocabulary.types[id];
    if (type < kNormal || type > kByte) {
      throw BadFile("{}: tokenizer.ggml.token_type[{}] is {}, expected 1 to 6", where, id, type);
    }
    if (const auto [other, is_new] = seen.emplace(token, id); !is_new) {
      throw BadFile("{}: tokenizer.ggml.tokens: {} is both token {} and token {}", where,
                    Quoted(token), other->second, id);
    }
    parts->tokens.push_back(token);
    if (type == kByte) {
      char byte = 0;
      if (!ParseByteToken(token, &byte)) {
        throw BadFile("{}: tokenizer.ggml.tokens[{}] is {}, expected <0xHH> for a byte token",
                      where, id, Quoted(token));
      }
      parts->tokens.back().clear();
      AppendByteLevel({&byte, 1}, &parts->tokens.back());
    }
    if (type == kControl || type == kUserDefined || type == kUnknown) {
      AddedToken added;
      added.id = static_cast<TokenId>(id);
      added.content = token;
      added.special = type != kUserDefined;
      parts->added.push_back(std::move(added));
    }
  }
  // Added tokens at the end of the ids are no part of the model's vocabulary in tokenizer.json; those among the others are,
  // since ids of the model have no gaps.
  parts->in_model.assign(n, true);
  for (size_t i = parts->added.size(), id = n;
       i-- > 0 && id-- > 0 && static_cast<size_t>(parts->added[i].id) == id;) {
    parts->in_model[id] = false;
  }
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::FromGguf(const GgufVocabulary& vocabulary,
                                                     const std::string& where) {
  const NamedPreTokenizer& named = ByName(vocabulary.pre, where);
  const size_t n = vocabulary.tokens.size();
  if (n == 0 || n > limits::kVocabSize) {
    throw BadFile("{}: tokenizer.ggml.tokens has {} entries, expected 1 to {}", where, n,
                  limits::kVocabSize);
  }
  if (vocabulary.types.size() != n) {
    throw BadFile(
        "{}: tokenizer.ggml.token_type has {} entries, expected {} as tokenizer.ggml.tokens", where,
        vocabulary.types.size(), n);
  }
  if (vocabulary.merges.size() > limits::kMerges) {
    throw BadFile("{}: tokenizer.ggml.merges has {} entries, at most {} are allowed", where,
                  vocabulary.merges.size(), limits::kMerges);
  }
  TokenizerParts parts;
  ReadTokens(vocabulary, where, &parts);
  MergeResolver resolver(parts, where + ": tokenizer.ggml.merges");
  for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
    parts.merges.push_back(resolver.Resolve(vocabulary.merges[i], i));
  }
  CheckId(vocabulary.bos, "bos_token_id", n, where);
  CheckId(vocabulary.eos, "eos_token_id", n, where);
  CheckId(vocabulary.unk, "unknown_token_id", n, where);
  CheckId(vocabulary.pad, "padding_token_id", n, where);
  parts.bos = vocabulary.bos;
  parts.eos = vocabulary.eos;
  parts.unk = vocabulary.unk;
  parts.pad = vocabulary.pad;
  if (vocabulary.add_bos) {
    if (!vocabulary.bos)
      throw BadFile("{}: tokenizer.ggml.add_bos_token is set, but there is no bos_token_id", where);
    parts.prefix = {*vocabulary.bos};
  }
  if (vocabulary.add_eos) {
    if (!vocabulary.eos)
      throw BadFile("{}: tokenizer.ggml.add_eos_token is set, but there is no eos_token_id", where);
    parts.suffix = {*vocabulary.eos};
  }
  parts.ignore_merges = named.ignore_merges;
  parts.normalizer = NormalizerOf(named);
  parts.pre_tokenizer = StepsOf(named);
  return TokenizerBuilder::Build(std::move(parts), where);
}

GgufVocabulary Tokenizer::ToGguf() const {
  const TokenizerParts& parts = impl_->parts;
  const size_t n = vocab_size();
  GgufVocabulary out;

  std::vector<PreTokenizeStep> steps = parts.pre_tokenizer;
  for (PreTokenizeStep& step : steps) step.trim_offsets = PreTokenizeStep{}.trim_offsets;
  std::optional<bool> merges_suffice;  // then ignore_merges means nothing, and either name will do
  for (const NamedPreTokenizer& named : kNamed) {
    if (!out.pre.empty() || steps != StepsOf(named) || parts.normalizer != NormalizerOf(named))
      continue;
    if (named.ignore_merges != parts.ignore_merges) {
      if (!merges_suffice) {
        std::vector<TokenId> tokens;
        std::vector<bool> is_added(n);
        for (const AddedToken& token : parts.added) is_added[static_cast<size_t>(token.id)] = true;
        for (size_t id = 0; id < n; ++id) {
          if (!is_added[id]) tokens.push_back(static_cast<TokenId>(id));
        }
        merges_suffice = impl_->bpe.MergesReachAllTokens(tokens);
      }
      if (!*merges_suffice) continue;
    }
    out.pre = named.name;
  }
  if (out.pre.empty())
    throw UsageError("this tokenizer's normalizer and pre-tokenizer have no name in GGUF");
  if (impl_->bpe.options().unk != kNoToken && !impl_->bpe.has_all_bytes()) {
    throw UsageError("this tokenizer makes {} of bytes without a token, which GGUF cannot express",
                     Quoted(parts.unk_token));
  }

  out.types.assign(n, kNormal);
  for (const AddedToken& token : parts.added) {
    if (token.single_word || token.lstrip || token.rstrip) {
      throw UsageError(
          "added token {} has single_word, lstrip or rstrip, which GGUF cannot express",
          Quoted(token.content));
    }
    out.types[static_cast<size_t>(token.id)] = token.special ? kControl : kUserDefined;
  }
  for (size_t id = 0; id < n; ++id)
    out.tokens.push_back(impl_->vocabulary.Spelled(static_cast<TokenId>(id)));
  for (const AddedToken& token : parts.added)
    out.tokens[static_cast<size_t>(token.id)] = token.content;
  for (const BpeMerge& merge : parts.merges) {
    out.merges.push_back(impl_->vocabulary.Spelled(merge.left) + " " +
                         impl_->vocabulary.Spelled(merge.right));
  }
  if (parts.prefix.size() > 1 || parts.suffix.size() > 1) {
    throw UsageError(
        "this tokenizer adds {} ids before and {} after a text; GGUF can express one each",
        parts.prefix.size(), parts.suffix.size());
  }
  out.add_bos = !parts.prefix.empty();
  out.add_eos = !parts.suffix.empty();
  out.bos = out.add_bos ? parts.prefix[0] : parts.bos;
  out.eos = out.add_eos ? parts.suffix[0] : parts.eos;
  out.unk = parts.unk;
  out.pad = parts.pad;
  return out;
}

}  // namespace planish

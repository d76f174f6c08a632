// SPDX-License-Identifier: Apache-2.0
// Reads tokenizer.json of Hugging Face tokenizers: byte-level BPE only; what would change ids and is not supported is refused
// by name. `truncation` and `padding` are left to the caller's batching and not read.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/limits.h"
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

namespace planish {
namespace {

// Literal text or a regular expression: {"String": "a"} or {"Regex": "a+"}.
void ReadPattern(const JsonReader& step, std::string* pattern, bool* is_regex) {
  const JsonReader given = step.Object("pattern");
  *is_regex = given.Has("Regex");
  *pattern = given.String(*is_regex ? "Regex" : "String");
  if (pattern->empty()) given.Fail(*is_regex ? "Regex" : "String", "a pattern that is not empty");
}

void ReadNormalizer(const JsonReader& normalizer, std::vector<NormalizeStep>* steps) {
  const std::string type = normalizer.String("type");
  NormalizeStep step;
  if (type == "Sequence") {
    const size_t n = normalizer.Array("normalizers").size();
    for (size_t i = 0; i < n; ++i) ReadNormalizer(normalizer.Element("normalizers", i), steps);
    return;
  }
  if (type == "NFC") {
    step.kind = NormalizeStep::Kind::kNfc;
  } else if (type == "NFD") {
    step.kind = NormalizeStep::Kind::kNfd;
  } else if (type == "NFKC") {
    step.kind = NormalizeStep::Kind::kNfkc;
  } else if (type == "NFKD") {
    step.kind = NormalizeStep::Kind::kNfkd;
  } else if (type == "Lowercase") {
    step.kind = NormalizeStep::Kind::kLowercase;
  } else if (type == "Prepend") {
    step.kind = NormalizeStep::Kind::kPrepend;
    step.content = normalizer.String("prepend");
  } else if (type == "Replace") {
    step.kind = NormalizeStep::Kind::kReplace;
    ReadPattern(normalizer, &step.pattern, &step.is_regex);
    step.content = normalizer.String("content");
  } else if (type == "Strip") {
    step.kind = NormalizeStep::Kind::kStrip;
    step.strip_left = normalizer.BoolOr("strip_left", true);
    step.strip_right = normalizer.BoolOr("strip_right", true);
  } else {
    normalizer.Fail(
        "type",
        "a supported normalizer: Sequence NFC NFD NFKC NFKD Lowercase Prepend Replace Strip");
  }
  steps->push_back(std::move(step));
}

SplitBehavior ReadBehavior(const JsonReader& step) {
  const std::string name = step.String("behavior");
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  step.Fail("behavior", "Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
}

void ReadPreTokenizer(const JsonReader& pre, std::vector<PreTokenizeStep>* steps) {
  const std::string type = pre.String("type");
  if (type == "Sequence") {
    const size_t n = pre.Array("pretokenizers").size();
    for (size_t i = 0; i < n; ++i) ReadPreTokenizer(pre.Element("pretokenizers", i), steps);
    return;
  }
  if (!steps->empty() && steps->back().kind == PreTokenizeStep::Kind::kByteLevel) {
    pre.Fail("type", "nothing after ByteLevel");
  }
  PreTokenizeStep step;
  if (type == "Split") {
    step.kind = PreTokenizeStep::Kind::kSplit;
    ReadPattern(pre, &step.pattern, &step.is_regex);
    step.behavior = ReadBehavior(pre);
    step.invert = pre.BoolOr("invert", false);
  } else if (type == "Digits") {
    step.kind = PreTokenizeStep::Kind::kDigits;
    step.individual_digits = pre.BoolOr("individual_digits", false);
  } else if (type == "ByteLevel") {
    step.kind = PreTokenizeStep::Kind::kByteLevel;
    step.add_prefix_space = pre.BoolOr("add_prefix_space", true);
    step.trim_offsets = pre.BoolOr("trim_offsets", true);
    step.use_regex = pre.BoolOr("use_regex", true);
  } else {
    pre.Fail("type", "a supported pre-tokenizer: Sequence Split Digits ByteLevel");
  }
  steps->push_back(std::move(step));
}

void CheckDecoder(const JsonReader& decoder) {
  const std::string type = decoder.String("type");
  if (type == "Sequence") {
    const size_t n = decoder.Array("decoders").size();
    if (n == 0) decoder.Fail("decoders", "ByteLevel");
    for (size_t i = 0; i < n; ++i) CheckDecoder(decoder.Element("decoders", i));
  } else if (type != "ByteLevel" && type != "Fuse") {
    decoder.Fail("type", "ByteLevel");
  }
}

// Entry by id; grows the tables, which stay within the limit of ids.
void Place(TokenId id, const std::string& token, bool in_model, TokenizerParts* parts,
           std::vector<bool>* is_set) {
  const auto at = static_cast<size_t>(id);
  if (at >= parts->tokens.size()) {
    parts->tokens.resize(at + 1);
    parts->in_model.resize(at + 1);
    is_set->resize(at + 1);
  }
  parts->tokens[at] = token;
  parts->in_model[at] = in_model;
  (*is_set)[at] = true;
}

void ReadModel(const JsonReader& model, const std::string& where, TokenizerParts* parts,
               std::vector<bool>* is_set) {
  if (const std::string type = model.StringOr("type", "BPE"); type != "BPE")
    model.Fail("type", "BPE (byte level)");
  if (model.Has("dropout") && model.Number("dropout", 0, 1) > 0)
    model.Fail("dropout", "null: dropout is not supported");
  if (model.BoolOr("byte_fallback", false)) {
    model.Fail("byte_fallback",
               "false: SentencePiece-style BPE is not supported, only byte-level BPE");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.StringOr(key, "").empty()) model.Fail(key, "null or empty");
  }
  parts->unk_token = model.StringOr("unk_token", "");
  parts->fuse_unk = model.BoolOr("fuse_unk", false);
  parts->ignore_merges = model.BoolOr("ignore_merges", false);

  const JsonReader vocab = model.Object("vocab");
  const Json::Object& entries = vocab.json().AsObject();
  for (const auto& [token, id] : entries) {
    // An id of at least the number of all entries leaves a gap, unless added tokens fill it.
    if (!id.is_integer() || id.AsInt() < 0 ||
        id.AsInt() >= static_cast<int64_t>(limits::kVocabSize)) {
      throw BadFile("{}: model.vocab: id of {} is {}, expected an integer in [0, {})", where,
                    Quoted(token), Quoted(DumpJson(id)), limits::kVocabSize);
    }
    const auto at = static_cast<size_t>(id.AsInt());
    if (at < is_set->size() && (*is_set)[at]) {
      throw BadFile("{}: model.vocab: {} and {} have the same id {}", where,
                    Quoted(parts->tokens[at]), Quoted(token), at);
    }
    Place(static_cast<TokenId>(at), token, /*in_model=*/true, parts, is_set);
  }
}

void ReadMerges(const JsonReader& model, const std::string& where, TokenizerParts* parts) {
  const Json::Array& merges = model.Array("merges");
  if (merges.size() > limits::kMerges) {
    throw BadFile("{}: model.merges has {} entries, at most {} are allowed", where, merges.size(),
                  limits::kMerges);
  }
  MergeResolver resolver(*parts, where + ": model.merges");
  parts->merges.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const Json& merge = merges[i];
    if (merge.is_string()) {
      if (merge.AsString().starts_with("#version")) continue;
      parts->merges.push_back(resolver.Resolve(merge.AsString(), i));
    } else if (merge.is_array() && merge.AsArray().size() == 2 && merge.AsArray()[0].is_string() &&
               merge.AsArray()[1].is_string()) {
      parts->merges.push_back(
          resolver.Resolve(merge.AsArray()[0].AsString(), merge.AsArray()[1].AsString(), i));
    } else {
      throw BadFile("{}: model.merges[{}] is no pair of tokens", where, i);
    }
  }
}

void ReadAddedTokens(const JsonReader& root, const std::string& where, TokenizerParts* parts,
                     std::vector<bool>* is_set) {
  if (!root.Has("added_tokens")) return;
  const size_t n = root.Array("added_tokens").size();
  if (n > limits::kAddedTokens) {
    throw BadFile("{}: added_tokens has {} entries, at most {} are allowed", where, n,
                  limits::kAddedTokens);
  }
  std::unordered_map<std::string, TokenId> of_model;
  for (size_t id = 0; id < parts->tokens.size(); ++id) {
    if ((*is_set)[id]) of_model.emplace(parts->tokens[id], static_cast<TokenId>(id));
  }
  std::set<TokenId> seen;
  for (size_t i = 0; i < n; ++i) {
    const JsonReader entry = root.Element("added_tokens", i);
    AddedToken token;
    token.id =
        static_cast<TokenId>(entry.Int("id", 0, static_cast<int64_t>(limits::kVocabSize) - 1));
    token.content = entry.String("content");
    token.special = entry.BoolOr("special", false);
    token.single_word = entry.BoolOr("single_word", false);
    token.lstrip = entry.BoolOr("lstrip", false);
    token.rstrip = entry.BoolOr("rstrip", false);
    token.normalized = entry.BoolOr("normalized", !token.special);
    if (!seen.insert(token.id).second)
      throw BadFile("{}: added_tokens[{}]: id {} occurs twice", where, i, token.id);
    const auto same = of_model.find(token.content);
    if (same != of_model.end() && same->second != token.id) {
      throw BadFile("{}: added_tokens[{}]: {} has id {}, but {} in model.vocab", where, i,
                    Quoted(token.content), token.id, same->second);
    }
    const auto at = static_cast<size_t>(token.id);
    if (same == of_model.end()) {
      if (at < is_set->size() && (*is_set)[at]) {
        throw BadFile("{}: added_tokens[{}]: id {} of {} is that of {} in model.vocab", where, i,
                      token.id, Quoted(token.content), Quoted(parts->tokens[at]));
      }
      Place(token.id, token.content, /*in_model=*/false, parts, is_set);
    }
    parts->added.push_back(std::move(token));
  }
}

// The ids a TemplateProcessing template names by a special token: all it lists for it.
std::vector<TokenId> TemplateIds(const JsonReader& processor, const std::string& name,
                                 size_t vocab_size) {
  const JsonReader token = processor.Object("special_tokens").Object(name);
  std::vector<TokenId> ids;
  for (const Json& id : token.Array("ids")) {
    if (!id.is_integer() || id.AsInt() < 0 || id.AsInt() >= static_cast<int64_t>(vocab_size)) {
      token.Fail("ids", fmt::format("ids below {}", vocab_size));
    }
    ids.push_back(static_cast<TokenId>(id.AsInt()));
  }
  return ids;
}

void ReadPostProcessor(const JsonReader& processor, TokenizerParts* parts) {
  const std::string type = processor.String("type");
  if (type == "ByteLevel") return;  // concerns offsets only
  if (type == "Sequence") {
    const size_t n = processor.Array("processors").size();
    for (size_t i = 0; i < n; ++i) ReadPostProcessor(processor.Element("processors", i), parts);
    return;
  }
  if (type != "TemplateProcessing")
    processor.Fail("type", "ByteLevel, TemplateProcessing or Sequence");
  if (!parts->prefix.empty() || !parts->suffix.empty())
    processor.Fail("type", "one TemplateProcessing");
  bool after_text = false;
  const size_t n = processor.Array("single").size();
  for (size_t i = 0; i < n; ++i) {
    const JsonReader part = processor.Element("single", i);
    if (part.Has("Sequence")) {
      if (after_text || part.Object("Sequence").String("id") != "A")
        processor.Fail("single", "the sequence A once");
      after_text = true;
      continue;
    }
    const std::string name = part.Object("SpecialToken").String("id");
    std::vector<TokenId>& side = after_text ? parts->suffix : parts->prefix;
    const std::vector<TokenId> ids = TemplateIds(processor, name, parts->tokens.size());
    side.insert(side.end(), ids.begin(), ids.end());
    if (side.size() > limits::kAddedTokens) processor.Fail("single", "fewer tokens");
  }
  if (!after_text) processor.Fail("single", "the sequence A once");
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::FromJson(const std::string& json_text,
                                                     const std::string& where) {
  if (json_text.size() > limits::kTokenizerBytes) {
    throw BadFile("{}: {} bytes, at most {} are allowed", where, json_text.size(),
                  limits::kTokenizerBytes);
  }
  const Json json = ParseJson(json_text, where, {.max_values = limits::kTokenizerJsonValues});
  const JsonReader root(json, where);
  TokenizerParts parts;
  std::vector<bool> is_set;
  const JsonReader model = root.Object("model");
  ReadModel(model, where, &parts, &is_set);
  ReadAddedTokens(root, where, &parts, &is_set);
  if (const auto gap = std::find(is_set.begin(), is_set.end(), false); gap != is_set.end()) {
    throw BadFile("{}: no token has id {}, although ids go up to {}", where, gap - is_set.begin(),
                  is_set.size() - 1);
  }
  ReadMerges(model, where, &parts);
  if (root.Has("normalizer")) ReadNormalizer(root.Object("normalizer"), &parts.normalizer);
  ReadPreTokenizer(root.Object("pre_tokenizer"), &parts.pre_tokenizer);
  if (parts.pre_tokenizer.empty() ||
      parts.pre_tokenizer.back().kind != PreTokenizeStep::Kind::kByteLevel) {
    root.Fail("pre_tokenizer", "one that ends in ByteLevel: only byte-level BPE is supported");
  }
  CheckDecoder(root.Object("decoder"));
  if (root.Has("post_processor")) ReadPostProcessor(root.Object("post_processor"), &parts);
  return TokenizerBuilder::Build(std::move(parts), where);
}

}  // namespace planish

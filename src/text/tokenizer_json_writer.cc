// SPDX-License-Identifier: Apache-2.0
// Tokenizer::ToJson: the tokenizer.json of a tokenizer, laid out as Hugging Face tokenizers 0.23 saves it.
#include "text/tokenizer_impl.h"

namespace planish {
namespace {

Json Pattern(const std::string& pattern, bool is_regex) {
  return Json::Object{{is_regex ? "Regex" : "String", pattern}};
}

// One step stands alone, several in a Sequence under `list_name`; none is null.
Json InSequence(Json::Array steps, const char* list_name) {
  if (steps.empty()) return {};
  if (steps.size() == 1) return std::move(steps[0]);
  return Json::Object{{"type", "Sequence"}, {list_name, std::move(steps)}};
}

Json NormalizerJson(const std::vector<NormalizeStep>& steps) {
  Json::Array out;
  for (const NormalizeStep& step : steps) {
    switch (step.kind) {
      case NormalizeStep::Kind::kNfc:
        out.push_back(Json::Object{{"type", "NFC"}});
        break;
      case NormalizeStep::Kind::kNfd:
        out.push_back(Json::Object{{"type", "NFD"}});
        break;
      case NormalizeStep::Kind::kNfkc:
        out.push_back(Json::Object{{"type", "NFKC"}});
        break;
      case NormalizeStep::Kind::kNfkd:
        out.push_back(Json::Object{{"type", "NFKD"}});
        break;
      case NormalizeStep::Kind::kLowercase:
        out.push_back(Json::Object{{"type", "Lowercase"}});
        break;
      case NormalizeStep::Kind::kPrepend:
        out.push_back(Json::Object{{"type", "Prepend"}, {"prepend", step.content}});
        break;
      case NormalizeStep::Kind::kReplace:
        out.push_back(Json::Object{{"type", "Replace"},
                                   {"pattern", Pattern(step.pattern, step.is_regex)},
                                   {"content", step.content}});
        break;
      case NormalizeStep::Kind::kStrip:
        out.push_back(Json::Object{
            {"type", "Strip"}, {"strip_left", step.strip_left}, {"strip_right", step.strip_right}});
        break;
    }
  }
  return InSequence(std::move(out), "normalizers");
}

const char* BehaviorName(SplitBehavior behavior) {
  switch (behavior) {
    case SplitBehavior::kRemoved:
      return "Removed";
    case SplitBehavior::kMergedWithPrevious:
      return "MergedWithPrevious";
    case SplitBehavior::kMergedWithNext:
      return "MergedWithNext";
    case SplitBehavior::kContiguous:
      return "Contiguous";
    case SplitBehavior::kIsolated:
      break;
  }
  return "Isolated";
}

Json PreTokenizerJson(const std::vector<PreTokenizeStep>& steps) {
  Json::Array out;
  for (const PreTokenizeStep& step : steps) {
    switch (step.kind) {
      case PreTokenizeStep::Kind::kSplit:
        out.push_back(Json::Object{{"type", "Split"},
                                   {"pattern", Pattern(step.pattern, step.is_regex)},
                                   {"behavior", BehaviorName(step.behavior)},
                                   {"invert", step.invert}});
        break;
      case PreTokenizeStep::Kind::kDigits:
        out.push_back(
            Json::Object{{"type", "Digits"}, {"individual_digits", step.individual_digits}});
        break;
      case PreTokenizeStep::Kind::kByteLevel:
        out.push_back(Json::Object{{"type", "ByteLevel"},
                                   {"add_prefix_space", step.add_prefix_space},
                                   {"trim_offsets", step.trim_offsets},
                                   {"use_regex", step.use_regex}});
        break;
    }
  }
  return InSequence(std::move(out), "pretokenizers");
}

Json AddedTokensJson(const std::vector<AddedToken>& added) {
  Json::Array out;
  for (const AddedToken& token : added) {
    out.push_back(Json::Object{{"id", token.id},
                               {"content", token.content},
                               {"single_word", token.single_word},
                               {"lstrip", token.lstrip},
                               {"rstrip", token.rstrip},
                               {"normalized", token.normalized},
                               {"special", token.special}});
  }
  return out;
}

class PostProcessorWriter {
 public:
  PostProcessorWriter(const TokenizerParts& parts, const Vocabulary& vocabulary)
      : parts_(parts), vocabulary_(vocabulary) {}

  Json Write() {
    if (parts_.prefix.empty() && parts_.suffix.empty()) return {};
    Json::Array single, pair;
    Text("A", 0, &single);
    Text("A", 0, &pair);
    Text("B", 1, &pair);
    return Json::Object{{"type", "TemplateProcessing"},
                        {"single", single},
                        {"pair", pair},
                        {"special_tokens", std::move(tokens_)}};
  }

 private:
  void Special(TokenId id, int type, Json::Array* out) {
    const std::string name = vocabulary_.Spelled(id);
    out->push_back(Json::Object{{"SpecialToken", Json::Object{{"id", name}, {"type_id", type}}}});
    tokens_.Set(
        name, Json::Object{{"id", name}, {"ids", Json::Array{id}}, {"tokens", Json::Array{name}}});
  }
  void Text(const char* name, int type, Json::Array* out) {
    for (const TokenId id : parts_.prefix) Special(id, type, out);
    out->push_back(Json::Object{{"Sequence", Json::Object{{"id", name}, {"type_id", type}}}});
    for (const TokenId id : parts_.suffix) Special(id, type, out);
  }

  const TokenizerParts& parts_;
  const Vocabulary& vocabulary_;
  Json tokens_ = Json::MakeObject();
};

}  // namespace

Json Tokenizer::ToJson() const {
  const TokenizerParts& parts = impl_->parts;
  const Vocabulary& vocabulary = impl_->vocabulary;
  Json::Object vocab;
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    if (parts.in_model[id])
      vocab.emplace_back(vocabulary.Spelled(static_cast<TokenId>(id)), static_cast<int64_t>(id));
  }
  Json::Array merges;
  merges.reserve(parts.merges.size());
  for (const BpeMerge& merge : parts.merges) {
    merges.push_back(Json::Array{vocabulary.Spelled(merge.left), vocabulary.Spelled(merge.right)});
  }
  Json model = Json::Object{{"type", "BPE"},
                            {"dropout", nullptr},
                            {"unk_token", parts.unk_token.empty() ? Json() : Json(parts.unk_token)},
                            {"continuing_subword_prefix", nullptr},
                            {"end_of_word_suffix", nullptr},
                            {"fuse_unk", parts.fuse_unk},
                            {"byte_fallback", false},
                            {"ignore_merges", parts.ignore_merges},
                            {"vocab", std::move(vocab)},
                            {"merges", std::move(merges)}};
  return Json::Object{{"version", "1.0"},
                      {"truncation", nullptr},
                      {"padding", nullptr},
                      {"added_tokens", AddedTokensJson(parts.added)},
                      {"normalizer", NormalizerJson(parts.normalizer)},
                      {"pre_tokenizer", PreTokenizerJson(parts.pre_tokenizer)},
                      {"post_processor", PostProcessorWriter(parts, vocabulary).Write()},
                      {"decoder", Json::Object{{"type", "ByteLevel"},
                                               {"add_prefix_space", true},
                                               {"trim_offsets", true},
                                               {"use_regex", true}}},
                      {"model", std::move(model)}};
}

}  // namespace planish

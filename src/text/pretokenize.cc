// SPDX-License-Identifier: Apache-2.0
#include "text/pretokenize.h"

#include <algorithm>

#include "base/error.h"
#include "text/unicode_class.h"
#include "text/utf8.h"

namespace planish {
namespace {

// Digits: each numeric character alone, or runs of them.
void ScanDigits(std::string_view text, bool individual, std::vector<std::string_view>* pieces) {
  const ClassFlags* classes = UnicodeClasses();
  const char* const end = text.data() + text.size();
  const char* begin = text.data();  // of the piece being collected
  bool in_digits = false;
  for (const char* at = begin; at != end;) {
    const char* next = at;
    const bool is_digit = (classes[NextValidUtf8(next)] & kRustNumeric) != 0;
    if (at != begin && (is_digit != in_digits || (is_digit && individual))) {
      pieces->emplace_back(begin, static_cast<size_t>(at - begin));
      begin = at;
    }
    in_digits = is_digit;
    at = next;
  }
  if (begin != end) pieces->emplace_back(begin, static_cast<size_t>(end - begin));
}

}  // namespace

std::vector<RegexMatch> CutByMatches(size_t text_size, const std::vector<RegexMatch>& matches,
                                     SplitBehavior behavior, bool invert) {
  struct Part {
    RegexMatch range;
    bool is_match;
  };
  std::vector<Part> parts;
  size_t at = 0;
  for (const RegexMatch& match : matches) {
    if (at != match.begin) parts.push_back({{at, match.begin}, invert});
    parts.push_back({match, !invert});
    at = match.end;
  }
  if (at != text_size) parts.push_back({{at, text_size}, invert});

  std::vector<RegexMatch> cuts;
  bool previous = false;
  switch (behavior) {
    case SplitBehavior::kIsolated:
      for (const Part& part : parts) cuts.push_back(part.range);
      break;
    case SplitBehavior::kRemoved:
      for (const Part& part : parts) {
        if (!part.is_match) cuts.push_back(part.range);
      }
      break;
    case SplitBehavior::kContiguous:
      for (const Part& part : parts) {
        if (part.is_match == previous && !cuts.empty())
          cuts.back().end = part.range.end;
        else
          cuts.push_back(part.range);
        previous = part.is_match;
      }
      break;
    case SplitBehavior::kMergedWithPrevious:
      for (const Part& part : parts) {
        if (part.is_match && !previous && !cuts.empty())
          cuts.back().end = part.range.end;
        else
          cuts.push_back(part.range);
        previous = part.is_match;
      }
      break;
    case SplitBehavior::kMergedWithNext:
      for (size_t i = parts.size(); i-- > 0;) {
        const Part& part = parts[i];
        if (part.is_match && !previous && !cuts.empty())
          cuts.back().begin = part.range.begin;
        else
          cuts.push_back(part.range);
        previous = part.is_match;
      }
      cuts = {cuts.rbegin(), cuts.rend()};
      break;
  }
  return cuts;
}

PreTokenizer::PreTokenizer(std::vector<PreTokenizeStep> steps, const std::string& where)
    : steps_(std::move(steps)) {
  PLANISH_CHECK(!steps_.empty() && steps_.back().kind == PreTokenizeStep::Kind::kByteLevel);
  for (const PreTokenizeStep& step : steps_) {
    Compiled compiled;
    if (step.kind == PreTokenizeStep::Kind::kSplit) {
      const bool isolates = step.behavior == SplitBehavior::kIsolated && !step.invert;
      if (step.is_regex && isolates) compiled.known = KnownSplitPattern(step.pattern);
      if (compiled.known == SplitPattern::kOther) {
        compiled.regex = std::make_shared<Regex>(
            step.is_regex ? step.pattern : EscapeRegex(step.pattern), where);
      }
    } else if (step.kind == PreTokenizeStep::Kind::kByteLevel && step.use_regex) {
      compiled.known = SplitPattern::kGpt2;
    }
    compiled_.push_back(std::move(compiled));
  }
}

bool PreTokenizer::cuts_at_lines() const {
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (steps_[i].kind == PreTokenizeStep::Kind::kByteLevel && steps_[i].add_prefix_space)
      return false;
    if (steps_[i].kind == PreTokenizeStep::Kind::kSplit && compiled_[i].regex != nullptr)
      return false;
  }
  return true;
}

size_t PlaceToCut(std::string_view text, size_t target) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  for (size_t at = std::max<size_t>(target, 2); at < text.size(); ++at) {
    at = text.find('\n', at - 1);
    if (at == std::string_view::npos || ++at >= text.size()) break;
    const char before = text[at - 2];
    if (is_letter(text[at]) &&
        (is_letter(before) || std::string_view(".,;:!?)").find(before) != std::string_view::npos))
      return at;
  }
  return text.size();
}

const std::vector<Piece>& PreTokenizer::Split(std::string_view text,
                                              PreTokenizeScratch* scratch) const {
  scratch->added.clear();
  scratch->pieces.clear();
  if (!text.empty()) scratch->pieces.push_back({text, 0});
  for (size_t i = 0; i < steps_.size(); ++i) Apply(steps_[i], compiled_[i], scratch);
  return scratch->pieces;
}

void PreTokenizer::Apply(const PreTokenizeStep& step, const Compiled& compiled,
                         PreTokenizeScratch* scratch) const {
  const bool is_byte_level = step.kind == PreTokenizeStep::Kind::kByteLevel;
  if (is_byte_level && !step.use_regex && !step.add_prefix_space) return;
  scratch->next.clear();
  for (const Piece& whole : scratch->pieces) {
    Piece piece = whole;
    size_t added = 0;
    if (is_byte_level && step.add_prefix_space && piece.text[0] != ' ') {
      piece.text = scratch->added.emplace_back(" ").append(piece.text);
      added = 1;
    }
    std::vector<std::string_view>& views = scratch->views;
    views.clear();
    if (step.kind == PreTokenizeStep::Kind::kDigits) {
      ScanDigits(piece.text, step.individual_digits, &views);
    } else if (compiled.known != SplitPattern::kOther) {
      ScanSplits(compiled.known, piece.text, &views);
    } else if (compiled.regex != nullptr) {
      scratch->matches.clear();
      compiled.regex->FindAll(piece.text, &scratch->regex, &scratch->matches);
      for (const auto& [begin, end] :
           CutByMatches(piece.text.size(), scratch->matches, step.behavior, step.invert)) {
        if (begin != end) views.push_back(piece.text.substr(begin, end - begin));
      }
    } else {
      views.push_back(piece.text);
    }
    for (const std::string_view view : views) {
      const auto offset = static_cast<size_t>(view.data() - piece.text.data());
      scratch->next.push_back({view, piece.origin + offset - (offset == 0 ? 0 : added)});
    }
  }
  scratch->pieces.swap(scratch->next);
}

}  // namespace planish

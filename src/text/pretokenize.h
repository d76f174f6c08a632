// SPDX-License-Identifier: Apache-2.0
// Cutting text into the pieces inside which BPE merges: a sequence of steps as the `pre_tokenizer` of tokenizer.json lists
// them, each cutting the pieces of the step before. The byte-level spelling itself is not done here: pieces stay bytes.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex.h"
#include "text/split_scanner.h"

namespace planish {

// What becomes of the text that a Split pattern matches: a piece of its own, dropped, joined to the piece before or after,
// or joined with neighbouring matches.
enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct PreTokenizeStep {
  enum class Kind { kSplit, kDigits, kByteLevel };
  Kind kind = Kind::kByteLevel;
  // kSplit
  std::string pattern;
  bool is_regex = true;  // else `pattern` is literal text
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
  // kDigits
  bool individual_digits = false;
  // kByteLevel
  bool add_prefix_space = false;
  bool use_regex = true;     // cut by GPT-2's pattern
  bool trim_offsets = true;  // no effect on ids; kept for writing back

  bool operator==(const PreTokenizeStep&) const = default;
};

struct Piece {
  std::string_view text;
  size_t origin = 0;  // offset in the split text that the piece begins at
};

// Working memory; one per thread at a time. Pieces may point into `added`.
struct PreTokenizeScratch {
  RegexScratch regex;
  std::vector<RegexMatch> matches;
  std::vector<std::string_view> views;
  std::vector<Piece> pieces, next;
  std::deque<std::string> added;  // pieces that got a space in front
};

class PreTokenizer {
 public:
  PreTokenizer() = default;
  // Error(kBadFile) for a bad pattern. The last step must be kByteLevel, and only it.
  PreTokenizer(std::vector<PreTokenizeStep> steps, const std::string& where);

  const std::vector<PreTokenizeStep>& steps() const { return steps_; }
  // True if PlaceToCut (below) finds places where a text can be cut without changing its pieces.
  bool cuts_at_lines() const;
  // The non-empty pieces of `text` (valid UTF-8) in order; valid until the next call with the same scratch.
  const std::vector<Piece>& Split(std::string_view text, PreTokenizeScratch* scratch) const;

 private:
  struct Compiled {
    SplitPattern known = SplitPattern::kOther;
    std::shared_ptr<const Regex> regex;  // for kSplit of an unknown pattern
  };
  void Apply(const PreTokenizeStep& step, const Compiled& compiled,
             PreTokenizeScratch* scratch) const;

  std::vector<PreTokenizeStep> steps_;
  std::vector<Compiled> compiled_;
};

// Where a text may be cut so that its parts are pre-tokenized exactly as the whole, by any PreTokenizer that cuts_at_lines:
// the first such place at or after `target`, text.size() if there is none. It is after a line break between an ASCII letter or
// punctuation mark and an ASCII letter, where every known pattern ends a piece; Unicode normal forms do not cross it either.
size_t PlaceToCut(std::string_view text, size_t target);

// Cuts of `text_size` bytes by matches (in order, not overlapping) under a behaviour; exposed for the Replace and Split users.
// Each result is a [begin, end) range to keep.
std::vector<RegexMatch> CutByMatches(size_t text_size, const std::vector<RegexMatch>& matches,
                                     SplitBehavior behavior, bool invert);

}  // namespace planish

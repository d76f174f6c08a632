// SPDX-License-Identifier: Apache-2.0
#include "text/normalize.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <new>

#include "base/error.h"
#include "text/unicode_class.h"
#include "text/utf8.h"

namespace planish {
namespace {

using Kind = NormalizeStep::Kind;

// A form of the Unicode that ICU has.
const icu::Normalizer2* CurrentForm(Kind kind) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* form = nullptr;
  switch (kind) {
    case Kind::kNfc:
      form = icu::Normalizer2::getNFCInstance(status);
      break;
    case Kind::kNfd:
      form = icu::Normalizer2::getNFDInstance(status);
      break;
    case Kind::kNfkc:
      form = icu::Normalizer2::getNFKCInstance(status);
      break;
    case Kind::kNfkd:
      form = icu::Normalizer2::getNFKDInstance(status);
      break;
    default:
      break;
  }
  PLANISH_CHECK(U_SUCCESS(status) && form != nullptr, "ICU has no normal form {}",
                static_cast<int>(kind));
  return form;
}

// The form of Unicode 9.0: what Hugging Face tokenizers 0.23 normalises by (found by trying every character). Characters that
// came later stay as they are and marks do not move across them.
const icu::Normalizer2* NormalForm(Kind kind) {
  static const icu::UnicodeSet known = [] {
    UErrorCode status = U_ZERO_ERROR;
    icu::UnicodeSet set(icu::UnicodeString(u"[:age=9.0:]"), status);
    PLANISH_CHECK(U_SUCCESS(status), "ICU set of characters by age: {}", u_errorName(status));
    set.freeze();
    return set;
  }();
  static const icu::FilteredNormalizer2 forms[] = {
      {*CurrentForm(Kind::kNfc), known},
      {*CurrentForm(Kind::kNfd), known},
      {*CurrentForm(Kind::kNfkc), known},
      {*CurrentForm(Kind::kNfkd), known},
  };
  return &forms[static_cast<size_t>(kind)];
}

// Builds the output of one step from pieces of its input.
class Output {
 public:
  Output(const TracedText& from, bool trace) : from_(from), trace_(trace) {}

  void Keep(size_t begin, size_t end) {
    out_.text.append(from_.text, begin, end - begin);
    if (trace_)
      out_.origins.insert(out_.origins.end(), from_.origins.begin() + begin,
                          from_.origins.begin() + end);
  }
  // New text that stands for the input at `at`.
  void Put(std::string_view text, size_t at) {
    out_.text.append(text);
    if (!trace_) return;
    const size_t origin =
        from_.origins.empty() ? 0 : from_.origins[std::min(at, from_.origins.size() - 1)];
    out_.origins.insert(out_.origins.end(), text.size(), origin);
  }
  TracedText Take() { return std::move(out_); }

 private:
  const TracedText& from_;
  bool trace_;
  TracedText out_;
};

// Runs of combining marks longer than this are put in canonical order here: ICU inserts mark by mark, which takes quadratic
// time on a hostile text of nothing but marks.
constexpr size_t kLongMarkRun = 128;

bool HasLongMarkRun(std::string_view text) {
  size_t run = 0;
  for (const char* at = text.data(); at != text.data() + text.size();) {
    if (static_cast<unsigned char>(*at) < 0x80) {
      run = 0;
      ++at;
      continue;
    }
    const char32_t code = NextValidUtf8(at);
    run = u_getCombiningClass(static_cast<UChar32>(code)) == 0 ? 0 : run + 1;
    if (run > kLongMarkRun) return true;
  }
  return false;
}

// Text that is normal today was so in Unicode 9.0; asking the current form spares the filter for nearly all text.
bool IsNormal(Kind kind, std::string_view text) {
  if (HasLongMarkRun(text)) return false;  // unknown, and asking ICU takes the quadratic time
  UErrorCode status = U_ZERO_ERROR;
  return CurrentForm(kind)->isNormalizedUTF8({text.data(), static_cast<int32_t>(text.size())},
                                             status) &&
         U_SUCCESS(status);
}

// The full decomposition of `text`, each run of marks sorted by combining class: equivalent to `text` for this form.
std::string DecomposedInOrder(Kind kind, std::string_view text) {
  const bool compatible = kind == Kind::kNfkc || kind == Kind::kNfkd;
  const icu::Normalizer2* form = NormalForm(compatible ? Kind::kNfkd : Kind::kNfd);
  struct Mark {
    char32_t code;
    uint8_t order;
  };
  std::vector<Mark> marks;
  std::string out;
  const auto flush = [&] {
    std::stable_sort(marks.begin(), marks.end(),
                     [](const Mark& a, const Mark& b) { return a.order < b.order; });
    for (const Mark& mark : marks) AppendUtf8(mark.code, &out);
    marks.clear();
  };
  const auto add = [&](UChar32 code) {
    const uint8_t order = form->getCombiningClass(code);
    if (order == 0) flush();
    marks.push_back({static_cast<char32_t>(code), order});
    if (order == 0) flush();
  };
  for (const char* at = text.data(); at != text.data() + text.size();) {
    const auto code = static_cast<UChar32>(NextValidUtf8(at));
    icu::UnicodeString parts;
    if (!form->getDecomposition(code, parts)) {
      add(code);
      continue;
    }
    for (int32_t i = 0; i < parts.length(); i = parts.moveIndex32(i, 1)) add(parts.char32At(i));
  }
  flush();
  return out;
}

std::string ToNormalForm(Kind kind, std::string_view text) {
  std::string ordered;
  if (HasLongMarkRun(text)) {
    ordered = DecomposedInOrder(kind, text);
    text = ordered;
  }
  std::string out;
  icu::StringByteSink<std::string> sink(&out, static_cast<int32_t>(text.size()));
  UErrorCode status = U_ZERO_ERROR;
  NormalForm(kind)->normalizeUTF8(0, {text.data(), static_cast<int32_t>(text.size())}, sink,
                                  nullptr, status);
  if (status == U_MEMORY_ALLOCATION_ERROR) throw std::bad_alloc();
  PLANISH_CHECK(U_SUCCESS(status), "ICU normalisation: {}", u_errorName(status));
  return out;
}

// Normalises stretch by stretch: no form looks across a character that has a boundary before it. ICU counts in int32_t, so
// long stretches without a boundary are cut; 64 MiB of combining marks is no text.
void NormalizeForm(Kind kind, const TracedText& from, Output* out) {
  constexpr size_t kLongest = size_t{64} << 20;
  const icu::Normalizer2* form = NormalForm(kind);
  const std::string_view text = from.text;
  if (from.origins.empty() && text.size() <= kLongest) {
    out->Put(ToNormalForm(kind, text), 0);
    return;
  }
  size_t begin = 0;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at != end;) {
    const char* next = at;
    NextValidUtf8(next);
    while (next != end) {
      const char* after = next;
      const char32_t code = NextValidUtf8(after);
      if (form->hasBoundaryBefore(static_cast<UChar32>(code))) break;
      if (static_cast<size_t>(next - at) > kLongest) break;
      next = after;
    }
    const auto stop = static_cast<size_t>(next - text.data());
    const std::string_view stretch = text.substr(begin, stop - begin);
    if (stretch.size() == 1) {
      out->Keep(begin, stop);  // ASCII is normal in every form
    } else if (const std::string normal = ToNormalForm(kind, stretch); normal == stretch) {
      out->Keep(begin, stop);
    } else {
      out->Put(normal, begin);
    }
    begin = stop;
    at = next;
  }
}

// Of Unicode 17, as Rust's standard library has it; ICU 72 knows 15.
char32_t LowerCase(char32_t code) {
  switch (code) {
    case 0x1C89:
    case 0xA7CC:
    case 0xA7CE:
    case 0xA7D2:
    case 0xA7D4:
    case 0xA7DA:
      return code + 1;
    case 0xA7CB:
      return 0x264;
    case 0xA7DC:
      return 0x19B;
    default:
      break;
  }
  if (code >= 0x10D50 && code <= 0x10D65) return code + 0x20;
  if (code >= 0x16EA0 && code <= 0x16EB8) return code + 0x1B;
  return static_cast<char32_t>(u_tolower(static_cast<UChar32>(code)));
}

void Lowercase(const TracedText& from, Output* out) {
  const char* const begin = from.text.data();
  const char* const end = begin + from.text.size();
  for (const char* at = begin; at != end;) {
    const char* next = at;
    const char32_t code = NextValidUtf8(next);
    std::string lower;
    AppendUtf8(LowerCase(code), &lower);
    if (code == 0x130) lower += "\u0307";  // the only character with a longer lower case
    out->Put(lower, static_cast<size_t>(at - begin));
    at = next;
  }
}

void Strip(const NormalizeStep& step, const TracedText& from, Output* out) {
  const ClassFlags* classes = UnicodeClasses();
  const char* const begin = from.text.data();
  const char* const end = begin + from.text.size();
  const char* first = nullptr;  // first character that is no white space
  const char* last = begin;     // after the last one
  for (const char* at = begin; at != end;) {
    const char* here = at;
    if ((classes[NextValidUtf8(at)] & kWhiteSpace) != 0) continue;
    if (first == nullptr) first = here;
    last = at;
  }
  if (first == nullptr) {
    if (!step.strip_left && !step.strip_right) out->Keep(0, from.text.size());
    return;
  }
  out->Keep(step.strip_left ? static_cast<size_t>(first - begin) : 0,
            static_cast<size_t>((step.strip_right ? last : end) - begin));
}

}  // namespace

Normalizer::Normalizer(std::vector<NormalizeStep> steps, const std::string& where)
    : steps_(std::move(steps)) {
  for (const NormalizeStep& step : steps_) {
    replaced_.push_back(step.kind == Kind::kReplace
                            ? std::make_shared<Regex>(
                                  step.is_regex ? step.pattern : EscapeRegex(step.pattern), where)
                            : nullptr);
  }
}

bool Normalizer::Apply(std::string_view text, bool trace, RegexScratch* scratch,
                       TracedText* out) const {
  constexpr size_t kCheckable = size_t{1} << 30;
  if (text.empty()) return false;
  bool changes = false;
  for (const NormalizeStep& step : steps_) {
    changes |= step.kind > Kind::kNfkd || text.size() > kCheckable || !IsNormal(step.kind, text);
  }
  if (!changes) return false;
  TracedText current{std::string(text), {}};
  if (trace) {
    current.origins.resize(text.size());
    for (size_t i = 0; i < text.size(); ++i) current.origins[i] = i;
  }
  for (size_t i = 0; i < steps_.size() && !current.text.empty(); ++i) {
    const NormalizeStep& step = steps_[i];
    Output output(current, trace);
    switch (step.kind) {
      case Kind::kNfc:
      case Kind::kNfd:
      case Kind::kNfkc:
      case Kind::kNfkd:
        NormalizeForm(step.kind, current, &output);
        break;
      case Kind::kLowercase:
        Lowercase(current, &output);
        break;
      case Kind::kStrip:
        Strip(step, current, &output);
        break;
      case Kind::kPrepend:
        output.Put(step.content, 0);
        output.Keep(0, current.text.size());
        break;
      case Kind::kReplace: {
        std::vector<RegexMatch> matches;
        replaced_[i]->FindAll(current.text, scratch, &matches);
        size_t at = 0;
        for (const auto& [begin, end] : matches) {
          output.Keep(at, begin);
          output.Put(step.content, begin);
          at = end;
        }
        output.Keep(at, current.text.size());
        break;
      }
    }
    current = output.Take();
  }
  *out = std::move(current);
  return true;
}

}  // namespace planish

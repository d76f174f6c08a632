// SPDX-License-Identifier: Apache-2.0
#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "base/error.h"
#include "base/limits.h"
#include "text/utf8.h"

namespace planish {
namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* p) const {
    Free(p);
  }
};
using CodePtr = std::unique_ptr<pcre2_code, Deleter<pcre2_code_free>>;
using CompileContextPtr =
    std::unique_ptr<pcre2_compile_context, Deleter<pcre2_compile_context_free>>;
using MatchContextPtr = std::unique_ptr<pcre2_match_context, Deleter<pcre2_match_context_free>>;
using MatchDataPtr = std::unique_ptr<pcre2_match_data, Deleter<pcre2_match_data_free>>;
using JitStackPtr = std::unique_ptr<pcre2_jit_stack, Deleter<pcre2_jit_stack_free>>;

constexpr size_t kJitStackBytes = size_t{8} << 20;
// One search call tries at most this many start positions before the clock is looked at. Split patterns match where they
// start, so they never notice.
constexpr size_t kStartsPerSearch = 64;
constexpr auto kBudget = std::chrono::milliseconds(500);          // for any text, and
constexpr auto kBudgetPerMiB = std::chrono::milliseconds(1'500);  // for each MiB of it

template <typename Pointer>
Pointer NotNull(Pointer pointer) {
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}

std::string ErrorText(int code) {
  PCRE2_UCHAR8 buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct RegexScratch::Impl {
  MatchContextPtr context{NotNull(pcre2_match_context_create(nullptr))};
  MatchDataPtr data{NotNull(pcre2_match_data_create(1, nullptr))};
  JitStackPtr stack{NotNull(pcre2_jit_stack_create(size_t{32} << 10, kJitStackBytes, nullptr))};

  Impl() {
    pcre2_set_match_limit(context.get(), limits::kRegexMatch);
    pcre2_set_depth_limit(context.get(), limits::kRegexDepth);
    pcre2_set_heap_limit(context.get(), limits::kRegexHeapKiB);
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
};

RegexScratch::RegexScratch() : impl_(std::make_unique<Impl>()) {}
RegexScratch::~RegexScratch() = default;

struct Regex::Impl {
  CodePtr code;
  std::string pattern;
  std::string where;
};

Regex::Regex(std::string_view pattern, std::string where) : impl_(std::make_unique<Impl>()) {
  const std::string translated = TranslateOniguruma(pattern, where);
  CompileContextPtr context(NotNull(pcre2_compile_context_create(nullptr)));
  pcre2_set_parens_nest_limit(context.get(), limits::kRegexParens);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  size_t offset = 0;
  // In Ruby syntax ^ and $ match at every line; a group without a name is captured, which nobody here asks for.
  const uint32_t options =
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_USE_OFFSET_LIMIT | PCRE2_NEVER_BACKSLASH_C;
  impl_->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR8>(translated.data()),
                                  translated.size(), options, &error, &offset, context.get()));
  if (impl_->code == nullptr)
    throw BadFile("{}: pattern {} is invalid: {}", where, Quoted(pattern), ErrorText(error));
  // Where JIT is not available the interpreter runs under the same limits.
  pcre2_jit_compile(impl_->code.get(), PCRE2_JIT_COMPLETE);
  impl_->pattern = pattern;
  impl_->where = std::move(where);
}
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

void Regex::FindAll(std::string_view text, RegexScratch* scratch,
                    std::vector<RegexMatch>* matches) const {
  RegexScratch::Impl& work = *scratch->impl_;
  const auto subject = reinterpret_cast<PCRE2_SPTR8>(text.data());
  const size_t* found = pcre2_get_ovector_pointer(work.data.get());
  const auto start_time = std::chrono::steady_clock::now();
  const auto budget = kBudget + kBudgetPerMiB * static_cast<int64_t>(text.size() >> 20);
  size_t last_end = text.size() + 1;  // no match yet
  size_t at = 0;
  for (uint32_t calls = 0; at <= text.size(); ++calls) {
    size_t limit = std::min(text.size(), at + kStartsPerSearch);
    while (limit < text.size() && (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80) ++limit;
    pcre2_set_offset_limit(work.context.get(), limit);
    const int result = pcre2_match(impl_->code.get(), subject, text.size(), at, PCRE2_NO_UTF_CHECK,
                                   work.data.get(), work.context.get());
    if (result < 0 && result != PCRE2_ERROR_NOMATCH) {
      throw BadFile("{}: pattern {} is too expensive on a text of {} bytes: {}", impl_->where,
                    Quoted(impl_->pattern), text.size(), ErrorText(result));
    }
    if ((result < 0 || calls % 32 == 31) &&
        std::chrono::steady_clock::now() - start_time > budget) {
      throw BadFile("{}: pattern {} is too slow on a text of {} bytes", impl_->where,
                    Quoted(impl_->pattern), text.size());
    }
    if (result < 0) {  // nothing starts in [at, limit]
      at = limit + 1;
      while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
      continue;
    }
    const RegexMatch match{found[0], found[1]};
    if (match.begin == match.end &&
        match.end == last_end) {  // would not advance: step over one character
      at = match.end + (match.end < text.size() ? DecodeUtf8(text.substr(match.end)).size : 1);
      continue;
    }
    if (match.end < match.begin)
      throw BadFile("{}: pattern {} moves the match start", impl_->where, Quoted(impl_->pattern));
    matches->push_back(match);
    last_end = match.end;
    at = match.end;
  }
}

}  // namespace planish

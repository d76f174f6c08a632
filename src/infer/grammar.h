// SPDX-License-Identifier: Apache-2.0
// A grammar over bytes as a recursive transition network: rules are small automata whose edges take bytes, call other rules
// or repeat one. Made through GrammarBuilder by what reads a JSON schema, a regular expression or a grammar text; run by
// GrammarAutomaton. Compiling is cheap and bounded; what the vocabulary makes of it is worked out while it runs.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

// Limits of what a request may ask to be compiled; they continue base/limits.h.
namespace planish::limits {
inline constexpr uint64_t kSchemaBytes = 64u << 10;
inline constexpr uint64_t kSchemaDepth = 64;
inline constexpr uint64_t kSchemaRefs =
    1'000;  // schemas that are merged from others ($ref, allOf, anyOf)
inline constexpr uint64_t kSchemaPatternBytes = 4u << 10;
inline constexpr uint64_t kGrammarRules = 16'384;
inline constexpr uint64_t kGrammarRepeat = 2'000;  // {m,n} of a regular expression or grammar text
inline constexpr uint64_t kGrammarStates = 200'000;  // each takes some 100 bytes
inline constexpr uint64_t kGrammarCompileMs = 500;
inline constexpr uint64_t kGrammarStack = 512;  // calls of rules that wait for their end
}  // namespace planish::limits

namespace planish {

// What is wrong with a schema, regular expression or grammar of a request, and where: `pointer` is a JSON pointer ("#/items")
// or a place in the text ("line 3").
class GrammarError : public Error {
 public:
  GrammarError(std::string pointer, const std::string& problem)
      : Error(ExitCode::kUsage, pointer + ": " + problem), pointer_(std::move(pointer)) {}
  const std::string& pointer() const { return pointer_; }

 private:
  std::string pointer_;
};

inline constexpr uint32_t kUnbounded = std::numeric_limits<uint32_t>::max();

struct Grammar {
  struct Edge {
    uint8_t first, last;  // bytes
    int32_t to;
  };
  struct Call {
    int32_t rule, to;
  };
  struct State {
    std::vector<Edge> edges;
    std::vector<int32_t> jumps;  // taken without a byte
    std::vector<Call> calls;
    int32_t repeat = -1;  // index into repeats: this state is one
    bool is_final = false;
  };
  // `rule` min to max times, then on to `to`.
  struct Repeat {
    int32_t rule, to;
    uint32_t min, max;
    bool is_string =
        false;  // of the characters of a JSON string: the automaton has a short cut for them
  };
  std::vector<State> states;
  std::vector<Repeat> repeats;
  std::vector<int32_t> starts;  // of rules, by rule
  int32_t root = 0;             // rule
};

struct CodeRange {
  char32_t first, last;
};

class GrammarBuilder {
 public:
  GrammarBuilder();

  int32_t NewRule();  // its start state is new
  int32_t Start(int32_t rule) const { return grammar_.starts[static_cast<size_t>(rule)]; }
  int32_t NewState();  // GrammarError when there are too many or too much time has passed
  void SetFinal(int32_t state) { grammar_.states[static_cast<size_t>(state)].is_final = true; }

  void Byte(int32_t from, uint8_t first, uint8_t last, int32_t to);
  void Jump(int32_t from, int32_t to);
  void CallRule(int32_t from, int32_t rule, int32_t to);
  // The same, with a new state to end in.
  int32_t Text(int32_t from, std::string_view bytes);
  int32_t CallRule(int32_t from, int32_t rule);
  int32_t Repeat(int32_t from, int32_t rule, uint32_t min, uint32_t max, bool is_string = false);
  // One character of the ranges, as UTF-8; surrogates are left out.
  void Characters(int32_t from, std::span<const CodeRange> ranges, int32_t to);

  // Checks and cleans: GrammarError if a rule calls itself before it takes a byte, or if no text at all fits the root.
  // Edges that cannot lead to an end are removed, so that whatever is begun can be finished.
  std::shared_ptr<const Grammar> Finish(int32_t root);

 private:
  void Utf8(int32_t from, char32_t first, char32_t last, int32_t to);
  void FindNullable();
  void CheckLeftRecursion() const;
  void Prune();
  Grammar grammar_;
  std::vector<char> nullable_;  // by rule
  std::chrono::steady_clock::time_point begin_;
};

// Sorted, without overlaps.
std::vector<CodeRange> Normalized(std::vector<CodeRange> ranges);
// All characters but these.
std::vector<CodeRange> Complement(std::vector<CodeRange> ranges);

}  // namespace planish

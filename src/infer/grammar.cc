// SPDX-License-Identifier: Apache-2.0
#include "infer/grammar.h"

#include <algorithm>

#include "text/utf8.h"

namespace planish {

GrammarBuilder::GrammarBuilder() : begin_(std::chrono::steady_clock::now()) {}

int32_t GrammarBuilder::NewRule() {
  if (grammar_.starts.size() >= limits::kGrammarRules)
    throw GrammarError("#", fmt::format("needs more than {} rules", limits::kGrammarRules));
  const int32_t start = NewState();
  grammar_.starts.push_back(start);
  return static_cast<int32_t>(grammar_.starts.size()) - 1;
}

int32_t GrammarBuilder::NewState() {
  if (grammar_.states.size() >= limits::kGrammarStates)
    throw GrammarError("#", fmt::format("needs more than {} states", limits::kGrammarStates));
  if (grammar_.states.size() % 1024 == 1023) {
    const auto spent = std::chrono::steady_clock::now() - begin_;
    if (spent > std::chrono::milliseconds(limits::kGrammarCompileMs))
      throw GrammarError(
          "#", fmt::format("takes more than {} ms to compile", limits::kGrammarCompileMs));
  }
  grammar_.states.emplace_back();
  return static_cast<int32_t>(grammar_.states.size()) - 1;
}

void GrammarBuilder::Byte(int32_t from, uint8_t first, uint8_t last, int32_t to) {
  grammar_.states[static_cast<size_t>(from)].edges.push_back({first, last, to});
}

void GrammarBuilder::Jump(int32_t from, int32_t to) {
  grammar_.states[static_cast<size_t>(from)].jumps.push_back(to);
}

void GrammarBuilder::CallRule(int32_t from, int32_t rule, int32_t to) {
  grammar_.states[static_cast<size_t>(from)].calls.push_back({rule, to});
}

int32_t GrammarBuilder::CallRule(int32_t from, int32_t rule) {
  const int32_t to = NewState();
  CallRule(from, rule, to);
  return to;
}

int32_t GrammarBuilder::Text(int32_t from, std::string_view bytes) {
  for (const char c : bytes) {
    const int32_t to = NewState();
    Byte(from, static_cast<uint8_t>(c), static_cast<uint8_t>(c), to);
    from = to;
  }
  return from;
}

int32_t GrammarBuilder::Repeat(int32_t from, int32_t rule, uint32_t min, uint32_t max,
                               bool is_string) {
  const int32_t at = NewState(), to = NewState();
  Jump(from, at);
  grammar_.states[static_cast<size_t>(at)].repeat = static_cast<int32_t>(grammar_.repeats.size());
  grammar_.repeats.push_back({rule, to, min, max, is_string});
  return to;
}

// Cuts a range where the length of its UTF-8 form or a leading byte changes, until it is a box of byte ranges.
void GrammarBuilder::Utf8(int32_t from, char32_t first, char32_t last, int32_t to) {
  constexpr char32_t kLengths[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
  for (const char32_t end : kLengths) {
    if (first <= end && end < last) {
      Utf8(from, first, end, to);
      return Utf8(from, end + 1, last, to);
    }
  }
  for (int tail = 1; tail < 4;
       ++tail) {  // the last `tail` bytes must run over all their values, or not vary above them
    const char32_t mask = (char32_t{1} << 6 * tail) - 1;
    if (last <= 0x7F || (first & ~mask) == (last & ~mask)) break;
    if ((first & mask) != 0) {
      Utf8(from, first, first | mask, to);
      return Utf8(from, (first | mask) + 1, last, to);
    }
    if ((last & mask) != mask) {
      Utf8(from, first, (last & ~mask) - 1, to);
      return Utf8(from, last & ~mask, last, to);
    }
  }
  std::string low, high;
  AppendUtf8(first, &low);
  AppendUtf8(last, &high);
  for (size_t i = 0; i < low.size(); ++i) {
    const int32_t next = i + 1 == low.size() ? to : NewState();
    Byte(from, static_cast<uint8_t>(low[i]), static_cast<uint8_t>(high[i]), next);
    from = next;
  }
}

void GrammarBuilder::Characters(int32_t from, std::span<const CodeRange> ranges, int32_t to) {
  for (const CodeRange& range : ranges) {
    if (range.first < 0xD800) Utf8(from, range.first, std::min<char32_t>(range.last, 0xD7FF), to);
    if (range.last > 0xDFFF) Utf8(from, std::max<char32_t>(range.first, 0xE000), range.last, to);
  }
}

// Least fixed point: a rule may be empty if its start reaches a final state without a byte.
void GrammarBuilder::FindNullable() {
  nullable_.assign(grammar_.starts.size(), 0);
  std::vector<uint32_t> seen(grammar_.states.size(), 0);
  uint32_t round = 0;
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t rule = 0; rule < grammar_.starts.size(); ++rule) {
      if (nullable_[rule]) continue;
      std::vector<int32_t> open = {grammar_.starts[rule]};
      ++round;
      const auto visit = [&](int32_t state) {
        if (seen[static_cast<size_t>(state)] == round) return;
        seen[static_cast<size_t>(state)] = round;
        open.push_back(state);
      };
      while (!open.empty() && !nullable_[rule]) {
        const Grammar::State& state = grammar_.states[static_cast<size_t>(open.back())];
        open.pop_back();
        if (state.is_final) nullable_[rule] = 1;
        for (const int32_t to : state.jumps) visit(to);
        for (const Grammar::Call& call : state.calls) {
          if (nullable_[static_cast<size_t>(call.rule)]) visit(call.to);
        }
        if (state.repeat < 0) continue;
        const Grammar::Repeat& repeat = grammar_.repeats[static_cast<size_t>(state.repeat)];
        if (repeat.min == 0 || nullable_[static_cast<size_t>(repeat.rule)]) visit(repeat.to);
      }
      changed = changed || nullable_[rule];
    }
  }
}

// A rule that can call itself before it took a byte would call forever. Depth-first over rules, without recursion.
void GrammarBuilder::CheckLeftRecursion() const {
  const size_t rules = grammar_.starts.size();
  std::vector<std::vector<int32_t>> first(rules);  // rules called before any byte
  std::vector<int32_t> seen(grammar_.states.size(), -1);
  for (size_t rule = 0; rule < rules; ++rule) {
    std::vector<int32_t> open = {grammar_.starts[rule]};
    const auto visit = [&](int32_t state) {
      if (seen[static_cast<size_t>(state)] == static_cast<int32_t>(rule)) return;
      seen[static_cast<size_t>(state)] = static_cast<int32_t>(rule);
      open.push_back(state);
    };
    while (!open.empty()) {
      const Grammar::State& state = grammar_.states[static_cast<size_t>(open.back())];
      open.pop_back();
      for (const int32_t to : state.jumps) visit(to);
      for (const Grammar::Call& call : state.calls) {
        first[rule].push_back(call.rule);
        if (nullable_[static_cast<size_t>(call.rule)]) visit(call.to);
      }
      if (state.repeat < 0) continue;
      const Grammar::Repeat& repeat = grammar_.repeats[static_cast<size_t>(state.repeat)];
      first[rule].push_back(repeat.rule);
      if (repeat.min == 0 || nullable_[static_cast<size_t>(repeat.rule)]) visit(repeat.to);
    }
  }
  enum : char { kNew, kOpen, kDone };
  std::vector<char> mark(rules, kNew);
  for (size_t root = 0; root < rules; ++root) {
    std::vector<std::pair<size_t, size_t>> path;  // rule, next of first[rule]
    if (mark[root] == kNew) path.push_back({root, 0});
    mark[root] = mark[root] == kNew ? char{kOpen} : mark[root];
    while (!path.empty()) {
      auto& [rule, next] = path.back();
      if (next == first[rule].size()) {
        mark[rule] = kDone;
        path.pop_back();
        continue;
      }
      const auto called = static_cast<size_t>(first[rule][next++]);
      if (mark[called] == kOpen)
        throw GrammarError("#", "a rule or $ref leads back to itself before it takes a character");
      if (mark[called] == kDone) continue;
      mark[called] = kOpen;
      path.push_back({called, 0});
    }
  }
}

// Which states can come to an end: least fixed point over states and rules, by going backwards from what is final.
void GrammarBuilder::Prune() {
  const size_t n = grammar_.states.size();
  std::vector<std::vector<int32_t>> before(n);  // states with an edge or jump to this one
  std::vector<std::vector<std::pair<int32_t, int32_t>>> waits(
      n);  // (state, rule): a call that returns here
  std::vector<std::vector<std::pair<int32_t, int32_t>>> callers(
      grammar_.starts.size());                    // (state, returns to)
  std::vector<std::vector<int32_t>> rules_of(n);  // rules that start here
  for (size_t rule = 0; rule < grammar_.starts.size(); ++rule)
    rules_of[static_cast<size_t>(grammar_.starts[rule])].push_back(static_cast<int32_t>(rule));
  const auto add_call = [&](size_t state, int32_t rule, int32_t to) {
    waits[static_cast<size_t>(to)].push_back({static_cast<int32_t>(state), rule});
    callers[static_cast<size_t>(rule)].push_back({static_cast<int32_t>(state), to});
  };
  for (size_t s = 0; s < n; ++s) {
    const Grammar::State& state = grammar_.states[s];
    for (const Grammar::Edge& edge : state.edges)
      before[static_cast<size_t>(edge.to)].push_back(static_cast<int32_t>(s));
    for (const int32_t to : state.jumps)
      before[static_cast<size_t>(to)].push_back(static_cast<int32_t>(s));
    for (const Grammar::Call& call : state.calls) add_call(s, call.rule, call.to);
    if (state.repeat < 0) continue;
    const Grammar::Repeat& repeat = grammar_.repeats[static_cast<size_t>(state.repeat)];
    if (repeat.min == 0 || nullable_[static_cast<size_t>(repeat.rule)]) {
      before[static_cast<size_t>(repeat.to)].push_back(static_cast<int32_t>(s));
    } else {
      add_call(s, repeat.rule, repeat.to);
    }
  }
  std::vector<char> alive(n, 0), productive(grammar_.starts.size(), 0);
  std::vector<int32_t> open;
  const auto revive = [&](int32_t state) {
    if (alive[static_cast<size_t>(state)]) return;
    alive[static_cast<size_t>(state)] = 1;
    open.push_back(state);
  };
  for (size_t s = 0; s < n; ++s) {
    if (grammar_.states[s].is_final) revive(static_cast<int32_t>(s));
  }
  while (!open.empty()) {
    const auto state = static_cast<size_t>(open.back());
    open.pop_back();
    for (const int32_t from : before[state]) revive(from);
    for (const auto& [from, rule] : waits[state]) {
      if (productive[static_cast<size_t>(rule)]) revive(from);
    }
    for (const int32_t rule : rules_of[state]) {
      if (productive[static_cast<size_t>(rule)]) continue;
      productive[static_cast<size_t>(rule)] = 1;
      for (const auto& [from, to] : callers[static_cast<size_t>(rule)]) {
        if (alive[static_cast<size_t>(to)]) revive(from);
      }
    }
  }
  if (!productive[static_cast<size_t>(grammar_.root)])
    throw GrammarError("#", "no text at all fits (its parts contradict each other)");
  for (Grammar::State& state : grammar_.states) {
    std::erase_if(state.edges,
                  [&](const Grammar::Edge& edge) { return !alive[static_cast<size_t>(edge.to)]; });
    std::erase_if(state.jumps, [&](int32_t to) { return !alive[static_cast<size_t>(to)]; });
    std::erase_if(state.calls, [&](const Grammar::Call& call) {
      return !alive[static_cast<size_t>(call.to)] || !productive[static_cast<size_t>(call.rule)];
    });
  }
  // A repeat of nothing: only its exit is left.
  for (Grammar::Repeat& repeat : grammar_.repeats) {
    if (!productive[static_cast<size_t>(repeat.rule)]) repeat.max = 0;
  }
}

std::shared_ptr<const Grammar> GrammarBuilder::Finish(int32_t root) {
  grammar_.root = root;
  FindNullable();
  for (Grammar::Repeat& repeat : grammar_.repeats) {
    if (!nullable_[static_cast<size_t>(repeat.rule)]) continue;
    repeat.min = 0;  // the empty text fills what is missing
    if (repeat.max != kUnbounded && repeat.max > 64)
      throw GrammarError("#", fmt::format("repeats up to {} times what may be empty", repeat.max));
  }
  CheckLeftRecursion();
  Prune();
  return std::make_shared<const Grammar>(std::move(grammar_));
}

std::vector<CodeRange> Normalized(std::vector<CodeRange> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const CodeRange& a, const CodeRange& b) { return a.first < b.first; });
  std::vector<CodeRange> out;
  for (const CodeRange& range : ranges) {
    if (!out.empty() && range.first <= out.back().last + 1) {
      out.back().last = std::max(out.back().last, range.last);
    } else {
      out.push_back(range);
    }
  }
  return out;
}

std::vector<CodeRange> Complement(std::vector<CodeRange> ranges) {
  std::vector<CodeRange> out;
  char32_t next = 0;
  for (const CodeRange& range : Normalized(std::move(ranges))) {
    if (range.first > next) out.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= 0x10FFFF) out.push_back({next, 0x10FFFF});
  return out;
}

}  // namespace planish

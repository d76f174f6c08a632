// SPDX-License-Identifier: Apache-2.0
#include "infer/grammar_automaton.h"

#include <algorithm>

namespace planish {
namespace {

constexpr int32_t kUnknown = -2, kDead = -1;
constexpr size_t kMaxSets = 8192;  // 1 KiB of transitions each
constexpr size_t kMaxFrames = 1 << 18;
constexpr size_t kMaxMasks = 64;
// Positions of a set, and steps to find them. Only expressions made to be ambiguous need more; what is dropped then is only
// other ways to read the same text, or texts nobody will miss: each position that stays can be finished.
constexpr size_t kMaxPositions = 2048;

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15u + (hash << 6) + (hash >> 2);
  return hash * 0xFF51AFD7ED558CCDu;
}

}  // namespace

GrammarAutomaton::GrammarAutomaton(std::shared_ptr<const Grammar> grammar,
                                   std::shared_ptr<const GrammarVocabulary> vocabulary)
    : grammar_(std::move(grammar)), vocabulary_(std::move(vocabulary)) {
  Closing closing;
  Close({grammar_->starts[static_cast<size_t>(grammar_->root)], -1}, &closing);
  current_ = SetOf(&closing);
}

int32_t GrammarAutomaton::FrameOf(int32_t state, int32_t count, int32_t below) {
  const int32_t depth = below < 0 ? 1 : frames_[static_cast<size_t>(below)].depth + 1;
  if (depth > static_cast<int32_t>(limits::kGrammarStack)) return -1;
  const uint64_t key =
      Mix(Mix(static_cast<uint64_t>(static_cast<uint32_t>(state)), static_cast<uint32_t>(count)),
          static_cast<uint32_t>(below));
  std::vector<int32_t>& same = frame_index_[key];
  for (const int32_t id : same) {
    const Frame& frame = frames_[static_cast<size_t>(id)];
    if (frame.state == state && frame.count == count && frame.below == below) return id;
  }
  frames_.push_back({state, count, below, depth});
  same.push_back(static_cast<int32_t>(frames_.size()) - 1);
  return same.back();
}

// At a repeat with `count` items read: go on behind it, or read another item.
void GrammarAutomaton::Arrive(int32_t repeat_state, uint32_t count, int32_t below,
                              Closing* closing) {
  const Grammar::Repeat& repeat = grammar_->repeats[static_cast<size_t>(
      grammar_->states[static_cast<size_t>(repeat_state)].repeat)];
  if (count >= repeat.min) closing->open.push_back({repeat.to, below});
  if (count >= repeat.max) return;
  // Without a most, counts above the least are all alike.
  const uint32_t next = repeat.max == kUnbounded ? std::min(count + 1, repeat.min) : count + 1;
  const int32_t frame = FrameOf(repeat_state, static_cast<int32_t>(next), below);
  if (frame >= 0)
    closing->open.push_back({grammar_->starts[static_cast<size_t>(repeat.rule)], frame});
}

// All positions that take a byte and are reached from here without one.
void GrammarAutomaton::Close(Position from, Closing* closing) {
  closing->open.push_back(from);
  while (!closing->open.empty()) {
    const Position at = closing->open.back();
    closing->open.pop_back();
    if (closing->seen.size() >= kMaxPositions) {
      closing->open.clear();
      return;
    }
    if (std::find(closing->seen.begin(), closing->seen.end(), at) != closing->seen.end()) continue;
    closing->seen.push_back(at);
    const Grammar::State& state = grammar_->states[static_cast<size_t>(at.state)];
    if (!state.edges.empty()) closing->positions.push_back(at);
    for (const int32_t to : state.jumps) closing->open.push_back({to, at.frame});
    for (const Grammar::Call& call : state.calls) {
      const int32_t frame = FrameOf(call.to, -1, at.frame);
      if (frame >= 0)
        closing->open.push_back({grammar_->starts[static_cast<size_t>(call.rule)], frame});
    }
    if (state.repeat >= 0) Arrive(at.state, 0, at.frame, closing);
    if (!state.is_final) continue;
    if (at.frame < 0) {
      closing->is_complete = true;
      continue;
    }
    const Frame frame = frames_[static_cast<size_t>(at.frame)];
    if (frame.count < 0) {
      closing->open.push_back({frame.state, frame.below});
    } else {
      Arrive(frame.state, static_cast<uint32_t>(frame.count), frame.below, closing);
    }
  }
}

int32_t GrammarAutomaton::SetOf(Closing* closing) {
  std::vector<Position>& positions = closing->positions;
  if (positions.empty() && !closing->is_complete) return kDead;
  std::sort(positions.begin(), positions.end());
  positions.erase(std::unique(positions.begin(), positions.end()), positions.end());
  uint64_t key = closing->is_complete;
  for (const Position& at : positions)
    key = Mix(Mix(key, static_cast<uint32_t>(at.state)), static_cast<uint32_t>(at.frame));
  std::vector<int32_t>& same = set_index_[key];
  for (const int32_t id : same) {
    const Set& set = sets_[static_cast<size_t>(id)];
    if (set.is_complete == closing->is_complete && set.positions == positions) return id;
  }
  Set set;
  set.positions = std::move(positions);
  set.is_complete = closing->is_complete;
  sets_.push_back(std::move(set));
  same.push_back(static_cast<int32_t>(sets_.size()) - 1);
  return same.back();
}

int32_t GrammarAutomaton::Next(int32_t id, uint8_t byte) {
  Set& set = sets_[static_cast<size_t>(id)];
  if (set.next == nullptr) {
    set.next = std::make_unique<int32_t[]>(256);
    std::fill_n(set.next.get(), 256, kUnknown);
  }
  if (set.next[byte] != kUnknown) return set.next[byte];
  Closing closing;
  for (const Position& at : set.positions) {
    for (const Grammar::Edge& edge : grammar_->states[static_cast<size_t>(at.state)].edges) {
      if (edge.first <= byte && byte <= edge.last) Close({edge.to, at.frame}, &closing);
    }
  }
  const int32_t to = SetOf(&closing);  // may move the sets
  sets_[static_cast<size_t>(id)].next[byte] = to;
  return to;
}

int32_t GrammarAutomaton::Run(int32_t set, std::string_view bytes) {
  for (const char c : bytes) {
    if (set == kDead) break;
    set = Next(set, static_cast<uint8_t>(c));
  }
  return set;
}

bool GrammarAutomaton::Accepts(std::string_view bytes) { return Run(current_, bytes) != kDead; }

bool GrammarAutomaton::Push(std::string_view bytes) {
  const int32_t to = Run(current_, bytes);
  if (to == kDead) return false;
  current_ = to;
  has_taken_ = has_taken_ || !bytes.empty();
  if (sets_.size() > kMaxSets || frames_.size() > kMaxFrames) ForgetSets();
  return true;
}

// Keeps the current set with its stacks, and nothing else.
void GrammarAutomaton::ForgetSets() {
  const Set current = std::move(sets_[static_cast<size_t>(current_)]);
  const std::vector<Frame> old = std::exchange(frames_, {});
  sets_.clear();
  set_index_.clear();
  frame_index_.clear();
  masks_.clear();
  std::unordered_map<int32_t, int32_t> moved = {{-1, -1}};
  Closing closing;
  closing.is_complete = current.is_complete;
  for (const Position& at : current.positions) {
    std::vector<int32_t> path;
    for (int32_t f = at.frame; moved.count(f) == 0; f = old[static_cast<size_t>(f)].below)
      path.push_back(f);
    for (; !path.empty(); path.pop_back()) {
      const Frame& frame = old[static_cast<size_t>(path.back())];
      moved[path.back()] = FrameOf(frame.state, frame.count, moved[frame.below]);
    }
    closing.positions.push_back({at.state, moved[at.frame]});
  }
  current_ = SetOf(&closing);
}

void GrammarAutomaton::Walk(const GrammarVocabulary::Trie& trie, int32_t from, TokenMask* mask) {
  if (from == kDead || trie.nodes.size() < 2) return;
  if (walk_.empty()) walk_.resize(size_t{1} << 16);
  walk_[0] = from;
  for (size_t i = 0; i + 1 < trie.nodes.size();) {
    const GrammarVocabulary::Node& node = trie.nodes[i];
    const int32_t at = walk_[node.depth - 1];
    const int32_t* next = sets_[static_cast<size_t>(at)].next.get();
    const int32_t known = next != nullptr ? next[node.byte] : kUnknown;
    const int32_t to = known != kUnknown ? known : Next(at, node.byte);
    if (to == kDead) {
      i = node.end;
      continue;
    }
    walk_[node.depth] = to;
    for (uint32_t t = node.first_token; t < trie.nodes[i + 1].first_token; ++t)
      mask->Allow(static_cast<size_t>(trie.tokens[t]));
    ++i;
  }
}

const TokenMask& GrammarAutomaton::Mask(std::string_view after) {
  const int32_t wanted = Run(current_, after);
  for (auto it = masks_.begin(); it != masks_.end(); ++it) {
    if (it->first != wanted) continue;
    masks_.splice(masks_.begin(), masks_, it);
    return masks_.front().second;
  }
  if (masks_.size() >= kMaxMasks) masks_.pop_back();
  masks_.emplace_front(wanted, TokenMask(vocabulary_->size()));
  TokenMask* mask = &masks_.front().second;
  if (wanted == kDead) return *mask;
  // At the beginning of a character of a JSON string, the plain tokens are known; only those with a quote, an escape or part
  // of a character have to be walked.
  Closing others, strings;
  uint32_t most = 0;
  const std::vector<Position> positions = sets_[static_cast<size_t>(wanted)].positions;
  for (const Position& at : positions) {
    bool is_string = false;
    if (at.frame >= 0) {
      const Frame& frame = frames_[static_cast<size_t>(at.frame)];
      const int32_t r = grammar_->states[static_cast<size_t>(frame.state)].repeat;
      if (frame.count >= 0 && r >= 0 && grammar_->repeats[static_cast<size_t>(r)].is_string) {
        const Grammar::Repeat& repeat = grammar_->repeats[static_cast<size_t>(r)];
        is_string = at.state == grammar_->starts[static_cast<size_t>(repeat.rule)];
        const uint32_t left = repeat.max == kUnbounded
                                  ? kUnbounded
                                  : repeat.max - static_cast<uint32_t>(frame.count) + 1;
        if (is_string) most = std::max(most, left);
      }
    }
    (is_string ? strings : others).positions.push_back(at);
  }
  vocabulary_->AllowPlain(most, mask);
  Walk(vocabulary_->not_plain(), SetOf(&strings), mask);
  Walk(vocabulary_->all(), SetOf(&others), mask);
  return *mask;
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "infer/prefix_cache.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "kernels/kv_page.h"
#include "model/planner.h"

namespace planish {
namespace {

constexpr size_t kLooksForVictims = 256;  // least recently used entries that are compared
constexpr size_t kLooksForStates = 64;    // nodes below a match that are asked for a state
constexpr size_t kKeptPeriods = 4;        // at each spacing

size_t CommonLength(std::span<const int32_t> a, std::span<const int32_t> b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first -
                             a.begin());
}

// The cuts up to a length.
std::span<const size_t> CutsUpTo(std::span<const size_t> cuts, size_t length) {
  return cuts.first(
      static_cast<size_t>(std::upper_bound(cuts.begin(), cuts.end(), length) - cuts.begin()));
}

}  // namespace

size_t DefaultCacheBytes() {
  return static_cast<size_t>(std::min<uint64_t>(AvailableBytes() / 4, uint64_t{4} << 30));
}

struct PrefixCache::Entry {
  SequenceState state;
  StateOrigin origin;
  Kind kind;
  uint64_t last_use = 0;
  std::shared_ptr<const void> token = std::make_shared<char>();  // leases are copies of it
  std::list<Node*>::iterator place;
  bool is_packed = false;
  bool is_saved = false;  // in the folder, or not to be

  bool is_locked() const { return token.use_count() > 1; }
  bool is_exact() const { return origin.exact_length >= state.length(); }
};

// Invariants: a leaf has an entry; an inner node without one has at least two children.
struct PrefixCache::Node {
  Node* parent = nullptr;
  std::vector<int32_t> ids;  // of the edge from the parent; empty at the root
  size_t end = 0;            // tokens from the root to here
  std::map<int32_t, std::unique_ptr<Node>> children;  // by first id
  std::unique_ptr<Entry> entry;
};

PrefixCache::PrefixCache(const Model* model, size_t budget_bytes)
    : model_(model),
      size_(StateSizeOf(*model)),
      full_recurrent_bytes_(size_.recurrent_bytes),
      ssm_(model->state_types().ssm) {
  stats_.budget = budget_bytes;
  if (budget_bytes > 0 && !Accepts(1)) {
    LogWarning(
        "prefix cache: one state of this model needs {}, more than the {} allowed: nothing "
        "will be kept",
        GiB(size_.Bytes(1)), GiB(budget_bytes));
  }
}

PrefixCache::~PrefixCache() = default;

void PrefixCache::PackSsm(char packed) {
  PLANISH_CHECK(stats_.entries == 0);
  if (!size_.is_recurrent() || ssm_ != DType::kF32) return;  // nothing to pack
  has_packed_ = true;
  packed_ = packed;
  size_ = StateSizeOf(*model_, DType::kBF16);
}

bool PrefixCache::Packs(std::string_view salt) const {
  return has_packed_ && salt.starts_with(packed_);
}

size_t PrefixCache::RecurrentBytes(const Entry& entry) const {
  return entry.is_packed ? size_.recurrent_bytes : full_recurrent_bytes_;
}

// How many tokens of a state of `length`, of which `matched` are those of the query, it may resume.
size_t PrefixCache::Usable(const StateOrigin& origin, size_t length, size_t matched,
                           const Query& query) const {
  if (!size_.is_recurrent()) {
    const size_t usable = std::min({length, matched, query.longest});
    return query.takes_answers ? usable : std::min(usable, origin.exact_length);
  }
  if (length > std::min(matched, query.longest)) return 0;
  if (origin.exact_length < length) return query.takes_answers ? length : 0;
  const auto cuts = CutsUpTo(query.cuts, length);
  const bool is_equal =
      std::equal(cuts.begin(), cuts.end(), origin.cuts.begin(), origin.cuts.end());
  return is_equal ? length : 0;
}

void PrefixCache::Consider(const Node& node, size_t matched, const Query& query, const Node** best,
                           size_t* length) const {
  if (node.entry == nullptr) return;
  const Entry& entry = *node.entry;
  const size_t usable = Usable(entry.origin, node.end, matched, query);
  const bool is_more_exact = *best != nullptr && usable == *length && usable > 0 &&
                             entry.origin.exact_length > (*best)->entry->origin.exact_length;
  if (usable > *length || is_more_exact) {
    *best = &node;
    *length = usable;
  }
}

PrefixCache::Hit PrefixCache::Find(const Query& query) {
  ++clock_;
  ++stats_.lookups;
  Hit hit = FindInTree(query);
  if (LoadDeeper(query, hit)) hit = FindInTree(query);
  if (hit.state) ++stats_.hits;
  return hit;
}

PrefixCache::Hit PrefixCache::FindInTree(const Query& query) {
  Hit hit;
  const auto root = roots_.find(query.salt);
  if (root == roots_.end()) return hit;
  Node* node = root->second.get();
  std::vector<const Node*> path;
  const Node* last = node;  // the node whose edge the ids leave or end in
  while (true) {
    const auto rest = query.ids.subspan(node->end);
    const auto child = rest.empty() ? node->children.end() : node->children.find(rest.front());
    if (child == node->children.end()) {
      hit.leaves_edge = !node->children.empty();
      break;
    }
    last = child->second.get();
    const size_t common = CommonLength(last->ids, rest);
    hit.matched += common;
    if (common < last->ids.size()) {
      hit.leaves_edge = true;
      break;
    }
    node = child->second.get();
    path.push_back(node);
  }
  const Node* best = nullptr;
  size_t length = 0;
  for (const Node* passed : path) Consider(*passed, hit.matched, query, &best, &length);
  if (!size_.is_recurrent()) {
    std::vector<const Node*> open = {last};
    for (size_t looks = 0; looks < kLooksForStates && !open.empty(); ++looks) {
      const Node* next = open.back();
      open.pop_back();
      Consider(*next, hit.matched, query, &best, &length);
      for (const auto& [first, child] : next->children) open.push_back(child.get());
    }
  }
  if (best == nullptr || length == 0) return hit;
  Entry& entry = *best->entry;
  Touch(const_cast<Node*>(best));
  hit.state = entry.state.Snapshot();
  if (entry.is_packed) SetSsmType(*model_, ssm_, &*hit.state);
  PLANISH_CHECK(hit.state->Truncate(length));
  hit.origin = entry.origin;
  if (hit.origin.exact_length >= length)
    hit.origin.exact_length = std::numeric_limits<size_t>::max();
  hit.lease = entry.token;
  return hit;
}

// Brings a state from the folder into the tree if one goes further than `hit`.
bool PrefixCache::LoadDeeper(const Query& query, const Hit& hit) {
  if (folder_ == nullptr || !query.salt.starts_with(persistent_)) return false;
  size_t length = hit.state ? hit.state->length() : 0;
  std::string best;
  for (const auto& [name, stored] : folder_->files()) {
    if (stored.salt != query.salt || !Accepts(stored.ids.size())) continue;
    const size_t usable =
        Usable(stored.origin, stored.ids.size(), CommonLength(stored.ids, query.ids), query);
    if (usable > length) best = name, length = usable;
  }
  if (best.empty()) return false;
  const StateFolder::Stored stored = folder_->files().at(best);  // a copy: loading may delete it
  std::optional<SequenceState> state = folder_->Load(best);
  return state && Insert(stored.salt, stored.ids, std::move(*state), stored.origin, Kind::kCut);
}

void PrefixCache::UseFolder(std::unique_ptr<StateFolder> folder, char persistent) {
  folder_ = std::move(folder);
  persistent_ = persistent;
}

void PrefixCache::Save(Node* node) {
  Entry& entry = *node->entry;
  if (folder_ == nullptr || entry.is_saved) return;
  entry.is_saved = true;
  std::vector<const Node*> path;
  const Node* root = node;
  for (; root->parent != nullptr; root = root->parent) path.push_back(root);
  const auto salted = std::find_if(roots_.begin(), roots_.end(),
                                   [&](const auto& each) { return each.second.get() == root; });
  if (!salted->first.starts_with(persistent_)) return;
  std::vector<int32_t> ids;
  for (auto it = path.rbegin(); it != path.rend(); ++it)
    ids.insert(ids.end(), (*it)->ids.begin(), (*it)->ids.end());
  folder_->Write(salted->first, ids, entry.origin, entry.state);
}

bool PrefixCache::SaveOne() {
  if (folder_ == nullptr) return false;
  for (Node* node : entries_) {
    if (node->entry->is_saved) continue;
    Save(node);
    return true;
  }
  return false;
}

void PrefixCache::Touch(Node* node) {
  node->entry->last_use = clock_;
  entries_.splice(entries_.end(), entries_, node->entry->place);
}

// The upper part of `node`'s edge, `length` ids long, becomes a node of its own; `node` stays the lower one.
PrefixCache::Node* PrefixCache::Split(Node* node, size_t length) {
  auto upper = std::make_unique<Node>();
  Node* parent = node->parent;
  const int32_t first = node->ids.front();
  const auto cut = node->ids.begin() + static_cast<ptrdiff_t>(length);
  upper->parent = parent;
  upper->ids.assign(node->ids.begin(), cut);
  upper->end = parent->end + length;
  node->ids.erase(node->ids.begin(), cut);
  node->parent = upper.get();
  std::unique_ptr<Node>& slot = parent->children.at(first);
  std::unique_ptr<Node> lower = std::move(slot);
  upper->children.emplace(node->ids.front(), std::move(lower));
  slot = std::move(upper);
  return slot.get();
}

// The node at the end of `ids`, made if there is none.
PrefixCache::Node* PrefixCache::Descend(std::string_view salt, std::span<const int32_t> ids) {
  auto root = roots_.find(salt);
  if (root == roots_.end())
    root = roots_.emplace(std::string(salt), std::make_unique<Node>()).first;
  Node* node = root->second.get();
  while (node->end < ids.size()) {
    const auto rest = ids.subspan(node->end);
    std::unique_ptr<Node>& child = node->children[rest.front()];
    if (child == nullptr) {
      child = std::make_unique<Node>();
      child->parent = node;
      child->ids.assign(rest.begin(), rest.end());
      child->end = ids.size();
      return child.get();
    }
    const size_t common = CommonLength(child->ids, rest);
    node = common < child->ids.size() ? Split(child.get(), common) : child.get();
  }
  return node;
}

// Restores the invariants where an entry was taken away.
void PrefixCache::Prune(Node* node) {
  while (node->parent != nullptr && node->entry == nullptr && node->children.empty()) {
    Node* parent = node->parent;
    parent->children.erase(node->ids.front());
    node = parent;
  }
  if (node->parent == nullptr) {
    if (node->children.empty()) {
      std::erase_if(roots_, [&](const auto& root) { return root.second.get() == node; });
    }
    return;
  }
  if (node->entry != nullptr || node->children.size() != 1) return;
  Node* parent = node->parent;
  std::unique_ptr<Node> child = std::move(node->children.begin()->second);
  child->ids.insert(child->ids.begin(), node->ids.begin(), node->ids.end());
  child->parent = parent;
  parent->children.at(child->ids.front()) = std::move(child);  // ends `node`
}

void PrefixCache::Charge(const Entry& entry) {
  stats_.bytes += RecurrentBytes(entry);
  stats_.state_bytes += RecurrentBytes(entry);
  for (const std::byte* column : ColumnsOf(*model_, entry.state)) {
    if (++column_uses_[column] == 1) stats_.bytes += size_.column_bytes;
  }
}

void PrefixCache::Release(const Entry& entry) {
  stats_.bytes -= RecurrentBytes(entry);
  stats_.state_bytes -= RecurrentBytes(entry);
  for (const std::byte* column : ColumnsOf(*model_, entry.state)) {
    const auto uses = column_uses_.find(column);
    if (--uses->second > 0) continue;
    column_uses_.erase(uses);
    stats_.bytes -= size_.column_bytes;
  }
}

void PrefixCache::RemoveEntry(Node* node) {
  Release(*node->entry);
  entries_.erase(node->entry->place);
  node->entry.reset();
  --stats_.entries;
  Prune(node);
}

PrefixCache::Lease PrefixCache::Insert(std::string_view salt, std::span<const int32_t> ids,
                                       SequenceState state, StateOrigin origin, Kind kind) {
  PLANISH_CHECK(ids.size() == state.length());
  ++clock_;
  if (!Accepts(ids.size())) {
    // Without recurrent blocks the beginning is as good.
    const size_t fits = size_.is_recurrent() ? 0 : size_.PositionsWithin(stats_.budget, ids.size());
    if (fits == 0) {
      ++stats_.refused;
      return {};
    }
    PLANISH_CHECK(state.Truncate(fits));
    ids = ids.first(fits);
  }
  if (ids.empty()) return {};
  const bool is_packed = Packs(salt);
  if (is_packed) origin.exact_length = 0;
  Node* node = Descend(salt, ids);
  if (node->entry != nullptr) {
    const Entry& old = *node->entry;
    const bool is_as_good = old.origin.cuts == origin.cuts &&
                            old.origin.exact_length >= std::min(origin.exact_length, ids.size());
    if (is_as_good || old.is_locked() || (old.is_exact() && origin.exact_length < ids.size())) {
      Touch(node);
      return old.token;
    }
    Release(old);
    entries_.erase(old.place);
    --stats_.entries;
  }
  node->entry = std::make_unique<Entry>();
  Entry& entry = *node->entry;
  entry.state = std::move(state);
  entry.is_packed = is_packed;
  if (is_packed) SetSsmType(*model_, DType::kBF16, &entry.state);
  entry.origin = std::move(origin);
  entry.kind = kind;
  entry.last_use = clock_;
  entry.place = entries_.insert(entries_.end(), node);
  ++stats_.entries;
  ++stats_.stored;
  Charge(entry);
  Lease lease = entry.token;
  if (!size_.is_recurrent()) DropCovered(node);
  if (kind == Kind::kPeriodic) ThinPeriodic(node);
  while (stats_.bytes > stats_.budget) {
    if (EvictOne()) continue;
    ++stats_.refused;
    RemoveEntry(node);
    return {};
  }
  return lease;
}

// Entries above `node` whose every token it holds as exactly: its state can be cut back to theirs.
void PrefixCache::DropCovered(Node* node) {
  std::vector<Node*> covered;
  for (Node* above = node->parent; above != nullptr; above = above->parent) {
    const Entry* entry = above->entry.get();
    if (entry != nullptr && !entry->is_locked() &&
        std::min(entry->origin.exact_length, above->end) <= node->entry->origin.exact_length)
      covered.push_back(above);
  }
  for (Node* above : covered) RemoveEntry(above);
}

// Behind the newest periodic snapshot of a long prompt the older ones get sparse: kKeptPeriods at every kSnapshotPeriod tokens, then
// as many at twice that, and so on.
void PrefixCache::ThinPeriodic(Node* node) {
  std::vector<Node*> thinned;
  for (Node* above = node->parent; above != nullptr; above = above->parent) {
    const Entry* entry = above->entry.get();
    if (entry == nullptr || entry->kind != Kind::kPeriodic || entry->is_locked()) continue;
    size_t spacing = kSnapshotPeriod;
    while (node->end - above->end >= 2 * kKeptPeriods * spacing) spacing *= 2;
    if (above->end % spacing != 0) thinned.push_back(above);
  }
  for (Node* above : thinned) {
    ++stats_.evicted;
    RemoveEntry(above);
  }
}

// Tokens that only this entry saves.
size_t PrefixCache::SavedTokens(const Node& node) {
  const Node* above = node.parent;
  while (above->parent != nullptr && above->entry == nullptr) above = above->parent;
  return node.end - above->end;
}

// Prefill time saved per byte, less the longer it was not used. A token's prefill time is the same for all, so it is left
// out.
double PrefixCache::Worth(const Node& node) const {
  const size_t saved = SavedTokens(node);
  return static_cast<double>(saved) / static_cast<double>(size_.Bytes(saved)) /
         static_cast<double>(1 + clock_ - node.entry->last_use);
}

bool PrefixCache::EvictOne() {
  Node* victim = nullptr;
  double least = 0;
  size_t looks = 0;
  for (Node* node : entries_) {
    if (node->entry->is_locked()) continue;
    const double worth = Worth(*node);
    if (victim == nullptr || worth < least) victim = node, least = worth;
    // Keys and values go by age alone.
    if (!size_.is_recurrent() || ++looks == kLooksForVictims) break;
  }
  if (victim == nullptr) return false;
  ++stats_.evicted;
  Save(victim);
  if (size_.is_recurrent() || !victim->children.empty()) {
    RemoveEntry(victim);
  } else {
    const size_t excess = stats_.bytes - stats_.budget;
    Shorten(victim, (excess + size_.column_bytes - 1) / size_.column_bytes);
  }
  return true;
}

// Takes columns from the end of a leaf; all of it if it would end above its own edge, which others hold then.
void PrefixCache::Shorten(Node* node, size_t columns) {
  const size_t held = size_.Columns(node->end), begin = node->parent->end;
  const size_t length = held > columns ? (held - columns) * kKvPagePositions : 0;
  if (length <= begin) {
    RemoveEntry(node);
    return;
  }
  Release(*node->entry);
  PLANISH_CHECK(node->entry->state.Truncate(length));
  Charge(*node->entry);
  node->ids.resize(length - begin);
  node->end = length;
}

void PrefixCache::Drop(std::string_view salt) {
  const auto root = roots_.find(salt);
  if (root == roots_.end()) return;
  std::erase_if(entries_, [&](Node* node) {
    const Node* top = node;
    while (top->parent != nullptr) top = top->parent;
    if (top != root->second.get()) return false;
    Release(*node->entry);
    --stats_.entries;
    return true;
  });
  roots_.erase(root);
}

void PrefixCache::CheckInvariants() const {
  size_t entries = 0, nodes_below_empty_roots = 0;
  std::unordered_map<const std::byte*, size_t> columns;
  const std::function<void(const Node&)> check = [&](const Node& node) {
    PLANISH_CHECK(node.parent == nullptr || node.end == node.parent->end + node.ids.size());
    PLANISH_CHECK(node.parent == nullptr || !node.ids.empty());
    PLANISH_CHECK(node.parent == nullptr || node.entry != nullptr || node.children.size() >= 2);
    if (node.parent == nullptr && node.children.empty()) ++nodes_below_empty_roots;
    for (const auto& [first, child] : node.children) {
      PLANISH_CHECK(child->parent == &node && child->ids.front() == first);
      check(*child);
    }
    if (node.entry == nullptr) return;
    PLANISH_CHECK(*node.entry->place == &node && node.entry->state.length() == node.end);
    ++entries;
    for (const std::byte* column : ColumnsOf(*model_, node.entry->state)) ++columns[column];
  };
  for (const auto& [salt, root] : roots_) check(*root);
  PLANISH_CHECK(nodes_below_empty_roots == 0);
  PLANISH_CHECK(entries == stats_.entries && entries == entries_.size());
  PLANISH_CHECK(columns == column_uses_);
  size_t state_bytes = 0;
  for (const Node* node : entries_) state_bytes += RecurrentBytes(*node->entry);
  PLANISH_CHECK(stats_.state_bytes == state_bytes);
  PLANISH_CHECK(stats_.bytes == stats_.state_bytes + columns.size() * size_.column_bytes);
  PLANISH_CHECK(stats_.bytes <= stats_.budget);
}

}  // namespace planish

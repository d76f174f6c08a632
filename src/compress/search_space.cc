// SPDX-License-Identifier: Apache-2.0
#include "compress/search_space.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "base/error.h"
#include "model/config_edit.h"

namespace planish {
namespace {

struct Item {
  std::string key;   // "kv", "heads", "head_dim", "linear", "none"; empty for a bare number
  double value = 0;  // of those with a number
  bool is_percent = false;
  std::string text;  // as the user wrote it
};

// "heads=75%,50%,none": a number without a key takes the key before it.
std::vector<Item> ParseList(const std::string& text, const char* option,
                            const std::vector<std::string>& keys) {
  std::vector<Item> items;
  std::string key;
  const auto refuse = [&](const std::string& piece) {
    std::string known;
    for (const std::string& k : keys) known += k.empty() ? "a number, " : k + "=NUMBER, ";
    throw UsageError("{} is {}: {} is not one of {}linear, none", option, Quoted(text),
                     Quoted(piece), known);
  };
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string piece = text.substr(begin, end - begin);
    begin = end + 1;
    Item item{.text = piece};
    if (piece == "linear" || piece == "none") {
      item.key = piece;
      items.push_back(item);
      continue;
    }
    const size_t equals = piece.find('=');
    if (equals != std::string::npos) key = piece.substr(0, equals);
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) refuse(piece);
    const char* number = piece.data() + (equals == std::string::npos ? 0 : equals + 1);
    const char* stop = piece.data() + piece.size();
    item.is_percent = stop > number && stop[-1] == '%';
    stop -= item.is_percent ? 1 : 0;
    const auto [at, error] = std::from_chars(number, stop, item.value);
    if (error != std::errc() || at != stop || !(item.value > 0) || item.value > 1e9) refuse(piece);
    item.key = key;
    items.push_back(item);
  }
  return items;
}

// A count, or a share of `whole` as the nearest multiple of `step`.
size_t SizeOf(const Item& item, size_t whole, size_t step) {
  if (!item.is_percent) return static_cast<size_t>(std::llround(item.value));
  const double wanted = item.value / 100 * static_cast<double>(whole);
  return std::max<size_t>(1,
                          static_cast<size_t>(std::llround(wanted / static_cast<double>(step)))) *
         step;
}

// A child and why it cannot be, if so.
struct Proposal {
  Candidate candidate;
  std::string fault;
};

Proposal Propose(const AttentionConfig& parent, const Item& item) {
  AttentionConfig child = parent;
  child.n_kv_heads = SizeOf(item, parent.n_kv_heads, 1);
  Proposal made{{.name = fmt::format("kv_heads={}", child.n_kv_heads), .mixer = child}, {}};
  if (child.n_kv_heads > parent.n_kv_heads || parent.n_kv_heads % child.n_kv_heads != 0)
    made.fault = fmt::format("expected a divisor of the parent's {} KV heads", parent.n_kv_heads);
  return made;
}

Proposal Propose(const FfnConfig& parent, const Item& item) {
  FfnConfig child = parent;
  child.intermediate_size = FfnWidthOf(parent.intermediate_size, item.value / 100);
  Proposal made{{.name = fmt::format("ffn={:g}%", item.value), .mixer = child}, {}};
  if (item.value > 100) made.fault = "expected at most 100 percent";
  return made;
}

Proposal Propose(const Mamba2Config& parent, const Item& item) {
  Mamba2Config child = parent;
  Proposal made;
  if (item.key == "heads") {
    child.n_heads = SizeOf(item, parent.n_heads, parent.n_groups);
    made.candidate.name = fmt::format("heads={}", child.n_heads);
    if (child.n_heads > parent.n_heads || child.n_heads % parent.n_groups != 0)
      made.fault = fmt::format("expected a multiple of {} groups, at most {}", parent.n_groups,
                               parent.n_heads);
  } else {
    child.head_dim = SizeOf(item, parent.head_dim, parent.head_dim % 8 == 0 ? 8 : 1);
    made.candidate.name = fmt::format("head_dim={}", child.head_dim);
    if (child.head_dim > parent.head_dim)
      made.fault = fmt::format("expected at most {}", parent.head_dim);
  }
  made.candidate.mixer = child;
  return made;
}

Proposal ProposeFor(const MixerConfig& parent, const Item& item) {
  if (item.key == "none") return {{.name = "no_op", .mixer = std::nullopt}, {}};
  if (item.key == "linear") return {{.name = "linear", .mixer = LinearConfig{}}, {}};
  if (const auto* attention = std::get_if<AttentionConfig>(&parent))
    return Propose(*attention, item);
  if (const auto* ffn = std::get_if<FfnConfig>(&parent)) return Propose(*ffn, item);
  return Propose(std::get<Mamba2Config>(parent), item);
}

// Why no config can have this child in place of one block; empty if one can.
std::string RefusalOf(const ModelConfig& parent, size_t block,
                      const std::optional<MixerConfig>& mixer) {
  ConfigEdit edit;
  for (const BlockConfig& own : parent.blocks) edit.blocks.emplace_back(own.mixer);
  edit.blocks[block] = mixer;
  try {
    EditConfig(parent, edit);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace

size_t FfnWidthOf(size_t width, double share) {
  const size_t step = width >= 4096 ? 256 : width >= 512 ? 64 : 8;
  const double steps = share * static_cast<double>(width) / static_cast<double>(step);
  return std::min(width, std::max<size_t>(1, static_cast<size_t>(std::llround(steps))) * step);
}

SearchSpace MakeSearchSpace(const ModelConfig& parent, const SpaceOptions& options) {
  const std::vector<Item> lists[] = {ParseList(options.attention, "--attention", {"kv"}),
                                     ParseList(options.mamba, "--mamba", {"heads", "head_dim"}),
                                     ParseList(options.ffn, "--ffn", {""}),
                                     {}};  // by MixerConfig::index()
  SearchSpace space;
  std::map<std::string, size_t> faults;  // blocks that each concerns
  for (size_t i = 0; i < parent.blocks.size(); ++i) {
    const MixerConfig& own = parent.blocks[i].mixer;
    CandidateBlock& block = space.blocks.emplace_back();
    block.block = i;
    block.candidates.push_back({.name = "parent", .mixer = own, .is_parent = true});
    for (const Item& item : lists[own.index()]) {
      Proposal made = ProposeFor(own, item);
      const bool is_known =
          std::any_of(block.candidates.begin(), block.candidates.end(),
                      [&](const Candidate& other) { return other.mixer == made.candidate.mixer; });
      if (is_known && made.fault.empty())
        continue;  // the parent's size, or two shares that round alike
      if (made.fault.empty()) made.fault = RefusalOf(parent, i, made.candidate.mixer);
      if (made.fault.empty())
        block.candidates.push_back(std::move(made.candidate));
      else
        ++faults[fmt::format("{} of {} blocks left out: {}", item.text, kMixerNames[own.index()],
                             // The block's number would make every note its own.
                             made.fault.starts_with(fmt::format("block {}: ", i))
                                 ? made.fault.substr(made.fault.find(": ") + 2)
                                 : made.fault)];
    }
  }
  for (const auto& [text, count] : faults)
    space.notes.push_back(count == 1 ? text : fmt::format("{} ({} blocks)", text, count));
  return space;
}

}  // namespace planish

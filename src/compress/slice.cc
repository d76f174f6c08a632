// SPDX-License-Identifier: Apache-2.0
#include "compress/slice.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "model/masters.h"
#include "model/tensor_names.h"

namespace planish {
namespace {

// Throws unless `list` names distinct indices below `size`.
void CheckList(const IndexList& list, size_t size, const char* what) {
  if (list.empty()) throw UsageError("none of {} {} is kept", size, what);
  std::vector<bool> seen(size);
  for (const uint32_t index : list) {
    if (index >= size) throw UsageError("{} {} is kept of {}", what, index, size);
    if (seen[index]) throw UsageError("{} {} is kept twice", what, index);
    seen[index] = true;
  }
}

AttentionConfig SlicedAttention(const AttentionConfig& parent, const AttentionSlice& slice) {
  CheckList(slice.heads, parent.n_heads, "query heads");
  if (slice.kv_heads.empty()) throw UsageError("no key-value head is kept");
  for (const IndexList& list : slice.kv_heads)
    CheckList(list, parent.n_kv_heads, "key-value heads");
  if (slice.heads.size() % slice.kv_heads.size() != 0) {
    throw UsageError("{} query heads do not spread evenly over {} key-value heads",
                     slice.heads.size(), slice.kv_heads.size());
  }
  AttentionConfig child = parent;
  child.n_heads = slice.heads.size();
  child.n_kv_heads = slice.kv_heads.size();
  return child;
}

Mamba2Config SlicedMamba(const Mamba2Config& parent, const MambaSlice& slice) {
  CheckList(slice.heads, parent.n_heads, "mamba heads");
  CheckList(slice.channels, parent.head_dim, "mamba head channels");
  const size_t G = parent.n_groups, kept = slice.heads.size(), H = parent.n_heads;
  if (kept % G != 0)
    throw UsageError("{} mamba heads do not spread evenly over {} groups", kept, G);
  for (size_t i = 0; i < kept; ++i) {
    const size_t group = i / (kept / G), from = slice.heads[i] / (H / G);
    if (group != from) {
      throw UsageError(
          "mamba head {} of group {} is kept in group {}: every group keeps {} of its own",
          slice.heads[i], from, group, kept / G);
    }
  }
  Mamba2Config child = parent;
  child.n_heads = kept;
  child.head_dim = slice.channels.size();
  return child;
}

// 0, 1, ... n-1.
IndexList All(size_t n) {
  IndexList list(n);
  for (size_t i = 0; i < n; ++i) list[i] = static_cast<uint32_t>(i);
  return list;
}

// Elements of runs of `width`: (h, p) of each listed head h and each listed p.
IndexList Cross(const IndexList& heads, const IndexList& within, size_t width, size_t first = 0) {
  IndexList list;
  list.reserve(heads.size() * within.size());
  for (const uint32_t h : heads) {
    for (const uint32_t p : within) list.push_back(static_cast<uint32_t>(first + h * width + p));
  }
  return list;
}
void Append(const IndexList& more, IndexList* list) {
  list->insert(list->end(), more.begin(), more.end());
}

// The parent's rows and columns that make up a child's parameter. Of a vector, rows are its elements (of conv1d.weight, runs of
// `width`); an empty list stands for all in their order.
struct Gather {
  const Weight* weight = nullptr;
  const Tensor* vector = nullptr;
  size_t width = 1;             // of an element of a vector
  std::vector<IndexList> mean;  // [child's rows]: parent's rows to average, in place of `rows`
  IndexList rows, columns;
};

Gather FfnGather(const std::string& name, const FfnSlice& slice, const IndexList& hidden) {
  Gather gather;
  gather.rows = name == "down_proj.weight" ? hidden : slice.neurons;
  gather.columns = name == "down_proj.weight" ? slice.neurons : hidden;
  return gather;
}

Gather AttentionGather(const std::string& name, const AttentionConfig& parent,
                       const AttentionSlice& slice, const IndexList& hidden) {
  const size_t P = parent.head_dim;
  Gather gather;
  if (name == "q_norm.weight" || name == "k_norm.weight") return gather;
  if (name == "o_proj.weight") {
    gather.rows = hidden;
    gather.columns = Cross(slice.heads, All(P), P);
    return gather;
  }
  gather.columns = hidden;
  if (name == "q_proj.weight") {
    gather.rows = Cross(slice.heads, All(P), P);
    return gather;
  }
  for (const IndexList& heads : slice.kv_heads) {
    for (size_t p = 0; p < P; ++p)
      gather.mean.push_back(Cross(heads, {static_cast<uint32_t>(p)}, P));
  }
  return gather;
}

Gather MambaGather(const std::string& name, const Mamba2Config& parent, const MambaSlice& slice,
                   const IndexList& hidden) {
  const size_t P = parent.head_dim, d_in = parent.inner(),
               bc = 2 * parent.n_groups * parent.state_size;
  Gather gather;
  if (name == "out_proj.weight") {
    gather.rows = hidden;
    gather.columns = Cross(slice.heads, slice.channels, P);
  } else if (name == "in_proj.weight") {  // z | x | B C | dt
    gather.columns = hidden;
    gather.rows = Cross(slice.heads, slice.channels, P);
    Append(Cross(slice.heads, slice.channels, P, d_in), &gather.rows);
    Append(Cross({0}, All(bc), 0, 2 * d_in), &gather.rows);
    Append(Cross({0}, slice.heads, 0, 2 * d_in + bc), &gather.rows);
  } else if (name == "norm.weight") {
    gather.rows = Cross(slice.heads, slice.channels, P);
  } else if (name.starts_with("conv1d.")) {  // x | B C
    gather.rows = Cross(slice.heads, slice.channels, P);
    Append(Cross({0}, All(bc), 0, d_in), &gather.rows);
    if (name == "conv1d.weight") gather.width = parent.conv_kernel;
  } else {  // A_log, D, dt_bias
    gather.rows = slice.heads;
  }
  return gather;
}

Gather MixerGather(const std::string& name, ParamRole role, const MixerConfig& parent,
                   const BlockSlice& slice, const IndexList& hidden) {
  if (const auto* ffn = std::get_if<FfnSlice>(&slice)) return FfnGather(name, *ffn, hidden);
  if (const auto* attention = std::get_if<AttentionSlice>(&slice))
    return AttentionGather(name, std::get<AttentionConfig>(parent), *attention, hidden);
  if (const auto* mamba = std::get_if<MambaSlice>(&slice))
    return MambaGather(name, std::get<Mamba2Config>(parent), *mamba, hidden);
  Gather gather;  // only the residual stream's side changes
  const bool is_linear = std::holds_alternative<LinearConfig>(parent);
  if (role == ParamRole::kOutput) gather.rows = hidden;
  if (role == ParamRole::kInput || is_linear) gather.columns = hidden;
  return gather;
}

void GatherColumns(const std::vector<float>& row, const IndexList& columns, float* out) {
  if (columns.empty()) std::copy(row.begin(), row.end(), out);
  for (size_t i = 0; i < columns.size(); ++i) out[i] = row[columns[i]];
}

void MatrixRow(const Gather& gather, size_t r, float* out) {
  thread_local std::vector<float> row, more;
  row.resize(gather.weight->in());
  if (gather.mean.empty()) {
    gather.weight->DequantizeRow(gather.rows.empty() ? r : gather.rows[r], row.data());
  } else {
    const IndexList& sources = gather.mean[r];
    gather.weight->DequantizeRow(sources[0], row.data());
    more.resize(row.size());
    for (size_t i = 1; i < sources.size(); ++i) {
      gather.weight->DequantizeRow(sources[i], more.data());
      for (size_t c = 0; c < row.size(); ++c) row[c] += more[c];
    }
    if (sources.size() > 1) {
      for (float& value : row) value /= static_cast<float>(sources.size());
    }
  }
  GatherColumns(row, gather.columns, out);
}

void VectorValues(const Gather& gather, float* out) {
  const float* values = gather.vector->f32();
  if (gather.rows.empty()) {
    std::memcpy(out, values, gather.vector->bytes());
    return;
  }
  for (size_t i = 0; i < gather.rows.size(); ++i)
    std::copy_n(values + gather.rows[i] * gather.width, gather.width, out + i * gather.width);
}

// A parameter's name without what stands for its place in the model.
std::string LocalName(const ModelConfig& config, const Param& param) {
  if (param.block < 0) {
    return param.role == ParamRole::kEmbedding ? "embedding"
           : param.role == ParamRole::kHead    ? "head"
                                               : "final norm";
  }
  const BlockConfig& block = config.blocks[static_cast<size_t>(param.block)];
  if (param.name == BlockNormName(config.family, block)) return "block norm";
  return param.name.substr(MixerPrefix(config.family, block).size());
}

}  // namespace

MixerConfig SlicedMixer(const MixerConfig& parent, const BlockSlice& slice) {
  if (const auto* ffn = std::get_if<FfnSlice>(&slice)) {
    FfnConfig child = std::get<FfnConfig>(parent);
    CheckList(ffn->neurons, child.intermediate_size, "FFN neurons");
    child.intermediate_size = ffn->neurons.size();
    return child;
  }
  if (const auto* attention = std::get_if<AttentionSlice>(&slice))
    return SlicedAttention(std::get<AttentionConfig>(parent), *attention);
  if (const auto* mamba = std::get_if<MambaSlice>(&slice))
    return SlicedMamba(std::get<Mamba2Config>(parent), *mamba);
  return parent;
}

EditedConfig SlicedConfig(const ModelConfig& parent, const ModelSlice& slice,
                          const std::vector<bool>& keep) {
  PLANISH_CHECK(slice.blocks.size() == parent.blocks.size() && keep.size() == parent.blocks.size());
  ConfigEdit edit;
  if (!slice.hidden.empty()) {
    CheckList(slice.hidden, parent.hidden_size, "embedding channels");
    edit.hidden_size = slice.hidden.size();
  }
  for (size_t i = 0; i < keep.size(); ++i) {
    try {
      edit.blocks.push_back(
          keep[i] ? std::optional(SlicedMixer(parent.blocks[i].mixer, slice.blocks[i]))
                  : std::nullopt);
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("block {}: {}", i, error.what()), error.hint());
    }
  }
  return EditConfig(parent, edit);
}

ParamRows SlicedRows(const Pretrained& parent, const EditedConfig& child, const ModelSlice& slice) {
  using Key = std::pair<int, std::string>;  // block of the child (-1: none), local name
  auto gathers = std::make_shared<std::map<Key, Gather>>();
  std::map<int, int> child_of;
  child_of[-1] = -1;
  for (size_t i = 0; i < child.parent_of.size(); ++i)
    child_of[static_cast<int>(child.parent_of[i])] = static_cast<int>(i);
  parent.model->VisitParams([&](const Param& param) {
    const auto place = child_of.find(param.block);
    if (place == child_of.end()) return;
    const std::string name = LocalName(parent.config, param);
    Gather gather;
    if (param.block < 0) {
      (param.weight != nullptr ? gather.columns : gather.rows) = slice.hidden;
    } else if (name == "block norm") {
      gather.rows = slice.hidden;
    } else {
      const auto block = static_cast<size_t>(param.block);
      gather = MixerGather(name, param.role, parent.config.blocks[block].mixer, slice.blocks[block],
                           slice.hidden);
    }
    gather.weight = param.weight;
    gather.vector = param.vector;
    gathers->emplace(Key(place->second, name), std::move(gather));
  });
  return [gathers, config = child.config](const Param& param, size_t r, float* out) {
    const auto found = gathers->find(Key(param.block, LocalName(config, param)));
    PLANISH_CHECK(found != gathers->end(), "{} is no slice of the parent", param.name);
    if (found->second.weight != nullptr)
      MatrixRow(found->second, r, out);
    else
      VectorValues(found->second, out);
  };
}

Pretrained ChildOf(const Pretrained& parent, const ModelConfig& config) {
  Pretrained child;
  child.path = parent.path;
  child.name = parent.name;
  child.format = parent.format;
  child.config = config;
  child.model = std::make_unique<Model>(config);
  child.tokenizer = parent.tokenizer;
  child.chat_template = parent.chat_template;
  child.thinking = parent.thinking;
  child.bos_token = parent.bos_token;
  child.eos_token = parent.eos_token;
  child.eos_ids = parent.eos_ids;
  child.generation = parent.generation;
  return child;
}

Pretrained FilledChild(const Pretrained& parent, const ModelConfig& config, const ParamRows& rows) {
  Pretrained child = ChildOf(parent, config);
  FillParams(child.model.get(), rows);
  return child;
}

}  // namespace planish

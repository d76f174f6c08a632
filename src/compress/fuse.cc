// SPDX-License-Identifier: Apache-2.0
#include "compress/fuse.h"

#include <algorithm>
#include <memory>

#include "base/error.h"

namespace planish {
namespace {

// Block of the run in whose place the fused one stands.
size_t PlaceOf(const ModelConfig& parent, const FfnRun& run) {
  const size_t layer = parent.blocks[run.begin].layer;
  const bool shares_layer = run.begin > 0 && parent.blocks[run.begin - 1].layer == layer;
  return shares_layer ? run.begin : run.end - 1;
}

// The parent's parameters by block, in the order in which a mixer visits them, which is the child's too.
struct ParentParams {
  std::vector<Param> shared;               // embedding, final norm, head
  std::vector<std::vector<Param>> blocks;  // [parent's blocks]
};

const float* NormOf(const std::vector<Param>& block) {
  for (const Param& param : block) {
    if (param.role == ParamRole::kNorm) return param.vector->f32();
  }
  PLANISH_CHECK(false, "an FFN block without a norm");
  return nullptr;
}

// One parameter of a fused block: the same one of each of its blocks.
struct FusedParam {
  std::vector<Param> parts;
  std::vector<const float*> norms;  // [parts] of [D]

  void Row(const Param& param, size_t r, float* out) const {
    switch (param.role) {
      case ParamRole::kNorm:
        std::fill_n(out, param.shape.elements(), 1.0f);
        return;
      case ParamRole::kInput: {  // [sum of F, D]: rows of one block
        size_t part = 0;
        while (r >= parts[part].shape[0]) r -= parts[part++].shape[0];
        StoredRow(parts[part], r, out);
        for (size_t d = 0; d < param.shape[1]; ++d) out[d] *= norms[part][d];
        return;
      }
      case ParamRole::kOutput:  // [D, sum of F]: columns of all blocks
        for (const Param& part : parts) {
          StoredRow(part, r, out);
          out += part.shape[1];
        }
        return;
      default:
        PLANISH_CHECK(false, "{} is no parameter of an FFN", param.name);
    }
  }
};

// A child's parameter is the parent's, or fused of several.
struct RowSource {
  Param plain;
  FusedParam fused;
};

}  // namespace

EditedConfig FusedConfig(const ModelConfig& parent, const std::vector<FfnRun>& runs) {
  ConfigEdit edit;
  for (const BlockConfig& block : parent.blocks) edit.blocks.push_back(block.mixer);
  for (const FfnRun& run : runs) {
    FfnConfig wide = std::get<FfnConfig>(parent.blocks[run.begin].mixer);
    wide.intermediate_size = 0;
    for (size_t i = run.begin; i < run.end; ++i) {
      const auto& ffn = std::get<FfnConfig>(parent.blocks[i].mixer);
      PLANISH_CHECK(ffn.kind == wide.kind);
      wide.intermediate_size += ffn.intermediate_size;
      edit.blocks[i] = std::nullopt;
    }
    edit.blocks[PlaceOf(parent, run)] = wide;
  }
  edit.keeps_empty_layers = true;
  return EditConfig(parent, edit);
}

ParamRows FusedRows(const Pretrained& parent, const EditedConfig& child,
                    const std::vector<FfnRun>& runs) {
  ParentParams params;
  params.blocks.resize(parent.config.blocks.size());
  parent.model->VisitParams([&](const Param& param) {
    if (param.role == ParamRole::kAdapter) return;
    if (param.block < 0)
      params.shared.push_back(param);
    else
      params.blocks[static_cast<size_t>(param.block)].push_back(param);
  });
  // By the child's (block, place among its parameters), in the order of its visits.
  auto sources = std::make_shared<std::vector<std::pair<std::string, RowSource>>>();
  Model shape(child.config);
  std::vector<size_t> place(child.config.blocks.size(), 0);
  size_t shared = 0;
  shape.VisitParams([&](const Param& param) {
    RowSource source;
    if (param.block < 0) {
      source.plain = params.shared.at(shared++);
    } else {
      const auto block = static_cast<size_t>(param.block);
      const size_t i = place[block]++, was = child.parent_of[block];
      const auto run = std::find_if(runs.begin(), runs.end(), [&](const FfnRun& candidate) {
        return was >= candidate.begin && was < candidate.end;
      });
      if (run == runs.end()) {
        source.plain = params.blocks[was].at(i);
      } else {
        for (size_t b = run->begin; b < run->end; ++b) {
          source.fused.parts.push_back(params.blocks[b].at(i));
          source.fused.norms.push_back(NormOf(params.blocks[b]));
        }
      }
    }
    sources->emplace_back(param.name, std::move(source));
  });
  std::sort(sources->begin(), sources->end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return [sources](const Param& param, size_t r, float* out) {
    const auto found = std::lower_bound(
        sources->begin(), sources->end(), param.name,
        [](const auto& entry, const std::string& name) { return entry.first < name; });
    PLANISH_CHECK(found != sources->end() && found->first == param.name, "{}", param.name);
    if (found->second.fused.parts.empty())
      StoredRow(found->second.plain, r, out);
    else
      found->second.fused.Row(param, r, out);
  };
}

}  // namespace planish

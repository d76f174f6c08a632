// SPDX-License-Identifier: Apache-2.0
#include "compress/realise.h"

#include <map>

#include "base/error.h"
#include "compress/child_block.h"
#include "model/tensor_names.h"

namespace planish {

// Where a parameter of the child comes from, by its name in the child: one of the parent's, or one of a library's child.
struct Realisation::Source {
  std::vector<std::unique_ptr<Mixer>> children;
  std::map<std::string, Param> params;
};

Realisation::~Realisation() = default;

Realisation::Realisation(const Pretrained& parent, const BlockLibrary& library,
                         const Choice& choice)
    : parent_(parent), source_(std::make_unique<Source>()) {
  RequireParent(library, parent);
  const ModelConfig& config = parent.config;
  PLANISH_CHECK(choice.size() == library.blocks.size() && choice.size() == config.blocks.size());
  ConfigEdit edit;
  std::vector<const Candidate*> chosen;
  for (size_t i = 0; i < choice.size(); ++i) {
    const std::vector<Candidate>& candidates = library.blocks[i].candidates;
    PLANISH_CHECK(choice[i] < candidates.size());
    const Candidate& candidate = candidates[choice[i]];
    if (!candidate.is_parent && candidate.mixer && candidate.weights.empty())
      throw UsageError("block {}: {} is not in the library {} yet", i, candidate.name,
                       library.folder);
    chosen.push_back(&candidate);
    edit.blocks.push_back(candidate.mixer);
  }
  edited_ = EditConfig(config, edit);
  std::map<std::string, Param> own;  // the parent's, by name
  parent.model->VisitParams([&](const Param& param) { own.emplace(param.name, param); });
  const Family family = edited_.config.family;
  for (size_t i = 0; i < edited_.config.blocks.size(); ++i) {
    const BlockConfig& block = edited_.config.blocks[i];
    const size_t from = edited_.parent_of[i];
    const BlockConfig& before = config.blocks[from];
    source_->params.emplace(BlockNormName(family, block),
                            own.at(BlockNormName(config.family, before)));
    const std::string prefix = MixerPrefix(family, block);
    if (chosen[from]->is_parent) {
      const std::string old_prefix = MixerPrefix(config.family, before);
      for (const auto& [name, param] : own) {
        if (param.block == static_cast<int>(from) && name.starts_with(old_prefix))
          source_->params.emplace(prefix + name.substr(old_prefix.size()), param);
      }
      continue;
    }
    source_->children.push_back(
        LoadChild(library.folder + "/" + chosen[from]->weights, config, *chosen[from]->mixer));
    for (const Param& param : ParamsOf(source_->children.back().get()))
      source_->params.emplace(prefix + param.name, param);
  }
  for (const auto& [name, param] : own)
    if (param.block < 0) source_->params.emplace(name, param);
}

ParamRows Realisation::Rows() const {
  return [source = source_.get()](const Param& param, size_t r, float* out) {
    const auto found = source->params.find(param.name);
    PLANISH_CHECK(found != source->params.end() && found->second.shape == param.shape,
                  "{} has no source", param.name);
    StoredRow(found->second, r, out);
  };
}

Pretrained Realisation::InMemory() const { return FilledChild(parent_, config(), Rows()); }

void Realisation::Write(const std::string& folder, DType type,
                        const ExportProgress& progress) const {
  constexpr uint64_t kShardBytes = uint64_t{4} << 30;
  Pretrained child = ChildOf(parent_, config());
  ExportHf(&child, folder, type, kShardBytes, {.progress = progress, .rows = Rows()});
}

}  // namespace planish

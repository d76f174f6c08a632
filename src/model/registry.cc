// SPDX-License-Identifier: Apache-2.0
#include "model/registry.h"

#include "model/attention.h"
#include "model/ffn.h"
#include "model/linear.h"
#include "model/mamba2.h"

namespace planish {
namespace {

struct Maker {
  const ModelConfig& config;
  std::unique_ptr<Mixer> operator()(const AttentionConfig& mixer) const {
    return std::make_unique<Attention>(config, mixer);
  }
  std::unique_ptr<Mixer> operator()(const Mamba2Config& mixer) const {
    return std::make_unique<Mamba2>(config, mixer);
  }
  std::unique_ptr<Mixer> operator()(const FfnConfig& mixer) const {
    return std::make_unique<Ffn>(config, mixer);
  }
  std::unique_ptr<Mixer> operator()(const LinearConfig&) const {
    return std::make_unique<Linear>(config);
  }
};

}  // namespace

std::unique_ptr<Mixer> MakeMixer(const ModelConfig& config, const MixerConfig& mixer) {
  return std::visit(Maker{config}, mixer);
}

}  // namespace planish

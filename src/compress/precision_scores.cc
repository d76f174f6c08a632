// SPDX-License-Identifier: Apache-2.0
#include "compress/precision_scores.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "compress/calibration_streams.h"
#include "compress/replacement_run.h"
#include "tensor/blocks.h"

namespace planish {
namespace {

constexpr size_t kBatchTokens = 2048;
constexpr size_t kRowsMeasured = 512;  // of a matrix, for the error of its outputs

MatrixPrecisions Unscored(const Param& param, const PrecisionScoreOptions& options) {
  MatrixPrecisions matrix{.name = param.name, .shape = param.shape};
  const auto kept = options.kept.find(param.name);
  const std::vector<DType> types =
      kept == options.kept.end() ? options.types : std::vector{kept->second.type};
  for (const DType wanted : types) {
    const DType type = WritableType(wanted, param.shape.last());
    if (std::none_of(matrix.options.begin(), matrix.options.end(),
                     [&](const PrecisionOption& other) { return other.type == type; }))
      matrix.options.push_back({type, BytesOf(type, param.shape.elements()), 0});
  }
  std::stable_sort(matrix.options.begin(), matrix.options.end(),
                   [](const auto& a, const auto& b) { return a.bytes < b.bytes; });
  return matrix;
}

class Scorer {
 public:
  Scorer(Pretrained* opened, const CalibrationRows& rows, const PrecisionScoreOptions& options)
      : model_(opened->model.get()),
        options_(options),
        run_(model_, rows, Precision::kF32, kBatchTokens) {}

  std::vector<MatrixPrecisions> Run(const CalibrationRows& data) {
    std::vector<std::string> names;
    std::vector<Param> outer;
    model_->VisitParams([&](const Param& param) {
      if (param.weight == nullptr || param.role == ParamRole::kAdapter) return;
      names.push_back(param.name);
      if (param.block < 0) outer.push_back(param);
    });
    total_ = names.size();
    for (const Param& param : outer) {
      Weight* weight = param.weight;
      Score(param, nullptr, nullptr, [&](const Weight& exact) {
        return run_.ScoreOuter(&model_->head() == weight ? exact : model_->head()).kl;
      });
    }
    const BlockRunner runner(model_);
    CalibrationStreams streams(&runner, data, options_.precision);
    for (size_t block = 0; block < runner.blocks(); ++block) {
      const std::vector<InputGroup> groups = InputGroupsOf(model_, block);
      const std::vector<InputStatistics> inputs = streams.Observe(block, groups);
      run_.MoveTo(block);
      for (size_t g = 0; g < groups.size(); ++g) {
        std::vector<float> energy;
        for (size_t c = 0; c < groups[g].in(); ++c) energy.push_back(inputs[g].gram.row(c)[c]);
        for (const Param& product : groups[g].products)
          Score(product, &inputs[g].gram, energy.data(),
                [&](const Weight&) { return run_.Score(&model_->mixer(block)).kl; });
      }
      streams.Advance(block);
    }
    std::vector<MatrixPrecisions> result;
    for (const std::string& name : names) result.push_back(std::move(results_.at(name)));
    return result;
  }

 private:
  struct Rounded {
    PrecisionOption option;
    Weight weight;
    double noise = 0;
  };

  // gram, energy: of the inputs; null: of the weights alone. measure: KL while the model has the rounded matrix, given the exact.
  void Score(const Param& param, const Tensor* gram, const float* energy,
             const std::function<double(const Weight& exact)>& measure) {
    const Tensor exact = ValuesOf(*param.weight);
    std::vector<Rounded> all;
    MatrixPrecisions result = Unscored(param, options_);
    for (const PrecisionOption& option : result.options) {
      Rounded rounded;
      rounded.option = option;
      rounded.weight = RoundMatrix(param.name, exact, {option.type}, options_.rule,
                                   options_.rule == ScaleRule::kFitted ? energy : nullptr);
      const Tensor values = ValuesOf(rounded.weight);
      rounded.noise = gram != nullptr ? ProductNoise(exact, values, *gram, kRowsMeasured).noise
                                      : WeightNoise(exact, values).noise;
      all.push_back(std::move(rounded));
    }
    Rounded& worst =
        *std::max_element(all.begin(), all.end(),
                          [](const Rounded& a, const Rounded& b) { return a.noise < b.noise; });
    std::swap(*param.weight, worst.weight);
    const double kl = std::max(0.0, measure(worst.weight));
    std::swap(*param.weight, worst.weight);
    result.measured_kl = kl;
    result.options.clear();
    for (Rounded& rounded : all) {
      rounded.option.score = worst.noise > 0 ? kl * rounded.noise / worst.noise : 0;
      result.options.push_back(rounded.option);
    }
    KeepBestOptions(&result.options);
    results_.emplace(param.name, std::move(result));
    if (options_.progress) options_.progress(++done_, total_);
  }

  Model* model_;
  const PrecisionScoreOptions& options_;
  ReplacementRun run_;
  size_t done_ = 0, total_ = 0;
  std::map<std::string, MatrixPrecisions> results_;
};

}  // namespace

std::vector<MatrixPrecisions> ListPrecisions(Model* model, const PrecisionScoreOptions& options) {
  PLANISH_CHECK(!options.types.empty());
  std::vector<MatrixPrecisions> matrices;
  model->VisitParams([&](const Param& param) {
    if (param.weight != nullptr && param.role != ParamRole::kAdapter)
      matrices.push_back(Unscored(param, options));
  });
  return matrices;
}

std::vector<MatrixPrecisions> ScorePrecisions(Pretrained* opened, const CalibrationRows& data,
                                              const CalibrationRows& rows,
                                              const PrecisionScoreOptions& options) {
  PLANISH_CHECK(!options.types.empty());
  return Scorer(opened, rows, options).Run(data);
}

}  // namespace planish

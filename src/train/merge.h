// SPDX-License-Identifier: Apache-2.0
// Models of one shape made into one, tensor by tensor, in double and rounded once: theta = sum_i c_i theta_i with sum c_i = 1.
//   linear        c given: averages; (1 - alpha) a + alpha b; uniform over the last checkpoints (LAWA, Kaddour 2022)
//   EMA           over checkpoints, oldest first: e <- decay e + (1 - decay) theta_i, beginning with e = theta_1
//   task vectors  base + sum_i s_i (theta_i - base) (Ilharco et al. 2023): c_base = 1 - sum s_i, c_i = s_i
//   slerp         two models, along the arc between the tensors seen as vectors (Shoemake 1985): with Omega the angle between
//                 them, c_a = sin((1 - t) Omega) / sin Omega, c_b = sin(t Omega) / sin Omega; linear where they are parallel.
//                 These do not add up to 1: lengths are kept where a straight line would shorten them
// A_log is combined as it is stored, that is geometrically in A; D and dt_bias linearly.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/export.h"
#include "model/pretrained.h"

namespace planish {

std::vector<double> UniformWeights(size_t n);
std::vector<double> EmaWeights(size_t n, double decay);              // 0 <= decay < 1
std::vector<double> TaskWeights(const std::vector<double>& scales);  // of {base, models...}
// Error(kUsage) if they do not add up to 1 within 1e-6.
void CheckWeights(const std::vector<double>& weights);

// Norms of one tensor: in each of the models, and in the merged one.
struct TensorNorms {
  std::string name;
  std::vector<double> sources;
  double merged = 0;
};

class Merger {
 public:
  // Opens the models (folders or GGUF files). Error(kUsage) naming what differs between two of them: a dimension, a layer, a
  // token. Their chat templates may differ, which is warned of: the first one's is taken.
  explicit Merger(const std::vector<std::string>& paths);

  size_t size() const { return models_.size(); }
  Pretrained& first() { return models_.front(); }

  // What Rows and Norms give from now on. `weights`: one a model.
  void SetLinear(std::vector<double> weights);
  void SetSlerp(double t);  // two models

  // Rows of the merged model, for ExportHf; as long as this lives.
  ParamRows Rows() const;
  std::vector<TensorNorms> Norms() const;
  // Puts the merged values into a model of the same shape whose matrices are owned floats (HoldMasters).
  void Fill(Model* target) const;

 private:
  // Sums of products of the models' values of one tensor.
  struct Gram {
    std::string name;
    std::vector<double> products;  // [n, n]
  };
  std::vector<double> CoefficientsOf(const Gram& gram) const;
  const std::vector<Gram>& Grams() const;

  std::vector<Pretrained> models_;
  std::vector<std::vector<Param>> params_;  // of each model, in the same order
  std::vector<double> weights_;
  bool is_slerp_ = false;
  double t_ = 0.5;
  mutable std::vector<Gram> grams_;  // made when first needed
};

}  // namespace planish

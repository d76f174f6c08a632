// SPDX-License-Identifier: Apache-2.0
#include "model/param_source.h"

#include <cmath>

#include "base/error.h"
#include "base/log.h"

namespace planish {
namespace {

std::string Listed(const std::vector<std::string>& items) {
  constexpr size_t kShown = 100;  // more would only say that the config is another model's
  std::string text;
  for (size_t i = 0; i < std::min(items.size(), kShown); ++i)
    text += (i == 0 ? "" : "; ") + items[i];
  if (items.size() > kShown) text += fmt::format("; and {} more", items.size() - kShown);
  return text;
}

// Vectors are few and decide whether a model is sane at all, so they are looked at on every load; matrices only by
// `info --check-weights`.
bool AllFinite(const Tensor& vector) {
  for (size_t i = 0; i < vector.elements(); ++i) {
    if (!std::isfinite(vector.f32()[i])) return false;
  }
  return true;
}

}  // namespace

void FillParams(const std::string& where, ParamSource* source, Model* model) {
  std::vector<std::string> problems, not_finite;
  model->VisitParams([&](const Param& param) {
    if (std::string problem = source->Fill(param); !problem.empty())
      problems.push_back(std::move(problem));
    else if (param.vector != nullptr && !AllFinite(*param.vector))
      not_finite.push_back(param.name);
  });
  // Both lists in one message: a renamed tensor is missing under one name and unknown under the other.
  const std::vector<std::string> unused = source->Unused();
  std::string complaint;
  if (!problems.empty()) complaint = "tensors do not fit the config: " + Listed(problems);
  if (!unused.empty())
    complaint += (complaint.empty() ? "" : "; ") +
                 ("tensors that the config does not know: " + Listed(unused));
  if (!complaint.empty()) throw BadFile("{}: {}", where, complaint);
  if (!not_finite.empty())
    LogWarning("{}: NaN or infinite values in {}", where, Listed(not_finite));
  model->ParamsChanged();
}

}  // namespace planish

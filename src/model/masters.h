// SPDX-License-Identifier: Apache-2.0
// Parameters as training holds them: owned floats, the masters that an optimizer changes.
#pragma once

#include "model/export.h"
#include "model/model.h"

namespace planish {

// Turns every matrix that `is_trained` (all when null) into owned floats, values unchanged; mapped originals are given back to
// the system. Vectors are floats already.
void HoldMasters(Model* model, const std::function<bool(const Param&)>& is_trained = nullptr);

// Gives every parameter its values from `rows`, as owned floats; what the model had is dropped.
void FillParams(Model* model, const ParamRows& rows);

}  // namespace planish

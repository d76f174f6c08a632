// SPDX-License-Identifier: Apache-2.0
// Sees what goes into the linear layers: while one of these lives, every Projection that this thread runs forward (packed
// documents, not the engine's steps) shows its weight and its input first. For calibration; observers do not nest.
#pragma once

#include <functional>

#include "model/rows_view.h"
#include "tensor/weight.h"

namespace planish {

class ProductObserver {
 public:
  // x: [T, weight.in()], valid during the call.
  using Function = std::function<void(const Weight& weight, size_t T, const RowsView& x)>;
  explicit ProductObserver(Function function);
  ~ProductObserver();
  ProductObserver(const ProductObserver&) = delete;
  ProductObserver& operator=(const ProductObserver&) = delete;

  // Called by Projection.
  static void Show(const Weight& weight, size_t T, const RowsView& x);

 private:
  Function function_;
};

}  // namespace planish

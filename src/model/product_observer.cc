// SPDX-License-Identifier: Apache-2.0
#include "model/product_observer.h"

#include <utility>

namespace planish {
namespace {

thread_local const ProductObserver::Function* observer = nullptr;

}  // namespace

ProductObserver::ProductObserver(Function function) : function_(std::move(function)) {
  PLANISH_CHECK(observer == nullptr, "observers do not nest");
  observer = &function_;
}

ProductObserver::~ProductObserver() { observer = nullptr; }

void ProductObserver::Show(const Weight& weight, size_t T, const RowsView& x) {
  if (observer != nullptr) (*observer)(weight, T, x);
}

}  // namespace planish

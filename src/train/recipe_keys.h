// SPDX-License-Identifier: Apache-2.0
// One walk over all keys of a recipe serves reading, printing and comparing, so that none can know a key that the others do not.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "train/recipe.h"

namespace planish {

class KeyVisitor {
 public:
  virtual ~KeyVisitor() = default;
  virtual void Text(const char* key, std::string* value, const char* help) = 0;
  virtual void Path(const char* key, std::string* value,
                    const char* help) = 0;  // absolute once read
  virtual void Flag(const char* key, bool* value, const char* help) = 0;
  virtual void Count(const char* key, uint64_t* value, uint64_t low, uint64_t high,
                     const char* help) = 0;
  virtual void Real(const char* key, double* value, double low, double high, const char* help) = 0;
  virtual void Texts(const char* key, std::vector<std::string>* value, const char* help) = 0;
  // `value` is an index of `names`.
  virtual void Index(const char* key, int* value, std::span<const char* const> names,
                     const char* help) = 0;
  virtual void Section(const char* key, const std::function<void()>& keys) = 0;
  // An array of tables: `resize` is called with the number to read (a printer ignores it), then `keys` for each.
  virtual void List(const char* key, size_t size, const std::function<void(size_t)>& resize,
                    const std::function<void(size_t)>& keys) = 0;

  template <class Enum>
  void Choice(const char* key, Enum* value, std::span<const char* const> names, const char* help) {
    int index = static_cast<int>(*value);
    Index(key, &index, names, help);
    *value = static_cast<Enum>(index);
  }
};

void VisitKeys(KeyVisitor* visitor, Recipe* recipe);

}  // namespace planish

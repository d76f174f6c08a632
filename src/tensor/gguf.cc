// SPDX-License-Identifier: Apache-2.0
#include "tensor/gguf.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "tensor/gguf_format.h"

namespace planish {
namespace {

using gguf_format::NameOf;

template <typename T>
GgufValue Scalar(GgufType type, T value) {
  return {type, type, std::move(value)};
}

template <typename T>
GgufValue Array(GgufType element, std::vector<T> values) {
  return {GgufType::kArray, element, std::move(values)};
}

std::string Describe(const GgufValue& value) {
  return value.is_array() ? fmt::format("an array of {}", NameOf(value.element_type))
                          : std::string(NameOf(value.type));
}

// The value of an integer scalar; nothing if it is of another type or above int64.
std::optional<int64_t> AsInteger(const GgufValue& value) {
  if (const auto* i = std::get_if<int64_t>(&value.value)) return *i;
  const auto* u = std::get_if<uint64_t>(&value.value);
  if (u == nullptr || *u > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  return static_cast<int64_t>(*u);
}

}  // namespace

GgufValue GgufValue::U32(uint32_t v) { return Scalar(GgufType::kUint32, uint64_t{v}); }
GgufValue GgufValue::I32(int32_t v) { return Scalar(GgufType::kInt32, int64_t{v}); }
GgufValue GgufValue::F32(float v) { return Scalar(GgufType::kFloat32, double{v}); }
GgufValue GgufValue::Bool(bool v) { return Scalar(GgufType::kBool, v); }
GgufValue GgufValue::String(std::string v) { return Scalar(GgufType::kString, std::move(v)); }
GgufValue GgufValue::Strings(std::vector<std::string> v) {
  return Array(GgufType::kString, std::move(v));
}
GgufValue GgufValue::I32s(std::vector<int64_t> v) { return Array(GgufType::kInt32, std::move(v)); }
GgufValue GgufValue::U32s(std::vector<uint64_t> v) {
  return Array(GgufType::kUint32, std::move(v));
}
GgufValue GgufValue::F32s(std::vector<double> v) { return Array(GgufType::kFloat32, std::move(v)); }
GgufValue GgufValue::Bools(std::vector<bool> v) { return Array(GgufType::kBool, std::move(v)); }

void GgufFile::IndexTensors() {
  by_name_.resize(tensors_.size());
  for (size_t i = 0; i < by_name_.size(); ++i) by_name_[i] = i;
  std::sort(by_name_.begin(), by_name_.end(),
            [this](size_t a, size_t b) { return tensors_[a].name < tensors_[b].name; });
  for (size_t i = 1; i < by_name_.size(); ++i) {
    if (tensors_[by_name_[i]].name == tensors_[by_name_[i - 1]].name) {
      throw BadFile("{}: tensor {} occurs twice", where_, Quoted(tensors_[by_name_[i]].name));
    }
  }
}

const GgufValue* GgufFile::Find(std::string_view key) const {
  for (const auto& [name, value] : metadata_) {
    if (name == key) return &value;
  }
  return nullptr;
}

const StoredTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto found =
      std::lower_bound(by_name_.begin(), by_name_.end(), name,
                       [this](size_t i, std::string_view n) { return tensors_[i].name < n; });
  if (found == by_name_.end() || tensors_[*found].name != name) return nullptr;
  return &tensors_[*found];
}

const GgufValue& GgufFile::Get(std::string_view key, std::string_view expected) const {
  const GgufValue* found = Find(key);
  if (found == nullptr) {
    throw BadFile("{}: key {} is missing, expected {}", where_, Quoted(key), expected);
  }
  return *found;
}

void GgufFile::FailType(std::string_view key, std::string_view expected) const {
  throw BadFile("{}: key {} is {}, expected {}", where_, Quoted(key), Describe(*Find(key)),
                expected);
}

int64_t GgufFile::Int(std::string_view key, int64_t low, int64_t high) const {
  const std::string expected = fmt::format("an integer in [{}, {}]", low, high);
  const GgufValue& value = Get(key, expected);
  if (const auto* u = std::get_if<uint64_t>(&value.value);
      u != nullptr && *u > static_cast<uint64_t>(INT64_MAX)) {
    throw BadFile("{}: key {} is {}, expected {}", where_, Quoted(key), *u, expected);
  }
  const std::optional<int64_t> integer = AsInteger(value);
  if (!integer) FailType(key, expected);
  if (*integer < low || *integer > high) {
    throw BadFile("{}: key {} is {}, expected {}", where_, Quoted(key), *integer, expected);
  }
  return *integer;
}

int64_t GgufFile::IntOr(std::string_view key, int64_t low, int64_t high, int64_t fallback) const {
  return Has(key) ? Int(key, low, high) : fallback;
}

double GgufFile::Number(std::string_view key) const {
  const GgufValue& value = Get(key, "a number");
  if (const auto* d = std::get_if<double>(&value.value)) {
    if (!std::isfinite(*d)) {
      throw BadFile("{}: key {} is {}, expected a finite number", where_, Quoted(key), *d);
    }
    return *d;
  }
  if (const auto* u = std::get_if<uint64_t>(&value.value)) return static_cast<double>(*u);
  if (const auto* i = std::get_if<int64_t>(&value.value)) return static_cast<double>(*i);
  FailType(key, "a number");
}

double GgufFile::NumberOr(std::string_view key, double fallback) const {
  return Has(key) ? Number(key) : fallback;
}

bool GgufFile::BoolOr(std::string_view key, bool fallback) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return fallback;
  if (const auto* b = std::get_if<bool>(&value->value)) return *b;
  FailType(key, "a bool");
}

std::string GgufFile::String(std::string_view key) const {
  const GgufValue& value = Get(key, "a string");
  if (const auto* s = std::get_if<std::string>(&value.value)) return *s;
  FailType(key, "a string");
}

std::string GgufFile::StringOr(std::string_view key, std::string fallback) const {
  return Has(key) ? String(key) : std::move(fallback);
}

const std::vector<std::string>& GgufFile::Strings(std::string_view key) const {
  const GgufValue& value = Get(key, "an array of strings");
  if (const auto* s = std::get_if<std::vector<std::string>>(&value.value)) return *s;
  FailType(key, "an array of strings");
}

std::vector<int64_t> GgufFile::Ints(std::string_view key) const {
  const GgufValue& value = Get(key, "an array of integers");
  if (const auto* i = std::get_if<std::vector<int64_t>>(&value.value)) return *i;
  const auto* u = std::get_if<std::vector<uint64_t>>(&value.value);
  if (u == nullptr) FailType(key, "an array of integers");
  std::vector<int64_t> out;
  out.reserve(u->size());
  for (const uint64_t item : *u) {
    if (item > static_cast<uint64_t>(INT64_MAX)) {
      throw BadFile("{}: key {} holds {}, expected at most {}", where_, Quoted(key), item,
                    INT64_MAX);
    }
    out.push_back(static_cast<int64_t>(item));
  }
  return out;
}

std::vector<double> GgufFile::Numbers(std::string_view key) const {
  const GgufValue& value = Get(key, "an array of numbers");
  if (const auto* d = std::get_if<std::vector<double>>(&value.value)) return *d;
  if (const auto* i = std::get_if<std::vector<int64_t>>(&value.value))
    return {i->begin(), i->end()};
  if (const auto* u = std::get_if<std::vector<uint64_t>>(&value.value)) {
    return {u->begin(), u->end()};
  }
  FailType(key, "an array of numbers");
}

std::vector<int64_t> GgufFile::IntPerLayer(std::string_view key, size_t count, int64_t low,
                                           int64_t high) const {
  if (!Get(key, "an integer or an array of integers").is_array()) {
    return std::vector<int64_t>(count, Int(key, low, high));
  }
  std::vector<int64_t> values = Ints(key);
  if (values.size() != count) {
    throw BadFile("{}: key {} has {} elements, expected {}", where_, Quoted(key), values.size(),
                  count);
  }
  for (const int64_t value : values) {
    if (value < low || value > high) {
      throw BadFile("{}: key {} holds {}, expected integers in [{}, {}]", where_, Quoted(key),
                    value, low, high);
    }
  }
  return values;
}

}  // namespace planish

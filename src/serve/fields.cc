// SPDX-License-Identifier: Apache-2.0
#include "serve/fields.h"

#include <cmath>

#include "base/error.h"

namespace planish {
namespace {

constexpr size_t kUnknownNamed = 32;  // in the header that lists them

std::string Shown(const Json& value) {
  return value.is_object() || value.is_array() ? std::string(value.type_name())
                                               : Quoted(DumpJson(value), 60);
}

}  // namespace

Json ParseBody(const HttpRequest& request) {
  const std::string type = ToLower(request.Header("content-type"));
  // No type is taken as JSON, as curl -d without -H sends a form type: that one too.
  if (!type.empty() && type.find("json") == std::string::npos && !type.starts_with("text/plain") &&
      !type.starts_with("application/x-www-form-urlencoded"))
    throw ApiError(415, "", fmt::format("the body is {}, expected application/json", Quoted(type)));
  try {
    return ParseJson(request.body, "the body");
  } catch (const Error& error) {
    throw ApiError(400, "invalid_json", error.what());
  }
}

Fields::Fields(const Json& object, std::string path) : object_(&object), path_(std::move(path)) {
  if (!object.is_object()) {
    const std::string name = path_.empty() ? "" : path_.substr(0, path_.size() - 1);
    throw InvalidValue(name, "{} is {}, expected an object", name.empty() ? "the body" : name,
                       object.type_name());
  }
}

const Json* Fields::Find(std::string_view name) {
  known_.emplace(name);
  const Json* found = object_->Find(name);
  return found == nullptr || found->is_null() ? nullptr : found;
}

std::optional<double> Fields::Number(std::string_view name, double low, double high) {
  const Json* found = Find(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_number() || !(found->AsDouble() >= low && found->AsDouble() <= high))
    throw InvalidValue(PathOf(name), "{} is {}, expected a number from {} to {}", PathOf(name),
                       Shown(*found), low, high);
  return found->AsDouble();
}

std::optional<int64_t> Fields::Int(std::string_view name, int64_t low, int64_t high) {
  const Json* found = Find(name);
  if (found == nullptr) return std::nullopt;
  // 16.0 is what some clients make of 16.
  const bool is_whole = found->is_integer() ||
                        (found->is_number() && found->AsDouble() == std::floor(found->AsDouble()) &&
                         std::abs(found->AsDouble()) < 9e15);
  const int64_t value = !is_whole             ? 0
                        : found->is_integer() ? found->AsInt()
                                              : static_cast<int64_t>(found->AsDouble());
  const bool is_huge = found->type() == Json::Type::kUint;  // above INT64_MAX
  if (!is_whole || is_huge || value < low || value > high)
    throw InvalidValue(PathOf(name), "{} is {}, expected a whole number from {} to {}",
                       PathOf(name), Shown(*found), low, high);
  return value;
}

std::optional<bool> Fields::Bool(std::string_view name) {
  const Json* found = Find(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_bool())
    throw InvalidValue(PathOf(name), "{} is {}, expected true or false", PathOf(name),
                       Shown(*found));
  return found->AsBool();
}

std::optional<std::string> Fields::Text(std::string_view name, size_t max_bytes) {
  const Json* found = Find(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_string())
    throw InvalidValue(PathOf(name), "{} is {}, expected a string", PathOf(name), Shown(*found));
  if (found->AsString().size() > max_bytes)
    throw InvalidValue(PathOf(name), "{} has {} bytes, at most {} are taken", PathOf(name),
                       found->AsString().size(), max_bytes);
  return found->AsString();
}

std::optional<Fields> Fields::Object(std::string_view name) {
  const Json* found = Find(name);
  if (found == nullptr) return std::nullopt;
  return Fields(*found, PathOf(name) + ".");
}

std::vector<std::string> Fields::Unknown() const {
  std::vector<std::string> unknown;
  for (const auto& [name, value] : object_->AsObject()) {
    if (!known_.contains(name) && unknown.size() < kUnknownNamed)
      unknown.push_back(path_ + name.substr(0, 64));
  }
  return unknown;
}

}  // namespace planish

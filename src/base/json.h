// SPDX-License-Identifier: Apache-2.0
// JSON values with key order kept, read under limits. Parsing is nlohmann-json's SAX parser; that header is included in
// json.cc only, because it costs seconds per translation unit. Typed access goes through JsonReader (below), which turns
// every wrong type or range into an Error naming file and path.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/limits.h"

namespace planish {

class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;  // in file order; keys are unique after Parse
  enum class Type { kNull, kBool, kInt, kUint, kDouble, kString, kArray, kObject };

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(int value) : value_(int64_t{value}) {}
  Json(int64_t value) : value_(value) {}
  Json(uint64_t value) : value_(value) {}  // kept as kUint only above INT64_MAX by Parse
  Json(double value) : value_(value) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}
  static Json MakeArray() { return Json(Array{}); }
  static Json MakeObject() { return Json(Object{}); }

  Type type() const { return static_cast<Type>(value_.index()); }
  bool is_null() const { return type() == Type::kNull; }
  bool is_bool() const { return type() == Type::kBool; }
  bool is_integer() const { return type() == Type::kInt || type() == Type::kUint; }
  bool is_number() const { return is_integer() || type() == Type::kDouble; }
  bool is_string() const { return type() == Type::kString; }
  bool is_array() const { return type() == Type::kArray; }
  bool is_object() const { return type() == Type::kObject; }
  const char* type_name() const;  // "null", "boolean", "number", ...

  // Unchecked by type (std::bad_variant_access is a bug of ours): test the type first or use JsonReader.
  bool AsBool() const { return std::get<bool>(value_); }
  int64_t AsInt() const;  // kUint saturates
  uint64_t AsUint() const {
    return type() == Type::kUint ? std::get<uint64_t>(value_)
                                 : static_cast<uint64_t>(std::get<int64_t>(value_));
  }
  double AsDouble() const;
  const std::string& AsString() const { return std::get<std::string>(value_); }
  const Array& AsArray() const { return std::get<Array>(value_); }
  Array& AsArray() { return std::get<Array>(value_); }
  const Object& AsObject() const { return std::get<Object>(value_); }
  Object& AsObject() { return std::get<Object>(value_); }

  const Json* Find(std::string_view key) const;  // null if absent or if this is no object
  Json& Set(std::string_view key,
            Json value);  // adds or replaces; this must be an object; returns the stored value
  void Remove(std::string_view key);
  void Append(Json value) { AsArray().push_back(std::move(value)); }

  bool operator==(const Json& other) const = default;

 private:
  std::variant<std::monostate, bool, int64_t, uint64_t, double, std::string, Array, Object> value_;
};

struct JsonParseOptions {
  size_t max_depth = limits::kJsonDepth;
  size_t max_values =
      limits::kJsonValues;  // each takes some 50 bytes, whatever it takes in the text
  bool allow_non_finite =
      false;  // bare NaN, Infinity, -Infinity, as Python's json.dumps writes them
  bool reject_duplicate_keys = true;  // false: the last one wins, as in most readers
};

// Throws Error(kBadFile) "WHERE: not valid JSON: ..." with byte offset. `where` names the file in messages.
// Invalid UTF-8 and a byte order mark are errors.
Json ParseJson(std::string_view text, std::string_view where, const JsonParseOptions& options = {});

// Python's json.dumps(ensure_ascii=False): ", " and ": " separators, or newlines with `indent` >= 0 spaces; shortest
// round-trip floats in Python's spelling ("1.0", "1e-05"). kCompact: no spaces at all.
enum class JsonStyle { kPython, kCompact };
std::string DumpJson(const Json& value, JsonStyle style = JsonStyle::kCompact, int indent = -1);
void AppendJsonString(std::string_view text,
                      std::string* out);  // with quotes, control characters escaped
std::string PythonFloat(double value);    // repr(float)

// Typed access to an object read from a file. Missing, null or wrongly typed values give
// "config.json: hidden_size is "abc" (string), expected an integer in [1, 1048576]".
class JsonReader {
 public:
  JsonReader(const Json& value, std::string where, std::string path = {});

  const Json& json() const { return *value_; }
  const std::string& where() const { return where_; }
  std::string PathOf(std::string_view key) const;  // "where: a.b.key"

  bool Has(std::string_view key) const;  // present and not null
  int64_t Int(std::string_view key, int64_t low, int64_t high) const;
  int64_t IntOr(std::string_view key, int64_t low, int64_t high, int64_t fallback) const;
  double Number(std::string_view key, double low,
                double high) const;  // finite unless the bounds are not
  double NumberOr(std::string_view key, double low, double high, double fallback) const;
  bool BoolOr(std::string_view key, bool fallback) const;
  std::string String(std::string_view key) const;
  std::string StringOr(std::string_view key, std::string fallback) const;
  const Json::Array& Array(std::string_view key) const;
  JsonReader Object(std::string_view key) const;
  // An element of an array member as an object.
  JsonReader Element(std::string_view key, size_t index) const;

  [[noreturn]] void Fail(std::string_view key, std::string_view expected) const;

 private:
  const Json& Get(std::string_view key, std::string_view expected) const;
  const Json* value_;
  std::string where_;
  std::string path_;
};

}  // namespace planish

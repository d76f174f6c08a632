// SPDX-License-Identifier: Apache-2.0
// JSON schemas as grammars: every text the grammar allows is a value the schema accepts. Supported: type (lists too),
// properties in the order given, required, additionalProperties, items, prefixItems, min/maxItems, min/maxLength, enum,
// const, anyOf, oneOf (read as anyOf), allOf, local $ref with recursion, pattern, format date, date-time and uuid, bounds of
// integers. Anything else that restricts a value is an error with its JSON pointer, never skipped. An object without
// additionalProperties gets the properties named and no others (any, if none are named).
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>

#include "base/json.h"
#include "infer/grammar_json.h"

namespace planish {

class SchemaCompiler {
 public:
  // `root` must outlive the compiler; `pointer` is where it stands in the request, "#" alone.
  SchemaCompiler(const Json* root, std::string pointer, JsonRules* rules)
      : root_(root), root_pointer_(std::move(pointer)), rules_(rules), builder_(rules->builder()) {}
  // A rule of the values of the whole schema. GrammarError.
  int32_t Compile() { return Rule(*root_, root_pointer_, 0); }
  // Of one of its parts, found in `root`.
  int32_t Rule(const Json& schema, const std::string& pointer, int depth);

 private:
  int32_t Make(const Json& schema, const std::string& pointer, int depth);
  int32_t Choice(Json rest, const Json& values);
  int32_t AnyOf(const Json& schema, const char* key, const std::string& pointer, int depth);
  int32_t OfType(const Json& schema, const std::string& type, const std::string& pointer,
                 int depth);
  int32_t Text(const Json& schema, const std::string& pointer);
  int32_t Number(const Json& schema, const std::string& pointer, bool is_integer);
  int32_t List(const Json& schema, const std::string& pointer, int depth);
  int32_t Members(const Json& schema, const std::string& pointer, int depth);
  int32_t OtherKey(const std::set<std::string>& names);
  int32_t Never() { return builder_.NewRule(); }

  void CheckKeywords(const Json& schema, const std::string& pointer) const;
  Json Merged(const Json& a, const Json& b, const std::string& pointer);
  const Json& Resolve(const Json& ref, const std::string& pointer) const;
  const Json& Keep(Json schema, const std::string& pointer);
  uint32_t Count(const Json& schema, const char* key, uint32_t fallback,
                 const std::string& pointer) const;

  const Json* root_;
  std::string root_pointer_;
  JsonRules* rules_;
  GrammarBuilder& builder_;
  std::map<const Json*, int32_t> known_;
  std::deque<Json> kept_;  // merged schemas
  size_t merges_ = 0, merge_depth_ = 0;
};

// Bytes, depth and keys of a schema from a request, before it is compiled.
void CheckSchemaSize(const Json& schema, const std::string& pointer);

}  // namespace planish

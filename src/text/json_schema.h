// SPDX-License-Identifier: Apache-2.0
// Does a JSON value keep to a JSON schema (2020-12, the keywords below)? For judging tool calls and structured answers; what
// binds a model while it writes is infer/grammar.
// Read: type, enum, const, required, properties, additionalProperties, minProperties,
// maxProperties, items, prefixItems, minItems, maxItems, uniqueItems, minLength, maxLength (in characters), pattern,
// minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, anyOf, oneOf, allOf, not, $ref inside the schema.
// Other keywords say nothing about a value here.
#pragma once

#include <string>

#include "base/json.h"

namespace planish {

// What is wrong first, as "/cities/2: found 7 (number), expected a string"; empty if nothing. A schema that cannot be followed
// (a $ref to nowhere, a bad pattern) is a problem too.
std::string CheckJsonSchema(const Json& schema, const Json& value);

// The part of a document a JSON pointer ("#/$defs/a~1b", "#") names; null if there is none.
const Json* ResolvePointer(const Json& root, std::string_view pointer);
// One more step of a pointer: PATH/key with ~ and / escaped.
std::string PointerTo(std::string_view path, std::string_view key);

}  // namespace planish

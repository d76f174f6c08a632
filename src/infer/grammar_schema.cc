// SPDX-License-Identifier: Apache-2.0
#include "infer/grammar_schema.h"

#include <algorithm>
#include <cmath>

#include "infer/grammar_regex.h"
#include "text/json_schema.h"
#include "text/utf8.h"

namespace planish {
namespace {

constexpr const char* kAnnotations[] = {"title",       "description", "default",   "examples",
                                        "$schema",     "$id",         "$comment",  "$anchor",
                                        "deprecated",  "readOnly",    "writeOnly", "$defs",
                                        "definitions", "strict",      "x-order"};
constexpr const char* kObjectKeys[] = {"properties", "required", "additionalProperties"};
constexpr const char* kArrayKeys[] = {"items", "prefixItems", "minItems", "maxItems"};
constexpr const char* kStringKeys[] = {"minLength", "maxLength", "pattern", "format"};
constexpr const char* kNumberKeys[] = {"minimum", "maximum", "exclusiveMinimum",
                                       "exclusiveMaximum"};
constexpr const char* kOtherKeys[] = {"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"};
constexpr const char* kTypes[] = {"null",   "boolean", "object", "array",
                                  "number", "integer", "string"};
constexpr const char* kNotSupported[] = {"not",
                                         "if",
                                         "then",
                                         "else",
                                         "patternProperties",
                                         "propertyNames",
                                         "minProperties",
                                         "maxProperties",
                                         "dependentRequired",
                                         "dependentSchemas",
                                         "dependencies",
                                         "uniqueItems",
                                         "contains",
                                         "minContains",
                                         "maxContains",
                                         "multipleOf",
                                         "unevaluatedItems",
                                         "unevaluatedProperties",
                                         "additionalItems",
                                         "$dynamicRef",
                                         "$recursiveRef",
                                         "contentEncoding",
                                         "contentMediaType",
                                         "contentSchema"};

template <size_t N>
bool IsOneOf(std::string_view key, const char* const (&list)[N]) {
  return std::find(std::begin(list), std::end(list), key) != std::end(list);
}
template <size_t N>
bool HasOneOf(const Json& schema, const char* const (&list)[N]) {
  return std::any_of(std::begin(list), std::end(list),
                     [&](const char* key) { return schema.Find(key) != nullptr; });
}

// A name, so that it is no copy of the members that a conditional expression gives: rules are known by address.
const Json::Object kNoMembers;

// Says nothing about the value beside what else is there.
bool OnlyAnnotations(const Json& schema, std::string_view beside) {
  return std::all_of(
      schema.AsObject().begin(), schema.AsObject().end(),
      [&](const Json::Member& m) { return m.first == beside || IsOneOf(m.first, kAnnotations); });
}

Json Without(const Json& schema, std::string_view key) {
  Json out = Json::MakeObject();
  for (const auto& [name, value] : schema.AsObject()) {
    if (name != key && !IsOneOf(name, kAnnotations)) out.Set(name, value);
  }
  return out;
}

std::set<std::string> TypesOf(const Json& type) {
  std::set<std::string> types;
  for (const Json& one : type.is_array() ? type.AsArray() : Json::Array{type})
    types.insert(one.AsString());
  return types;
}

}  // namespace

void CheckSchemaSize(const Json& schema, const std::string& pointer) {
  const size_t bytes = DumpJson(schema).size();
  if (bytes > limits::kSchemaBytes)
    throw GrammarError(
        pointer, fmt::format("a schema of {} bytes, allowed are {}", bytes, limits::kSchemaBytes));
}

const Json& SchemaCompiler::Keep(Json schema, const std::string& pointer) {
  if (kept_.size() >= limits::kSchemaRefs)
    throw GrammarError(pointer, fmt::format("more than {} schemas from $ref, allOf and anyOf",
                                            limits::kSchemaRefs));
  kept_.push_back(std::move(schema));
  return kept_.back();
}

const Json& SchemaCompiler::Resolve(const Json& ref, const std::string& pointer) const {
  const std::string at = PointerTo(pointer, "$ref");
  if (!ref.is_string()) throw GrammarError(at, "is no string");
  if (!ref.AsString().starts_with('#'))
    throw GrammarError(at, fmt::format("{} is not inside this schema; others are never fetched",
                                       Quoted(ref.AsString())));
  const Json* target = ResolvePointer(*root_, ref.AsString());
  if (target == nullptr)
    throw GrammarError(at, fmt::format("{} names nothing in this schema", Quoted(ref.AsString())));
  return *target;
}

uint32_t SchemaCompiler::Count(const Json& schema, const char* key, uint32_t fallback,
                               const std::string& pointer) const {
  const Json* value = schema.Find(key);
  if (value == nullptr) return fallback;
  const bool is_whole = value->is_number() && value->AsDouble() >= 0 &&
                        value->AsDouble() == std::floor(value->AsDouble());
  if (!is_whole)
    throw GrammarError(PointerTo(pointer, key), fmt::format("is {}, expected a whole number >= 0",
                                                            Quoted(DumpJson(*value))));
  if (value->AsDouble() >= 1e9) {
    if (fallback == kUnbounded) return kUnbounded;  // a most that nobody reaches
    throw GrammarError(PointerTo(pointer, key), "is above 1,000,000,000");
  }
  return static_cast<uint32_t>(value->AsDouble());
}

void SchemaCompiler::CheckKeywords(const Json& schema, const std::string& pointer) const {
  for (const auto& [key, value] : schema.AsObject()) {
    if (IsOneOf(key, kAnnotations) || IsOneOf(key, kObjectKeys) || IsOneOf(key, kArrayKeys) ||
        IsOneOf(key, kStringKeys) || IsOneOf(key, kNumberKeys) || IsOneOf(key, kOtherKeys))
      continue;
    throw GrammarError(PointerTo(pointer, key), IsOneOf(key, kNotSupported)
                                                    ? "is not supported"
                                                    : "is no keyword that is supported");
  }
  const auto expect = [&](const char* key, bool fits, const char* what) {
    const Json* value = schema.Find(key);
    if (value != nullptr && !fits)
      throw GrammarError(PointerTo(pointer, key),
                         fmt::format("is {}, expected {}", value->type_name(), what));
  };
  const auto find = [&](const char* key) -> const Json& {
    static const Json none;
    const Json* value = schema.Find(key);
    return value != nullptr ? *value : none;
  };
  if (const Json& type = find("type"); schema.Find("type") != nullptr) {
    expect("type", type.is_string() || (type.is_array() && !type.AsArray().empty()),
           "a type or a list of types");
    for (const Json& one : type.is_array() ? type.AsArray() : Json::Array{type}) {
      if (!one.is_string() || !IsOneOf(one.AsString(), kTypes))
        throw GrammarError(PointerTo(pointer, "type"),
                           fmt::format("{} is no type", Quoted(DumpJson(one))));
    }
  }
  expect("properties", find("properties").is_object(), "an object");
  expect("required", find("required").is_array(), "a list");
  expect("additionalProperties",
         find("additionalProperties").is_object() || find("additionalProperties").is_bool(),
         "a schema");
  expect("items", find("items").is_object() || find("items").is_bool(), "a schema");
  for (const char* key : {"prefixItems", "enum", "anyOf", "oneOf", "allOf"})
    expect(key, find(key).is_array() && !find(key).AsArray().empty(), "a list that is not empty");
  for (const char* key : {"pattern", "format"}) expect(key, find(key).is_string(), "a string");
  for (const char* key : kNumberKeys) expect(key, find(key).is_number(), "a number");
  for (const Json& name :
       find("required").is_array() ? find("required").AsArray() : Json::Array()) {
    if (!name.is_string())
      throw GrammarError(PointerTo(pointer, "required"), "holds what is no string");
  }
}

int32_t SchemaCompiler::Rule(const Json& schema, const std::string& pointer, int depth) {
  if (schema.is_bool()) return schema.AsBool() ? rules_->Value() : Never();
  if (!schema.is_object())
    throw GrammarError(pointer, fmt::format("is {}, expected a schema", schema.type_name()));
  const auto known = known_.find(&schema);
  if (known != known_.end()) return known->second;
  if (depth > static_cast<int>(limits::kSchemaDepth))
    throw GrammarError(pointer, fmt::format("schemas nest deeper than {}", limits::kSchemaDepth));
  // Entered before it is made, so that a $ref back to it finds it.
  const int32_t rule = builder_.NewRule();
  known_[&schema] = rule;
  const int32_t made = Make(schema, pointer, depth);
  builder_.SetFinal(builder_.CallRule(builder_.Start(rule), made));
  return rule;
}

int32_t SchemaCompiler::Make(const Json& schema, const std::string& pointer, int depth) {
  CheckKeywords(schema, pointer);
  if (const Json* ref = schema.Find("$ref")) {
    const Json& target = Resolve(*ref, pointer);
    if (OnlyAnnotations(schema, "$ref")) return Rule(target, ref->AsString(), depth + 1);
    return Rule(Keep(Merged(target, Without(schema, "$ref"), pointer), pointer), pointer,
                depth + 1);
  }
  if (const Json* all = schema.Find("allOf")) {
    Json merged = Without(schema, "allOf");
    for (size_t i = 0; i < all->AsArray().size(); ++i)
      merged = Merged(merged, all->AsArray()[i],
                      PointerTo(PointerTo(pointer, "allOf"), std::to_string(i)));
    return Rule(Keep(std::move(merged), pointer), pointer, depth + 1);
  }
  if (const Json* value = schema.Find("const"))
    return Choice(Without(schema, "const"), Json(Json::Array{*value}));
  if (const Json* values = schema.Find("enum")) return Choice(Without(schema, "enum"), *values);
  for (const char* key : {"anyOf", "oneOf"}) {
    if (schema.Find(key) != nullptr) return AnyOf(schema, key, pointer, depth);
  }
  std::set<std::string> types;
  if (const Json* type = schema.Find("type")) {
    types = TypesOf(*type);
  } else {
    // What is said about one kind of value only is taken to ask for that kind.
    if (HasOneOf(schema, kObjectKeys)) types.insert("object");
    if (HasOneOf(schema, kArrayKeys)) types.insert("array");
    if (HasOneOf(schema, kStringKeys)) types.insert("string");
    if (HasOneOf(schema, kNumberKeys)) types.insert("integer");
    if (types.empty()) return rules_->Value();
  }
  if (types.count("number") != 0) types.erase("integer");
  const int32_t rule = builder_.NewRule();
  for (const std::string& type : types)
    builder_.SetFinal(
        builder_.CallRule(builder_.Start(rule), OfType(schema, type, pointer, depth)));
  return rule;
}

// Values that the rest of the schema accepts too.
int32_t SchemaCompiler::Choice(Json rest, const Json& values) {
  const int32_t rule = builder_.NewRule();
  if (const Json* defs = root_->Find("$defs")) rest.Set("$defs", *defs);
  if (const Json* defs = root_->Find("definitions")) rest.Set("definitions", *defs);
  for (const Json& value : values.AsArray()) {
    if (!CheckJsonSchema(rest, value).empty()) continue;
    builder_.SetFinal(builder_.Text(builder_.Start(rule), DumpJson(value, JsonStyle::kPython)));
  }
  return rule;
}

int32_t SchemaCompiler::AnyOf(const Json& schema, const char* key, const std::string& pointer,
                              int depth) {
  const int32_t rule = builder_.NewRule();
  const Json rest = Without(schema, key);
  const bool is_alone = rest.AsObject().empty();
  const Json::Array& list = schema.Find(key)->AsArray();
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string at = PointerTo(PointerTo(pointer, key), std::to_string(i));
    const int32_t one = is_alone ? Rule(list[i], at, depth + 1)
                                 : Rule(Keep(Merged(list[i], rest, at), at), at, depth + 1);
    builder_.SetFinal(builder_.CallRule(builder_.Start(rule), one));
  }
  return rule;
}

int32_t SchemaCompiler::OfType(const Json& schema, const std::string& type,
                               const std::string& pointer, int depth) {
  if (type == "object") return Members(schema, pointer, depth);
  if (type == "array") return List(schema, pointer, depth);
  if (type == "string") return Text(schema, pointer);
  if (type == "integer" || type == "number") return Number(schema, pointer, type == "integer");
  const int32_t rule = builder_.NewRule();
  for (const char* word : {"null", "true", "false"}) {
    if ((type == "null") == (word[0] == 'n'))
      builder_.SetFinal(builder_.Text(builder_.Start(rule), word));
  }
  return rule;
}

int32_t SchemaCompiler::Text(const Json& schema, const std::string& pointer) {
  const uint32_t min = Count(schema, "minLength", 0, pointer),
                 max = Count(schema, "maxLength", kUnbounded, pointer);
  const Json* pattern = schema.Find("pattern");
  const Json* format = schema.Find("format");
  const bool has_length = min > 0 || max != kUnbounded;
  if (pattern == nullptr && format == nullptr) {
    if (!has_length) return rules_->String();
    return min <= max ? rules_->StringOf(min, max) : Never();
  }
  const char* key = pattern != nullptr ? "pattern" : "format";
  const std::string at = PointerTo(pointer, key);
  if (has_length || (pattern != nullptr && format != nullptr))
    throw GrammarError(at, "is not supported together with minLength, maxLength or each other");
  if (pattern != nullptr) return CompileRegex(pattern->AsString(), RegexUse::kSearch, at, rules_);
  // Days that every month has in every year; years from 1000 on.
  const std::string date =
      "[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"
      "02-(0[1-9]|1[0-9]|2[0-8]))";
  const std::string time =
      "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]"
      ")";
  const std::string& name = format->AsString();
  std::string text;
  if (name == "date") text = date;
  if (name == "date-time") text = date + "T" + time;
  if (name == "uuid") text = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
  if (text.empty())
    throw GrammarError(
        at, fmt::format("{} is not supported (date, date-time and uuid are)", Quoted(name)));
  return CompileRegex("^" + text + "$", RegexUse::kSearch, at, rules_);
}

int32_t SchemaCompiler::Number(const Json& schema, const std::string& pointer, bool is_integer) {
  if (!HasOneOf(schema, kNumberKeys)) return is_integer ? rules_->Integer() : rules_->Number();
  for (const char* key : kNumberKeys) {
    if (!is_integer && schema.Find(key) != nullptr)
      throw GrammarError(PointerTo(pointer, key), "is supported for type integer only");
  }
  // 18 digits at most, so that every bound is a 64-bit integer.
  constexpr double kMost = 999'999'999'999'999'999.0;
  const auto limit = [&](const char* key, double fallback) {
    const Json* value = schema.Find(key);
    return value != nullptr ? std::clamp(value->AsDouble(), -kMost, kMost) : fallback;
  };
  const auto exact = [&](const char* key, bool up, int64_t fallback, int64_t step) {
    const Json* value = schema.Find(key);
    if (value == nullptr) return fallback;
    constexpr int64_t kBound = 999'999'999'999'999'999;
    if (value->is_integer()) return std::clamp(value->AsInt(), -kBound, kBound) + step;
    const double d = limit(key, 0);
    const auto whole = static_cast<int64_t>(up ? std::ceil(d) : std::floor(d));
    return static_cast<double>(whole) == d ? whole + step : whole;
  };
  constexpr int64_t kBound = 999'999'999'999'999'999;
  const int64_t low =
      std::max(exact("minimum", true, -kBound, 0), exact("exclusiveMinimum", true, -kBound, 1));
  const int64_t high =
      std::min(exact("maximum", false, kBound, 0), exact("exclusiveMaximum", false, kBound, -1));
  if (low > high)
    throw GrammarError(pointer, fmt::format("no integer is at least {} and at most {}", low, high));
  return rules_->IntegerIn(low, high);
}

int32_t SchemaCompiler::List(const Json& schema, const std::string& pointer, int depth) {
  const uint32_t min = Count(schema, "minItems", 0, pointer),
                 max = Count(schema, "maxItems", kUnbounded, pointer);
  std::vector<int32_t> items;
  if (const Json* prefix = schema.Find("prefixItems")) {
    for (size_t i = 0; i < prefix->AsArray().size(); ++i)
      items.push_back(Rule(prefix->AsArray()[i],
                           PointerTo(PointerTo(pointer, "prefixItems"), std::to_string(i)),
                           depth + 1));
  }
  const Json* rest = schema.Find("items");
  int32_t rule =
      rest == nullptr ? rules_->Value() : Rule(*rest, PointerTo(pointer, "items"), depth + 1);
  if (rest != nullptr && rest->is_bool() && !rest->AsBool()) rule = -1;
  if (rest == nullptr && !items.empty()) rule = -1;  // what the prefix names and no more
  if (rule < 0 && min > items.size())
    throw GrammarError(PointerTo(pointer, "minItems"),
                       fmt::format("is {}, but there are schemas for {} items", min, items.size()));
  return rules_->List(items, rule, min, max);
}

// A key that is none of these: at each place where a name could go on, another character, or the end too early.
int32_t SchemaCompiler::OtherKey(const std::set<std::string>& names) {
  const int32_t rule = builder_.NewRule();
  const int32_t open = builder_.Text(builder_.Start(rule), "\"");
  const int32_t close = builder_.NewState(), free = builder_.NewState();
  builder_.SetFinal(builder_.Text(close, "\""));
  builder_.Jump(builder_.Repeat(free, rules_->PlainCharacter(), 0, kUnbounded), close);
  std::map<std::string, int32_t> at = {{"", open}};  // by what has been read
  std::map<std::string, std::vector<CodeRange>> taken;
  for (const std::string& name : names) {
    const char* p = name.data();
    std::string before;
    while (p < name.data() + name.size()) {
      const char32_t code = NextValidUtf8(p);
      taken[before].push_back({code, code});
      std::string after = before;
      AppendUtf8(code, &after);
      if (at.count(after) == 0) at[after] = builder_.NewState();
      // What has to be escaped cannot be written here, so such a name is never met.
      if (code >= 0x20 && code != '"' && code != '\\') {
        const CodeRange one = {code, code};
        builder_.Characters(at[before], std::span(&one, 1), at[after]);
      }
      before = std::move(after);
    }
  }
  for (const auto& [before, state] : at) {
    if (names.count(before) == 0) builder_.Jump(state, close);
    std::vector<CodeRange> no = taken[before];
    no.insert(no.end(), {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}});
    builder_.Characters(state, Complement(no), free);
  }
  return rule;
}

// Members in the order of the schema, each optional one present or not, then others. Two rows of states: nothing written yet,
// and something, so that a comma stands between members only.
int32_t SchemaCompiler::Members(const Json& schema, const std::string& pointer, int depth) {
  const Json* properties = schema.Find("properties");
  const Json* rest = schema.Find("additionalProperties");
  const Json* required = schema.Find("required");
  std::set<std::string> needed;
  if (required != nullptr) {
    for (const Json& name : required->AsArray()) needed.insert(name.AsString());
  }
  if (properties == nullptr && rest == nullptr && needed.empty()) return rules_->Object();
  const bool allows_others =
      rest != nullptr ? !rest->is_bool() || rest->AsBool() : properties == nullptr;
  const auto others = [&] {
    return rest == nullptr || rest->is_bool()
               ? rules_->Value()
               : Rule(*rest, PointerTo(pointer, "additionalProperties"), depth + 1);
  };
  struct Property {
    std::string name;
    int32_t value;
  };
  std::vector<Property> list;
  std::set<std::string> names;
  for (const auto& [name, value] : properties != nullptr ? properties->AsObject() : kNoMembers) {
    names.insert(name);
    if (value.is_bool() && !value.AsBool() && needed.count(name) == 0)
      continue;  // may not be there
    list.push_back(
        {name, Rule(value, PointerTo(PointerTo(pointer, "properties"), name), depth + 1)});
  }
  for (const std::string& name : needed) {
    if (!names.insert(name).second) continue;
    if (!allows_others && rest != nullptr)
      throw GrammarError(
          PointerTo(pointer, "required"),
          fmt::format("asks for {}, which additionalProperties forbids", Quoted(name)));
    list.push_back({name, others()});
  }
  const int32_t rule = builder_.NewRule();
  int32_t none = rules_->Spaced(builder_.Start(rule), "{");
  int32_t some = builder_.NewState();
  for (const Property& property : list) {
    const int32_t next_none = builder_.NewState(), next_some = builder_.NewState(),
                  member = builder_.NewState();
    builder_.Jump(none, member);
    builder_.Jump(rules_->Spaced(some, ","), member);
    std::string key;
    AppendJsonString(property.name, &key);
    int32_t at = builder_.CallRule(builder_.Text(member, key), rules_->Space());
    at = builder_.CallRule(rules_->Spaced(at, ":"), property.value);
    builder_.Jump(builder_.CallRule(at, rules_->Space()), next_some);
    if (needed.count(property.name) == 0) {
      builder_.Jump(none, next_none);
      builder_.Jump(some, next_some);
    }
    none = next_none;
    some = next_some;
  }
  if (allows_others) {
    const int32_t member = builder_.NewState();
    builder_.Jump(none, member);
    builder_.Jump(rules_->Spaced(some, ","), member);
    int32_t at = builder_.CallRule(builder_.CallRule(member, OtherKey(names)), rules_->Space());
    at = builder_.CallRule(rules_->Spaced(at, ":"), others());
    builder_.Jump(builder_.CallRule(at, rules_->Space()), some);
  }
  const int32_t end = builder_.NewState();
  builder_.Byte(none, '}', '}', end);
  builder_.Byte(some, '}', '}', end);
  builder_.SetFinal(end);
  return rule;
}

// One schema that accepts what both accept.
Json SchemaCompiler::Merged(const Json& first, const Json& second, const std::string& pointer) {
  const auto inlined = [&](const Json& schema) -> Json {
    if (schema.is_bool()) return schema.AsBool() ? Json::MakeObject() : schema;
    if (!schema.is_object())
      throw GrammarError(pointer, fmt::format("is {}, expected a schema", schema.type_name()));
    CheckKeywords(schema, pointer);
    Json flat = schema;
    for (size_t rounds = 0; const Json* ref = flat.is_object() ? flat.Find("$ref") : nullptr;
         ++rounds) {
      if (rounds > limits::kSchemaDepth)
        throw GrammarError(pointer, "$ref goes around in a circle");
      const Json& target = Resolve(*ref, pointer);
      const Json rest = Without(flat, "$ref");
      flat = rest.AsObject().empty() ? target : Merged(target, rest, pointer);
    }
    if (flat.is_object() && flat.Find("allOf") != nullptr) {
      Json merged = Without(flat, "allOf");
      for (const Json& one : flat.Find("allOf")->AsArray()) merged = Merged(merged, one, pointer);
      flat = std::move(merged);
    }
    return flat.is_bool() && flat.AsBool() ? Json::MakeObject() : flat;
  };
  const auto is_free = [](const Json& schema) {
    return schema.is_bool() ? schema.AsBool() : schema.is_object() && OnlyAnnotations(schema, "");
  };
  if (is_free(first)) return second;
  if (is_free(second)) return first;
  struct Depth {
    explicit Depth(size_t* d) : depth(d) { ++*depth; }
    ~Depth() { --*depth; }
    size_t* depth;
  } guard(&merge_depth_);
  if (++merges_ > limits::kSchemaRefs || merge_depth_ > limits::kSchemaDepth)
    throw GrammarError(pointer, fmt::format("more than {} schemas from $ref, allOf and anyOf",
                                            limits::kSchemaRefs));
  const Json a = inlined(first), b = inlined(second);
  if (a.is_bool() || b.is_bool()) return Json(false);
  Json out = Without(a, "");
  const auto value_of = [&](const Json& schema, const std::string& name) -> Json {
    const Json* properties = schema.Find("properties");
    const Json* own = properties != nullptr ? properties->Find(name) : nullptr;
    const Json* rest = schema.Find("additionalProperties");
    return own != nullptr ? *own : rest != nullptr ? *rest : Json(true);
  };
  for (const auto& [key, value] : b.AsObject()) {
    if (IsOneOf(key, kAnnotations)) continue;
    const Json* mine = out.Find(key);
    if (key == "properties") {
      continue;
    } else if (mine == nullptr || *mine == value) {
      out.Set(key, value);
    } else if (key == "type") {
      Json both = Json::MakeArray();
      const std::set<std::string> other = TypesOf(value);
      for (const std::string& type : TypesOf(*mine)) {
        if (other.count(type) != 0) {
          both.Append(type);
        } else if ((type == "integer" && other.count("number") != 0) ||
                   (type == "number" && other.count("integer") != 0)) {
          both.Append("integer");
        }
      }
      if (both.AsArray().empty()) return Json(false);
      out.Set(key, both);
    } else if (key == "required") {
      Json both = *mine;
      for (const Json& name : value.AsArray()) both.Append(name);
      out.Set(key, both);
    } else if (key == "enum" || key == "const") {
      // Kept apart: both must hold, which the choice checks.
      Json all = Json::MakeArray();
      const Json mine_list = key == "enum" ? *mine : Json(Json::Array{*mine});
      for (const Json& one : mine_list.AsArray()) {
        Json check = Json::MakeObject();
        check.Set(key, value);
        if (CheckJsonSchema(check, one).empty()) all.Append(one);
      }
      if (all.AsArray().empty()) return Json(false);
      out.Set(key, key == "enum" ? all : all.AsArray()[0]);
    } else if (key == "minLength" || key == "minItems" || key == "minimum" ||
               key == "exclusiveMinimum") {
      out.Set(key, value.AsDouble() > mine->AsDouble() ? value : *mine);
    } else if (key == "maxLength" || key == "maxItems" || key == "maximum" ||
               key == "exclusiveMaximum") {
      out.Set(key, value.AsDouble() < mine->AsDouble() ? value : *mine);
    } else if (key == "items" || key == "additionalProperties") {
      out.Set(key, Merged(*mine, value, PointerTo(pointer, key)));
    } else {
      throw GrammarError(PointerTo(pointer, key),
                         "stands in two schemas that must hold at once; that is not supported");
    }
  }
  // A property must fit what each of the two says of it, be it by name or as an additional one.
  Json properties = Json::MakeObject();
  for (const Json* schema : {&a, &b}) {
    const Json* named = schema->Find("properties");
    for (const auto& [name, value] : named != nullptr ? named->AsObject() : Json::Object()) {
      if (properties.Find(name) == nullptr)
        properties.Set(name,
                       Merged(value_of(a, name), value_of(b, name), PointerTo(pointer, name)));
    }
  }
  if (!properties.AsObject().empty()) out.Set("properties", properties);
  return out;
}

}  // namespace planish

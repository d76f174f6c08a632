// SPDX-License-Identifier: Apache-2.0
#include "text/json_schema.h"

#include <cmath>

#include "base/error.h"
#include "text/regex.h"

namespace planish {
namespace {

constexpr int kMaxDepth = 256;  // of schemas in schemas; a $ref circle that takes nothing ends here

size_t CharacterCount(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

bool IsWhole(const Json& value) {
  return value.is_integer() ||
         (value.is_number() && value.AsDouble() == std::floor(value.AsDouble()));
}

bool IsOfType(const Json& value, std::string_view type) {
  if (type == "integer") return value.is_number() && IsWhole(value);
  if (type == "number") return value.is_number();
  return type == value.type_name();
}

// Equality of JSON Schema: 1 and 1.0 are equal, the order of members says nothing.
bool AreEqual(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number())
    return a.is_integer() && b.is_integer() ? a == b : a.AsDouble() == b.AsDouble();
  if (a.type() != b.type()) return false;
  if (a.is_array()) {
    if (a.AsArray().size() != b.AsArray().size()) return false;
    for (size_t i = 0; i < a.AsArray().size(); ++i) {
      if (!AreEqual(a.AsArray()[i], b.AsArray()[i])) return false;
    }
    return true;
  }
  if (a.is_object()) {
    if (a.AsObject().size() != b.AsObject().size()) return false;
    for (const auto& [key, value] : a.AsObject()) {
      const Json* other = b.Find(key);
      if (other == nullptr || !AreEqual(value, *other)) return false;
    }
    return true;
  }
  return a == b;
}

class Checker {
 public:
  explicit Checker(const Json& root) : root_(root) {}

  std::string Check(const Json& schema, const Json& value, const std::string& path, int depth) {
    if (schema.is_bool())
      return schema.AsBool() ? std::string() : Problem(path, value, "nothing (schema false)");
    if (!schema.is_object()) return fmt::format("{}: a schema is {}", path, schema.type_name());
    if (depth > kMaxDepth) return fmt::format("{}: $ref goes around in a circle", Place(path));
    if (const Json* ref = schema.Find("$ref")) {
      const Json* target = ref->is_string() ? ResolvePointer(root_, ref->AsString()) : nullptr;
      if (target == nullptr)
        return fmt::format("{}: $ref names nothing in the schema", Place(path));
      if (std::string p = Check(*target, value, path, depth + 1); !p.empty()) return p;
    }
    std::string problem = CheckType(schema, value, path);
    if (problem.empty()) problem = CheckChoice(schema, value, path);
    if (problem.empty() && value.is_number()) problem = CheckNumber(schema, value, path);
    if (problem.empty() && value.is_string()) problem = CheckString(schema, value, path);
    if (problem.empty() && value.is_array()) problem = CheckArray(schema, value, path, depth);
    if (problem.empty() && value.is_object()) problem = CheckObject(schema, value, path, depth);
    if (problem.empty()) problem = CheckCombined(schema, value, path, depth);
    return problem;
  }

 private:
  static std::string Place(const std::string& path) { return path.empty() ? "the value" : path; }

  static std::string Problem(const std::string& path, const Json& value,
                             const std::string& expected) {
    return fmt::format("{}: found {} ({}), expected {}", Place(path), Quoted(DumpJson(value), 60),
                       value.type_name(), expected);
  }

  static std::string CheckType(const Json& schema, const Json& value, const std::string& path) {
    const Json* type = schema.Find("type");
    if (type == nullptr) return {};
    if (type->is_string())
      return IsOfType(value, type->AsString()) ? std::string()
                                               : Problem(path, value, type->AsString());
    if (!type->is_array()) return fmt::format("{}: type is {}", Place(path), type->type_name());
    std::string names;
    for (const Json& one : type->AsArray()) {
      if (!one.is_string()) continue;
      if (IsOfType(value, one.AsString())) return {};
      names += (names.empty() ? "" : " or ") + one.AsString();
    }
    return Problem(path, value, names);
  }

  static std::string CheckChoice(const Json& schema, const Json& value, const std::string& path) {
    if (const Json* expected = schema.Find("const");
        expected != nullptr && !AreEqual(*expected, value))
      return Problem(path, value, DumpJson(*expected));
    const Json* choices = schema.Find("enum");
    if (choices == nullptr || !choices->is_array()) return {};
    for (const Json& choice : choices->AsArray()) {
      if (AreEqual(choice, value)) return {};
    }
    return Problem(path, value, fmt::format("one of {}", Quoted(DumpJson(*choices), 200)));
  }

  static std::string CheckNumber(const Json& schema, const Json& value, const std::string& path) {
    const double number = value.AsDouble();
    const auto bound = [&](const char* name, auto&& holds, const char* sign) -> std::string {
      const Json* limit = schema.Find(name);
      if (limit == nullptr || !limit->is_number() || holds(limit->AsDouble())) return {};
      return Problem(path, value, fmt::format("a number {} {}", sign, DumpJson(*limit)));
    };
    std::string p = bound(
        "minimum", [&](double l) { return number >= l; }, ">=");
    if (p.empty())
      p = bound(
          "maximum", [&](double l) { return number <= l; }, "<=");
    if (p.empty())
      p = bound(
          "exclusiveMinimum", [&](double l) { return number > l; }, ">");
    if (p.empty())
      p = bound(
          "exclusiveMaximum", [&](double l) { return number < l; }, "<");
    if (p.empty()) {
      const auto divides = [&](double d) {
        const double ratio = number / d;
        return std::abs(ratio - std::round(ratio)) <= 1e-9 * std::max(1.0, std::abs(ratio));
      };
      p = bound("multipleOf", divides, "that is a multiple of");
    }
    return p;
  }

  // Whether count keeps to the limits `low` and `high` name; empty if so.
  static std::string CheckCount(const Json& schema, const Json& value, const std::string& path,
                                size_t count, const char* low, const char* high, const char* unit) {
    const Json* least = schema.Find(low);
    const Json* most = schema.Find(high);
    const auto n = static_cast<double>(count);
    if (least != nullptr && least->is_number() && n < least->AsDouble())
      return Problem(path, value, fmt::format("at least {} {}", DumpJson(*least), unit));
    if (most != nullptr && most->is_number() && n > most->AsDouble())
      return Problem(path, value, fmt::format("at most {} {}", DumpJson(*most), unit));
    return {};
  }

  static std::string CheckString(const Json& schema, const Json& value, const std::string& path) {
    const std::string& text = value.AsString();
    std::string p = CheckCount(schema, value, path, CharacterCount(text), "minLength", "maxLength",
                               "characters");
    const Json* pattern = schema.Find("pattern");
    if (!p.empty() || pattern == nullptr || !pattern->is_string()) return p;
    try {
      RegexScratch scratch;
      std::vector<RegexMatch> matches;
      // Matching lines of Ruby's ^ and $ are the whole text here: JSON Schema's are.
      std::string source = pattern->AsString();
      if (source.starts_with('^')) source = "\\A(?:" + source.substr(1) + ")";
      if (source.ends_with("$)")) source = source.substr(0, source.size() - 2) + ")\\z";
      if (source.ends_with('$')) source = source.substr(0, source.size() - 1) + "\\z";
      Regex(source, "pattern").FindAll(text, &scratch, &matches);
      if (matches.empty()) return Problem(path, value, "text like " + Quoted(pattern->AsString()));
    } catch (const Error& e) {
      return fmt::format("{}: {}", Place(path), e.what());
    }
    return {};
  }

  std::string CheckArray(const Json& schema, const Json& value, const std::string& path,
                         int depth) {
    const Json::Array& items = value.AsArray();
    std::string p = CheckCount(schema, value, path, items.size(), "minItems", "maxItems", "items");
    const Json* prefix = schema.Find("prefixItems");
    const size_t fixed = prefix != nullptr && prefix->is_array() ? prefix->AsArray().size() : 0;
    const Json* rest = schema.Find("items");
    for (size_t i = 0; p.empty() && i < items.size(); ++i) {
      const Json* one = i < fixed ? &prefix->AsArray()[i] : rest;
      if (one != nullptr) p = Check(*one, items[i], PointerTo(path, std::to_string(i)), depth + 1);
    }
    const Json* unique = schema.Find("uniqueItems");
    if (p.empty() && unique != nullptr && unique->is_bool() && unique->AsBool()) {
      for (size_t i = 0; i < items.size(); ++i) {
        for (size_t j = 0; j < i; ++j) {
          if (AreEqual(items[i], items[j])) return Problem(path, value, "items that differ");
        }
      }
    }
    return p;
  }

  std::string CheckObject(const Json& schema, const Json& value, const std::string& path,
                          int depth) {
    std::string p = CheckCount(schema, value, path, value.AsObject().size(), "minProperties",
                               "maxProperties", "members");
    const Json* required = schema.Find("required");
    if (p.empty() && required != nullptr && required->is_array()) {
      for (const Json& name : required->AsArray()) {
        if (name.is_string() && value.Find(name.AsString()) == nullptr)
          return fmt::format("{}: {} is missing", Place(path), Quoted(name.AsString()));
      }
    }
    const Json* properties = schema.Find("properties");
    const Json* rest = schema.Find("additionalProperties");
    for (const auto& [name, member] : value.AsObject()) {
      if (!p.empty()) break;
      const Json* known = properties != nullptr ? properties->Find(name) : nullptr;
      if (known != nullptr) {
        p = Check(*known, member, PointerTo(path, name), depth + 1);
      } else if (rest != nullptr && rest->is_bool() && !rest->AsBool()) {
        p = fmt::format("{}: {} is no known member", Place(path), Quoted(name));
      } else if (rest != nullptr) {
        p = Check(*rest, member, PointerTo(path, name), depth + 1);
      }
    }
    return p;
  }

  std::string CheckCombined(const Json& schema, const Json& value, const std::string& path,
                            int depth) {
    if (const Json* all = schema.Find("allOf"); all != nullptr && all->is_array()) {
      for (const Json& one : all->AsArray()) {
        if (std::string p = Check(one, value, path, depth + 1); !p.empty()) return p;
      }
    }
    for (const char* name : {"anyOf", "oneOf"}) {
      const Json* list = schema.Find(name);
      if (list == nullptr || !list->is_array()) continue;
      size_t fitting = 0;
      std::string first;
      for (const Json& one : list->AsArray()) {
        const std::string p = Check(one, value, path, depth + 1);
        fitting += p.empty();
        if (first.empty()) first = p;
      }
      if (fitting == 0) return first.empty() ? Problem(path, value, "nothing (no choices)") : first;
      if (fitting > 1 && name[0] == 'o')
        return Problem(path, value, fmt::format("to fit one of oneOf, not {}", fitting));
    }
    const Json* forbidden = schema.Find("not");
    if (forbidden != nullptr && Check(*forbidden, value, path, depth + 1).empty())
      return Problem(path, value, "something else (schema not)");
    return {};
  }

  const Json& root_;
};

}  // namespace

std::string CheckJsonSchema(const Json& schema, const Json& value) {
  return Checker(schema).Check(schema, value, "", 0);
}

const Json* ResolvePointer(const Json& root, std::string_view pointer) {
  if (!pointer.starts_with('#')) return nullptr;
  pointer.remove_prefix(1);
  const Json* at = &root;
  while (!pointer.empty()) {
    if (pointer.front() != '/') return nullptr;
    const size_t end = std::min(pointer.find('/', 1), pointer.size());
    std::string key;
    for (size_t i = 1; i < end; ++i) {
      if (pointer[i] == '~' && i + 1 < end && (pointer[i + 1] == '0' || pointer[i + 1] == '1')) {
        key += pointer[++i] == '0' ? '~' : '/';
      } else {
        key += pointer[i];
      }
    }
    pointer.remove_prefix(end);
    if (at->is_array()) {
      const bool is_index = !key.empty() && key.size() < 9 &&
                            key.find_first_not_of("0123456789") == std::string::npos;
      const size_t index = is_index ? std::stoul(key) : at->AsArray().size();
      at = index < at->AsArray().size() ? &at->AsArray()[index] : nullptr;
    } else {
      at = at->Find(key);
    }
    if (at == nullptr) return nullptr;
  }
  return at;
}

std::string PointerTo(std::string_view path, std::string_view key) {
  std::string out(path);
  out += '/';
  for (const char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/error.h"

namespace planish {
namespace {

// Builds Json values from nlohmann's SAX events; refuses depth, duplicate keys and non-finite numbers.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  // `marks`: ordinals of the strings that MarkNonFinite put in place of numbers.
  Builder(std::string_view where, const JsonParseOptions& options, std::vector<size_t> marks)
      : where_(where), options_(options), marks_(std::move(marks)) {}
  Json Take() { return std::move(root_); }

  bool null() override { return Add(Json()); }
  bool boolean(bool value) override { return Add(Json(value)); }
  bool number_integer(number_integer_t value) override { return Add(Json(int64_t{value})); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return Add(Json(static_cast<int64_t>(value)));
    return Add(Json(uint64_t{value}));
  }
  bool number_float(number_float_t value, const string_t&) override {
    return Add(Json(double{value}));
  }
  bool string(string_t& value) override {
    if (IsMark()) {
      const double infinity = std::numeric_limits<double>::infinity();
      return Add(Json(value[0] == 'N'   ? std::numeric_limits<double>::quiet_NaN()
                      : value[0] == '-' ? -infinity
                                        : infinity));
    }
    return Add(Json(std::move(value)));
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return Open(Json::MakeObject()); }
  bool start_array(size_t) override { return Open(Json::MakeArray()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& value) override {
    if (IsMark())
      throw BadFile("{}: not valid JSON: a key is {}, expected a string", where_,
                    value[0] == 'N' ? "NaN" : "Infinity");
    Frame& frame = frames_.back();
    const auto [place, is_new] = frame.places.emplace(value, frame.value.AsObject().size());
    if (!is_new && options_.reject_duplicate_keys)
      throw BadFile("{}: not valid JSON: key {} occurs twice", where_, Quoted(value));
    if (is_new) frame.value.AsObject().emplace_back(std::move(value), Json());
    frame.next = place->second;
    return true;
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    std::string_view reason = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error ...": keep what follows the colon.
    if (const size_t colon = reason.find(": "); colon != std::string_view::npos)
      reason.remove_prefix(colon + 2);
    throw BadFile("{}: not valid JSON at byte {}: {}", where_, position, Quoted(reason, 160));
  }

 private:
  // Counts the strings and keys of the text.
  bool IsMark() {
    const bool is_mark = next_mark_ < marks_.size() && marks_[next_mark_] == strings_;
    next_mark_ += is_mark ? 1 : 0;
    ++strings_;
    return is_mark;
  }

  struct Frame {
    Json value;
    std::unordered_map<std::string, size_t> places;  // of each key in an object
    size_t next = 0;                                 // where the next value of an object goes
  };

  bool Add(Json value) {
    if (++values_ > options_.max_values)
      throw BadFile("{}: has more than {} JSON values", where_, options_.max_values);
    if (frames_.empty()) {
      root_ = std::move(value);
    } else if (Frame& frame = frames_.back(); frame.value.is_array()) {
      frame.value.Append(std::move(value));
    } else {
      frame.value.AsObject()[frame.next].second = std::move(value);
    }
    return true;
  }
  bool Open(Json empty) {
    if (frames_.size() >= options_.max_depth) {
      throw BadFile("{}: not valid JSON: nested deeper than {}", where_, options_.max_depth);
    }
    frames_.push_back(Frame{std::move(empty), {}, 0});
    return true;
  }
  bool Close() {
    Json done = std::move(frames_.back().value);
    frames_.pop_back();
    return Add(std::move(done));
  }

  std::string where_;
  JsonParseOptions options_;
  std::vector<size_t> marks_;
  size_t next_mark_ = 0, strings_ = 0;
  std::vector<Frame> frames_;
  Json root_;
  size_t values_ = 0;
};

// Replaces bare NaN, Infinity and -Infinity outside strings by strings of the same length, so that positions in messages
// stay right, and lists their ordinals among all strings of the text: no string that is in the file can be mistaken for one.
std::string MarkNonFinite(std::string_view text, std::vector<size_t>* marks) {
  std::string out(text);
  size_t strings = 0;
  bool in_string = false;
  for (size_t i = 0; i < out.size(); ++i) {
    if (in_string) {
      if (out[i] == '\\')
        ++i;
      else if (out[i] == '"')
        in_string = false;
      continue;
    }
    if (out[i] == '"') {
      in_string = true;
      ++strings;
      continue;
    }
    for (const std::string_view word : {"-Infinity", "Infinity", "NaN"}) {
      if (text.substr(i, word.size()) != word) continue;
      marks->push_back(strings++);
      out.replace(i, word.size(),
                  '"' + std::string(1, word[0]) + std::string(word.size() - 3, ' ') + '"');
      i += word.size() - 1;
      break;
    }
  }
  return out;
}

void Dump(const Json& value, JsonStyle style, int indent, int depth, std::string* out) {
  const auto newline = [&](int level) {
    if (indent >= 0) {
      out->push_back('\n');
      out->append(static_cast<size_t>(indent) * static_cast<size_t>(level), ' ');
    }
  };
  const std::string_view comma = indent >= 0 ? "," : style == JsonStyle::kPython ? ", " : ",";
  const std::string_view colon = indent >= 0 || style == JsonStyle::kPython ? ": " : ":";
  switch (value.type()) {
    case Json::Type::kNull:
      *out += "null";
      break;
    case Json::Type::kBool:
      *out += value.AsBool() ? "true" : "false";
      break;
    case Json::Type::kInt:
      *out += fmt::format("{}", value.AsInt());
      break;
    case Json::Type::kUint:
      *out += fmt::format("{}", value.AsUint());
      break;
    case Json::Type::kDouble:
      *out += PythonFloat(value.AsDouble());
      break;
    case Json::Type::kString:
      AppendJsonString(value.AsString(), out);
      break;
    case Json::Type::kArray: {
      if (value.AsArray().empty()) {
        *out += "[]";
        break;
      }
      *out += '[';
      bool first = true;
      for (const Json& item : value.AsArray()) {
        if (!first) *out += comma;
        first = false;
        newline(depth + 1);
        Dump(item, style, indent, depth + 1, out);
      }
      newline(depth);
      *out += ']';
      break;
    }
    case Json::Type::kObject: {
      if (value.AsObject().empty()) {
        *out += "{}";
        break;
      }
      *out += '{';
      bool first = true;
      for (const auto& [key, item] : value.AsObject()) {
        if (!first) *out += comma;
        first = false;
        newline(depth + 1);
        AppendJsonString(key, out);
        *out += colon;
        Dump(item, style, indent, depth + 1, out);
      }
      newline(depth);
      *out += '}';
      break;
    }
  }
}

}  // namespace

const char* Json::type_name() const {
  static constexpr const char* kNames[] = {"null",   "boolean", "integer", "integer",
                                           "number", "string",  "array",   "object"};
  return kNames[static_cast<size_t>(type())];
}

int64_t Json::AsInt() const {
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  if (type() == Type::kUint)
    return static_cast<int64_t>(std::min(std::get<uint64_t>(value_), kMax));
  return std::get<int64_t>(value_);
}

double Json::AsDouble() const {
  if (type() == Type::kInt) return static_cast<double>(std::get<int64_t>(value_));
  if (type() == Type::kUint) return static_cast<double>(std::get<uint64_t>(value_));
  return std::get<double>(value_);
}

const Json* Json::Find(std::string_view key) const {
  if (!is_object()) return nullptr;
  for (const auto& [name, value] : AsObject()) {
    if (name == key) return &value;
  }
  return nullptr;
}

Json& Json::Set(std::string_view key, Json value) {
  for (auto& [name, old] : AsObject()) {
    if (name == key) return old = std::move(value);
  }
  return AsObject().emplace_back(std::string(key), std::move(value)).second;
}

void Json::Remove(std::string_view key) {
  std::erase_if(AsObject(), [&](const Member& member) { return member.first == key; });
}

Json ParseJson(std::string_view text, std::string_view where, const JsonParseOptions& options) {
  if (text.starts_with("\xEF\xBB\xBF"))
    throw BadFile("{}: not valid JSON: starts with a byte order mark", where);
  std::vector<size_t> marks;
  const std::string marked = options.allow_non_finite ? MarkNonFinite(text, &marks) : std::string();
  Builder builder(where, options, std::move(marks));
  nlohmann::json::sax_parse(options.allow_non_finite ? marked : text, &builder);
  return builder.Take();
}

std::string PythonFloat(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

void AppendJsonString(std::string_view text, std::string* out) {
  out->push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"':
        *out += "\\\"";
        break;
      case '\\':
        *out += "\\\\";
        break;
      case '\n':
        *out += "\\n";
        break;
      case '\r':
        *out += "\\r";
        break;
      case '\t':
        *out += "\\t";
        break;
      case '\b':
        *out += "\\b";
        break;
      case '\f':
        *out += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          *out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        else
          out->push_back(c);
    }
  }
  out->push_back('"');
}

std::string DumpJson(const Json& value, JsonStyle style, int indent) {
  std::string out;
  Dump(value, style, indent, 0, &out);
  return out;
}

JsonReader::JsonReader(const Json& value, std::string where, std::string path)
    : value_(&value), where_(std::move(where)), path_(std::move(path)) {
  if (!value.is_object()) {
    throw BadFile("{}: {} is {}, expected an object", where_,
                  path_.empty() ? "the top level" : path_, value.type_name());
  }
}

std::string JsonReader::PathOf(std::string_view key) const {
  return fmt::format("{}: {}{}{}", where_, path_, path_.empty() ? "" : ".",
                     Quoted(key).substr(1, Quoted(key).size() - 2));
}

void JsonReader::Fail(std::string_view key, std::string_view expected) const {
  const Json* found = value_->Find(key);
  if (found == nullptr) throw BadFile("{} is missing, expected {}", PathOf(key), expected);
  const std::string shown = found->is_array() || found->is_object()
                                ? std::string(found->type_name())
                                : Quoted(DumpJson(*found));
  throw BadFile("{} is {}, expected {}", PathOf(key), shown, expected);
}

const Json& JsonReader::Get(std::string_view key, std::string_view expected) const {
  const Json* found = value_->Find(key);
  if (found == nullptr || found->is_null()) Fail(key, expected);
  return *found;
}

bool JsonReader::Has(std::string_view key) const {
  const Json* found = value_->Find(key);
  return found != nullptr && !found->is_null();
}

int64_t JsonReader::Int(std::string_view key, int64_t low, int64_t high) const {
  const std::string expected = fmt::format("an integer in [{}, {}]", low, high);
  const Json& found = Get(key, expected);
  const bool saturates =
      found.type() == Json::Type::kUint &&
      found.AsUint() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (!found.is_integer() || saturates || found.AsInt() < low || found.AsInt() > high)
    Fail(key, expected);
  return found.AsInt();
}

int64_t JsonReader::IntOr(std::string_view key, int64_t low, int64_t high, int64_t fallback) const {
  return Has(key) ? Int(key, low, high) : fallback;
}

double JsonReader::Number(std::string_view key, double low, double high) const {
  const std::string expected = fmt::format("a number in [{}, {}]", low, high);
  const Json& found = Get(key, expected);
  double value;
  if (found.is_number()) {
    value = found.AsDouble();
  } else if (const Json* wrapped = found.Find("__float__");
             wrapped != nullptr && wrapped->is_string()) {
    const std::string& text =
        wrapped->AsString();  // transformers 5 writes {"__float__": "Infinity"}
    if (text != "Infinity" && text != "-Infinity") Fail(key, expected);
    value = text[0] == '-' ? -std::numeric_limits<double>::infinity()
                           : std::numeric_limits<double>::infinity();
  } else {
    Fail(key, expected);
  }
  if (!(value >= low && value <= high)) Fail(key, expected);
  return value;
}

double JsonReader::NumberOr(std::string_view key, double low, double high, double fallback) const {
  return Has(key) ? Number(key, low, high) : fallback;
}

bool JsonReader::BoolOr(std::string_view key, bool fallback) const {
  if (!Has(key)) return fallback;
  const Json& found = Get(key, "true or false");
  if (!found.is_bool()) Fail(key, "true or false");
  return found.AsBool();
}

std::string JsonReader::String(std::string_view key) const {
  const Json& found = Get(key, "a string");
  if (!found.is_string()) Fail(key, "a string");
  return found.AsString();
}

std::string JsonReader::StringOr(std::string_view key, std::string fallback) const {
  return Has(key) ? String(key) : std::move(fallback);
}

const Json::Array& JsonReader::Array(std::string_view key) const {
  const Json& found = Get(key, "a list");
  if (!found.is_array()) Fail(key, "a list");
  return found.AsArray();
}

JsonReader JsonReader::Object(std::string_view key) const {
  const Json& found = Get(key, "an object");
  if (!found.is_object()) Fail(key, "an object");
  return JsonReader(found, where_,
                    path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key));
}

JsonReader JsonReader::Element(std::string_view key, size_t index) const {
  const Json::Array& items = Array(key);
  PLANISH_CHECK(index < items.size());
  return JsonReader(items[index], where_,
                    fmt::format("{}{}{}[{}]", path_, path_.empty() ? "" : ".", key, index));
}

}  // namespace planish

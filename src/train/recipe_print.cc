// SPDX-License-Identifier: Apache-2.0
// Writing a recipe as TOML.
#include "base/json.h"
#include "train/recipe_keys.h"

namespace planish {
namespace {

// TOML's basic strings take JSON's escapes.
std::string InQuotes(const std::string& text) {
  std::string quoted;
  AppendJsonString(text, &quoted);
  return quoted;
}

// Keys of a table come before its tables, as TOML demands: VisitKeys lists them so.
class Printer : public KeyVisitor {
 public:
  explicit Printer(const Recipe& recipe) : recipe_(recipe) {}
  std::string text;
  std::map<std::string, std::string> values;

  void Text(const char* key, std::string* value, const char* help) override {
    Line(key, InQuotes(*value), help);
  }
  void Path(const char* key, std::string* value, const char* help) override {
    Line(key, InQuotes(*value), help);
  }
  void Flag(const char* key, bool* value, const char* help) override {
    Line(key, *value ? "true" : "false", help);
  }
  void Count(const char* key, uint64_t* value, uint64_t, uint64_t, const char* help) override {
    Line(key, std::to_string(*value), help);
  }
  void Real(const char* key, double* value, double, double, const char* help) override {
    Line(key, PythonFloat(*value), help);
  }
  void Texts(const char* key, std::vector<std::string>* value, const char* help) override {
    std::string list;
    for (const std::string& element : *value)
      list += (list.empty() ? "" : ", ") + InQuotes(element);
    Line(key, "[" + list + "]", help);
  }
  void Index(const char* key, int* value, std::span<const char* const> names,
             const char* help) override {
    Line(key, fmt::format("\"{}\"", names[static_cast<size_t>(*value)]),
         fmt::format("{}: {}", help, fmt::join(names, " | ")));
  }
  void Section(const char* key, const std::function<void()>& keys) override {
    Enter(key, key, "\n[{}]\n", keys);
  }
  void List(const char* key, size_t size, const std::function<void(size_t)>&,
            const std::function<void(size_t)>& keys) override {
    for (size_t i = 0; i < size; ++i)
      Enter(key, fmt::format("{}[{}]", key, i), "\n[[{}]]\n", [&] { keys(i); });
  }

 private:
  void Enter(const std::string& header_part, const std::string& path_part, const char* format,
             const std::function<void()>& keys) {
    const std::string header = header_, path = path_;
    header_ += (header_.empty() ? "" : ".") + header_part;
    text += fmt::format(fmt::runtime(format), header_);
    path_ += path_part + ".";
    keys();
    header_ = header;
    path_ = path;
  }
  void Line(const char* key, const std::string& value, const std::string& help) {
    values[path_ + key] = value;
    const auto origin = recipe_.origins.find(path_ + key);
    text +=
        fmt::format("{:<32} # {}{}\n", fmt::format("{} = {}", key, value), help,
                    origin == recipe_.origins.end() ? " [default]" : " [" + origin->second + "]");
  }
  const Recipe& recipe_;
  std::string header_, path_;
};

}  // namespace

std::string PrintRecipe(const Recipe& recipe) {
  Recipe copy = recipe;
  Printer printer(recipe);
  VisitKeys(&printer, &copy);
  return printer.text;
}

std::map<std::string, std::string> ValuesOf(const Recipe& recipe) {
  Recipe copy = recipe;
  Printer printer(recipe);
  VisitKeys(&printer, &copy);
  return printer.values;
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Reading, by toml++.
#include "train/recipe.h"

#include <toml++/toml.h>

#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/nearest.h"
#include "train/recipe_keys.h"

namespace planish {
namespace {

namespace fs = std::filesystem;

// "tiny.toml:12"; a setting's place is the setting.
std::string PlaceOf(const toml::source_region& source) {
  const std::string path = source.path != nullptr ? *source.path : "recipe";
  if (path.starts_with("--set")) return path;
  return fmt::format("{}:{}", path, source.begin.line);
}

class Reader : public KeyVisitor {
 public:
  Reader(const toml::table* root, std::string folder, Recipe* recipe)
      : folder_(std::move(folder)), recipe_(recipe) {
    open_.push_back({.table = root});
  }

  void Text(const char* key, std::string* value, const char*) override {
    if (const toml::node* node = Find(key)) Assign(key, value, TextOf(*node, key));
  }
  void Path(const char* key, std::string* value, const char*) override {
    const toml::node* node = Find(key);
    if (node == nullptr) return;
    const std::string text = TextOf(*node, key);
    const bool is_setting = PlaceOf(node->source()).starts_with("--set");
    const fs::path base = is_setting ? fs::current_path() : fs::absolute(folder_);
    const std::string path = (base / text).lexically_normal().string();
    // A published name of a config stays a name.
    const bool is_name = text.find('/') == text.npos && !FileExists(path);
    const bool keeps = text.empty() || (is_name && std::string_view(key) == "config");
    Assign(key, value, keeps ? text : path);
  }
  void Flag(const char* key, bool* value, const char*) override {
    const toml::node* node = Find(key);
    if (node == nullptr) return;
    if (!node->is_boolean()) Fail(*node, key, "expected true or false");
    Assign(key, value, node->as_boolean()->get());
  }
  void Count(const char* key, uint64_t* value, uint64_t low, uint64_t high, const char*) override {
    const toml::node* node = Find(key);
    if (node == nullptr) return;
    double number = -1;
    if (node->is_integer()) number = static_cast<double>(node->as_integer()->get());
    if (node->is_floating_point()) number = node->as_floating_point()->get();  // 3e6
    const bool fits = number >= static_cast<double>(low) && number <= static_cast<double>(high) &&
                      number == std::floor(number);
    if (!fits) Fail(*node, key, fmt::format("expected a whole number in [{}, {}]", low, high));
    Assign(key, value,
           node->is_integer() ? static_cast<uint64_t>(node->as_integer()->get())
                              : static_cast<uint64_t>(number));
  }
  void Real(const char* key, double* value, double low, double high, const char*) override {
    const toml::node* node = Find(key);
    if (node == nullptr) return;
    double number = std::nan("");
    if (node->is_integer()) number = static_cast<double>(node->as_integer()->get());
    if (node->is_floating_point()) number = node->as_floating_point()->get();
    if (!(number >= low && number <= high))
      Fail(*node, key, fmt::format("expected a number in [{}, {}]", low, high));
    Assign(key, value, number);
  }
  void Texts(const char* key, std::vector<std::string>* value, const char*) override {
    const toml::node* node = Find(key);
    if (node == nullptr) return;
    if (!node->is_array()) Fail(*node, key, "expected a list of texts");
    std::vector<std::string> texts;
    for (const toml::node& element : *node->as_array()) texts.push_back(TextOf(element, key));
    Assign(key, value, std::move(texts));
  }
  void Index(const char* key, int* value, std::span<const char* const> names,
             const char*) override {
    const toml::node* node = Find(key);
    if (node == nullptr) return;
    const std::string text = TextOf(*node, key);
    const auto found = std::find(names.begin(), names.end(), text);
    if (found == names.end())
      Fail(*node, key, fmt::format("expected one of {}", fmt::join(names, ", ")));
    Assign(key, value, static_cast<int>(found - names.begin()));
  }
  void Section(const char* key, const std::function<void()>& keys) override {
    const toml::node* node = Find(key);
    if (node != nullptr && !node->is_table()) Fail(*node, key, "expected a table");
    Enter(node == nullptr ? nullptr : node->as_table(), key, keys);
  }
  void List(const char* key, size_t, const std::function<void(size_t)>& resize,
            const std::function<void(size_t)>& keys) override {
    constexpr size_t kMost = 4096;
    const toml::node* node = Find(key);
    if (node == nullptr) return;
    const toml::array* array = node->as_array();
    if (array == nullptr || array->size() > kMost ||
        !(array->empty() || array->is_homogeneous(toml::node_type::table)))
      Fail(*node, key, fmt::format("expected a list of at most {} tables", kMost));
    resize(array->size());
    for (size_t i = 0; i < array->size(); ++i)
      Enter(array->get(i)->as_table(), fmt::format("{}[{}]", key, i), [&] { keys(i); });
  }
  // Call once after the walk.
  void RefuseUnknown() { RefuseUnknown(open_.front()); }

 private:
  struct Level {
    const toml::table* table = nullptr;  // null: the section is absent
    std::vector<std::string> known;      // keys asked for
  };
  std::string PathOf(std::string_view key) const {
    std::string path;
    for (const std::string& part : path_) path += part + ".";
    return path + std::string(key);
  }
  // What equals the default is as if it were not there: a recipe printed in full reads back.
  template <class T>
  void Assign(const char* key, T* value, T given) {
    if (*value != given) recipe_->changed.insert(PathOf(key));
    *value = std::move(given);
  }
  const toml::node* Find(const char* key) {
    Level& level = open_.back();
    level.known.push_back(key);
    const toml::node* node = level.table == nullptr ? nullptr : level.table->get(key);
    if (node != nullptr) recipe_->origins[PathOf(key)] = PlaceOf(node->source());
    return node;
  }
  void Enter(const toml::table* table, std::string key, const std::function<void()>& keys) {
    open_.push_back({.table = table});
    path_.push_back(std::move(key));
    keys();
    RefuseUnknown(open_.back());
    path_.pop_back();
    open_.pop_back();
  }
  void RefuseUnknown(const Level& level) const {
    if (level.table == nullptr) return;
    for (const auto& [key, node] : *level.table) {
      const std::string name(key.str());
      if (std::find(level.known.begin(), level.known.end(), name) != level.known.end()) continue;
      const std::string nearest = Nearest(name, level.known);
      throw Error(ExitCode::kUsage,
                  fmt::format("{}: unknown key {}", PlaceOf(key.source()), Quoted(PathOf(name))),
                  nearest.empty() ? "--print-config shows all keys" : PathOf(nearest));
    }
  }
  std::string TextOf(const toml::node& node, const char* key) const {
    if (!node.is_string()) Fail(node, key, "expected a text in quotes");
    return node.as_string()->get();
  }
  [[noreturn]] void Fail(const toml::node& node, const char* key,
                         const std::string& expected) const {
    std::string found;
    node.visit([&](const auto& value) {
      if constexpr (toml::is_value<decltype(value)>) {
        std::ostringstream text;
        text << value;
        found = text.str();
      } else {
        found = toml::is_table<decltype(value)> ? "a table" : "a list";
      }
    });
    throw UsageError("{}: {} is {}, {}", PlaceOf(node.source()), PathOf(key), Quoted(found),
                     expected);
  }

  std::string folder_;
  Recipe* recipe_;
  std::vector<Level> open_;
  std::vector<std::string> path_;
};

toml::table ParseToml(std::string_view text, const std::string& where) {
  try {
    return toml::parse(text, where);
  } catch (const toml::parse_error& error) {
    throw UsageError("{}: {}", PlaceOf(error.source()), error.description());
  }
}

// Values replace values and tables join tables; lists are replaced whole.
void Merge(toml::table&& from, toml::table* into) {
  for (auto&& [key, node] : from) {
    toml::node* there = into->get(key.str());
    if (node.is_table() && there != nullptr && there->is_table())
      Merge(std::move(*node.as_table()), there->as_table());
    else
      into->insert_or_assign(key, std::move(node));  // a copy would forget where it stands
  }
}

toml::table ParseSetting(const std::string& setting) {
  const size_t equals = setting.find('=');
  if (equals == std::string::npos || equals == 0)
    throw Error(ExitCode::kUsage, fmt::format("--set {}: no value", Quoted(setting)),
                "--set schedule.lr=3e-4");
  const std::string key = setting.substr(0, equals), value = setting.substr(equals + 1);
  const std::string where = "--set " + key;
  try {
    return toml::parse(key + " = " + value, where);
  } catch (const toml::parse_error&) {  // a bare word is text
    const bool is_word = value.find_first_of("\"'\\\n[]{}") == value.npos;
    return ParseToml(is_word ? fmt::format("{} = \"{}\"", key, value) : key + " = " + value, where);
  }
}

}  // namespace

Recipe ParseRecipe(const std::string& text, const std::string& where, const std::string& folder,
                   const std::vector<std::string>& settings, const Recipe& defaults) {
  toml::table root = ParseToml(text, where);
  for (const std::string& setting : settings) Merge(ParseSetting(setting), &root);
  Recipe recipe = defaults;
  Reader reader(&root, folder, &recipe);
  VisitKeys(&reader, &recipe);
  reader.RefuseUnknown();
  CheckRecipe(recipe);
  return recipe;
}

Recipe LoadRecipe(const std::string& path, const std::vector<std::string>& settings,
                  const Recipe& defaults) {
  if (!FileExists(path) || IsDirectory(path))
    throw UsageError("{}: there is no such recipe", Quoted(path, 300));
  return ParseRecipe(ReadFile(path, limits::kConfigBytes), path,
                     fs::absolute(path).parent_path().string(), settings, defaults);
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "eval/item_file.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/random.h"

namespace planish {
namespace {

constexpr uint64_t kFileBytes = uint64_t{1} << 30;

std::string ScalarText(const Json& value, const JsonReader& row, std::string_view key) {
  if (value.is_string()) return value.AsString();
  if (value.is_bool()) return value.AsBool() ? "yes" : "no";
  if (value.is_number()) return DumpJson(value);
  row.Fail(key, "a string, a number, true or false");
}

}  // namespace

std::string FieldAsText(const JsonReader& row, std::string_view key) {
  const Json* value = row.json().Find(key);
  if (value == nullptr || value->is_null()) row.Fail(key, "a string, a number, true or false");
  if (!value->is_array()) return ScalarText(*value, row, key);
  std::string text;
  for (const Json& element : value->AsArray())
    text += (text.empty() ? "" : ", ") + ScalarText(element, row, key);
  return text;
}

std::vector<EvalItem> ReadItems(const std::string& path, const RowReader& read) {
  const std::string content = ReadFileMaybeZstd(path, kFileBytes);
  std::vector<EvalItem> items;
  std::set<std::string> ids;
  size_t line_number = 0;
  for (size_t at = 0; at < content.size();) {
    const size_t end = std::min(content.find('\n', at), content.size());
    std::string_view line = std::string_view(content).substr(at, end - at);
    at = end + 1;
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}: line {}", path, line_number);
    const Json json = ParseJson(line, where);
    if (!json.is_object())
      throw BadFile("{} holds {}, expected an object", where, json.type_name());
    const JsonReader row(json, where);
    EvalItem item = read(row);
    item.id = row.Has("id") ? FieldAsText(row, "id") : std::to_string(line_number);
    if (!ids.insert(item.id).second)
      throw BadFile("{}: id \"{}\" was there before", where, Quoted(item.id));
    items.push_back(std::move(item));
  }
  if (items.empty()) throw BadFile("{} has no rows, expected one JSON object a line", path);
  return items;
}

std::vector<EvalItem> ChooseItems(std::vector<EvalItem> items, uint64_t seed, size_t limit) {
  if (limit == 0 || limit >= items.size()) return items;
  // By skill: places in an order drawn from (seed, id).
  std::map<std::string, std::vector<size_t>> strata;
  for (size_t i = 0; i < items.size(); ++i) strata[items[i].skill].push_back(i);
  const double share = static_cast<double>(limit) / static_cast<double>(items.size());
  std::vector<std::pair<double, std::string>> remainders;  // largest first, then by name
  std::map<std::string, size_t> quota;
  size_t given = 0;
  for (auto& [skill, places] : strata) {
    std::sort(places.begin(), places.end(), [&](size_t a, size_t b) {
      const double draw_a = UniformAt(seed, Fnv1a(items[a].id), 0),
                   draw_b = UniformAt(seed, Fnv1a(items[b].id), 0);
      return draw_a != draw_b ? draw_a < draw_b : a < b;
    });
    const double wanted = share * static_cast<double>(places.size());
    quota[skill] = static_cast<size_t>(wanted);
    given += quota[skill];
    remainders.emplace_back(std::floor(wanted) - wanted, skill);
  }
  std::sort(remainders.begin(), remainders.end());
  for (size_t i = 0; given < limit; ++i) {  // fewer than there are strata are missing
    ++quota[remainders[i].second];
    ++given;
  }
  std::vector<bool> is_chosen(items.size(), false);
  for (const auto& [skill, places] : strata) {
    for (size_t i = 0; i < std::min(quota[skill], places.size()); ++i) is_chosen[places[i]] = true;
  }
  std::vector<EvalItem> chosen;
  for (size_t i = 0; i < items.size(); ++i) {
    if (is_chosen[i]) chosen.push_back(std::move(items[i]));
  }
  return chosen;
}

}  // namespace planish

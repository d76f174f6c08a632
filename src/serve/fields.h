// SPDX-License-Identifier: Apache-2.0
// Typed reading of a request's JSON object. Every field that is looked at is noted, so that those nobody knows can be
// reported; null counts as absent. Errors are 400 and name the field.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api_error.h"

namespace planish {

// Body of a request to JSON. ApiError 400 invalid_json (also for duplicate keys, depth over 64, text that is no UTF-8), 415 for
// a content type that says it is something else.
Json ParseBody(const HttpRequest& request);

class Fields {
 public:
  // `object` must outlive this. ApiError if it is no object. `path`: "" or "thinking." for messages.
  explicit Fields(const Json& object, std::string path = {});

  const Json* Find(std::string_view name);  // null if absent or null; marks it as known
  std::optional<double> Number(std::string_view name, double low, double high);
  std::optional<int64_t> Int(std::string_view name, int64_t low, int64_t high);
  std::optional<bool> Bool(std::string_view name);
  std::optional<std::string> Text(std::string_view name, size_t max_bytes = 1u << 20);
  std::optional<Fields> Object(std::string_view name);

  // Sub-objects report their own, with the path before.
  std::vector<std::string> Unknown() const;
  std::string PathOf(std::string_view name) const { return path_ + std::string(name); }
  const Json& json() const { return *object_; }

 private:
  const Json* object_;
  std::string path_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// The messages of one conversation as JSON, as chat templates and servers take them, with what a user does to them.
#pragma once

#include <string>

#include "base/json.h"

namespace planish {

class MessageList {
 public:
  void Add(const char* role, const std::string& content);
  void Add(Json message) { messages_.Append(std::move(message)); }
  // Drops the last user message and all after it; its text, empty if there was none.
  std::string Undo();
  void Clear();                             // all but the system message
  void SetSystem(const std::string& text);  // empty removes it
  std::string LastUserText() const;
  bool EndsWithAnswer() const;

  const Json& json() const { return messages_; }  // a list
  size_t size() const { return messages_.AsArray().size(); }
  void Truncate(size_t count) { messages_.AsArray().resize(count); }
  // Error(kBadFile) unless it is a list of objects with role and content strings.
  void Set(Json messages);

 private:
  Json messages_ = Json::MakeArray();
};

}  // namespace planish

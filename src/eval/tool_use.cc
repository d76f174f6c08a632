// SPDX-License-Identifier: Apache-2.0
#include "eval/tool_use.h"

#include <algorithm>

#include "base/error.h"
#include "eval/item_file.h"
#include "problems/tool_dialogues.h"

namespace planish {
namespace {

constexpr size_t kMadeDialogues = 200;  // without a limit

std::string Folded(const std::string& text) {
  std::string folded;
  for (const char c : text) {
    if (c == ' ' && (folded.empty() || folded.back() == ' ')) continue;
    folded += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  while (folded.ends_with(' ')) folded.pop_back();
  return folded;
}

bool SameValue(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) return a.AsDouble() == b.AsDouble();
  if (a.is_string() && b.is_string()) return Folded(a.AsString()) == Folded(b.AsString());
  if (a.is_array() && b.is_array())
    return std::equal(a.AsArray().begin(), a.AsArray().end(), b.AsArray().begin(),
                      b.AsArray().end(), SameValue);
  if (a.is_object() && b.is_object()) {
    return a.AsObject().size() == b.AsObject().size() &&
           std::all_of(a.AsObject().begin(), a.AsObject().end(), [&](const Json::Member& member) {
             const Json* other = b.Find(member.first);
             return other != nullptr && SameValue(member.second, *other);
           });
  }
  return a == b;
}

// The text as an object; null if it is none.
Json ObjectOf(const std::string& text) {
  try {
    Json json = ParseJson(text.empty() ? "{}" : text, "arguments");
    return json.is_object() ? json : Json();
  } catch (const Error&) {
    return Json();
  }
}

// Every argument of `a` is in `b`, or is what the schema says anyway.
bool Covers(const Json& a, const Json& b, const Json* properties) {
  return std::all_of(a.AsObject().begin(), a.AsObject().end(), [&](const Json::Member& member) {
    const Json* other = b.Find(member.first);
    if (other == nullptr && properties != nullptr) {
      const Json* property = properties->Find(member.first);
      other = property != nullptr ? property->Find("default") : nullptr;
    }
    return other != nullptr && SameValue(member.second, *other);
  });
}

// Each call of the key found once; greedy is enough, because equality is transitive here but for defaults.
bool SameCalls(const std::vector<ToolCall>& found, const std::vector<ToolCall>& key,
               const Json& tools) {
  if (found.size() != key.size()) return false;
  std::vector<bool> is_used(found.size(), false);
  for (const ToolCall& wanted : key) {
    size_t i = 0;
    while (i < found.size() && (is_used[i] || !SameCall(found[i], wanted, tools))) ++i;
    if (i == found.size()) return false;
    is_used[i] = true;
  }
  return true;
}

std::vector<std::string> SortedNames(const std::vector<ToolCall>& calls) {
  std::vector<std::string> names;
  for (const ToolCall& call : calls) names.push_back(call.name);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<ToolCall> KeyOf(const EvalItem& item) {
  std::vector<ToolCall> calls;
  for (const Json& call : item.row.Find("calls")->AsArray())
    calls.push_back({call.Find("name")->AsString(), DumpJson(*call.Find("arguments"))});
  return calls;
}

class ToolUse : public Task {
 public:
  const char* name() const override { return "tools"; }
  int version() const override { return 1; }

  std::vector<EvalItem> Items(const ItemSource& source) const override {
    if (!source.data.empty())
      return ChooseItems(ReadItems(source.data, ReadRow), source.seed, source.limit);
    std::vector<EvalItem> items;
    for (uint64_t i = 0; i < (source.limit == 0 ? kMadeDialogues : source.limit); ++i) {
      const Json row = ParseJson(ToolTestRow(source.seed, i), "tools");
      items.push_back(ReadRow(JsonReader(row, "tools")));
      items.back().id = std::to_string(i);
    }
    return items;
  }

  std::vector<TextRequest> Requests(const EvalItem& item) const override {
    TextRequest request;
    request.messages = Json::Array{Json::Object{{"role", "user"}, {"content", item.question}}};
    request.tools = *item.row.Find("tools");
    return {request};
  }

  Verdict Check(const EvalItem& item, std::span<const TextReply> replies) const override {
    const Json& tools = *item.row.Find("tools");
    const std::vector<ToolCall> key = KeyOf(item);
    const ToolReply reply = ParseToolCalls(replies[0].answer, tools);
    Verdict verdict;
    std::string broken = reply.failures > 0 ? "markup of a call that cannot be read" : "";
    for (const ToolCall& call : reply.calls) {
      if (broken.empty()) broken = CheckToolCall(call, tools);
      verdict.extracted += (verdict.extracted.empty() ? "" : " ") + call.name + call.arguments;
    }
    if (verdict.extracted.empty()) verdict.extracted = "no call";
    verdict.has_answer = broken.empty();
    const bool calls = !reply.calls.empty() || reply.failures > 0;
    const bool right_tools = SortedNames(reply.calls) == SortedNames(key);
    if (calls) verdict.metrics.emplace_back("schema_valid", broken.empty() ? 1 : 0);
    verdict.metrics.emplace_back("right_tools", right_tools ? 1 : 0);
    verdict.score = broken.empty() && SameCalls(reply.calls, key, tools) ? 1 : 0;
    if (!broken.empty())
      verdict.reason = broken;
    else if (verdict.score == 0)
      verdict.reason = reply.calls.empty() ? "no call"
                       : key.empty()       ? "a call, where none is needed"
                       : right_tools       ? "wrong arguments"
                                           : "wrong tools";
    return verdict;
  }

 private:
  static EvalItem ReadRow(const JsonReader& row) {
    EvalItem item;
    item.question = row.String("question");
    item.row = Json::MakeObject();
    item.row.Set("tools", Json(row.Array("tools")));
    Json& calls = item.row.Set("calls", Json::MakeArray());
    for (size_t i = 0; i < row.Array("calls").size(); ++i) {
      const JsonReader given = row.Element("calls", i);
      Json call =
          Json::Object{{"name", given.String("name")},
                       {"arguments", given.Has("arguments") ? *given.json().Find("arguments")
                                                            : Json::MakeObject()}};
      const Json& arguments = *call.Find("arguments");
      if (!arguments.is_object()) given.Fail("arguments", "an object");
      const ToolCall checked{call.Find("name")->AsString(), DumpJson(arguments)};
      if (const std::string wrong = CheckToolCall(checked, *item.row.Find("tools")); !wrong.empty())
        given.Fail("arguments", "what the tool's schema allows (" + wrong + ")");
      item.key += (item.key.empty() ? "" : " ") + checked.name + checked.arguments;
      calls.Append(std::move(call));
    }
    item.skill = calls.AsArray().empty()      ? "no call"
                 : calls.AsArray().size() > 1 ? "several calls"
                                              : calls.AsArray()[0].Find("name")->AsString();
    if (item.key.empty()) item.key = "no call";
    return item;
  }
};

}  // namespace

bool SameCall(const ToolCall& found, const ToolCall& key, const Json& tools) {
  if (found.name != key.name) return false;
  const Json a = ObjectOf(found.arguments), b = ObjectOf(key.arguments);
  if (a.is_null() || b.is_null()) return false;
  const Json* schema = ToolParameters(tools, key.name);
  const Json* properties = schema != nullptr ? schema->Find("properties") : nullptr;
  return Covers(a, b, properties) && Covers(b, a, properties);
}

std::unique_ptr<Task> MakeToolUse() { return std::make_unique<ToolUse>(); }

}  // namespace planish

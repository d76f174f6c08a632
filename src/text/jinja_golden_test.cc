// SPDX-License-Identifier: Apache-2.0
// The interpreter against recorded outputs of Python's jinja2 and transformers: every conversation
// of chat/chat.json, and the snippets that tools/oracle/jinja_diff.py wrote to jinja/snippets.json.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "text/chat_template.h"

namespace planish {
namespace {

namespace fs = std::filesystem;

// PLANISH_GOLDEN/name if it is there, else the copy in the source tree.
fs::path GoldenPath(const std::string& name) {
  const char* folder = std::getenv("PLANISH_GOLDEN");
  if (folder != nullptr && fs::exists(fs::path(folder) / name)) return fs::path(folder) / name;
  return fs::path(PLANISH_SOURCE_DIR) / "tests" / "golden" / name;
}

std::string ReadAll(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(JinjaGolden, RendersEveryChatCaseAsTransformersDoes) {
  const fs::path path = GoldenPath("chat/chat.json");
  if (!fs::exists(path)) GTEST_SKIP() << path << " is missing: no chat cases to compare with";
  const Json golden = ParseJson(ReadAll(path), path.string());
  size_t count = 0;
  for (const auto& [name, cases] : golden.Find("templates")->AsObject()) {
    const auto chat = ChatTemplate::Parse(ReadAll(path.parent_path() / (name + ".jinja")), name);
    for (const Json& each : cases.AsArray()) {
      ChatInput input;
      input.messages = *each.Find("messages");
      if (const Json* tools = each.Find("tools")) input.tools = *tools;
      if (const Json* flag = each.Find("add_generation_prompt"))
        input.add_generation_prompt = flag->AsBool();
      if (const Json* kwargs = each.Find("kwargs"); kwargs != nullptr && kwargs->is_object())
        input.kwargs = *kwargs;
      if (const Json* bos = golden.Find("bos_token")->Find(name)) input.bos_token = bos->AsString();
      EXPECT_EQ(chat->Render(input).Text(), each.Find("text")->AsString())
          << name << " case " << each.Find("case")->AsString();
      ++count;
    }
  }
  EXPECT_GT(count, 0u);
}

TEST(JinjaGolden, SnippetsRenderOrFailAsInJinja2) {
  const fs::path path = GoldenPath("jinja/snippets.json");
  if (!fs::exists(path)) GTEST_SKIP() << path << " is missing: no snippets to compare with";
  const Json golden = ParseJson(ReadAll(path), path.string());
  const Json& shared = *golden.Find("input");
  ChatInput input;
  input.messages = *shared.Find("messages");
  input.bos_token = shared.Find("bos_token")->AsString();
  input.eos_token = shared.Find("eos_token")->AsString();
  input.kwargs = *shared.Find("kwargs");
  size_t failures = 0, count = 0;
  for (const Json& each : golden.Find("cases")->AsArray()) {
    const Json::Array& fields = each.AsArray();
    std::string found, error;
    try {
      found = ChatTemplate::Parse(fields[0].AsString(), "snippet")->Render(input).Text();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::kBadFile);
      error = e.what();
    }
    ++count;
    if (fields[1].is_string()) {
      if (found != fields[1].AsString() || !error.empty()) {
        ADD_FAILURE() << fields[0].AsString() << "\n  jinja2:  " << fields[1].AsString()
                      << "\n  planish: " << found << error;
        ++failures;
      }
    } else {
      const int64_t line = fields[2].AsInt();
      const bool ok = !error.empty() &&
                      (line == 0 || error.find(fmt::format("line {}:", line)) != std::string::npos);
      if (!ok) {
        ADD_FAILURE() << fields[0].AsString() << "\n  jinja2 fails"
                      << (line > 0 ? fmt::format(" in line {}", line) : "")
                      << "\n  planish: " << found << error;
        ++failures;
      }
    }
    ASSERT_LT(failures, 20u) << "too many differences";
  }
  EXPECT_GT(count, 1000u);
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Tools, bound answers and /v1/responses over HTTP: the tiny random model writes what the grammar lets it write.
#include <set>

#include "serve/server_testing.h"
#include "text/json_schema.h"

namespace planish {
namespace {

using testing::At;
using testing::Streamed;
using testing::TestServer;

TestServer& Shared() { return testing::SharedServer::Get(); }

const std::string kTools =
    R"("tools":[{"type":"function","function":{"name":"look_up","parameters":{"type":"object","properties":{"city":{"enum":["Oslo","Rome"]},"days":{"type":"integer","minimum":1,"maximum":3}},"required":["city","days"],"additionalProperties":false}}},
               {"type":"function","function":{"name":"paint","parameters":{"type":"object","properties":{"on":{"type":"boolean"}},"required":["on"],"additionalProperties":false}}}])";

// Asks 11 and 10: required calls come after the reasoning, parse, keep their schemas; streamed as whole.
TEST(ServerTools, RequiredCallsAreWholeAndKeepTheirSchemas) {
  const Json tools = ParseJson("{" + kTools + "}", "tools");
  for (int seed = 0; seed < 12; ++seed) {
    const std::string fields =
        kTools +
        fmt::format(
            R"(,"tool_choice":"required","parallel_tool_calls":{},"max_tokens":300,"thinking_budget":{},"seed":{})",
            seed % 2 == 0 ? "false" : "true", seed % 3 * 4, seed);
    const Json json = Shared().Chat(fields);
    const Json& message = At(json, {"choices", "0", "message"});
    ASSERT_TRUE(At(message, {"tool_calls"}).is_array()) << DumpJson(json);
    const auto& calls = At(message, {"tool_calls"}).AsArray();
    const bool is_whole = At(json, {"choices", "0", "finish_reason"}) == Json("tool_calls");
    EXPECT_TRUE(is_whole || At(json, {"choices", "0", "finish_reason"}) == Json("length"))
        << DumpJson(json);
    if (seed % 2 == 0 && is_whole) {
      EXPECT_EQ(calls.size(), 1u);
    }
    std::set<std::string> ids;
    for (size_t i = 0; i < calls.size(); ++i) {
      EXPECT_EQ(At(calls[i], {"type"}), Json("function"));
      EXPECT_TRUE(At(calls[i], {"id"}).AsString().starts_with("call_"));
      ids.insert(At(calls[i], {"id"}).AsString());
      if (!is_whole && i + 1 == calls.size()) continue;
      const ToolCall call{At(calls[i], {"function", "name"}).AsString(),
                          At(calls[i], {"function", "arguments"}).AsString()};
      EXPECT_EQ(CheckToolCall(call, At(tools, {"tools"})), "") << call.arguments;
    }
    EXPECT_EQ(ids.size(), calls.size());
    EXPECT_TRUE(At(message, {"content"}).is_null() || !At(message, {"content"}).AsString().empty());

    const Streamed streamed = Shared().Stream(fields);
    std::map<int64_t, std::string> names, arguments;
    std::map<int64_t, int> id_count;
    for (const Json& chunk : streamed.chunks) {
      const Json& pieces = At(chunk, {"choices", "0", "delta", "tool_calls"});
      if (!pieces.is_array()) continue;
      for (const Json& piece : pieces.AsArray()) {
        const int64_t index = At(piece, {"index"}).AsInt();
        if (piece.Find("id") != nullptr) ++id_count[index];
        if (At(piece, {"function", "name"}).is_string())
          names[index] += At(piece, {"function", "name"}).AsString();
        arguments[index] += At(piece, {"function", "arguments"}).AsString();
      }
    }
    ASSERT_EQ(names.size(), calls.size());
    for (size_t i = 0; i < calls.size(); ++i) {
      const auto index = static_cast<int64_t>(i);
      EXPECT_EQ(Json(names[index]), At(calls[i], {"function", "name"}));
      EXPECT_EQ(Json(arguments[index]), At(calls[i], {"function", "arguments"}));
      EXPECT_EQ(id_count[index], 1) << "the id comes once";
    }
    EXPECT_EQ(Json(streamed.finish.at(0)), At(json, {"choices", "0", "finish_reason"}));
  }
}

TEST(ServerTools, ANamedToolIsCalledAndNoneIsNot) {
  const Json named = Shared().Chat(
      kTools +
      R"(,"tool_choice":{"type":"function","function":{"name":"paint"}},"max_tokens":200,"thinking_budget":0,"seed":1)");
  EXPECT_EQ(At(named, {"choices", "0", "message", "tool_calls", "0", "function", "name"}),
            Json("paint"));
  EXPECT_EQ(At(named, {"choices", "0", "finish_reason"}), Json("stop"));
  const Json none = Shared().Chat(
      kTools + R"(,"tool_choice":"none","max_tokens":60,"thinking_budget":0,"seed":1)");
  EXPECT_EQ(At(none, {"choices", "0", "message"}).Find("tool_calls"), nullptr);
  EXPECT_GT(At(none, {"usage", "prompt_tokens"}).AsInt(), 200) << "they stay in the prompt";
}

// Ask 13: the schema binds the answer, after reasoning of any text.
TEST(ServerTools, SchemasBindTheAnswerOnly) {
  const std::string schema =
      R"({"type":"object","properties":{"name":{"enum":["a","bc"]},"count":{"type":"integer","minimum":0,"maximum":99},"tags":{"type":"array","items":{"type":"boolean"},"maxItems":3}},"required":["name","count","tags"],"additionalProperties":false})";
  const Json parsed = ParseJson(schema, "schema");
  for (int seed = 0; seed < 12; ++seed) {
    for (const bool thinks : {false, true}) {
      const Json json = Shared().Chat(fmt::format(
          R"("response_format":{{"type":"json_schema","json_schema":{{"name":"x","schema":{}}}}},"max_tokens":300,"seed":{},"thinking_budget":{})",
          schema, seed, thinks ? 10 : 0));
      const std::string content = At(json, {"choices", "0", "message", "content"}).AsString();
      if (At(json, {"choices", "0", "finish_reason"}) == Json("length")) continue;
      EXPECT_EQ(CheckJsonSchema(parsed, ParseJson(content, "content")), "") << content;
      EXPECT_EQ(At(json, {"choices", "0", "message"}).Find("reasoning_content") != nullptr, thinks);
    }
  }
  const Json choice = Shared().Chat(
      R"("structured_outputs":{"choice":["yes","no"]},"max_tokens":100,"seed":1,"thinking_budget":5)");
  const std::string word = At(choice, {"choices", "0", "message", "content"}).AsString();
  EXPECT_TRUE(word == "yes" || word == "no") << word;
  const Json raw = Shared().PostJson(
      "/v1/completions",
      R"({"prompt":"x","structured_outputs":{"regex":"[0-9]{3}-[a-c]{2}"},"max_tokens":40,"seed":3})");
  const std::string text = At(raw, {"choices", "0", "text"}).AsString();
  ASSERT_EQ(text.size(), 6u) << text;
  EXPECT_EQ(text[3], '-');
  EXPECT_GT(Shared().Metric("planish_grammar_mask_total"), 0);
}

TEST(ServerTools, SchemasThatCannotBeBoundAre400WithThePlace) {
  for (
      const char* format : {
          R"({"type":"json_schema","json_schema":{"name":"x","schema":{"type":"strange"}}})",
          R"({"type":"json_schema","json_schema":{"name":"x","schema":{"$ref":"http://evil.example/x"}}})",
          R"({"type":"json_schema","json_schema":{"name":"x","schema":{"not":{}}}})",
          R"({"type":"yaml"})",
          R"(5)",
      }) {
    const HttpResponse response =
        Shared().Post("/v1/chat/completions",
                      TestServer::ChatBody(std::string(R"("response_format":)") + format));
    EXPECT_EQ(response.status, 400) << format << response.body;
    EXPECT_TRUE(At(ParseJson(response.body, "r"), {"error", "param"}).is_string()) << response.body;
  }
}

// Ask 13 again: the schema must bind in /v1/responses too.
TEST(ServerResponses, AnswersHaveItemsAndStreamsBuildThemUp) {
  const std::string body =
      R"("model":"tiny","instructions":"Be terse.","input":[{"role":"user","content":[{"type":"input_text","text":"Hi"}]},
          {"type":"reasoning","summary":[]},
          {"type":"function_call","call_id":"c1","name":"paint","arguments":"{\"on\":true}"},
          {"type":"function_call_output","call_id":"c1","output":"done"}],
          "max_output_tokens":200,"temperature":0,"reasoning":{"effort":"minimal"},"thinking_budget":6,"store":false,
          "text":{"format":{"type":"json_schema","name":"x","schema":{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"],"additionalProperties":false}}})";
  const Json whole = Shared().PostJson("/v1/responses", "{" + body + "}");
  EXPECT_EQ(At(whole, {"object"}), Json("response"));
  EXPECT_EQ(At(whole, {"status"}), Json("completed"));
  EXPECT_EQ(At(whole, {"output", "0", "type"}), Json("reasoning"));
  EXPECT_EQ(At(whole, {"output", "1", "type"}), Json("message"));
  const std::string text = At(whole, {"output", "1", "content", "0", "text"}).AsString();
  EXPECT_TRUE(At(ParseJson(text, "text"), {"a"}).is_bool()) << text;
  EXPECT_GT(At(whole, {"usage", "output_tokens_details", "reasoning_tokens"}).AsInt(), 5);

  std::vector<Json> events;
  SseReader reader([&](std::string_view data) { events.push_back(ParseJson(data, "event")); });
  HttpClient client = Shared().Client();
  client.Post("/v1/responses", "{" + body + R"(,"stream":true})", [&](std::string_view piece) {
    reader.Push(piece);
    return true;
  });
  ASSERT_GT(events.size(), 6u);
  std::string joined;
  std::vector<std::string> types;
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(At(events[i], {"sequence_number"}), Json(static_cast<int64_t>(i)));
    const std::string type = At(events[i], {"type"}).AsString();
    if (type == "response.output_text.delta") joined += At(events[i], {"delta"}).AsString();
    if (types.empty() || types.back() != type) types.push_back(type);
  }
  EXPECT_EQ(joined, text);
  EXPECT_EQ(types, (std::vector<std::string>{
                       "response.created", "response.in_progress", "response.output_item.added",
                       "response.content_part.added", "response.reasoning_text.delta",
                       "response.reasoning_text.done", "response.content_part.done",
                       "response.output_item.done", "response.output_item.added",
                       "response.content_part.added", "response.output_text.delta",
                       "response.output_text.done", "response.content_part.done",
                       "response.output_item.done", "response.completed"}));
  EXPECT_EQ(At(events.back(), {"response", "output", "1", "content", "0", "text"}), Json(text));
}

TEST(ServerResponses, CallsAreItemsAndStateIsRefused) {
  const Json json = Shared().PostJson(
      "/v1/responses",
      R"({"input":"Paint it","tools":[{"type":"function","name":"paint","parameters":{"type":"object","properties":{"on":{"type":"boolean"}},"required":["on"],"additionalProperties":false}}],
          "tool_choice":"required","max_output_tokens":200,"thinking_budget":0,"seed":2,"parallel_tool_calls":false})");
  const Json& item = At(json, {"output", "0"});
  EXPECT_EQ(At(item, {"type"}), Json("function_call"));
  EXPECT_EQ(At(item, {"name"}), Json("paint"));
  EXPECT_TRUE(At(ParseJson(At(item, {"arguments"}).AsString(), "a"), {"on"}).is_bool());
  for (const char* body :
       {R"({"input":"x","store":true})", R"({"input":"x","previous_response_id":"resp_1"})",
        R"({"input":[]})", R"({})", R"({"input":[{"type":"image"}]})",
        R"({"input":"x","tools":[{"type":"web_search"}]})"})
    EXPECT_EQ(Shared().Post("/v1/responses", body).status, 400) << body;
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// Over HTTP with a model that says exactly what a test wants: tool calls within reasoning that never ends (ask 11).
// And clients that leave while their prompt is computed (ask 16).
#include "model/export.h"
#include "net/raw_client.h"
#include "serve/server_testing.h"

namespace planish {
namespace {

using testing::At;
using testing::Eventually;
using testing::ModelFolder;
using testing::RawClient;
using testing::Streamed;
using testing::TemporaryDir;
using testing::TestServer;

// A golden model that says `script`, a token each, and ends. Its blocks add nothing; the embedding of any other token points at
// the first of the script, that of each at the next, and the head reads what is pointed at. The pieces take the places of
// the vocabulary's last merges.
void WriteScriptedModel(const std::vector<std::string>& script, const std::string& folder) {
  const std::string golden = ModelFolder("nano2", "nemotron_h_a");
  Pretrained opened = OpenPretrained(golden);
  const size_t V = opened.config.vocab_size, first = V - script.size();
  const auto eos = static_cast<size_t>(opened.eos_ids.at(0));
  PLANISH_CHECK(script.size() < opened.config.hidden_size);
  ExportOptions options;
  options.uses_team = false;
  options.rows = [=](const Param& param, size_t r, float* out) {
    const bool is_vector = param.weight == nullptr || param.role == ParamRole::kConvWeight;
    std::fill_n(out, is_vector ? param.shape.elements() : param.shape[1], 0.0f);
    const size_t place = r >= first ? r - first + 1 : r == eos ? script.size() + 1 : 0;
    if (param.role == ParamRole::kEmbedding) out[place > script.size() ? 0 : place] = 1;
    if (param.role == ParamRole::kHead && place > 0) out[place - 1] = 1;
    if (param.role == ParamRole::kNorm) std::fill_n(out, param.shape.elements(), 1.0f);
  };
  ExportHf(&opened, folder, DType::kF32, uint64_t{1} << 30, options);
  Json tokenizer = ParseJson(ReadFile(golden + "/tokenizer.json", 1 << 24), "tokenizer.json");
  Json vocabulary = Json::MakeObject(), merges = Json::MakeArray(),
       added = *tokenizer.Find("added_tokens");
  Json model = *tokenizer.Find("model");
  for (const auto& [piece, id] : model.Find("vocab")->AsObject()) {
    if (id.AsInt() < static_cast<int64_t>(first)) vocabulary.Set(piece, id);
  }
  for (const Json& merge : model.Find("merges")->AsArray()) {
    const std::string joined =
        merge.is_array()
            ? merge.AsArray()[0].AsString() + merge.AsArray()[1].AsString()
            : fmt::format("{}{}", merge.AsString().substr(0, merge.AsString().find(' ')),
                          merge.AsString().substr(merge.AsString().find(' ') + 1));
    if (vocabulary.Find(joined) != nullptr) merges.Append(merge);
  }
  model.Set("vocab", std::move(vocabulary));
  model.Set("merges", std::move(merges));
  for (size_t i = 0; i < script.size(); ++i) {
    Json token = Json::MakeObject();
    token.Set("id", static_cast<uint64_t>(first + i));
    token.Set("content", script[i]);
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized", "special"})
      token.Set(flag, false);
    added.Append(std::move(token));
  }
  tokenizer.Set("model", std::move(model));
  tokenizer.Set("added_tokens", std::move(added));
  WriteFile(folder + "/tokenizer.json", DumpJson(tokenizer));
}

class Scripted {
 public:
  explicit Scripted(const std::vector<std::string>& script) {
    WriteScriptedModel(script, folder_.path());
    TestServer::Setup setup;
    setup.folder = folder_.path();
    server_ = std::make_unique<TestServer>(std::move(setup));
  }
  TestServer* operator->() { return server_.get(); }

 private:
  TemporaryDir folder_;
  std::unique_ptr<TestServer> server_;
};

const std::string kTools =
    R"("temperature":0,"max_tokens":100,"tools":[{"type":"function","function":{"name":"paint","parameters":{"type":"object","properties":{"hex":{"type":"string"}},"required":["hex"]}}}])";

struct Case {
  const char* what;
  std::vector<std::string> script;
  std::string reasoning, content, arguments;  // of the one call; "": none
};

const std::vector<Case> kCases = {
    {"a call in reasoning that does not end",
     {"I need", " a colour.", "\n<TOOL", "CALL>[{\"name\": \"pa", "int\", \"arguments\": {\"h",
      "ex\": \"#f80\"}}", "]</TOOLCALL>"},
     "I need a colour.\n",
     "",
     R"({"hex": "#f80"})"},
    {"the markup in the middle of a line is a thought about it",
     {"One writes", " <TOOLCALL", ">[{\"name\": \"paint\"}]</TOOLCALL>.", "\n</think>", "Done."},
     "One writes <TOOLCALL>[{\"name\": \"paint\"}]</TOOLCALL>.\n",
     "Done.",
     ""},
    {"a call after the reasoning",
     {"Hm.", "\n</think>\n\n", "<TOOLCALL>[{\"name\": \"paint\", \"arg",
      "uments\": {\"hex\": \"#f80\"}}]", "</TOOLCALL>"},
     "Hm.\n",
     "",
     R"({"hex": "#f80"})"},
    {"no call at all",
     {"I know", " it.", "</think>", "Red,", " it is."},
     "I know it.",
     "Red, it is.",
     ""},
};

TEST(ServerScripted, ACallInsideReasoningIsACall) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.what);
    Scripted server(c.script);
    const Json json = server->Chat(kTools, "Paint it");
    const Json& choice = At(json, {"choices", "0"});
    const auto text = [&](const char* key) {
      const Json& value = At(choice, {"message", key});
      return value.is_string() ? value.AsString() : std::string();
    };
    EXPECT_EQ(text("reasoning_content"), c.reasoning) << DumpJson(json);
    EXPECT_EQ(text("content"), c.content) << DumpJson(json);
    const Streamed streamed = server->Stream(kTools, "Paint it");
    EXPECT_TRUE(streamed.is_done);
    const auto of = [](const std::map<size_t, std::string>& texts) {
      return texts.contains(0) ? texts.at(0) : std::string();
    };
    EXPECT_EQ(of(streamed.reasoning), c.reasoning);
    EXPECT_EQ(of(streamed.content), c.content);
    std::string name, arguments;
    for (const Json& chunk : streamed.chunks) {
      const Json& call = At(chunk, {"choices", "0", "delta", "tool_calls", "0", "function"});
      if (At(call, {"name"}).is_string()) name += At(call, {"name"}).AsString();
      if (At(call, {"arguments"}).is_string()) arguments += At(call, {"arguments"}).AsString();
    }
    const Json& calls = At(choice, {"message", "tool_calls"});
    EXPECT_EQ(calls.is_array() ? calls.AsArray().size() : 0, c.arguments.empty() ? 0u : 1u);
    const std::string finish = c.arguments.empty() ? "stop" : "tool_calls";
    EXPECT_EQ(At(choice, {"finish_reason"}), Json(finish));
    EXPECT_EQ(of(streamed.finish), finish);
    if (c.arguments.empty()) continue;
    EXPECT_EQ(At(choice, {"message", "tool_calls", "0", "function", "name"}), Json("paint"));
    EXPECT_EQ(name, "paint");
    for (const std::string& given :
         {At(choice, {"message", "tool_calls", "0", "function", "arguments"}).AsString(),
          arguments})
      EXPECT_EQ(ParseJson(given, "whole"), ParseJson(c.arguments, "expected"));
  }
}

// A prompt of planish-nano that takes many steps, so that there is time to leave in the middle of it.
TEST(ServerScripted, ClientsThatLeaveDuringAPromptFreeItAndNobodyElse) {
  TestServer::Setup setup;
  setup.folder = PLANISH_SOURCE_DIR "/models/planish-nano";
  setup.settings.slots = 2;
  setup.settings.warm_next_turn = false;
  setup.engine.step_tokens = 32;
  TestServer server(std::move(setup));
  const std::string fields = R"("max_tokens":60,"temperature":0,"thinking_budget":20)";
  const Streamed alone = server.Stream(fields, "What is 3 + 4?");
  ASSERT_TRUE(alone.is_done);
  std::string text;
  for (int i = 0; i < 900; ++i) text += fmt::format("{} ", i);
  const std::string body = TestServer::ChatBody(
      R"("stream":true,"stream_options":{"include_progress":true},"cache_prompt":false,"max_tokens":4)",
      text);
  const auto computed = [&] { return server.Metric("planish_step_tokens_sum"); };
  const auto idle = [&] { return server.server().running() == 0; };
  double before = computed();
  const Json whole = server.PostJson(
      "/v1/chat/completions", TestServer::ChatBody(R"("cache_prompt":false,"max_tokens":4)", text));
  const auto prompt = static_cast<double>(At(whole, {"usage", "prompt_tokens"}).AsInt());
  ASSERT_GT(prompt, 1500);
  ASSERT_GE(computed() - before, prompt) << "a prompt that is not left is computed in full";
  for (const bool by_control : {false, true}) {
    SCOPED_TRACE(by_control);
    before = computed();
    RawClient client(server.server().port());
    client.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    ASSERT_TRUE(client.ReadUntil("\"progress\""));
    const size_t at = client.text().find("chatcmpl-");
    ASSERT_NE(at, std::string::npos);
    const std::string id = client.text().substr(at, client.text().find('"', at) - at);
    if (by_control)
      server.PostJson("/v1/chat/completions/control",
                      fmt::format(R"({{"id":"{}","action":"cancel"}})", id));
    else
      client.Close();
    EXPECT_TRUE(Eventually(idle));
    EXPECT_LT(computed() - before, prompt) << "the rest of the prompt was computed for nobody";
    const char* reason = by_control ? "control" : "client";
    EXPECT_EQ(server.Metric(fmt::format(
                  "planish_requests_cancelled_total{{model=\"tiny\",reason=\"{}\"}}", reason)),
              1);
  }
  // The same beside a stream that goes on.
  RawClient leaver(server.server().port());
  bool has_left = false;
  const Streamed beside = server.Stream(fields, "What is 3 + 4?", [&](const Json&) {
    if (has_left) return true;
    has_left = true;
    leaver.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    EXPECT_TRUE(leaver.ReadUntil("\"progress\""));
    leaver.Reset();
    return true;
  });
  EXPECT_TRUE(beside.is_done);
  EXPECT_EQ(beside.reasoning, alone.reasoning);
  EXPECT_EQ(beside.content, alone.content);
  EXPECT_TRUE(Eventually(idle));
}

}  // namespace
}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// `planish bench serve` as a user runs it, against scripted answers.
#include "base/file.h"
#include "base/testing.h"
#include "net/scripted_server.h"
#include "run_program.h"

namespace planish::testing {
namespace {

constexpr const char* kStream =
    "data: {\"choices\":[{\"text\":\"a\",\"delta\":{\"content\":\"a\"}}]}\n\n"
    "data: "
    "{\"choices\":[{\"text\":\"b\",\"delta\":{\"content\":\"b\"},\"finish_reason\":\"length\"}]}"
    "\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":2}}\n\ndata: "
    "[DONE]\n\n";

// Speaks as a server of another make: no planish fields.
ScriptedServer::Handler Peer(const std::string& meta) {
  return [meta](std::shared_ptr<HttpExchange> exchange) {
    const std::string path = exchange->request().path;
    if (path == "/v1/models")
      exchange->Respond({.body = R"({"data":[{"id":"peer")" + meta + "}]}"});
    else if (path == "/tokenize")
      exchange->Respond({.body = R"({"tokens":[1,2,3]})"});
    else
      exchange->Respond({.body = kStream});
  };
}

TEST(BenchServe, FiguresHaveTheNamesOfVllm) {
  ScriptedServer server(Peer(R"(,"meta":{"n_vocab":1000})"));
  const Json report =
      JsonOf({"bench", "serve", "--url", server.url() + "/v1", "--num-prompts", "5", "--input-len",
              "8", "--output-len", "2", "-o", "json", "--goodput", "ttft:60000", "--quiet"});
  EXPECT_EQ(report.Find("completed")->AsInt(), 5);
  EXPECT_EQ(report.Find("failed")->AsInt(), 0);
  EXPECT_EQ(report.Find("total_input")->AsInt(), 40);
  EXPECT_EQ(report.Find("total_output")->AsInt(), 10);
  EXPECT_EQ(*report.Find("request_goodput"), *report.Find("request_throughput"));
  for (const char* name :
       {"mean_ttft_ms", "median_tpot_ms", "std_itl_ms", "p50_e2el_ms", "p90_ttft_ms", "p99_itl_ms",
        "output_throughput", "total_token_throughput", "duration"})
    EXPECT_NE(report.Find(name), nullptr) << name;
  const std::vector<Json> asked = server.bodies("/v1/completions");
  ASSERT_EQ(asked.size(), 6u);  // one to warm up
  EXPECT_EQ(asked[0].Find("prompt")->AsArray().size(), 8u);
  EXPECT_EQ(*asked[0].Find("ignore_eos"), Json(true));
  EXPECT_EQ(*asked[0].Find("model"), Json("peer"));
}

TEST(BenchServe, ChatsAndFilesAreAskedAsChats) {
  ScriptedServer server(Peer(""));
  const std::string text =
      OutputOf({"bench", "serve", "--url", server.url(), "--dataset", "multiturn", "--num-prompts",
                "2", "--turns", "3", "--input-len", "5"});
  EXPECT_NE(text.find("6 requests in "), std::string::npos) << text;
  EXPECT_NE(text.find("| 3 | 2 | 16 | 0.0 % |"), std::string::npos) << text;
  EXPECT_EQ(server.bodies("/v1/chat/completions").size(), 7u);
  TemporaryDir work;
  WriteFile(
      work / "chats.json",
      R"([{"conversations": [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "there"}]}])");
  const Json report = JsonOf({"bench", "serve", "--url", server.url(), "--dataset", "sharegpt-file",
                              "--dataset-path", work / "chats.json", "-o", "json"});
  EXPECT_EQ(report.Find("completed")->AsInt(), 1);
  EXPECT_EQ(*server.bodies("/v1/chat/completions").back().Find("max_tokens"), Json(3));
}

TEST(BenchServe, FailuresAreOneLineAndTheirStatus) {
  const auto fails = [](std::vector<std::string> arguments, int status, const char* word) {
    arguments.insert(arguments.begin(), {"bench"});
    const Outcome outcome = RunProgram(arguments);
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_EQ(Lines(outcome.err).size(), 1u) << outcome.err;
    EXPECT_NE(outcome.err.find(word), std::string::npos) << outcome.err;
  };
  ScriptedServer silent(Peer("")), full(R"({"error":{"message":"the queue is full"}})", 429);
  fails({"serve"}, 2, "--url");
  fails({"serve", "--url", silent.url()}, 2, "--vocabulary");
  fails({"serve", "--url", silent.url(), "--dataset", "sharegpt-file"}, 2, "--dataset-path");
  fails({"serve", "--url", silent.url(), "--vocabulary", "100", "--request-rate", "0"}, 2,
        "--request-rate");
  fails({"serve", "--url", silent.url(), "--vocabulary", "100", "--goodput", "x"}, 2, "ttft:500");
  fails({"serve", "--url", full.url()}, 1, "the queue is full");
  fails({"serve", "--url", "http://127.0.0.1:1"}, 5, "127.0.0.1:1");
}

}  // namespace
}  // namespace planish::testing

// SPDX-License-Identifier: Apache-2.0
// Options of `planish serve` that only the whole program shows: from a file, with the environment and the command line before
// it, and what it writes for those who run it: logs, prompts, traces.
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "golden_case.h"
#include "net/http_client.h"
#include "run_program.h"

namespace planish::testing {
namespace {

// "name = value # origin" of --print-config, without the padding.
std::string Setting(const std::string& printed, const std::string& name) {
  for (const std::string& line : Lines(printed)) {
    if (!line.starts_with(name + " ")) continue;
    std::string packed;
    for (const char c : line) {
      if (c != ' ' || (!packed.empty() && packed.back() != ' ')) packed += c;
    }
    return packed.substr(packed.find('=') + 2);
  }
  return "no such line";
}

TEST(ServeOptions, AFileGivesWhatNeitherTheCommandLineNorTheEnvironmentDoes) {
  const TemporaryDir dir;
  const std::string file = dir / "serve.toml";
  WriteFile(
      file,
      "model = \"some/folder\"\nport = 9001\nmax_queue = 7\nslots = 2\nmetrics-public = true\n"
      "insecure = false\nweb = false\napi-key = [\"one\", \"two\"]\neffort-map = [1, 2, 3, 4]\n"
      "ctx-memory = \"2GiB\"\nmax-itl = 12.5\nthinking-budget-max = -1\n");
  const std::string printed = OutputOf({"serve", "-c", file, "--slots", "5", "--print-config"},
                                       {.environment = {{"PLANISH_MAX_QUEUE", "9"}}});
  EXPECT_EQ(Setting(printed, "model"), "some/folder # config file");
  EXPECT_EQ(Setting(printed, "port"), "9001 # config file");
  EXPECT_EQ(Setting(printed, "max-queue"), "9 # environment");
  EXPECT_EQ(Setting(printed, "slots"), "5 # command line");
  EXPECT_EQ(Setting(printed, "metrics-public"), "true # config file");
  EXPECT_EQ(Setting(printed, "insecure"), "false # default");
  EXPECT_EQ(Setting(printed, "web"), "off # config file");
  EXPECT_EQ(Setting(printed, "api-key"), "one two # config file");
  EXPECT_EQ(Setting(printed, "effort-map"), "1,2,3,4 # config file");
  EXPECT_EQ(Setting(printed, "ctx-memory"), "2GiB # config file");
  EXPECT_EQ(Setting(printed, "max-itl"), "12.5 # config file");
  EXPECT_EQ(Setting(printed, "thinking-budget-max"), "-1 # config file");
  EXPECT_EQ(Setting(printed, "queue-timeout"), "120 # default");
}

TEST(ServeOptions, WhatIsWrongInAFileIsOneLineWithItsPlace) {
  const TemporaryDir dir;
  const std::string file = dir / "serve.toml";
  const auto expect = [&](const std::string& text, const std::string& words) {
    WriteFile(file, text);
    const Outcome outcome = RunProgram({"serve", "-c", file, "--print-config"});
    EXPECT_EQ(outcome.status, 2) << text;
    EXPECT_EQ(Lines(outcome.err).size(), 1u) << outcome.err;
    EXPECT_NE(outcome.err.find(words), std::string::npos) << text << ": " << outcome.err;
    EXPECT_EQ(outcome.out, "");
  };
  expect("port = 1\nmax-quue = 3\n", "serve.toml:2: there is no option 'max-quue'. Try: max-queue");
  expect("port = 70000\n", "70000");
  expect("port = \"eighty\"\n", "eighty");
  expect("metrics-public = 1\n", "serve.toml:1: metrics-public is true or false");
  expect("port = true\n", "serve.toml:1: port is INT");
  expect("web = \"maybe\"\n", "maybe");
  expect("port = [1, 2]\n", "serve.toml:1: port has 2 values");
  expect("[server]\nport = 1\n", "serve.toml:1: 'server' is neither text nor a number");
  expect("port = \n", "serve.toml:1");
  expect("api-key = [[\"a\"]]\n", "serve.toml:1: 'api-key'");
  expect("config = \"other.toml\"\n", "there is no option 'config'");
  const Outcome missing = RunProgram({"serve", "-c", dir / "none.toml", "--print-config"});
  EXPECT_EQ(missing.status, 2);
  EXPECT_NE(missing.err.find("none.toml"), std::string::npos) << missing.err;
}

// `planish serve` in the background, on a Unix socket of its own.
class Running {
 public:
  Running(const TemporaryDir& dir, std::vector<std::string> arguments) : dir_(&dir) {
    arguments.insert(arguments.begin(),
                     {PLANISH_BINARY, "serve", "-m", PLANISH_SOURCE_DIR "/models/planish-nano",
                      "-t", "1", "--host", "unix:" + (dir / "s")});
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    err_ = ScratchFile();
    child_ = fork();
    if (child_ == 0) {
      dup2(err_, STDERR_FILENO);
      alarm(120);
      execv(argv[0], argv.data());
      _exit(127);
    }
  }
  HttpResponse Ask(const std::string& body) const {
    for (int i = 0; i < 600; ++i) {
      try {
        HttpClient client("unix:" + (*dir_ / "s"));
        HttpResponse response = client.Send("POST", "/v1/chat/completions", {}, body);
        if (response.status != 503) return response;
      } catch (const Error&) {  // not there yet
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return {};
  }
  // Ends it; what it wrote to standard error.
  std::string End(int* status) {
    kill(child_, SIGTERM);
    int state = 0;
    waitpid(child_, &state, 0);
    *status = WIFEXITED(state) ? WEXITSTATUS(state) : -1;
    return TakeAll(err_);
  }

 private:
  const TemporaryDir* dir_;
  int err_ = -1;
  pid_t child_ = -1;
};

TEST(ServeOptions, LogsAreJsonPromptsGoToTheirFolderAloneAndStepsToTheTrace) {
  const TemporaryDir dir;
  const std::string prompts = dir / "prompts", trace = dir / "trace.json";
  Running server(dir, {"--log-format", "json", "--log-prompts", prompts, "--trace", trace});
  const HttpResponse response = server.Ask(
      R"({"messages":[{"role":"user","content":"a secret question"}],"max_tokens":20,"thinking_budget":0})");
  ASSERT_EQ(response.status, 200) << response.body;
  int status = -1;
  const std::string log = server.End(&status);
  EXPECT_EQ(status, 0) << log;

  EXPECT_EQ(log.find("secret question"), std::string::npos) << "text of a prompt is in the log";
  bool has_request = false;
  for (const std::string& line : Lines(log)) {
    const Json json = ParseJson(line, "log");
    EXPECT_TRUE(json.Find("time")->AsString().ends_with("Z")) << line;
    EXPECT_TRUE(json.Find("level")->is_string() && json.Find("message")->is_string()) << line;
    if (json.Find("endpoint") == nullptr) continue;
    has_request = true;
    EXPECT_EQ(*json.Find("endpoint"), Json("/v1/chat/completions"));
    EXPECT_EQ(json.Find("status")->AsInt(), 200);
    EXPECT_GT(json.Find("prompt_tokens")->AsInt(), 3);
    EXPECT_GT(json.Find("output_tokens")->AsInt(), 0);
    EXPECT_GT(json.Find("ttft_ms")->AsDouble(), 0);
  }
  EXPECT_TRUE(has_request) << log;

  struct stat info {};
  ASSERT_EQ(stat(prompts.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  const std::vector<std::string> files = Listing(prompts);
  ASSERT_EQ(files.size(), 1u);
  ASSERT_EQ(stat((prompts + "/" + files[0]).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const std::vector<std::string> lines = Lines(ReadFile(prompts + "/" + files[0], 1 << 20));
  ASSERT_EQ(lines.size(), 1u);
  const Json record = ParseJson(lines[0], "record");
  const Json& message = record.Find("request")->Find("messages")->AsArray()[0];
  EXPECT_EQ(*message.Find("content"), Json("a secret question"));
  const Json answer = ParseJson(response.body, "response");
  EXPECT_EQ(*record.Find("answers")->AsArray()[0].Find("content"),
            *answer.Find("choices")->AsArray()[0].Find("message")->Find("content"));

  const Json events = ParseJson(ReadFile(trace, 1 << 20), "trace");
  size_t steps = 0;
  int64_t rows = 0;
  for (const Json& event : events.AsArray()) {
    if (*event.Find("name") != Json("step")) continue;
    ++steps;
    EXPECT_GT(event.Find("dur")->AsDouble(), 0);
    rows += event.Find("args")->Find("decode_rows")->AsInt() +
            event.Find("args")->Find("prefill_rows")->AsInt();
  }
  EXPECT_GT(steps, 1u);
  const Json& usage = *answer.Find("usage");
  EXPECT_GE(rows, usage.Find("total_tokens")->AsInt() - 1) << "every token but the last was a row";
}

TEST(ServeOptions, AFolderThatOthersMayReadTakesNoPrompts) {
  const TemporaryDir dir;
  const std::string open = dir / "open";
  MakeDirectories(open);
  ASSERT_EQ(chmod(open.c_str(), 0755), 0);
  const Outcome outcome = RunProgram({"serve", "-m", PLANISH_SOURCE_DIR "/models/planish-nano",
                                      "--port", "0", "--log-prompts", open});
  EXPECT_EQ(outcome.status, 2) << outcome.err;
  EXPECT_NE(outcome.err.find("chmod 700"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace planish::testing

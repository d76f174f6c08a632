// SPDX-License-Identifier: Apache-2.0
// For tests only: a server on a free port with a tiny model of the golden set, and clients of it.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/testing.h"
#include "infer/state_folder.h"
#include "net/http_client.h"
#include "serve/server.h"

namespace planish::testing {

// Folder of a golden model with a chat template beside it: one of the golden set by name, nano2 (thinks) or chatml (does not),
// or the template's own text.
inline std::string ModelFolder(const std::string& chat_template, const std::string& model) {
  static TemporaryDir folder;
  const bool is_text = chat_template.find('{') != std::string::npos;
  const std::string path =
      folder /
      (model + "." +
       (is_text ? std::to_string(std::hash<std::string>()(chat_template)) : chat_template));
  if (std::filesystem::exists(path)) return path;
  const std::string golden = PLANISH_SOURCE_DIR "/tests/golden";
  std::filesystem::copy(golden + "/models/" + model, path,
                        std::filesystem::copy_options::recursive);
  WriteFile(
      path + "/chat_template.jinja",
      is_text ? chat_template : ReadFile(golden + "/chat/" + chat_template + ".jinja", 1 << 20));
  return path;
}

template <typename Condition>
bool Eventually(Condition&& condition, double seconds = 20) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return condition();
}

// What a streamed chat answer adds up to.
struct Streamed {
  int status = 0;
  HttpResponse response;  // head; body of an error
  std::map<size_t, std::string> content, reasoning, finish;
  std::vector<Json> chunks;
  Json usage, extension, error;
  Json logprobs = Json::MakeArray();  // of choice 0
  bool is_done = false;               // [DONE] came
};

inline const Json& At(const Json& json, std::initializer_list<const char*> path) {
  static const Json kNull;
  const Json* at = &json;
  for (const char* key : path) {
    at = key[0] >= '0' && key[0] <= '9'
             ? (at->is_array() && at->AsArray().size() > static_cast<size_t>(std::atoi(key))
                    ? &at->AsArray()[static_cast<size_t>(std::atoi(key))]
                    : nullptr)
             : at->Find(key);
    if (at == nullptr) return kNull;
  }
  return *at;
}

class TestServer {
 public:
  struct Setup {
    std::string chat_template = "nano2", model = "nemotron_h_a";
    std::string folder;  // of another model than those of the golden set
    ServeSettings settings;
    HttpLimits limits;
    EngineOptions engine;
    std::vector<std::string> keys, origins;
    bool waits = true;  // until the model is loaded
    std::function<void()> before_open;
  };
  TestServer() : TestServer(Setup()) {}
  explicit TestServer(Setup setup) {
    SetLogLevel(LogLevel::kQuiet);
    SetThreadCount(1);  // the model is tiny: a team would only wait for itself
    ServeOptions options;
    options.http.limits = setup.limits;
    options.http.host_names = {"localhost", "127.0.0.1"};
    options.settings = setup.settings;
    options.settings.version = "test";
    options.model_name = "tiny";
    options.keys = setup.keys;
    options.cors_origins = setup.origins;
    const std::string folder =
        setup.folder.empty() ? ModelFolder(setup.chat_template, setup.model) : setup.folder;
    options.engine.open = [folder, before = setup.before_open] {
      if (before) before();
      return OpenPretrained(folder);
    };
    EngineOptions engine = setup.engine;
    engine.slots = setup.settings.slots;
    if (engine.cache_bytes == 0) engine.cache_bytes = 64 << 20;
    options.engine.engine = [engine](const Pretrained& opened) {
      EngineOptions all = engine;
      if (!all.cache_dir.empty()) all.fingerprint = StateFingerprint(opened.model.get());
      return all;
    };
    server_ = std::make_unique<Server>(std::move(options));
    server_->Start();
    if (setup.waits) {
      EXPECT_TRUE(WaitUntilReady());
    }
  }
  ~TestServer() { server_->Stop(); }

  bool WaitUntilReady() {
    return Eventually([&] { return server_->engine().state() == EngineThread::State::kReady; });
  }
  Server& server() { return *server_; }
  HttpClient Client() const { return HttpClient(server_->url()); }

  HttpResponse Get(const std::string& path, const std::vector<HttpHeader>& headers = {}) const {
    return Client().Send("GET", path, headers);
  }
  HttpResponse Post(const std::string& path, const std::string& body,
                    const std::vector<HttpHeader>& headers = {}) const {
    return Client().Send("POST", path, headers, body);
  }
  Json PostJson(const std::string& path, const std::string& body, int status = 200) const {
    const HttpResponse response = Post(path, body);
    EXPECT_EQ(response.status, status) << body << "\n" << response.body;
    return ParseJson(response.body, "response");
  }
  // `fields`: further members of the body, as text: "\"n\":2".
  static std::string ChatBody(const std::string& fields, const std::string& text = "Hi there") {
    return R"({"messages":[{"role":"user","content":")" + text + R"("}])" +
           (fields.empty() ? "" : "," + fields) + "}";
  }
  Json Chat(const std::string& fields, const std::string& text = "Hi there") const {
    return PostJson("/v1/chat/completions", ChatBody(fields, text));
  }
  Streamed Stream(const std::string& fields, const std::string& text = "Hi there",
                  const std::function<bool(const Json&)>& on_chunk = nullptr) const {
    Streamed streamed;
    SseReader reader([&](std::string_view data) {
      if (data == "[DONE]") {
        streamed.is_done = true;
        return;
      }
      Json chunk = ParseJson(data, "chunk");
      if (const Json* error = chunk.Find("error")) streamed.error = *error;
      if (const Json& usage = At(chunk, {"usage"}); !usage.is_null()) streamed.usage = usage;
      if (const Json* extension = chunk.Find("planish")) streamed.extension = *extension;
      if (const Json& choice = At(chunk, {"choices", "0"}); choice.is_object()) {
        const auto index = static_cast<size_t>(At(choice, {"index"}).AsInt());
        const Json &content = At(choice, {"delta", "content"}),
                   &reasoning = At(choice, {"delta", "reasoning_content"}),
                   &finish = At(choice, {"finish_reason"});
        if (content.is_string()) streamed.content[index] += content.AsString();
        if (reasoning.is_string()) streamed.reasoning[index] += reasoning.AsString();
        if (finish.is_string()) streamed.finish[index] += finish.AsString();
        const Json& logprobs = At(choice, {"logprobs", "content"});
        if (index == 0 && logprobs.is_array()) {
          for (const Json& token : logprobs.AsArray()) streamed.logprobs.Append(token);
        }
      }
      streamed.chunks.push_back(std::move(chunk));
    });
    HttpClient client = Client();
    streamed.response =
        client.Send("POST", "/v1/chat/completions", {},
                    ChatBody(R"("stream":true,"stream_options":{"include_usage":true})" +
                                 (fields.empty() ? "" : "," + fields),
                             text),
                    [&](std::string_view piece) {
                      const size_t before = streamed.chunks.size();
                      reader.Push(piece);
                      for (size_t i = before; on_chunk && i < streamed.chunks.size(); ++i) {
                        if (!on_chunk(streamed.chunks[i])) return false;
                      }
                      return true;
                    });
    streamed.status = streamed.response.status;
    return streamed;
  }
  double Metric(const std::string& line_start) const {
    const std::string text = "\n" + Get("/metrics").body;
    const size_t found = text.find("\n" + line_start);
    if (found == std::string::npos) return -1;
    const size_t end = text.find('\n', found + 1);
    const size_t space = text.rfind(' ', end);
    return std::atof(text.c_str() + space + 1);
  }

 private:
  std::unique_ptr<Server> server_;
};

// One server for the tests that do not change it, made at first use and stopped before static objects are destroyed.
class SharedServer : public ::testing::Environment {
 public:
  static TestServer& Get() {
    if (server_ == nullptr) server_ = std::make_unique<TestServer>();
    return *server_;
  }
  void TearDown() override { server_.reset(); }

 private:
  static inline std::unique_ptr<TestServer> server_;
};
inline ::testing::Environment* const kSharedServer =
    ::testing::AddGlobalTestEnvironment(new SharedServer);

}  // namespace planish::testing

// SPDX-License-Identifier: Apache-2.0
// For tests: a hub with two hosts, the second of which large files are redirected to. It can cut downloads off, spoil them
// and refuse strangers.
#pragma once

#include <atomic>
#include <map>
#include <string>

#include "base/file.h"
#include "base/git_blob.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/testing.h"
#include "net/scripted_server.h"

namespace planish::testing {

class FakeHub {
 public:
  static constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

  // files: path to content, of the model owner/name. Those of 1000 bytes and more are large.
  explicit FakeHub(std::map<std::string, std::string> files)
      : files_(std::move(files)),
        store_([this](std::shared_ptr<HttpExchange> e) { Send(std::move(e), /*is_store=*/true); }),
        hub_([this](std::shared_ptr<HttpExchange> e) { Answer(std::move(e)); }) {}

  std::string url() const { return hub_.url(); }
  ScriptedServer& store() { return store_; }
  ScriptedServer& hub() { return hub_; }

  std::string token;                      // wanted by the hub; "" lets anybody in
  std::string listing;                    // instead of the true one
  std::atomic<int> cuts = 0;              // so many downloads of large files end halfway
  std::atomic<int> spoiled = 0;           // so many are wrong in one byte
  std::atomic<bool> knows_ranges = true;  // else all of a file comes always

 private:
  static bool IsLarge(const std::string& content) { return content.size() >= 1000; }

  void Answer(std::shared_ptr<HttpExchange> exchange) {
    const HttpRequest& request = exchange->request();
    const std::string resolve = std::string("/owner/name/resolve/") + kCommit + "/";
    if (!token.empty() && request.Header("authorization") != "Bearer " + token) {
      exchange->Respond({.status = 401});
    } else if (request.path == "/api/models/owner/name/revision/main") {
      exchange->Respond({.body = listing.empty() ? Listing() : listing});
    } else if (request.path.starts_with(resolve)) {
      const std::string path = request.path.substr(resolve.size());
      if (files_.contains(path) && IsLarge(files_[path]))
        exchange->Respond(
            {.status = 302, .headers = {{"location", store_.url() + "/blobs/" + path + "?sig=1"}}});
      else
        Send(std::move(exchange), /*is_store=*/false);
    } else {
      exchange->Respond({.status = 404});
    }
  }

  std::string Listing() const {
    Json siblings = Json::MakeArray();
    for (const auto& [path, content] : files_) {
      Json file = Json::MakeObject();
      file.Set("rfilename", path);
      file.Set("size", static_cast<int64_t>(content.size()));
      WriteFile(work_ / "blob", content);
      file.Set("blobId",
               IsLarge(content) ? std::string(40, 'a') : GitBlobHexOfFile(work_ / "blob"));
      if (IsLarge(content)) {
        Json lfs = Json::MakeObject();
        lfs.Set("sha256", Sha256Hex(content));
        lfs.Set("size", static_cast<int64_t>(content.size()));
        file.Set("lfs", std::move(lfs));
      }
      siblings.Append(std::move(file));
    }
    Json model = Json::MakeObject();
    model.Set("sha", kCommit);
    model.Set("siblings", std::move(siblings));
    return DumpJson(model);
  }

  void Send(std::shared_ptr<HttpExchange> exchange, bool is_store) {
    const std::string& path = exchange->request().path;
    const size_t at = path.find(is_store ? "/blobs/" : kCommit);
    const auto found = files_.find(path.substr(at + (is_store ? 7 : 41)));
    if (found == files_.end()) return exchange->Respond({.status = 404});
    std::string content = found->second;
    if (is_store && spoiled > 0 && spoiled-- > 0) content.back() ^= 1;
    HttpResponse response{.status = 200};
    const std::string range(exchange->request().Header("range"));
    if (knows_ranges && range.starts_with("bytes=")) {
      const size_t begin = std::stoul(range.substr(6));
      if (begin >= content.size()) return exchange->Respond({.status = 416});
      response.status = 206;
      response.headers = {{"content-range", "bytes " + std::to_string(begin) + "-" +
                                                std::to_string(content.size() - 1) + "/" +
                                                std::to_string(content.size())}};
      content.erase(0, begin);
    }
    if (is_store && cuts > 0 && cuts-- > 0) {
      exchange->StartStream(std::move(response));
      exchange->Write(std::string_view(content).substr(0, content.size() / 2));
      return exchange->Abort();
    }
    response.body = std::move(content);
    exchange->Respond(std::move(response));
  }

  std::map<std::string, std::string> files_;
  TemporaryDir work_;
  ScriptedServer store_, hub_;
};

}  // namespace planish::testing

// SPDX-License-Identifier: Apache-2.0
#include "serve/web_page.h"

#include <gtest/gtest.h>

#include "base/file.h"

namespace planish {
namespace {

HttpRequest Get(const std::string& path) { return {.method = "GET", .target = path, .path = path}; }

TEST(WebPage, FilesAreThoseOfTheSourceTree) {
  const std::string folder = std::string(PLANISH_SOURCE_DIR) + "/src/serve/web/";
  EXPECT_EQ(WebPage(Get("/"))->body, ReadFile(folder + "index.html", 1 << 20));
  EXPECT_EQ(WebPage(Get("/app.css"))->body, ReadFile(folder + "app.css", 1 << 20));
  const std::string script = WebPage(Get("/app.js"))->body;
  for (const char* part :
       {"dom.js", "markdown.js", "history.js", "server.js", "reply.js", "thread.js", "app.js"}) {
    EXPECT_NE(script.find(ReadFile(folder + part, 1 << 20)), std::string::npos) << part;
  }
}

TEST(WebPage, StaysUnderItsSize) {
  size_t total = 0;
  for (const WebFile& file : WebFiles()) total += file.content.size();
  EXPECT_LT(total, 100u << 10);
  EXPECT_GT(total, 10u << 10);
}

TEST(WebPage, NothingInItNeedsMoreThanThePolicyGives) {
  const std::string html = WebPage(Get("/"))->body, script = WebPage(Get("/app.js"))->body;
  for (const char* word : {" style=", "<style", " onclick=", " onload=", "javascript:"})
    EXPECT_EQ(html.find(word), std::string::npos) << word;
  for (const char* word : {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write",
                           "eval(", "new Function", "cssText"}) {
    EXPECT_EQ(script.find(word), std::string::npos) << word;
  }
}

TEST(WebPage, HeadersKeepForeignContentOut) {
  for (const char* path : {"/", "/app.js", "/app.css"}) {
    const HttpResponse response = *WebPage(Get(path));
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.Header("x-content-type-options"), "nosniff");
    const std::string_view policy = response.Header("content-security-policy");
    EXPECT_TRUE(policy.starts_with("default-src 'none'; script-src 'self'; ")) << policy;
    EXPECT_NE(policy.find("frame-ancestors 'none'"), std::string_view::npos);
    EXPECT_EQ(policy.find("unsafe"), std::string_view::npos);
  }
  EXPECT_EQ(WebPage(Get("/app.js"))->Header("content-type"), "text/javascript; charset=utf-8");
}

TEST(WebPage, AClientThatHasAFileIsToldSo) {
  HttpRequest request = Get("/app.js");
  const std::string tag(WebPage(request)->Header("etag"));
  request.headers = {{"if-none-match", "\"other\", " + tag}};
  EXPECT_EQ(WebPage(request)->status, 304);
  EXPECT_TRUE(WebPage(request)->body.empty());
  request.headers = {{"if-none-match", "\"other\""}};
  EXPECT_EQ(WebPage(request)->status, 200);
  EXPECT_NE(tag, WebPage(Get("/app.css"))->Header("etag"));
}

TEST(WebPage, OtherPathsAreNotItsOwn) {
  for (const char* path : {"/index.html", "/app.js/", "//", "/../app.js", "/v1/models", ""})
    EXPECT_FALSE(WebPage(Get(path)).has_value()) << path;
  HttpRequest post = Get("/");
  post.method = "POST";
  EXPECT_EQ(WebPage(post)->status, 405);
  EXPECT_TRUE(WebPage(post)->body.empty());
}

}  // namespace
}  // namespace planish

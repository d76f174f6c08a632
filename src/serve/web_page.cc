// SPDX-License-Identifier: Apache-2.0
#include "serve/web_page.h"

#include <array>

#include "base/hash.h"

namespace planish {

// Made from serve/web/ by cmake/embed.cmake.
extern const unsigned char kEmbedded_index_html[], kEmbedded_app_js[], kEmbedded_app_css[];
extern const unsigned long kEmbedded_index_html_size, kEmbedded_app_js_size, kEmbedded_app_css_size;

namespace {

constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

std::string_view Text(const unsigned char* bytes, unsigned long size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

bool NamesTag(std::string_view if_none_match, std::string_view tag) {
  return if_none_match == "*" || if_none_match.find(tag) != std::string_view::npos;
}

}  // namespace

std::span<const WebFile> WebFiles() {
  static const std::array<WebFile, 3> files = {{
      {"/", "text/html; charset=utf-8", Text(kEmbedded_index_html, kEmbedded_index_html_size)},
      {"/app.js", "text/javascript; charset=utf-8", Text(kEmbedded_app_js, kEmbedded_app_js_size)},
      {"/app.css", "text/css; charset=utf-8", Text(kEmbedded_app_css, kEmbedded_app_css_size)},
  }};
  return files;
}

std::optional<HttpResponse> WebPage(const HttpRequest& request) {
  for (const WebFile& file : WebFiles()) {
    if (file.path != request.path) continue;
    HttpResponse response;
    response.headers = {{"content-type", std::string(file.type)},
                        {"content-security-policy", kPolicy},
                        {"x-content-type-options", "nosniff"},
                        {"referrer-policy", "no-referrer"},
                        {"cache-control", "no-cache"}};
    if (request.method != "GET" && request.method != "HEAD") {
      response.status = 405;
      response.headers.push_back({"allow", "GET, HEAD"});
      return response;
    }
    const std::string tag = '"' + Sha256Hex(file.content).substr(0, 20) + '"';
    response.headers.push_back({"etag", tag});
    if (NamesTag(request.Header("if-none-match"), tag))
      response.status = 304;
    else
      response.body = file.content;
    return response;
  }
  return std::nullopt;
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// The web page of `planish serve`: the files of serve/web/, compiled into the program. They need no key; what they ask the
// server for does.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "net/http.h"

namespace planish {

struct WebFile {
  std::string_view path;  // "/app.js"
  std::string_view type;  // of the content
  std::string_view content;
};

std::span<const WebFile> WebFiles();

// The answer to a request for one of the page's files, with the policy that lets scripts, styles and requests be the
// server's own only; 304 when the client has the file (If-None-Match), 405 for methods other than GET and HEAD. nullopt for
// other paths. The answer to HEAD has the body too: the server leaves it out.
std::optional<HttpResponse> WebPage(const HttpRequest& request);

}  // namespace planish

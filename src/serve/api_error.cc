// SPDX-License-Identifier: Apache-2.0
#include "serve/api_error.h"

#include <algorithm>
#include <cmath>

#include "text/utf8.h"

namespace planish {

const char* ErrorType(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 408:
      return "timeout_error";
    case 429:
      return "rate_limit_error";
    case 500:
      return "server_error";
    case 503:
      return "unavailable_error";
    default:
      return "invalid_request_error";
  }
}

Json ErrorJson(const ApiError& error) {
  Json body = Json::MakeObject();
  body.Set("message", LossyUtf8(error.what()));  // it may quote what was sent
  body.Set("type", ErrorType(error.status()));
  body.Set("param", error.param().empty() ? Json() : Json(error.param()));
  body.Set("code", error.code().empty() ? Json() : Json(error.code()));
  Json out = Json::MakeObject();
  out.Set("error", std::move(body));
  return out;
}

HttpResponse ErrorResponse(const ApiError& error) {
  HttpResponse response = JsonResponse(ErrorJson(error), error.status());
  if (error.retry_after_s > 0) {
    const double seconds = std::clamp(std::ceil(error.retry_after_s), 1.0, 120.0);
    response.headers.push_back({"retry-after", fmt::format("{:.0f}", seconds)});
  }
  return response;
}

HttpResponse JsonResponse(const Json& json, int status) {
  return {.status = status,
          .headers = {{"content-type", "application/json; charset=utf-8"}},
          .body = DumpJson(json)};
}

}  // namespace planish

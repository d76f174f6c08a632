// SPDX-License-Identifier: Apache-2.0
// What a request gets instead of an answer, in OpenAI's shape:
//   {"error":{"message","type","param","code"}}  with the statuses of serve.md section 3.4.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

#include "base/json.h"
#include "net/http.h"

namespace planish {

class ApiError : public std::runtime_error {
 public:
  ApiError(int status, std::string code, std::string message, std::string param = {})
      : std::runtime_error(std::move(message)),
        status_(status),
        code_(std::move(code)),
        param_(std::move(param)) {}
  int status() const { return status_; }
  const std::string& code() const { return code_; }    // empty: null
  const std::string& param() const { return param_; }  // empty: null
  double retry_after_s = 0;                            // 429 and 503; 0: not said

 private:
  int status_;
  std::string code_, param_;
};

// 400 for a field that is there but cannot be used.
template <typename... Args>
ApiError InvalidValue(std::string param, fmt::format_string<Args...> format, Args&&... args) {
  return ApiError(400, "invalid_value", fmt::format(format, std::forward<Args>(args)...),
                  std::move(param));
}
// 400 for what this model or server does not do.
template <typename... Args>
ApiError Unsupported(std::string param, fmt::format_string<Args...> format, Args&&... args) {
  return ApiError(400, "unsupported_value", fmt::format(format, std::forward<Args>(args)...),
                  std::move(param));
}

const char* ErrorType(int status);  // "invalid_request_error", ...
Json ErrorJson(const ApiError& error);
HttpResponse ErrorResponse(const ApiError& error);
HttpResponse JsonResponse(const Json& json, int status = 200);

}  // namespace planish

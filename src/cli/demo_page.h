// SPDX-License-Identifier: Apache-2.0
// What `planish demo` saw, and the page that shows it.
#pragma once

#include <string>
#include <vector>

#include "cli/demo_compression.h"
#include "eval/eval_page.h"
#include "infer/generate.h"

namespace planish {

// One question answered.
struct DemoAnswer {
  std::string question, setting;  // "thinking off"
  std::string reasoning, answer;
  size_t reasoning_tokens = 0, tokens = 0;
  double tokens_per_s = 0;
  bool has_key = false, is_right = false;
  std::string key;
};

// A question that needs a tool: the call, what the tool said, and the answer made of it.
struct DemoToolRun {
  std::string question, reasoning, call, result, answer;
  bool is_valid = false;  // a call of an offered tool that fits its schema
};

struct DemoRecord {
  std::vector<std::pair<std::string, std::string>> facts;  // of model and machine
  std::vector<DemoAnswer> answers;
  std::vector<TaskResult> sweep;  // none or one
  std::vector<DemoToolRun> tools;
  std::vector<ShrunkModel> shrunk;  // parent first
  double prompt_tokens_per_s = 0, decode_tokens_per_s = 0, batch_tokens_per_s = 0;
  uint64_t resident_bytes = 0;
  double seconds = 0;
};

std::string DemoPage(const std::string& model, const DemoRecord& record);

}  // namespace planish

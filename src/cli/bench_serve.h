// SPDX-License-Identifier: Apache-2.0
// `planish bench serve --url URL`: load on a running server, ours or another of the same API, and what its clients feel.
#pragma once

#include <string>
#include <vector>

#include "cli/verb.h"
#include "net/chat_client.h"
#include "serve/workload.h"

namespace planish {

class ServeBench {
 public:
  void Declare(OptionSet* options);
  bool is_asked() const { return !url_.empty(); }
  // output: "md" or "json".
  ExitCode Run(const std::string& output) const;

 private:
  struct Served;  // what the server says of its model
  Served Ask(ChatClient* client) const;
  Workload MakeWorkload(ChatClient* client, const Served& served) const;

  std::string url_, key_, name_, dataset_ = "random", file_, rate_ = "inf", goodput_;
  int64_t input_ = 1024, output_ = 128, prompts_ = 100, concurrency_ = 4, turns_ = 8, system_ = 512,
          budget_ = -1, seed_ = 0, warmups_ = 1, vocabulary_ = 0;
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// What all requests of a server share: settings, the engine's thread, metrics, the queue's bounds, what is running.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "infer/conversation.h"
#include "infer/grammar_vocabulary.h"
#include "serve/engine_thread.h"
#include "serve/generation_fields.h"
#include "serve/metrics.h"
#include "serve/prompt_log.h"
#include "text/tool_format.h"

namespace planish {

using ServeClock = std::chrono::steady_clock;
double SecondsSince(ServeClock::time_point start);

struct ServeSettings {
  std::string alias;          // name of the model in answers
  bool strict_model = false;  // 404 for any other
  bool strict_params = false;
  bool reasoning_both = false;        // the reasoning under a second name, too
  bool reasoning_in_content = false;  // as the model wrote it, for clients that look for </think>
  bool metrics_public = false, has_web = true, has_demo_tools = false;
  bool warm_next_turn = true;
  size_t max_queue = 64, max_queued_tokens = 262144;
  double queue_timeout_s = 120, request_timeout_s = 0;  // 0: none
  double ping_s = 15;
  size_t slots = 4;
  ThinkingDefaults thinking;
  std::string version;
  std::string log_prompts;  // folder; empty: prompts are not written anywhere
};

class Generation;

// Bounds what waits: refuses at once instead of letting clients wait for ever.
class QueueGate {
 public:
  QueueGate(size_t max_requests, size_t max_tokens, size_t slots)
      : max_requests_(max_requests), max_tokens_(max_tokens), slots_(slots) {}
  // A request begins to wait; ApiError 429 if too many do.
  void Enter();
  // Its prompt is known; ApiError 429 if all that wait have too many tokens (one alone never has).
  void AddTokens(size_t tokens);
  // It was admitted after `waited_s`, or ended before (waited_s < 0).
  void Leave(size_t tokens, double waited_s);
  void Ended();  // an admitted one

 private:
  ApiError Full(const std::string& what) const;
  const size_t max_requests_, max_tokens_, slots_;
  mutable std::mutex mutex_;
  size_t waiting_ = 0, tokens_ = 0, admitted_ = 0;
  double mean_wait_s_ = 1;
};

// Running generations by their public id, for the control endpoint.
class Registry {
 public:
  void Add(const std::string& id, const std::shared_ptr<Generation>& generation);
  void Remove(const std::string& id);
  std::shared_ptr<Generation> Find(const std::string& id) const;
  size_t size() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::weak_ptr<Generation>> running_;
};

struct ServeState {
  ServeState(ServeSettings serve_settings, std::string model, std::string metric_aliases)
      : settings(std::move(serve_settings)),
        model_name(std::move(model)),
        metrics(model_name, std::move(metric_aliases)),
        queue(settings.max_queue, settings.max_queued_tokens, settings.slots) {}

  // Of the model, made at first use; any thread, once the model is there.
  std::shared_ptr<const GrammarVocabulary> Vocabulary();
  ToolFormat tool_format();

  const ServeSettings settings;
  const std::string model_name;
  int64_t created = 0;      // of the model in /v1/models, Unix time
  std::string fingerprint;  // system_fingerprint
  Metrics metrics;
  QueueGate queue;
  Registry registry;
  ConversationCuts cuts;
  EngineThread* engine = nullptr;
  std::unique_ptr<PromptLog> prompt_log;  // null: none
  std::atomic<bool> is_draining = false;

 private:
  std::once_flag has_vocabulary_, has_tool_format_;
  std::shared_ptr<const GrammarVocabulary> vocabulary_;
  ToolFormat tool_format_ = ToolFormat::kToolcallList;
};

}  // namespace planish

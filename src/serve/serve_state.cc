// SPDX-License-Identifier: Apache-2.0
#include "serve/serve_state.h"

#include <algorithm>

namespace planish {

double SecondsSince(ServeClock::time_point start) {
  return std::chrono::duration<double>(ServeClock::now() - start).count();
}

std::shared_ptr<const GrammarVocabulary> ServeState::Vocabulary() {
  std::call_once(has_vocabulary_, [this] {
    vocabulary_ =
        GrammarVocabulary::Make(engine->opened().tokenizer, engine->opened().config.vocab_size);
  });
  return vocabulary_;
}

ToolFormat ServeState::tool_format() {
  std::call_once(has_tool_format_, [this] {
    if (engine->opened().chat_template != nullptr)
      tool_format_ = DetectToolFormat(*engine->opened().chat_template);
  });
  return tool_format_;
}

ApiError QueueGate::Full(const std::string& what) const {
  ApiError error(429, "queue_full", what);
  error.retry_after_s = std::clamp(mean_wait_s_, 1.0, 120.0);
  return error;
}

void QueueGate::Enter() {
  const std::lock_guard lock(mutex_);
  const size_t free_slots = slots_ - std::min(slots_, admitted_);
  if (waiting_ >= max_requests_ + free_slots)
    throw Full(fmt::format("{} requests are waiting, no more are taken", waiting_));
  ++waiting_;
}

void QueueGate::AddTokens(size_t tokens) {
  const std::lock_guard lock(mutex_);
  if (tokens_ > 0 && tokens_ + tokens > max_tokens_)
    throw Full(fmt::format("{} prompt tokens are waiting, {} more are over the limit of {}",
                           tokens_, tokens, max_tokens_));
  tokens_ += tokens;
}

void QueueGate::Leave(size_t tokens, double waited_s) {
  const std::lock_guard lock(mutex_);
  --waiting_;
  tokens_ -= tokens;
  if (waited_s < 0) return;
  ++admitted_;
  mean_wait_s_ = 0.8 * mean_wait_s_ + 0.2 * waited_s;
}

void QueueGate::Ended() {
  const std::lock_guard lock(mutex_);
  --admitted_;
}

void Registry::Add(const std::string& id, const std::shared_ptr<Generation>& generation) {
  const std::lock_guard lock(mutex_);
  running_[id] = generation;
}

void Registry::Remove(const std::string& id) {
  const std::lock_guard lock(mutex_);
  running_.erase(id);
}

std::shared_ptr<Generation> Registry::Find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = running_.find(id);
  return found == running_.end() ? nullptr : found->second.lock();
}

size_t Registry::size() const {
  const std::lock_guard lock(mutex_);
  return running_.size();
}

}  // namespace planish

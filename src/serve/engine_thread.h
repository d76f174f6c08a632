// SPDX-License-Identifier: Apache-2.0
// The one thread that opens the model and works with it: no other one may call the engine or open parallel regions. Others
// post tasks, which run between steps.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "infer/engine.h"
#include "model/pretrained.h"

namespace planish {

class EngineThread {
 public:
  struct Options {
    // Opens the model; on the engine's thread, because packing it opens parallel regions.
    std::function<Pretrained()> open;
    std::function<EngineOptions(const Pretrained&)> engine;
    uint64_t expected_bytes = 0;           // of the model, for load_progress
    std::function<void(Engine&)> on_step;  // after each step; may be null
  };
  enum class State { kLoading, kReady, kFailed };

  explicit EngineThread(Options options);
  ~EngineThread();  // Stop

  void Start();
  // Ends after the current step; what still runs is cancelled.
  void Stop();
  State state() const { return state_.load(std::memory_order_acquire); }
  // Share of the model's bytes that have become resident since the start: an estimate, 1 when ready.
  double load_progress() const;
  std::exception_ptr failure() const { return failure_; }  // when kFailed
  const Pretrained& opened() const { return *opened_; }    // from kReady on
  size_t context() const { return context_; }              // from kReady on
  bool uses_cuts() const { return uses_cuts_; }            // from kReady on: Engine::uses_cuts
  // Runs `task` between two steps. Tasks of a stopped thread are dropped.
  void Post(std::function<void(Engine&)> task);

  struct Published {
    EngineStats stats;
    std::vector<SlotInfo> slots;
  };
  Published published()
      const;  // at most a tenth of a second old while the engine works, new when it begins

 private:
  void Run();
  void Publish(const Engine& engine);

  Options options_;
  std::atomic<State> state_ = State::kLoading;
  std::exception_ptr failure_;
  std::unique_ptr<Pretrained> opened_;
  size_t context_ = 0;
  bool uses_cuts_ = false;
  uint64_t resident_before_ = 0;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void(Engine&)>> tasks_;
  bool is_stopping_ = false;

  mutable std::mutex published_mutex_;
  Published published_;
  std::thread thread_;
};

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#include "serve/engine_thread.h"

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "base/memory.h"

namespace planish {
namespace {

constexpr auto kPublishEvery = std::chrono::milliseconds(100);
constexpr auto kPausedWait = std::chrono::milliseconds(5);
constexpr auto kRestBeforeSaving = std::chrono::milliseconds(200);

}  // namespace

EngineThread::EngineThread(Options options)
    : options_(std::move(options)), resident_before_(ResidentBytes()) {}

EngineThread::~EngineThread() { Stop(); }

void EngineThread::Start() {
  thread_ = std::thread([this] { Run(); });
}

void EngineThread::Stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

double EngineThread::load_progress() const {
  if (state() == State::kReady) return 1;
  if (options_.expected_bytes == 0) return 0;
  const uint64_t now = ResidentBytes();
  const double grown = static_cast<double>(now - std::min(now, resident_before_));
  return std::min(0.99, grown / static_cast<double>(options_.expected_bytes));
}

void EngineThread::Post(std::function<void(Engine&)> task) {
  {
    const std::lock_guard lock(mutex_);
    if (is_stopping_) return;
    tasks_.push_back(std::move(task));
  }
  wake_.notify_all();
}

EngineThread::Published EngineThread::published() const {
  const std::lock_guard lock(published_mutex_);
  return published_;
}

void EngineThread::Publish(const Engine& engine) {
  Published fresh{engine.stats(), engine.slots()};
  const std::lock_guard lock(published_mutex_);
  published_ = std::move(fresh);
}

void EngineThread::Run() {
  std::unique_ptr<Engine> engine;
  try {
    opened_ = std::make_unique<Pretrained>(options_.open());
    engine = std::make_unique<Engine>(opened_->model.get(), options_.engine(*opened_));
    context_ = engine->context();
    uses_cuts_ = engine->uses_cuts();
    Publish(*engine);
    state_.store(State::kReady, std::memory_order_release);
  } catch (...) {
    failure_ = std::current_exception();
    state_.store(State::kFailed, std::memory_order_release);
  }
  if (engine == nullptr) return;
  auto published = std::chrono::steady_clock::now();
  bool is_busy = false;
  for (;;) {
    std::deque<std::function<void(Engine&)>> tasks;
    {
      std::unique_lock lock(mutex_);
      const auto has_news = [&] { return is_stopping_ || !tasks_.empty(); };
      if (!is_busy && !has_news()) {
        lock.unlock();
        Publish(*engine);  // before a rest of any length
        lock.lock();
        // A rest of some length is for writing states to the cache's folder; what arrives waits for one at most.
        while (!wake_.wait_for(lock, kRestBeforeSaving, has_news)) {
          lock.unlock();
          const bool saved = engine->SaveOne();
          lock.lock();
          if (!saved) wake_.wait(lock, has_news);
        }
      } else if (is_busy && engine->last_step().rows() == 0) {
        wake_.wait_for(lock, kPausedWait, has_news);  // all that run are paused
      }
      if (is_stopping_) break;
      tasks.swap(tasks_);
    }
    for (const auto& task : tasks) {
      try {
        task(*engine);
      } catch (const std::exception& error) {
        LogWarning("a task of the engine failed: {}", error.what());
      }
    }
    const bool was_busy = is_busy;
    is_busy = engine->Step();
    if (options_.on_step) options_.on_step(*engine);
    if (const auto now = std::chrono::steady_clock::now();
        now - published > kPublishEvery || is_busy != was_busy) {
      published = now;
      Publish(*engine);
    }
  }
  engine->SaveAll();
  engine.reset();  // callbacks of what still runs are dropped, not called
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// For tests only: ranks as threads of one process, messages through memory. Ranks that open parallel regions must hold one
// thread each (SetThreadCount(1)).
#pragma once

#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>

#include "base/error.h"
#include "train/comm.h"

namespace planish {

// What the ranks of one test share.
class ThreadMail {
 public:
  void Put(size_t from, size_t to, int tag, const void* data, size_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto* begin = static_cast<const std::byte*>(data);
    mail_[{from, to, tag}].emplace_back(begin, begin + bytes);
    arrived_.notify_all();
  }
  void Take(size_t from, size_t to, int tag, void* data, size_t bytes) {
    std::unique_lock lock(mutex_);
    auto& queue = mail_[{from, to, tag}];
    arrived_.wait(lock, [&] { return !queue.empty(); });
    PLANISH_CHECK(queue.front().size() == bytes, "{} bytes sent, {} expected", queue.front().size(),
                  bytes);
    std::memcpy(data, queue.front().data(), bytes);
    queue.pop_front();
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::tuple<size_t, size_t, int>, std::deque<std::vector<std::byte>>> mail_;
};

class ThreadComm : public Comm {
 public:
  ThreadComm(size_t rank, size_t size, ThreadMail* mail) : rank_(rank), size_(size), mail_(mail) {}
  size_t rank() const override { return rank_; }
  size_t size() const override { return size_; }
  Ticket Start(std::vector<Transfer> transfers) override {
    for (const Transfer& t : transfers)
      if (t.send != nullptr) mail_->Put(rank_, t.peer, t.tag, t.send, t.bytes);
    pending_.push_back(std::move(transfers));
    return pending_.size() - 1;
  }
  void Wait(Ticket ticket) override {
    // In the order of their starts, as the interface promises for one pair and tag.
    for (; next_ <= ticket; ++next_)
      for (const Transfer& t : pending_[next_])
        if (t.receive != nullptr) mail_->Take(t.peer, rank_, t.tag, t.receive, t.bytes);
  }
  void Abort(int, const std::string& message) override { PLANISH_CHECK(false, "{}", message); }

 private:
  size_t rank_, size_;
  ThreadMail* mail_;
  std::vector<std::vector<Transfer>> pending_;
  Ticket next_ = 0;
};

// Runs body(comm) for every rank at once and waits for all.
inline void RunRanks(size_t ranks, const std::function<void(Comm&)>& body) {
  ThreadMail mail;
  std::vector<std::thread> threads;
  for (size_t r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      ThreadComm comm(r, ranks, &mail);
      body(comm);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
// A few threads for what takes longer than an I/O thread may: parsing bodies, rendering templates, tokenizing. They never
// work with the model.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace planish {

class Workers {
 public:
  explicit Workers(size_t threads);
  ~Workers();  // drops what has not begun
  // `work` must not throw.
  void Post(std::function<void()> work);

 private:
  void Run();
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> work_;
  bool is_stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace planish

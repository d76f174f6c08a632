// SPDX-License-Identifier: Apache-2.0
#include "base/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>

namespace planish {
namespace {

constexpr size_t kPathBytes = 4096;

// Only plain memory and lock-free flags: what a signal handler may touch.
struct Slot {
  std::atomic<int> state{0};  // 0 free, 1 being written, 2 holds a name
  char path[kPathBytes];
};
Slot g_slots[16];

void OnSignal(int signal) {
  for (Slot& slot : g_slots) {
    if (slot.state.load(std::memory_order_acquire) == 2) unlink(slot.path);
  }
  _exit(128 + signal);
}

}  // namespace

void InstallInterruptHandler() {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction before {};
    // A parent that ignores the signal (nohup, a background job) means it.
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler != SIG_IGN)
      sigaction(signal, &action, nullptr);
  }
}

TemporaryName::TemporaryName(const std::string& path) {
  if (path.size() >= kPathBytes) return;
  for (int i = 0; i < static_cast<int>(std::size(g_slots)); ++i) {
    int free = 0;
    if (!g_slots[i].state.compare_exchange_strong(free, 1)) continue;
    std::memcpy(g_slots[i].path, path.c_str(), path.size() + 1);
    g_slots[i].state.store(2, std::memory_order_release);
    slot_ = i;
    return;
  }
}

TemporaryName::~TemporaryName() {
  if (slot_ >= 0) g_slots[slot_].state.store(0, std::memory_order_release);
}

}  // namespace planish

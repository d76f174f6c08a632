// SPDX-License-Identifier: Apache-2.0
#include "model/kv_pool.h"

#include <algorithm>
#include <list>
#include <map>
#include <mutex>
#include <vector>

#include "base/memory.h"

namespace planish {
namespace {

constexpr size_t kSlabBytes = size_t{8} << 20;  // at most this much is unused per size of page

struct Slab {
  Slab(size_t page_bytes, size_t count) : memory(count * page_bytes) {
    for (size_t i = count; i-- > 0;) free.push_back(memory.data() + i * page_bytes);
  }
  AlignedBuffer memory;
  std::vector<std::byte*> free;  // the next page last
};

class Pool {
 public:
  std::shared_ptr<std::byte> Take(size_t bytes) {
    const size_t count = std::max<size_t>(1, kSlabBytes / bytes);
    const std::lock_guard lock(mutex_);
    std::list<Slab>& slabs = slabs_[bytes];
    // Full slabs stand behind those with free pages.
    if (slabs.empty() || slabs.front().free.empty()) slabs.emplace_front(bytes, count);
    const auto slab = slabs.begin();
    std::byte* page = slab->free.back();
    slab->free.pop_back();
    if (slab->free.empty()) slabs.splice(slabs.end(), slabs, slab);
    return {page, [this, bytes, slab, count](std::byte* p) { Return(bytes, slab, count, p); }};
  }

 private:
  void Return(size_t bytes, std::list<Slab>::iterator slab, size_t count, std::byte* page) {
    const std::lock_guard lock(mutex_);
    std::list<Slab>& slabs = slabs_[bytes];
    slab->free.push_back(page);
    if (slab->free.size() == count) {
      slabs.erase(slab);
    } else if (slab->free.size() == 1) {
      slabs.splice(slabs.begin(), slabs, slab);
    }
  }

  std::mutex mutex_;
  std::map<size_t, std::list<Slab>> slabs_;  // by bytes of a page
};

}  // namespace

std::shared_ptr<std::byte> NewKvPage(size_t bytes) {
  static Pool* const pool = new Pool;  // never destroyed: states may outlive static objects
  return pool->Take(bytes);
}

}  // namespace planish

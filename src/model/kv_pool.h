// SPDX-License-Identifier: Apache-2.0
// Memory of KV pages. Pages are some hundred KiB, too small for huge pages of the system on their own, so they are cut from
// slabs of whole huge pages, which cost fewer address translations. A slab goes back to the system when its last page does.
#pragma once

#include <cstddef>
#include <memory>

namespace planish {

// Uninitialised, 64-byte aligned; shared ownership counts users of this page alone. Any thread. Throws Error(kNoMemory).
std::shared_ptr<std::byte> NewKvPage(size_t bytes);

}  // namespace planish

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace planish {

// A file holding a JSON list of token ids, each in [0, vocab_size).
std::vector<int> ReadIds(const std::string& path, size_t vocab_size);

}  // namespace planish

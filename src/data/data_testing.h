// SPDX-License-Identifier: Apache-2.0
// For tests only: token files of given documents.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/random.h"
#include "data/token_file.h"

namespace planish::testing {

struct TestDocument {
  std::vector<TokenId> ids;
  std::vector<uint8_t> mask;  // empty: all ones, in a file without a mask
  uint64_t source_bytes = 0;
};

// Documents of 1 to `max_length` tokens; ids count up through the file from `first_id`, so each token is known by its id.
inline std::vector<TestDocument> CountingDocuments(size_t count, size_t max_length, uint64_t seed,
                                                   TokenId first_id = 0, bool has_mask = false) {
  Random random(seed);
  std::vector<TestDocument> documents(count);
  for (TestDocument& document : documents) {
    for (size_t i = 1 + random.Below(max_length); i > 0; --i) {
      document.ids.push_back(first_id++);
      if (has_mask) document.mask.push_back(static_cast<uint8_t>(random.Below(2)));
    }
    document.source_bytes = random.Below(100);
  }
  return documents;
}

inline std::shared_ptr<const TokenFile> MakeTokenFile(const std::string& path,
                                                      const std::vector<TestDocument>& documents,
                                                      const std::string& tokenizer = "tiny") {
  const bool has_mask = !documents.empty() && !documents[0].mask.empty();
  TokenFileWriter writer(path, {1u << 20, Sha256Hex(tokenizer), tokenizer, has_mask});
  for (const TestDocument& document : documents)
    writer.Append(document.ids, document.source_bytes, document.mask);
  writer.Commit();
  return TokenFile::Open(path);
}

}  // namespace planish::testing

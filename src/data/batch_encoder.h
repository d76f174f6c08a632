// SPDX-License-Identifier: Apache-2.0
// Texts to ids on all threads, in order: texts are gathered into tasks of about equal size, and long ones are cut where that
// changes no id, so the ids do not depend on the number of threads.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace planish {

struct BatchEncodeOptions {
  EncodeOptions encode;        // of each text
  std::optional<TokenId> eos;  // appended to each text
};

class BatchEncoder {
 public:
  BatchEncoder(std::shared_ptr<const Tokenizer> tokenizer, const BatchEncodeOptions& options);

  // Calls sink(i, ids of texts[i]) on the calling thread for i = 0, 1, ...; the ids are valid during the call. Uses about eight
  // bytes of memory a byte of the texts.
  void Encode(std::span<const std::string_view> texts,
              const std::function<void(size_t, std::span<const TokenId>)>& sink);

 private:
  struct Part {
    size_t text;  // its index
    std::string_view bytes;
    bool is_first, is_last;  // of the text
    size_t task, end;        // where its ids end in those of the task
  };
  void MakeParts(std::span<const std::string_view> texts);

  std::shared_ptr<const Tokenizer> tokenizer_;
  BatchEncodeOptions options_;
  bool cuts_ = false;
  std::vector<TokenId> prefix_, suffix_;
  std::vector<Part> parts_;
  std::vector<size_t> task_begins_;        // in parts_
  std::vector<std::vector<TokenId>> ids_;  // by task
  std::vector<TokenId> joined_;
};

}  // namespace planish

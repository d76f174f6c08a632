// SPDX-License-Identifier: Apache-2.0
// StreamDecoder: text piece by piece. Lossy decoding never looks back, so holding the cut character at the end is enough.
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace planish {

std::string StreamDecoder::Push(TokenId id) {
  if (skip_special_ && tokenizer_->IsSpecial(id)) return {};
  held_ += tokenizer_->TokenBytes(id);
  const size_t ready = held_.size() - CutUtf8Suffix(held_);
  std::string text = LossyUtf8(std::string_view(held_).substr(0, ready));
  held_.erase(0, ready);
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text = LossyUtf8(held_);
  held_.clear();
  return text;
}

}  // namespace planish

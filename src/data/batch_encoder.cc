// SPDX-License-Identifier: Apache-2.0
#include "data/batch_encoder.h"

#include "base/parallel.h"
#include "text/pretokenize.h"  // PlaceToCut

namespace planish {
namespace {

constexpr size_t kTaskBytes = size_t{128} << 10;

}  // namespace

BatchEncoder::BatchEncoder(std::shared_ptr<const Tokenizer> tokenizer,
                           const BatchEncodeOptions& options)
    : tokenizer_(std::move(tokenizer)), options_(options) {
  cuts_ = tokenizer_->CutsAtLines(options_.encode.parse_special);
  if (options_.encode.add_special) {
    prefix_ = tokenizer_->PrefixIds();
    suffix_ = tokenizer_->SuffixIds();
  }
  options_.encode.add_special = false;  // once a text, not once a part
  if (options_.eos && (suffix_.empty() || suffix_.back() != *options_.eos))
    suffix_.push_back(*options_.eos);
}

void BatchEncoder::MakeParts(std::span<const std::string_view> texts) {
  parts_.clear();
  task_begins_.clear();
  size_t bytes = kTaskBytes;  // of the last task
  for (size_t i = 0; i < texts.size(); ++i) {
    std::string_view rest = texts[i];
    bool is_first = true;
    do {
      const size_t size =
          cuts_ && rest.size() > kTaskBytes ? PlaceToCut(rest, kTaskBytes) : rest.size();
      if (bytes >= kTaskBytes) {
        task_begins_.push_back(parts_.size());
        bytes = 0;
      }
      bytes += size;
      parts_.push_back(
          {i, rest.substr(0, size), is_first, size == rest.size(), task_begins_.size() - 1, 0});
      rest.remove_prefix(size);
      is_first = false;
    } while (!rest.empty());
  }
}

void BatchEncoder::Encode(std::span<const std::string_view> texts,
                          const std::function<void(size_t, std::span<const TokenId>)>& sink) {
  MakeParts(texts);
  const size_t tasks = task_begins_.size();
  task_begins_.push_back(parts_.size());
  if (ids_.size() < tasks) ids_.resize(tasks);
  ParallelFor(tasks, [&](size_t task, int) {
    std::vector<TokenId>& ids = ids_[task];
    ids.clear();
    for (size_t i = task_begins_[task]; i < task_begins_[task + 1]; ++i) {
      Part& part = parts_[i];
      if (part.is_first) ids.insert(ids.end(), prefix_.begin(), prefix_.end());
      tokenizer_->Append(part.bytes, options_.encode, &ids);
      if (part.is_last) ids.insert(ids.end(), suffix_.begin(), suffix_.end());
      part.end = ids.size();
    }
  });
  joined_.clear();
  for (size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    const size_t begin = i > task_begins_[part.task] ? parts_[i - 1].end : 0;
    const std::span<const TokenId> ids =
        std::span(ids_[part.task]).subspan(begin, part.end - begin);
    if (part.is_first && part.is_last) {
      sink(part.text, ids);
      continue;
    }
    joined_.insert(joined_.end(), ids.begin(), ids.end());
    if (!part.is_last) continue;
    sink(part.text, joined_);
    joined_.clear();
  }
}

}  // namespace planish

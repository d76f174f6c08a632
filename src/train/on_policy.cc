// SPDX-License-Identifier: Apache-2.0
#include "train/on_policy.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "infer/engine.h"

namespace planish {
namespace {

struct Document {
  size_t begin = 0, length = 0;  // in the batch
  size_t prompt = 0;             // tokens that stay, fewer than all; 0: all do
  std::vector<int32_t> answer;
};

// Tokens before the answer: the prediction of the first trained one is made at the last of them.
size_t PromptOf(const TokenBatch& batch, const Document& document, size_t prompt_tokens) {
  const auto begin = batch.weights.begin() + static_cast<ptrdiff_t>(document.begin);
  const auto end = begin + static_cast<ptrdiff_t>(document.length);
  const auto first = std::find_if(begin, end, [](uint8_t weight) { return weight != 0; });
  if (first == end) return 0;
  const size_t prompt = first > begin ? static_cast<size_t>(first - begin) + 1
                                      : std::min(prompt_tokens, document.length / 2);
  return prompt < document.length ? prompt : 0;
}

Request RequestOf(const Pretrained& student, const TokenBatch& batch, const Document& document,
                  uint64_t sample, uint64_t place, uint64_t seed) {
  const auto begin = batch.ids.begin() + static_cast<ptrdiff_t>(document.begin);
  Request request;
  request.prompt.assign(begin, begin + static_cast<ptrdiff_t>(document.prompt));
  request.max_new_tokens = document.length - document.prompt;
  request.end_ids = student.eos_ids;
  request.cache_prompt = false;
  request.sampling.seed = seed ^ ((sample + 1) * 0x9e3779b97f4a7c15u);
  request.sampling.choice = place;
  return request;
}

void Draw(const Pretrained& student, std::vector<Request> requests,
          const std::vector<Document*>& documents) {
  size_t context = 0;
  for (const Request& request : requests)
    context = std::max(context, request.prompt.size() + request.max_new_tokens);
  Engine engine(student.model.get(), {.slots = requests.size(), .context = context});
  std::exception_ptr failure;
  for (size_t i = 0; i < requests.size(); ++i) {
    engine.Submit(std::move(requests[i]), [&, i](const RequestResult& result) {
      if (result.exception != nullptr) failure = result.exception;
      documents[i]->answer = result.ids;
    });
  }
  engine.RunUntilIdle();
  if (failure != nullptr) std::rethrow_exception(failure);
}

// As the loader gives a whole example: its last token is there, and predicts nothing.
void Append(const TokenBatch& from, const Document& document, TokenBatch* to) {
  const std::vector<int32_t>& answer = document.answer;
  const size_t begin = document.begin, kept = answer.empty() ? document.length : document.prompt;
  const auto copy = [&](const auto& all, auto* out) {
    const auto first = all.begin() + static_cast<ptrdiff_t>(begin);
    out->insert(out->end(), first, first + static_cast<ptrdiff_t>(kept));
  };
  copy(from.ids, &to->ids);
  copy(from.targets, &to->targets);
  copy(from.weights, &to->weights);
  for (const int32_t id : answer) {
    to->targets.back() = id;
    to->weights.back() = 1;
    to->ids.push_back(id);
    to->targets.push_back(0);
    to->weights.push_back(0);
  }
  if (!answer.empty()) {  // of documents that are trained from their first token on
    std::fill_n(to->weights.end() - static_cast<ptrdiff_t>(kept + answer.size()), kept - 1, 0);
    std::fill_n(to->targets.end() - static_cast<ptrdiff_t>(kept + answer.size()), kept - 1, 0);
  }
  to->document_lengths.push_back(kept + answer.size());
}

}  // namespace

bool IsOnPolicy(double share, uint64_t sample) {
  const auto before = [&](uint64_t count) {
    return std::floor(share * static_cast<double>(count));
  };
  return before(sample + 1) > before(sample);
}

TokenBatch WithOwnAnswers(const Pretrained& student, const TokenBatch& batch,
                          const OnPolicyOptions& options) {
  std::vector<Document> documents;
  std::vector<size_t> row_ends;  // in documents
  size_t begin = 0, row_end = 0;
  std::vector<Request> requests;
  std::vector<size_t> asked;
  for (const TokenBatch::Row& row : batch.rows) {
    row_end += row.tokens;
    for (uint64_t place = 0; begin < row_end; ++place) {
      Document document{.begin = begin, .length = batch.document_lengths[documents.size()]};
      if (IsOnPolicy(options.share, row.sample))
        document.prompt = PromptOf(batch, document, options.prompt_tokens);
      if (document.prompt > 0) {
        requests.push_back(RequestOf(student, batch, document, row.sample, place, options.seed));
        asked.push_back(documents.size());
      }
      begin += document.length;
      documents.push_back(std::move(document));
    }
    PLANISH_CHECK(begin == row_end, "a document goes beyond its row");
    row_ends.push_back(documents.size());
  }
  if (requests.empty()) return batch;
  std::vector<Document*> places;
  for (const size_t i : asked) places.push_back(&documents[i]);
  Draw(student, std::move(requests), places);
  TokenBatch own;
  size_t next = 0;
  for (size_t r = 0; r < batch.rows.size(); ++r) {
    const size_t before = own.ids.size();
    for (; next < row_ends[r]; ++next) Append(batch, documents[next], &own);
    own.rows.push_back(batch.rows[r]);
    own.rows.back().tokens = static_cast<uint32_t>(own.ids.size() - before);
  }
  return own;
}

}  // namespace planish

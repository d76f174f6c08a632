// SPDX-License-Identifier: Apache-2.0
// The answers of /v1/responses: a response object, or events that build it up item by item (serve.md 3.3).
#pragma once

#include "serve/generation.h"

namespace planish {

class ResponsesWriter final : public ReplyWriter {
 public:
  // `request`: the body; some of it is repeated in the answer.
  explicit ResponsesWriter(Json request) : request_(std::move(request)) {}
  std::string Begin(const Generation& generation) override;
  std::string Piece(const Generation& generation, const Choice& choice,
                    const Delta& delta) override;
  std::string Progress(const Generation&, size_t, size_t, size_t) override { return {}; }
  std::string ChoiceEnd(const Generation& generation, const Choice& choice) override;
  std::string End(const Generation& generation) override;
  std::string Failure(const Generation& generation, const ApiError& error) override;
  Json Whole(const Generation& generation) override;

 private:
  enum class Kind { kReasoning, kMessage, kCall };
  struct Item {
    Kind kind;
    std::string id;
    std::string text;        // of the reasoning or the message; arguments of a call
    std::string name, call;  // of a call
  };
  std::string Event(const char* type, Json event);
  std::string Open(Kind kind, const Choice& choice, size_t call);
  std::string CloseItem();
  std::string Append(const std::string& text);
  Json ItemJson(const Item& item, bool is_done) const;
  Json PartJson(const Item& item) const;
  Json Response(const Generation& generation, const char* status) const;
  Json Place() const;  // item_id, output_index

  Json request_;
  std::vector<Item> items_;
  bool is_open_ = false;  // the last item
  int64_t sequence_ = 0;
};

}  // namespace planish
